"""Answer questions one at a time, with one model, in a thread of its own; the others wait in a bounded queue.

A question may be cancelled while it waits, which frees its place, or while it is answered, which ends at the next
token. The model is loaded once, by the first index that needs it, and shared by all indexes that were built with it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from chunkv2l.answer.answer import Answer, PartialAnswer
from chunkv2l.ask import Index
from chunkv2l.defaults import MODEL
from chunkv2l.errors import ChunkV2LError
from chunkv2l.graph import Node, Weight
from chunkv2l.models import Model, ModelSpec
from chunkv2l.serve.refusals import Busy, NotReady, TooSlow, Unavailable
from chunkv2l.serve.settings import Limits

if TYPE_CHECKING:
    from chunkv2l.adapter.algebra import Adapter
    from chunkv2l.serve.all_movies import AllMovies
    from chunkv2l.serve.catalogue import OpenedMovie

logger = logging.getLogger(__name__)

STOPPING: Final = "The server is about to stop: ask again when it is back."
OPENED: Final = 16
"""Indexes that are kept open to be asked."""
ADAPTERS: Final = 4
"""Composed adapters that are kept for follow-up questions."""


@dataclass(frozen=True)
class Question:
    """A question to a movie, as every door hands it in.

    Attributes:
        policy: the name of a built-in policy; None chooses by the question.
        weights: {node: weight} of an earlier answer, to ask about its moments without routing; None routes.
    """

    text: str
    policy: str | None = None
    top_k: int | None = None
    weights: Mapping[Node, Weight] | None = None


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


@dataclass(eq=False)
class Job:
    """A question in the queue.

    Attributes:
        movie: the one that is asked; None for all.
        result: the answer, or what went wrong.
        progress: called in the answering thread.
        deadline: `time.monotonic` by which it must be answered.
    """

    movie: OpenedMovie | None
    question: Question
    deadline: float
    progress: Callable[[PartialAnswer], None] | None = None
    result: Future[Answer] = field(default_factory=Future)
    is_cancelled: bool = False


class Answering:
    """The queue of questions, and the thread that answers them. Close it."""

    def __init__(
        self, spec: ModelSpec, limits: Limits, model: Model | None = None, all_movies: AllMovies | None = None
    ) -> None:
        """
        Args:
            spec: the model, where it isn't the one that the indexes name.
            model: the model, if it is loaded already.
            all_movies: what questions to all movies are asked of.
        """
        self._spec, self._limits = spec, limits
        self._all_movies = all_movies
        self._model = model
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._is_closed = False
        self._indexes: OrderedDict[Path, tuple[OpenedMovie, Index]] = OrderedDict()
        self._adapters: OrderedDict[tuple[object, ...], Adapter] = OrderedDict()
        self._model_lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="answer", daemon=True)
        self._thread.start()

    @property
    def model_name(self) -> str | None:
        """The name of the loaded model; None before it is loaded."""
        return None if self._model is None else self._model.name

    @property
    def waiting(self) -> int:
        """Number of questions that wait or are being answered."""
        with self._changed:
            return len(self._waiting) + (self._running is not None)

    def submit(
        self, movie: OpenedMovie | None, question: Question, progress: Callable[[PartialAnswer], None] | None = None
    ) -> Job:
        """Queue a question to a movie, or to all (None).

        Raises:
            Busy: the queue is full.
            Unavailable: the server is about to stop.
        """
        job = Job(movie, question, time.monotonic() + self._limits.question_seconds, progress)
        with self._changed:
            if self._is_closed:
                raise Unavailable(STOPPING)
            if len(self._waiting) >= self._limits.waiting:
                raise Busy(f"{len(self._waiting)} questions wait already: ask again in a moment.")
            self._waiting.append(job)
            self._changed.notify()
        return job

    def cancel(self, job: Job) -> None:
        """Take a question out of the queue, or end its answering at the next token."""
        with self._changed:
            job.is_cancelled = True
            if job in self._waiting:
                self._waiting.remove(job)
        job.result.cancel()

    def load(self, movie: OpenedMovie) -> Model:
        """Return the shared model, loaded by this movie's index if nobody has loaded it yet.

        Raises:
            ChunkV2LError: it can't be had, or the index names one that isn't loaded unasked.
        """
        with self._model_lock:
            if self._model is None:
                spec = self._spec
                with Index(movie.file.path, spec.name, hypernet=spec.hypernet, device=spec.device) as index:
                    self._model = index.model
            return self._model

    def load_by_name(self) -> Model:
        """Return the shared model; loaded by the name that the user gave, or the default, if nobody has loaded it yet.

        Raises:
            ChunkV2LError: it can't be had.
        """
        from chunkv2l.models import load_model

        with self._model_lock:
            if self._model is None:
                self._model = load_model(replace(self._spec, name=self._spec.name or MODEL))
            return self._model

    def count_tokens(self, answer: Answer) -> tuple[int, int]:
        """Return the tokens of the prompt that an answer was generated from, and of its text; 0 where none was."""
        if self._model is None or not answer.prompt:
            return 0, 0
        vlm = self._model.vlm
        return len(vlm.prompt_ids(answer.prompt)), vlm.count_tokens(answer.answer) if answer.answer else 0

    def drain(self) -> None:
        """Refuse new questions, and those that wait."""
        with self._changed:
            self._is_closed = True
            dropped = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for job in dropped:
            _fail(job, Unavailable(STOPPING))

    def close(self, patience: float = 30.0) -> None:
        """Refuse new questions and those that wait, and let the one that is being answered end.

        Args:
            patience: seconds that it may take.
        """
        self.drain()
        self._thread.join(patience)

    # ---- the thread

    def _work(self) -> None:
        while True:
            with self._changed:
                self._running = None
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                job = self._running = self._waiting.popleft()
            if not job.result.set_running_or_notify_cancel():
                continue
            try:
                answer = self._answer(job)
            except Cancelled:
                _fail(job, TooSlow("Nobody waited for the answer any more."))
            except ChunkV2LError as error:
                _fail(job, error)
            except Exception as error:
                logger.exception("A question failed.")
                _fail(job, ChunkV2LError(f"The question failed ({type(error).__name__}): the server's log says more."))
            else:
                job.result.set_result(answer)

    def _answer(self, job: Job) -> Answer:
        question = job.question

        def go_on(partial_answer: PartialAnswer | None = None) -> None:
            if job.is_cancelled:
                raise Cancelled
            if time.monotonic() > job.deadline:
                raise TooSlow(f"The answer took more than {self._limits.question_seconds:g} s: ask again, or less.")
            if partial_answer is not None and job.progress is not None:
                job.progress(partial_answer)

        go_on()
        if job.movie is None:
            assert self._all_movies is not None
            library = self._all_movies.open(self.load)
            return library.ask(question.text, question.policy, question.top_k, progress=go_on)
        index = self._open(job.movie)
        if question.weights is None:
            return index.ask(question.text, question.policy, question.top_k, progress=go_on)
        adapter = self._compose(index, job.movie, question.weights)
        return index.follow_up(question.text, question.weights, adapter, go_on)

    def _open(self, movie: OpenedMovie) -> Index:
        """Return a movie's index with the shared model."""
        path = movie.file.path
        kept = self._indexes.get(path)
        if kept is not None and kept[0].stamp == movie.stamp:
            self._indexes.move_to_end(path)
            return kept[1]
        if kept is not None:
            kept[1].close()
            del self._indexes[path]
        try:
            index = Index(path, self.load(movie))
        except ChunkV2LError as error:
            raise NotReady(str(error).replace(str(path), movie.entry.name)) from error
        self._indexes[path] = movie, index
        while len(self._indexes) > OPENED:
            _, (_, oldest) = self._indexes.popitem(last=False)
            oldest.close()
        return index

    def _compose(self, index: Index, movie: OpenedMovie, weights: Mapping[Node, Weight]) -> Adapter:
        """Return the adapter of these weights, kept from an earlier question if there was one."""
        key = (movie.stamp, *((node, np.asarray(weight).tobytes()) for node, weight in weights.items()))
        adapter = self._adapters.get(key)
        if adapter is None:
            adapter = self._adapters[key] = index.compose(weights)
        self._adapters.move_to_end(key)
        while len(self._adapters) > ADAPTERS:
            self._adapters.popitem(last=False)
        return adapter


def _fail(job: Job, error: Exception) -> None:
    """Hand an error to whoever waits for the answer, if anybody does."""
    if not job.result.done():
        job.result.set_exception(error)
