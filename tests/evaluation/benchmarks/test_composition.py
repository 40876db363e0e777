"""Retention: groups, what is kept by hand, and the command on a tiny random `mini`."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from chunkv2l.errors import InputError
from chunkv2l.hypernet import Hypernetwork
from chunkv2l.models import UNFITTED, Model
from chunkv2l.policies import BUILT_IN
from chunkv2l.train.data.images import load_images
from evaluation.__main__ import main
from evaluation.benchmarks import composition
from evaluation.benchmarks.composition import AnswerScore, Measured, figures_of, kept, make_groups
from evaluation.common.token_f1 import best_f1, token_f1
from tests.helpers import tiny_mini
from tests.helpers.photograph_sets import write_set
from tests.helpers.tiny_mini_files import CONFIG


@cache
def small_model() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = Hypernetwork(CONFIG)
        nn.init.normal_(network.scaler_B["down_proj"])
        nn.init.normal_(network.bias_B["down_proj"], std=0.1)
    return Model("mini", tiny_mini.tiny().vlm, network.requires_grad_(False).eval(), UNFITTED, {"hypernet": "a" * 64})


@pytest.fixture(scope="module")
def stem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"), count=60)


def test_one_photograph_of_a_group_answers_its_question(stem: Path) -> None:
    described = load_images(stem).described
    groups = make_groups(described, 6, 8, random.Random(0))
    assert len({group.target for group in groups}) == 6
    for group in groups:
        noun = group.question.split(" with the ")[1].rstrip("?")
        assert noun in described[group.target].nouns and group.answer in group.references
        assert len(set(group.others)) == 7 and all(noun not in described[i].nouns for i in group.others)
        for parts in (1, 2, 8):
            numbers, place = group.movie(parts, seed=0)
            assert len(numbers) == parts and numbers[place] == group.target
            assert set(numbers) - {group.target} == set(group.others[: parts - 1])
    with pytest.raises(InputError, match="give more photographs"):
        make_groups(described, 61, 8, random.Random(0))


def test_token_f1_by_hand() -> None:
    assert token_f1("A dog runs on the grass.", "The dog runs") == pytest.approx(2 * 2 / (4 + 2))
    assert token_f1("dog dog cat", "a dog") == pytest.approx(2 * 1 / (3 + 1))
    assert (token_f1("the", "a"), token_f1("", "dog")) == (1.0, 0.0)
    assert best_f1("A dog.", ["A cat.", "The dog!"]) == 1.0 and best_f1("A dog.", []) == 0.0


def test_what_is_kept_by_hand() -> None:
    right, bias = Measured(0.4, 2.0, 3), Measured(0.2, 3.0, 3)
    found = kept(Measured(0.3, 2.25, 3), right, bias)
    assert found == {
        "f1_kept": pytest.approx(0.75),
        "f1_gain_kept": pytest.approx(0.5),
        "nll_gain_kept": pytest.approx(0.75),
    }
    assert kept(right, right, bias) == {"f1_kept": 1.0, "f1_gain_kept": 1.0, "nll_gain_kept": 1.0}
    assert kept(bias, right, bias)["nll_gain_kept"] == 0.0
    assert kept(right, right, right)["nll_gain_kept"] is None
    told = {2: {"route": [AnswerScore(0.4, 2.0), AnswerScore(0.2, 3.0)]}, 0: {}}
    told[0] = {
        "right clip": [AnswerScore(0.4, 2.0)],
        "bias alone": [AnswerScore(0.2, 3.0)],
        "wrong clip": [AnswerScore(0.1, 4.0)],
    }
    figures = figures_of({}, told)
    assert figures["parts"]["2"]["route"]["nll_gain_kept"] == pytest.approx(0.5)
    assert figures["controls"]["wrong clip"]["nll_gain_kept"] == pytest.approx(-1.0)


def test_the_command(stem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "load_model", lambda spec: small_model())
    monkeypatch.setattr(composition, "TOKENS", 4)
    monkeypatch.setattr("chunkv2l.ask.MAX_NEW_TOKENS", 4)
    monkeypatch.setattr("chunkv2l.indexing.segments.CAPTION_TOKENS", 4)
    given = ["composition", "--images", str(stem), "--parts", "1", "--parts", "2", "--groups", "1", "--clips", "2"]
    given += ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path)]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "composition.json").read_text())["figures"]
    assert set(figures["two halves"]) == {"whole", "concat", "mean", "first half", "wrong clip", "bias alone"}
    assert figures["two halves"]["whole"]["nll_gain_kept"] == pytest.approx(1.0)
    assert set(figures["controls"]) == {"right clip", "bias alone", "wrong clip"}
    assert list(figures["parts"]) == ["1", "2"] and set(figures["parts"]["2"]) == set(BUILT_IN)
    # Of one part every policy that weighs by shares gives the right clip.
    for policy in ("route", "concat", "mean"):
        assert figures["parts"]["1"][policy]["nll"] == pytest.approx(figures["controls"]["right clip"]["nll"], rel=1e-4)
    assert figures["parts"]["2"]["concat"]["nll"] != pytest.approx(figures["parts"]["2"]["mean"]["nll"], rel=1e-6)
    text = (tmp_path / "composition.md").read_text()
    assert ".931" in text and ".862" in text and (tmp_path / "composition.png").exists()
    result = CliRunner().invoke(main, [*given, "--groups", "70"])
    assert result.exit_code == 2 and "groups of 2" in result.output
    result = CliRunner().invoke(main, ["composition", "--images", str(stem), "--parts", "1"])
    assert result.exit_code == 2 and "above 1" in result.output
