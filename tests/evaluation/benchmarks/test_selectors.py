"""Ways to choose rank slots, and questions that exclude something, on tiny random models."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from chunkv2l.hypernet import Hypernetwork
from chunkv2l.models import Calibration, Model
from chunkv2l.train.data.images import load_images
from evaluation.__main__ import main
from evaluation.benchmarks import composition, exclusions, selectors
from evaluation.movies.coded import Coded
from tests.helpers import tiny_mini
from tests.helpers.keyed import by_words, random_keys, unit_keys
from tests.helpers.photograph_sets import write_set
from tests.helpers.selecting import random_selector, word_states
from tests.helpers.tiny_mini_files import CONFIG


@cache
def small_model() -> Model:
    """`mini` at a tiny size with keys and a selector, all random."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = Hypernetwork(CONFIG).requires_grad_(False).eval()
        nn.init.normal_(network.scaler_B["down_proj"])
    return Model(
        "mini",
        tiny_mini.tiny().vlm,
        network,
        Calibration(key=2.0),
        {"hypernet": "b" * 64},
        random_keys(tiny_mini.CHANNELS),
        by_words,
        word_states,
        random_selector(CONFIG),
    )


def coded(count: int, model: Model | None = None) -> Coded:
    """Photographs of random codes and keys."""
    shape = (count, CONFIG.num_layers, CONFIG.rank, CONFIG.latent_size)
    codes = torch.nn.functional.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(2)), dim=-1)
    return Coded(model or small_model(), codes, unit_keys(count))


@pytest.fixture(scope="module")
def stem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"), count=250)


def test_every_way_to_compose() -> None:
    movie = coded(40).movie(range(40))
    ways = selectors.compositions(movie, "A dog.")
    gates = movie.scoring("A dog.").select(range(40))
    slots, unsigned, numbers = ways[selectors.SLOTS], ways[selectors.UNSIGNED], ways[selectors.SEGMENTS]
    assert list(slots) == list(unsigned) == list(numbers) == list(gates)[:8]
    for node, weight in numbers.items():
        assert np.allclose(slots[node], weight * gates[node].gates)
        assert np.allclose(unsigned[node], weight * np.maximum(gates[node].gates, 0))
    assert sum(np.sum(weight) for weight in numbers.values()) == pytest.approx(1.0)
    assert len(ways[selectors.ROUTE]) == 4 and len(ways[selectors.KEYS]) == 8
    picked = np.stack([np.asarray(weight) for weight in ways[selectors.NORM].values()])  # [n, L, r]
    assert (np.count_nonzero(picked, axis=(0, 2)) == 64).all() and set(np.unique(picked)) == {0.0, 0.125}
    assert ways[selectors.UNIFORM] == dict.fromkeys(range(40), 1 / 40)
    plain = selectors.compositions(coded(5, replace(small_model(), selector=None)).movie(range(5)), "A dog.")
    assert set(plain) == {selectors.KEYS, selectors.ROUTE, selectors.NORM, selectors.UNIFORM}


def test_the_right_photograph_alone_shows_the_noun(stem: Path) -> None:
    described = load_images(stem).described
    for question, _ in zip(selectors.scene_questions(described, 20, random.Random(1)), range(5), strict=False):
        noun = question.question.split(" with the ")[1].rstrip("?")
        showing = [position for position, clip in enumerate(question.clips) if noun in described[clip].nouns]
        assert showing == [question.right] and len(set(question.clips)) == 20


def test_the_commands_write_what_they_found(stem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "load_model", lambda spec: small_model())
    monkeypatch.setattr(exclusions, "load_model", lambda spec: small_model())
    given = ["--images", str(stem), "--cache", str(tmp_path / "cache"), "--out", str(tmp_path)]
    done = CliRunner().invoke(
        main, ["composition", "--selectors", "--parts", "3", "--groups", "2", "--limit", "12", *given]
    )
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "selectors.json").read_text())["figures"]
    assert len(figures["kept"]["3"]) == 7 and figures["R@1"]["3"]["select"]["n"] == 8
    assert figures["R@1"]["3"]["route"]["n"] == 2
    few = CliRunner().invoke(main, ["composition", "--selectors", "--parts", "40", "--limit", "60", *given])
    assert few.exit_code == 2 and "Movies of 40 need 80 photographs with captions, not 60." in few.output
    done = CliRunner().invoke(main, ["exclusions", "--questions", "2", *given])
    assert done.exit_code == 0, done.output
    ways = json.loads((tmp_path / "exclusions.json").read_text())["figures"]["right first"]
    assert list(ways)[-2:] == ["select, unsigned", "select, signed"] and all(row["n"] == 2 for row in ways.values())
    assert "| chance" in done.output


def test_right_are_the_photographs_with_a_and_without_b(stem: Path) -> None:
    described = load_images(stem).described
    for made in exclusions.make_questions(described, 4, random.Random(0)):
        shown, excluded = made.question.removeprefix("When is there ").removesuffix("?").split(" but not ")
        a, b = shown.split(" ", 1)[-1], excluded.split(" ", 1)[-1]
        nouns = [described[number].nouns for number in made.photographs]
        assert made.right == {i for i, one in enumerate(nouns) if a in one and b not in one}
        assert len(made.right) == exclusions.ALONE and sum(a in one and b in one for one in nouns) == exclusions.BOTH
