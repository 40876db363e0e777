"""Notes about photographs: read, joined to their set, and asked about."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from chunkv2l.errors import InputError
from chunkv2l.train.data.images import describe, load_images
from chunkv2l.train.data.notes import read_notes
from chunkv2l.train.data.questions import (
    Described,
    NegativeNouns,
    exists_row,
    named_row,
    naming_statement,
    relation_row,
)
from tests.helpers.photograph_sets import write_set

ROWS = [
    {"file": "0.jpg", "counts": {"cat": 1, "cup": 2}, "maybe": ["dog"]},
    {"file": "0.jpg", "caption": "The cat is on the couch.", "true": True, "relation": "on"},
    {"file": "0.jpg", "caption": "The cat is under the couch.", "true": False, "relation": "under"},
    {"file": "1.jpg", "actions": {"work_on_computer": 1}},
]


def write_notes(folder: Path, rows: list[dict[str, object]] | None = None) -> Path:
    path = folder / "notes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows or ROWS))
    return path


def test_notes_are_joined_to_their_photographs(tmp_path: Path) -> None:
    first, second, third, *_ = load_images(write_set(tmp_path), 4, [write_notes(tmp_path)]).described
    assert dict(first.counts) == {"cat": 1, "cup": 2} and first.maybe == {"dog"}
    assert first.true == ("The cat is on the couch.",) and first.false == ("The cat is under the couch.",)
    assert second.actions == ("work on computer",) and second.captions
    assert not third.is_named


def test_what_is_no_note_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"notes\.jsonl, line 1"):
        read_notes([write_notes(tmp_path, [{"counts": {"cat": 1}}])])
    with pytest.raises(InputError, match="no notes"):
        read_notes([tmp_path / "none.jsonl"])


def test_labels_are_drawn_by_their_shares() -> None:
    image = describe({"file": "a", "labels": ["dog", "airedale", "animal"]}, (0.0, 1.0))
    assert image.labels == ("dog", "airedale")
    assert {naming_statement(image, random.Random(seed)) for seed in range(9)} == {"An airedale."}


def test_questions_and_answers_name_things() -> None:
    pairs = [
        {"question": "what is on the table", "answer": "candle_holder"},
        {"question": "what is the colour of the wall", "answer": "white"},
        {"question": "how many vases", "answer": "2"},
    ]
    image = describe({"file": "a", "qa": pairs})
    assert image.counts == (("candle holder", 1),)
    asked = {named_row(image, NegativeNouns.count([image]), random.Random(seed)) for seed in range(60)}
    assert {("What is on the table?", "Candle holder."), ("How many vases?", "2."), ("", "A candle holder.")} <= asked


def test_relations_are_asked_about_as_they_are() -> None:
    image = Described(true=("The cat is on the couch.",), false=("The dog is behind the cat.",))
    assert {relation_row(image, random.Random(seed)) for seed in range(20)} == {
        ("Is the cat on the couch?", "Yes."),
        ("Is the dog behind the cat?", "No."),
    }


def test_what_detectors_missed_is_mostly_said_to_be_absent_and_what_may_be_there_is_not_asked() -> None:
    detected = Described(counts=(("cat", 1),), maybe=frozenset({"dog"}))
    others = [Described(counts=(("horse", 1),)), Described(counts=(("dog", 1),))]
    negatives = NegativeNouns.count([detected, *others])
    rows = [exists_row(detected, negatives, random.Random(seed)) for seed in range(600)]
    assert {question for question, _ in rows} == {"Is there a cat in the video?", "Is there a horse in the video?"}
    absent = [answer for question, answer in rows if "horse" in question]
    assert 0.6 < absent.count("No.") / len(absent) < 0.8
    assert all(answer == "Yes." for question, answer in rows if "cat" in question)
