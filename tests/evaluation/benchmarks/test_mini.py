"""The default model's table: ratios and their intervals by hand, questions, and every line on a tiny random `mini`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from chunkv2l.hypernet import Hypernetwork
from chunkv2l.models import Calibration, Model
from chunkv2l.models.family import require_family
from chunkv2l.models.text.decoder import score
from chunkv2l.train.data.images import load_images
from chunkv2l.train.stages.measure import Frames, Given, Ratio, Scores
from evaluation.__main__ import main
from evaluation.benchmarks import mini, mini_lines
from evaluation.benchmarks.mini_lines import HardNegatives, Shown, interval
from evaluation.movies.photographs import Encoder
from tests.helpers import tiny_mini
from tests.helpers.keyed import by_words, random_keys
from tests.helpers.photograph_sets import write_set
from tests.helpers.tiny_mini_files import CONFIG


@cache
def small_model() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = Hypernetwork(CONFIG)
        nn.init.normal_(network.scaler_B["down_proj"])
        nn.init.normal_(network.bias_B["down_proj"], std=0.1)
        keys = random_keys(tiny_mini.CHANNELS, 8)
    fitted = Calibration(tau=2.0, gamma=0.5, key=3.0)
    network = network.requires_grad_(False).eval()
    return Model("mini", tiny_mini.tiny().vlm, network, fitted, {"hypernet": "b" * 64}, keys, by_words)


@pytest.fixture(scope="module")
def stem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"), count=24)


@pytest.fixture(scope="module")
def shown(stem: Path, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    return Shown.of(Encoder(small_model(), tmp_path_factory.mktemp("cache")), load_images(stem))


def test_a_ratio_is_of_sums_and_its_interval_holds_it() -> None:
    ratio = Ratio((1.0, 3.0), (2.0, 2.0))
    assert ratio.value == 1.0
    assert interval(ratio) == (0.5, 1.5) == interval(ratio)
    assert Ratio.mean([True, False, True, True]).value == 0.75
    assert interval(Ratio((2.0, 4.0, 6.0), (1.0, 2.0, 3.0))) == (2.0, 2.0)  # the same for every question


def test_hard_negatives_stand_beside_the_photographs_own_nouns(stem: Path) -> None:
    described = load_images(stem).described
    hard, rng = HardNegatives(described), random.Random(0)
    beside = {
        noun: {other for one in described if noun in one.nouns for other in one.nouns} for noun in ("dog", "snow")
    }
    for _ in range(30):
        noun = hard.draw(frozenset({"dog"}), rng)
        assert noun is not None and noun != "dog" and noun in beside["dog"]
    assert hard.draw(frozenset({"zebra"}), rng) is None


def test_one_photograph_alone_shows_what_a_scene_question_names(shown: Shown) -> None:
    questions = list(mini_lines.scene_questions(shown, 4, 2, random.Random(1)))
    assert len(questions) > 10
    for asked in questions:
        noun = asked.question.removeprefix("What happens in the scene with the ").removesuffix("?")
        assert [noun in shown.described[number].nouns for number in asked.clips] == [i == asked.right for i in range(4)]
        assert asked.answer in shown.described[asked.clips[asked.right]].captions


def test_of_one_clip_everything_is_kept(shown: Shown) -> None:
    lines = mini_lines.share_kept(shown, 1, 5, random.Random(2))
    assert lines["share kept of 1, sum"].value == pytest.approx(1.0, abs=1e-4)
    assert lines["share kept of 1, mean"].value == pytest.approx(1.0, abs=1e-4)
    assert len(lines["share kept of 1, sum"].over) == 5


def test_right_clips_are_found_where_they_score_most(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(sign: float) -> None:
        def scores(shown: Shown, numbers: list[int], texts: list[str]) -> Scores:
            right = torch.tensor([[float(text in shown.described[n].captions) for text in texts] for n in numbers])
            return Scores(sign * right, torch.ones(len(texts)), None)

        monkeypatch.setattr(Shown, "scores", scores)

    for sign, expected in ((1.0, 1.0), (-1.0, 0.0)):
        fake(sign)
        *_, lines = mini_lines.find(shown, 20, (4, 8), random.Random(3))
        assert {len(ratio.over) for ratio in lines.values()} == {20}
        assert lines["R@1 of 4, S alone"].value == lines["R@1 of 8, S alone"].value == expected


def test_the_router_adds_keys_as_its_calibration_says(shown: Shown) -> None:
    scores = shown.scores([0, 1, 2], ["A dog runs.", "A cat."])
    assert scores.keys is not None and scores.nats.shape == scores.keys.shape == (3, 2)
    z = shown.routed(scores)
    expected = float(scores.nats[1, 0]) / (2 * float(scores.tokens[0]) ** 0.5) + 3 * float(scores.keys[1, 0])
    assert float(z[1, 0]) == pytest.approx(expected)
    torch.testing.assert_close(shown.routed(replace(scores, keys=None)), scores.nats / (2 * scores.tokens**0.5))


def test_the_command_writes_every_line(stem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "load_model", lambda spec: small_model())
    options = ["--questions", "4", "--largest", "8", "--cache", str(tmp_path / "cache"), "--out", str(tmp_path)]
    result = CliRunner().invoke(main, ["mini", "--images", str(stem), *options, "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "mini.json").read_text())["figures"]
    assert json.loads(result.stdout) == figures
    expected = "caption NLL, context|yes/no, hard negatives, adapter|share kept of 16, mean|R@1 of 8, router"
    for name in [*expected.split("|"), "share kept of 8, router's best 4, found by a name", "bytes a code, int8"]:
        assert figures[name]["low"] <= figures[name]["value"] <= figures[name]["high"]
    assert figures["R@1 of 8, router"]["questions"] == 4
    lone = CliRunner().invoke(main, ["mini", "--images", str(stem), "--movie", "movie.mp4"])
    assert lone.exit_code == 2 and "--queries" in lone.output


def test_few_scored_rows_are_few_questions(shown: Shown) -> None:
    *_, find = mini.lines_of(shown, ("find",), 20, 8, 0, 24)
    (route,) = mini.lines_of(shown, ("route",), 20, 8, 0, 24)
    assert {len(ratio.over) for ratio in find.values()} == {3}
    assert {len(ratio.over) for ratio in route.values()} == {1}


def test_answers_in_batches_are_as_likely_as_each_alone(shown: Shown) -> None:
    """Frames, one adapter, several, the bias alone; rows of all lengths, one of them twice."""
    rows = [
        ("", "A dog runs."),
        ("What is it?", "A cat."),
        ("", "A dog runs."),
        ("Is there a dog?", "Yes."),
        ("", "No."),
    ]
    conditions: tuple[Given, ...] = (Frames(3), Frames(5), {2: 1.0}, {0: 0.5, 1: -1.0}, {})
    asked = [(row, condition) for condition in conditions for row in rows]
    together, counts = shown.nats([row for row, _ in asked], [condition for _, condition in asked])
    vlm = require_family(shown.model.vlm)
    for (row, condition), nats, count in zip(asked, together, counts, strict=True):
        ids = [*vlm.statement_ids(row[1]), vlm.end_of_turn]
        if isinstance(condition, Frames):
            prompt = vlm.embed_with_frames([shown.clip(condition.clip)], row[0])[0]
            alone = score(vlm.decoder, prompt, [ids])
        else:
            alone = score(vlm.decoder, vlm.prompt_ids(row[0]), [ids], shown.composed(condition))
        assert nats == pytest.approx(-float(alone[0, 0]), abs=1e-3) and count == len(ids)


def test_scores_are_remembered(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    first = shown.scores([4, 1], ["A dog.", "A cat runs."])
    monkeypatch.setattr(type(shown.model.vlm), "score", None)
    again = shown.scores([1], ["A cat runs."])
    assert float(again.nats[0, 0]) == float(first.nats[1, 1])


def test_a_part_of_a_set_is_asked_few_questions(stem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "load_model", lambda spec: small_model())
    counts: list[tuple[int, int | None]] = []

    def no_lines(
        shown: Shown, chosen: tuple[str, ...], count: int, largest: int, seed: int, most_rows: int | None
    ) -> Iterator[mini.Lines]:
        counts.append((count, most_rows))
        yield from ()

    monkeypatch.setattr(mini, "lines_of", no_lines)
    monkeypatch.setattr(mini, "table_of", lambda figures: "")
    common = ["mini", "--images", str(stem), "--cache", str(tmp_path / "cache"), "--out", str(tmp_path)]
    for options in (["--limit", "6"], [], ["--questions", "7"]):
        result = CliRunner().invoke(main, [*common, *options])
        assert result.exit_code == 0, result.output
    assert counts == [(3, mini.CPU_ROWS), (12, mini.CPU_ROWS), (7, None)]
