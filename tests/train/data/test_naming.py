"""Statements that name what is there, and what counts as naming it."""

from __future__ import annotations

import random

import pytest

from chunkv2l.train.data.naming import (
    count_things,
    is_naming,
    name_counts,
    name_label,
    plural,
    progressive,
    with_indefinite,
)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("cat", "A cat."),
        ("umbrella", "An umbrella."),
        ("unicycle", "A unicycle."),
        ("ibizan_hound", "An ibizan hound."),
        ("faces easy", "A face."),
        ("sunglasses", "Sunglasses."),
        ("red wine", "Red wine."),
        ("octopus", "An octopus."),
    ],
)
def test_a_label_is_named_as_people_would(label: str, said: str) -> None:
    assert name_label(label) == said


def test_counts_in_words() -> None:
    assert [count_things("cup", number) for number in (1, 2, 5, 9)] == ["a cup", "two cups", "five cups", "many cups"]
    assert count_things("broccoli", 3) == "broccoli" and count_things("person", 3) == "three people"
    assert plural("bus") == "buses" and plural("city") == "cities" and with_indefinite("skis") == "skis"


def test_a_statement_names_one_or_two_things() -> None:
    said = {name_counts([("cup", 2), ("dining table", 1)], random.Random(seed)) for seed in range(40)}
    assert {"A cup.", "Two cups.", "A dining table."} <= said
    assert "Two cups and a dining table." in said or "A dining table and two cups." in said


def test_verbs() -> None:
    assert [progressive(verb) for verb in ("ride", "cut", "ski", "lay", "eat")] == [
        "riding",
        "cutting",
        "skiing",
        "lying down",
        "eating",
    ]


def test_a_caption_names_a_label_by_its_name_synonyms_and_plurals() -> None:
    assert is_naming("Two kittens on a sofa.", "cat") and is_naming("A plane in the sky.", "airplanes")
    assert is_naming("A cell phone.", "cellphone") and not is_naming("A caterpillar.", "cat")
    assert not is_naming("A dog.", "cat")
