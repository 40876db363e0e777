"""longmovie end to end on a fake model, and its counting on outcomes made by hand."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import chunkv2l
from chunkv2l.models import Model
from chunkv2l.policies import BUILT_IN
from chunkv2l.train.data.images import ImageSet, load_images
from evaluation.__main__ import main
from evaluation.benchmarks import longmovie
from evaluation.benchmarks.longmovie import Asked, CandidateRecall, Mode, Movie, QueryResult, make_movies, summary
from evaluation.movies.photographs import Encoder, Take, write_movie
from tests.evaluation.movies.test_photographs import keys
from tests.helpers.fake_vlm import fake_model
from tests.helpers.keyed import by_words
from tests.helpers.photograph_sets import write_set


@pytest.fixture(scope="module")
def stem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def images(stem: Path) -> ImageSet:
    return load_images(stem)


def test_queries_are_captions_of_their_segments(images: ImageSet) -> None:
    made = make_movies(images, 20, 50, seed=0)
    assert [len(asked) for _, asked in made] == [20, 20, 10]
    for movie, asked in made:
        assert len({one.segment for one in asked}) == len(asked)
        for one in asked:
            assert one.statement in images.described[movie.photographs[one.segment]].captions
    assert made == make_movies(images, 20, 50, seed=0) != make_movies(images, 20, 50, seed=1)
    pool = list(range(3, 90))
    assert {n for movie, _ in make_movies(images, 20, 50, 0, pool) for n in movie.photographs} <= set(pool)


def test_what_is_counted_by_hand() -> None:
    def budgeted(rank: int | None, seconds: float | None = None) -> dict[tuple[Mode, str], QueryResult]:
        return {("budgeted", "route"): QueryResult(rank, seconds)}

    found = [budgeted(0, 1.0), budgeted(4, 3.0), budgeted(5), budgeted(None)]
    found[0]["exhaustive", "route"] = QueryResult(0, 9.0)
    kept = [
        {"with keys": CandidateRecall(True, True)},
        {"with keys": CandidateRecall(True, False)},
        {"with keys": CandidateRecall(False, False)},
        {},
    ]
    figures = summary(found, kept)
    assert figures["budgeted"]["route"] == {"R@1": 0.25, "R@5": 0.5, "n": 4, "seconds": 2.0, "timed": 2}
    assert figures["exhaustive"]["route"]["seconds"] == 9.0
    assert figures["candidates"] == {"with keys": {"share": 0.5, "n": 2}}


def test_candidates_are_bounded_by_the_budget_and_exhaustive_has_all(images: ImageSet, tmp_path: Path) -> None:
    model: Model = replace(fake_model(), keys=keys(), sentences=by_words)
    numbers = random.Random(0).sample(range(len(images)), 60)
    made = Encoder(model, tmp_path / "cache").takes([Take(images.jpegs[number]) for number in numbers])
    path = write_movie(tmp_path / "a.idx", model, made)
    asked = [Asked("A dog and snow.", 3), Asked("A cat runs near grass.", 30)]
    bare = write_movie(tmp_path / "bare.idx", model, made, keys=False)
    runs = list(Movie(path, bare, model, dict(BUILT_IN)).run(asked, timed=1, exhaustive=1))
    (found, kept), (later, nothing) = runs
    assert {name for mode, name in found if mode == "budgeted"} == set(BUILT_IN)
    assert found["budgeted", "route"].seconds is not None and found["exhaustive", "route"].seconds is not None
    assert found["exhaustive", "mean"].seconds is None  # its scores were there already
    assert {mode for mode, _ in later} == {"budgeted"} and not nothing
    assert later["budgeted", "route"].seconds is None
    assert set(kept) == {"with keys", "without keys"}
    with chunkv2l.open(path, model=model) as index:
        some = longmovie.candidates(index, "A dog and snow.")
        assert len(some) == 48
        best = longmovie.first_of_all(index, "A dog and snow.")
        nats = index.router.nats("A dog and snow.", range(60))
        assert best == max(nats, key=lambda i: nats[i])
        assert kept["with keys"] == CandidateRecall(best == 3, 3 in some)


def test_the_command_writes_what_it_found(stem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longmovie, "load_model", lambda spec: fake_model())
    given = ["longmovie", "--images", str(stem), "--segments", "20", "--segments", "28", "--queries", "4"]
    given += ["--exhaustive", "2", "--timed", "1", "--cache", str(tmp_path / "cache"), "--out", str(tmp_path)]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "longmovie.json").read_text())
    assert list(written["figures"]) == ["20", "28"] and written["seed"] == 0
    for figures in written["figures"].values():
        assert set(figures["budgeted"]) == set(figures["exhaustive"]) == set(BUILT_IN)
        assert figures["budgeted"]["route"]["n"] == 4 and figures["exhaustive"]["route"]["n"] == 2
        assert 0 <= figures["budgeted"]["route"]["R@1"] <= figures["budgeted"]["route"]["R@5"] <= 1
        assert figures["budgeted"]["route"]["timed"] == 1 and figures["candidates"]["without keys"]["n"] <= 2
    assert "route" in (tmp_path / "longmovie.md").read_text() and (tmp_path / "longmovie.png").stat().st_size > 1000
    files = set((tmp_path / "cache").rglob("*.safetensors"))
    assert CliRunner().invoke(main, given).exit_code == 0
    assert set((tmp_path / "cache").rglob("*.safetensors")) == files
    again = json.loads((tmp_path / "longmovie.json").read_text())["figures"]
    assert [own["budgeted"]["route"]["R@5"] for own in again.values()] == [
        own["budgeted"]["route"]["R@5"] for own in written["figures"].values()
    ]


def test_too_few_photographs_are_told_before_the_model_runs(stem: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["longmovie", "--images", str(stem), "--segments", "400"])
    assert result.exit_code == 2 and "400 segments" in result.output
    result = CliRunner().invoke(main, ["longmovie", "--images", str(tmp_path / "none")])
    assert result.exit_code == 2 and "No image set" in result.output
