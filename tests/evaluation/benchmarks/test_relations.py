"""Movies of known order and the questions about them; the command on a fake model."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from chunkv2l.answer.spans import Span
from chunkv2l.train.data.images import load_images
from chunkv2l.train.data.nouns import find_nouns
from chunkv2l.train.data.questions import Described
from evaluation.__main__ import main
from evaluation.benchmarks import relations
from evaluation.benchmarks.relations import Outcome, figures_of, hits, number_in
from evaluation.movies.relation_cases import RELATIONS, Ordered, Question, make_ordered
from tests.helpers.fake_vlm import fake_model
from tests.helpers.photograph_sets import write_set


@pytest.fixture(scope="module")
def stem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def made(stem: Path) -> list[tuple[tuple[Described, ...], Ordered]]:
    described = load_images(stem).described
    return [(described, make_ordered(described, 32, random.Random(seed))) for seed in range(4)]


def test_every_kind_is_asked_and_events_occur_two_to_five_times(
    made: list[tuple[tuple[Described, ...], Ordered]],
) -> None:
    for _, movie in made:
        assert len(movie.photographs) == len(movie.takes) == 32 and len(movie.questions) == 25
        assert {question.relation for question in movie.questions} == set(RELATIONS)
        assert len(set(zip(movie.photographs, movie.takes, strict=True))) == 32
        for question in movie.questions:
            if question.event != "anchor":
                places = question.occurrences
                assert 2 <= len(places) <= 5
                assert all(b - a > 1 for a, b in pairwise(places))


def test_the_right_segment_is_the_one_that_the_order_says(
    made: list[tuple[tuple[Described, ...], Ordered]],
) -> None:
    for _, movie in made:
        for question in movie.questions:
            places = question.occurrences
            expected = {
                "before": places[0] - 1,
                "after": places[0] + 1,
                "while": places[0],
                "first": places[0],
                "last": places[-1],
            }
            if question.relation in expected:
                assert question.right == (expected[question.relation],)
            elif question.relation == "count":
                assert question.right == places
            else:
                seconds = int(question.text.split()[3])
                low, high = (0, seconds) if "the first" in question.text else (4 * 32 - seconds, 4 * 32)
                assert [place for place in places if low <= 4 * place < high] == list(question.right)


def test_an_event_is_true_of_its_occurrences_alone(made: list[tuple[tuple[Described, ...], Ordered]]) -> None:
    for described, movie in made:
        for question in movie.questions:
            nouns = find_nouns(question.anchor)
            true = tuple(i for i, n in enumerate(movie.photographs) if nouns <= described[n].nouns)
            assert true == question.occurrences
            own = {movie.photographs[i] for i in true}
            assert len(own) == (len(true) if question.event == "subject" else 1)


def test_numbers_in_answers() -> None:
    assert [number_in(text) for text in ("Three times.", "It happens 12 times", "Once.", "twenty", "often")] == [
        3,
        12,
        1,
        20,
        None,
    ]


def test_the_first_span_counts_and_a_long_one_does_not() -> None:
    assert hits([Span(8.0, 12.0, 0.5, (2,))], (2,)) and hits([Span(8.0, 16.0, 0.5, (2, 3))], (2,))
    assert not hits([Span(8.0, 20.0, 0.5, (2, 3, 4))], (2,))
    assert not hits([Span(0.0, 4.0, 0.6, (0,)), Span(8.0, 12.0, 0.5, (2,))], (2,)) and not hits((), (2,))


def test_shares_by_hand() -> None:
    def outcome(kind: str, event: str, right: bool, anchor: bool, counted: int | None = None) -> Outcome:
        question = Question(kind, "?", (1,), "It.", (1, 3, 5), event)  # type: ignore[arg-type]
        return Outcome(question, {"ask": right, "concat": False}, anchor, counted)

    figures = figures_of(
        [
            outcome("first", "scene", True, True),
            outcome("first", "subject", False, True),
            outcome("count", "scene", True, False, 3),
            outcome("count", "scene", True, False, 5),
            outcome("count", "scene", True, False),
        ]
    )
    assert (figures["first"]["ask"], figures["first"]["anchor R@1"], figures["first"]["n"]) == (0.5, 1.0, 2)
    assert figures["first, scene"]["ask"] == 1.0 and figures["first"]["count exact"] is None
    assert figures["count"]["count exact"] == pytest.approx(1 / 3) and figures["count"]["count off by"] == 1.0
    assert figures["all"]["n"] == 5 and figures["all"]["concat"] == 0


def test_the_command(stem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relations, "load_model", lambda spec: fake_model())
    given = ["relations", "--images", str(stem), "--movies", "1", "--cache", str(tmp_path), "--out", str(tmp_path)]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "relations.json").read_text())["figures"]
    assert set(RELATIONS) <= set(figures) and figures["all"]["n"] == 25
    assert "anchor" in result.output and (tmp_path / "relations.png").exists()
    result = CliRunner().invoke(main, [*given, "--segments", "120"])
    assert result.exit_code == 2 and "give more photographs" in result.output
