"""One model, one question at a time: the queue is bounded, places are freed, what is slow is ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from chunkv2l.answer.answer import PartialAnswer
from chunkv2l.errors import InputError
from chunkv2l.models import ModelSpec
from chunkv2l.serve.answering import Answering, Question
from chunkv2l.serve.catalogue import Catalogue, OpenedMovie
from chunkv2l.serve.refusals import Busy, NotReady, TooSlow, Unavailable
from chunkv2l.serve.settings import Limits
from tests.helpers.fake_vlm import fake_model
from tests.helpers.serving import accept, index_with_movie
from tests.helpers.written import random_codes
from tests.helpers.written import write_index as write_plain

WHAT = Question("What is on the grass?")


@pytest.fixture
def movie(tmp_path: Path) -> OpenedMovie:
    catalogue = Catalogue([index_with_movie(tmp_path)], check=accept)
    return catalogue.open(catalogue.entries()[0].id)


@pytest.fixture
def answering() -> Iterator[Answering]:
    queue = Answering(ModelSpec(), Limits(waiting=2, question_seconds=60), fake_model())
    yield queue
    queue.close()


class Held:
    """A question whose answering stops at its first step until it is let go."""

    def __init__(self, answering: Answering, movie: OpenedMovie) -> None:
        self.reached, self.released = threading.Event(), threading.Event()
        self.job = answering.submit(movie, WHAT, self._wait)
        assert self.reached.wait(20)

    def _wait(self, step: PartialAnswer) -> None:
        self.reached.set()
        assert self.released.wait(20)


def test_the_queue_is_bounded_and_a_cancelled_question_frees_its_place(
    answering: Answering, movie: OpenedMovie
) -> None:
    held = Held(answering, movie)
    waiting = [answering.submit(movie, WHAT) for _ in range(2)]
    assert answering.waiting == 3
    with pytest.raises(Busy, match="2 questions wait already"):
        answering.submit(movie, WHAT)
    answering.cancel(waiting[0])
    third = answering.submit(movie, WHAT)
    held.released.set()
    answers = [job.result.result(20).answer for job in (held.job, waiting[1], third)]
    assert len(set(answers)) == 1
    with pytest.raises(CancelledError):
        waiting[0].result.result(0)


def test_a_running_question_ends_when_nobody_waits(answering: Answering, movie: OpenedMovie) -> None:
    held = Held(answering, movie)
    answering.cancel(held.job)
    held.released.set()
    with pytest.raises(TooSlow, match="Nobody waited"):
        held.job.result.result(20)
    assert answering.submit(movie, WHAT).result.result(20).answer


def test_what_takes_too_long_is_ended(movie: OpenedMovie) -> None:
    answering = Answering(ModelSpec(), Limits(question_seconds=0.0), fake_model())
    with pytest.raises(TooSlow, match="more than 0 s"):
        answering.submit(movie, WHAT).result.result(20)
    answering.close()


def test_errors_of_a_question_are_its_own(answering: Answering, movie: OpenedMovie) -> None:
    with pytest.raises(InputError, match="names nothing"):
        answering.submit(movie, Question("When?")).result.result(20)
    assert answering.submit(movie, WHAT).result.result(20).answer


def test_an_index_of_another_model_is_refused_with_the_rebuild_command(answering: Answering, tmp_path: Path) -> None:
    other = write_plain(tmp_path / "other.idx", random_codes(3), model=fake_model(seed=7))
    catalogue = Catalogue([other], check=accept)
    with pytest.raises(NotReady, match=r"other\.idx was built with another model.*chunkv2l build"):
        answering.submit(catalogue.open(catalogue.entries()[0].id), WHAT).result.result(20)


def test_the_model_is_loaded_by_the_first_index_that_needs_it(
    movie: OpenedMovie, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[ModelSpec] = []

    def load(spec: ModelSpec) -> object:
        loaded.append(spec)
        return fake_model()

    monkeypatch.setattr("chunkv2l.models.load_model", load)
    answering = Answering(ModelSpec(device="cpu"), Limits())
    assert answering.model_name is None
    for _ in range(2):
        assert answering.submit(movie, WHAT).result.result(20).answer
    assert [spec.name for spec in loaded] == ["fake"]
    assert answering.model_name == "fake"
    answering.close()


def test_closing_ends_what_runs_and_refuses_what_waits(movie: OpenedMovie) -> None:
    answering = Answering(ModelSpec(), Limits(), fake_model())
    held = Held(answering, movie)
    waiting = answering.submit(movie, WHAT)
    held.released.set()
    closing = threading.Thread(target=answering.close)
    closing.start()
    assert held.job.result.result(20).answer
    closing.join(20)
    with pytest.raises(Unavailable, match="about to stop"):
        answering.submit(movie, WHAT)
    assert waiting.result.done()
