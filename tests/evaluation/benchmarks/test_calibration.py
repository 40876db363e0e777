"""calibration: cases from photographs, figures by hand, judging, fitting and a movie's queries on a fake model."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import chunkv2l
from chunkv2l.errors import InputError
from chunkv2l.models import Calibration, Model
from chunkv2l.train.calibrate import Case
from chunkv2l.train.data.images import ImageSet, load_images
from chunkv2l.train.data.nouns import NOUNS, bare_name
from evaluation.__main__ import main
from evaluation.benchmarks import calibration
from evaluation.benchmarks.calibration import judge
from evaluation.benchmarks.observe import Observer, Statement, make_statements
from evaluation.movies.photographs import Encoder, Take, write_movie
from evaluation.movies.structure import is_absent
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


def test_a_third_of_the_statements_is_true_of_nothing_in_their_movie(images: ImageSet) -> None:
    pool = list(range(60))
    made = make_statements(images, pool, (8, 24), 90, 1 / 3, random.Random(0))
    assert [len(one.movie) for one in made[:4]] == [8, 24, 8, 24]
    assert sum(not one.right for one in made) == 30
    for one in made:
        assert set(one.movie) <= set(pool) and len(set(one.movie)) == len(one.movie)
        if not one.right:
            assert is_absent(one.text, [images.described[i].nouns for i in one.movie])
        else:
            assert one.text in images.described[one.movie[one.right[0]]].captions
    assert made == make_statements(images, pool, (8, 24), 90, 1 / 3, random.Random(0))
    with pytest.raises(InputError, match="smaller --sizes"):
        make_statements(images, pool, (61,), 3, 1 / 3, random.Random(0))


def test_bare_names_are_true_of_every_photograph_that_mentions_them(images: ImageSet) -> None:
    made = make_statements(images, list(range(60)), (8, 24), 60, 1 / 3, random.Random(0), names=0.5)
    names = [one for one in made if one.text in map(bare_name, NOUNS)]
    assert 28 <= len(names) <= 32 and sum(not one.right for one in made) == 20
    assert any(len(one.right) > 1 for one in names) and any(not one.right for one in names)
    for one in names:
        noun = next(noun for noun in NOUNS if bare_name(noun) == one.text)
        assert one.right == tuple(p for p, i in enumerate(one.movie) if noun in images.described[i].nouns)


def test_cases_are_the_routers_scores(images: ImageSet, tmp_path: Path) -> None:
    model = fake_model()
    made = Encoder(model, tmp_path / "cache").takes([Take(images.jpegs[i]) for i in range(6)])
    observer = Observer(model, dict(enumerate(made)), mu=True)
    case = observer.case(Statement("A dog runs.", (4, 2, 0), (1,)))
    path = write_movie(tmp_path / "a.idx", model, [made[i] for i in (4, 2, 0)])
    with chunkv2l.open(path, model=model) as index:
        nats = index.router.nats("A dog runs.", range(3))
    assert case.nats.tolist() == pytest.approx(list(nats.values()), abs=1e-4)
    assert (case.tokens, case.segments, case.right, case.present) == (4, 3, (1,), True)
    assert case.mu is not None and len(case.mu) == 3 and case.keys is None
    assert observer.case(Statement("A dog runs.", (4, 2, 0), ())).present is False


def test_keys_choose_what_is_scored_beyond_the_budget(images: ImageSet, tmp_path: Path) -> None:
    model: Model = replace(fake_model(), keys=keys(), sentences=by_words)
    made = Encoder(model, tmp_path).takes([Take(images.jpegs[i]) for i in range(40)])
    observer = Observer(model, dict(enumerate(made)), mu=False)
    whole = observer.case(Statement("A dog.", tuple(range(40)), (7,)), budget=40)
    assert whole.keys is not None and len(whole.nats) == 40 and whole.right == (7,)
    order = whole.keys.argsort(descending=True).tolist()
    first, last = order[0], order[-1]
    few = observer.case(Statement("A dog.", tuple(range(40)), (first,)), budget=4)
    assert few.keys is not None and few.right and few.segments == 40
    assert few.keys.max() == whole.keys.max() and len(few.nats) == 4
    assert few.nats[few.right[0]] == pytest.approx(float(whole.nats[first]), abs=1e-5)
    missed = observer.case(Statement("A dog.", tuple(range(40)), (last,)), budget=4)
    assert not missed.right and missed.present


def test_figures_by_hand() -> None:
    plain = Calibration(tau=1.0, gamma=0.0, beta=0.0)

    def case(nats: list[float], *right: int, present: bool = True) -> Case:
        return Case(torch.tensor(nats), 4, len(nats), right, present)

    cases = [
        case([9.0, 0.0], 0),  # found
        case([0.0, 9.0], 0),  # another one is
        case([-9.0, -9.0], 1),  # missed
        case([-9.0, -9.0], present=False),  # seen to be absent
        case([9.0, -9.0], present=False),  # a false alarm
        case([-9.0, 9.0]),  # what is right wasn't scored
    ]
    figures = judge(cases, plain)
    assert (figures["queries"], figures["absent"], figures["not scored"]) == (6, 2, 1)
    assert figures["accuracy"] == pytest.approx(2 / 6)
    assert (figures["false alarms"], figures["misses"]) == (0.5, 0.25)
    assert figures["R@1 where present"] == pytest.approx(1 / 4)
    assert figures["ECE"] == pytest.approx(figures["confidence"] - figures["accuracy"], abs=1e-3)
    assert figures["Brier"] == pytest.approx(4 / 6, abs=0.01)
    assert figures["by segments"] == {
        "2": {"queries": 6, "accuracy": pytest.approx(2 / 6), "confidence": pytest.approx(figures["confidence"])}
    }


def test_the_command_judges_and_fits(stem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "load_model", lambda spec: fake_model())
    given = ["calibration", "--images", str(stem), "--photographs", "30", "--sizes", "4", "--sizes", "8"]
    given += ["--count", "30", "--cache", str(tmp_path / "cache"), "--out", str(tmp_path)]
    fitted = tmp_path / "fitted.json"
    result = CliRunner().invoke(main, [*given, "--fit", "--write", str(fitted)])
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "calibration-fit.json").read_text())["figures"]
    assert Calibration.from_text(fitted.read_text()) == Calibration(**figures["calibration"])
    assert figures["nll"] < figures["nll unfitted"] and figures["fitted to"] == 30

    model = fake_model()
    photographs = load_images(stem)
    made = Encoder(model, tmp_path / "cache").takes([Take(photographs.jpegs[i]) for i in range(3)])
    movie = write_movie(tmp_path / "movie.idx", model, made)
    queries = tmp_path / "queries.jsonl"
    rows = [
        {"qid": i, "vid": "movie", "query": "A dog runs.", "relevant_windows": [[4 * i, 4 * i + 4]]} for i in (0, 1)
    ]
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = ["--movie", str(movie), "--queries", str(queries), "--calibration", str(fitted)]
    result = CliRunner().invoke(main, [*given, *more])
    assert result.exit_code == 0, result.output
    judged = json.loads((tmp_path / "calibration.json").read_text())["figures"]
    assert judged["calibration"] == figures["calibration"]
    assert judged["photographs"]["nll"] == pytest.approx(figures["photographs"]["nll"])
    assert judged["movie"]["queries"] == 2 and 0 <= judged["movie"]["Brier"] <= 1
    assert judged["photographs"]["trade-off"][0] == [0.0, 1.0] and judged["photographs"]["trade-off"][-1] == [1.0, 0.0]
    assert (tmp_path / "calibration.png").exists() and "ECE" in (tmp_path / "calibration.md").read_text()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--write", "a.json"], "add --fit"),
        (["--movie", "{stem}.npz"], "both --movie and --queries"),
        (["--calibration", "nowhere.json"], "can't be read"),
        (["--calibration", "{stem}.jsonl"], "A calibration is JSON"),
        (["--selector", "--calibration", "{stem}.jsonl"], "A calibration is JSON with key, slots, beta and epsilon"),
        (["--sizes", "200"], "smaller --sizes"),
    ],
)
def test_bad_input(stem: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], words: str) -> None:
    monkeypatch.setattr(calibration, "load_model", lambda spec: fake_model())
    result = CliRunner().invoke(main, ["calibration", "--images", str(stem), *(w.format(stem=stem) for w in given)])
    assert result.exit_code == 2 and words in result.output and "Traceback" not in result.output
