"""Movies with structure: runs, recurring subjects and cutaways are what they are said to be."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from chunkv2l.errors import InputError
from chunkv2l.train.data.images import load_images
from chunkv2l.train.data.questions import Described
from evaluation.movies.structure import LEAST, LONGEST, SHORTEST, is_absent, make_structure, plan
from tests.helpers.photograph_sets import write_set

NOUNS = ("dog", "cat", "horse", "bus", "truck", "guitar", "bench", "tent", "flag", "camera")
DESCRIBED = tuple(Described((f"A {noun}.",)) for noun in NOUNS for _ in range(40))


@pytest.mark.parametrize("segments", [LEAST, 21, 32, 47, 64, 90, 128, 200, 512])
def test_plans_add_up(segments: int) -> None:
    for seed in range(3):
        made = plan(segments, random.Random(seed))
        assert sum(made.needs) == segments
        assert all(SHORTEST <= length <= LONGEST for runs in made.lengths for length in runs)
        twice = sum(len(runs) == 2 for runs in made.lengths)
        assert abs(twice - len(made.lengths) / 3) <= 0.5


@pytest.mark.parametrize("segments", [20, 32, 64, 100])
def test_a_movie_is_runs_that_share_a_noun_with_cutaways_amid_others(segments: int) -> None:
    for seed in range(5):
        movie = make_structure(DESCRIBED, segments, random.Random(seed))
        assert len(movie) == segments == len(set(movie.photographs))
        assert movie.runs[0].first == 0 and movie.runs[-1].last == segments - 1
        assert all(b.first == a.last + 1 and a.noun != b.noun for a, b in zip(movie.runs, movie.runs[1:], strict=False))
        for run in movie.runs:
            own = [i for i in range(run.first, run.last + 1) if i not in movie.cutaways]
            assert SHORTEST <= len(own) <= LONGEST
            assert all(run.noun in DESCRIBED[movie.photographs[i]].nouns for i in own)
            assert run.first not in movie.cutaways and run.last not in movie.cutaways
        subjects = {run.noun for run in movie.runs}
        away = [next(iter(DESCRIBED[movie.photographs[i]].nouns)) for i in movie.cutaways]
        assert sorted(away) == sorted(subjects)  # one of each subject, and none amid its own run:
        for i, noun in zip(movie.cutaways, away, strict=True):
            assert next(run for run in movie.runs if run.first <= i <= run.last).noun != noun
        assert len(movie.recurring()) == max(1, round(len(subjects) / 3))


def test_the_same_seed_makes_the_same_movie() -> None:
    assert make_structure(DESCRIBED, 64, random.Random(1)) == make_structure(DESCRIBED, 64, random.Random(1))
    assert make_structure(DESCRIBED, 64, random.Random(1)) != make_structure(DESCRIBED, 64, random.Random(2))


def test_only_allowed_photographs_are_taken() -> None:
    allowed = range(0, len(DESCRIBED), 2)
    assert set(make_structure(DESCRIBED, 64, random.Random(0), allowed).photographs) <= set(allowed)


@pytest.mark.parametrize(("segments", "words"), [(LEAST - 1, "at least 20"), (401, "400 photographs"), (399, "fewer")])
def test_what_cannot_be_made_is_said(segments: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_structure(DESCRIBED, segments, random.Random(0))


def test_a_caption_is_absent_where_no_photograph_has_all_its_nouns() -> None:
    assert is_absent("A dog in snow.", [frozenset({"dog"}), frozenset({"snow"})])
    assert not is_absent("A dog in snow.", [frozenset({"dog", "snow", "man"})])
    assert not is_absent("Something.", [frozenset()])


def test_the_tests_own_photographs_can_be_read(tmp_path: Path) -> None:
    images = load_images(write_set(tmp_path))
    assert len(images) == 90 and "dog" in images.described[0].nouns and "kayak" in images.described[-3].nouns
