"""Do what all doors of the server offer: list movies, ask one, give a picture, a transcript, a clip."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from chunkv2l.answer.answer import Answer, PartialAnswer
from chunkv2l.answer.spans import Span
from chunkv2l.channels.cues import Channel, ChannelCue
from chunkv2l.defaults import POLICIES
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.models import Model
from chunkv2l.query.parse import clean_question
from chunkv2l.serve.all_movies import AllMovies
from chunkv2l.serve.answering import Answering, Job, Question
from chunkv2l.serve.builds import Builds
from chunkv2l.serve.catalogue import Catalogue, OpenedMovie, channel_of
from chunkv2l.serve.refusals import Busy, Forbidden, TooSlow, UnknownMovie
from chunkv2l.serve.settings import ServeSettings
from chunkv2l.video.trim import TrimmedClip, cut_clip

logger = logging.getLogger(__name__)


class Service:
    """The catalogue, the model's queue, and a folder for clips. Close it."""

    def __init__(
        self,
        settings: ServeSettings,
        *,
        model: Model | None = None,
        check: Callable[[Path], list[str]] | None = None,
    ) -> None:
        """
        Args:
            model: the model, if it is loaded already.
            check: as for `Catalogue`.

        Raises:
            InputError: there is nothing at one of the paths.
        """
        self.settings = settings
        most = settings.limits.movies
        self.catalogue = Catalogue(settings.paths, most) if check is None else Catalogue(settings.paths, most, check)
        self.all_movies = AllMovies(self.catalogue, is_writable=not settings.read_only)
        self.answering = Answering(settings.spec, settings.limits, model, self.all_movies)
        self.builds = Builds(settings, self.catalogue, self.answering, is_sandboxed=check is None)
        self.clips = Path(tempfile.mkdtemp(prefix="chunkv2l-clips-"))
        self._cutting = threading.Lock()
        self._is_closing = threading.Event()

    def stop(self) -> None:
        """Refuse what is new and what waits, and end a build before its next batch; what runs goes on."""
        self._is_closing.set()
        self.builds.stop()
        self.answering.drain()

    def close(self) -> None:
        """Stop, let what runs end, and remove what was written."""
        self.stop()
        self.answering.close()
        self.builds.close()
        self.all_movies.close()
        shutil.rmtree(self.clips, ignore_errors=True)

    def warm_up(self) -> None:
        """Look at every index in a sandbox, then load the model of the first sound one; for a thread at the start."""
        is_loaded = False
        for entry in self.catalogue.entries():
            if self._is_closing.is_set():
                return
            with suppress(ChunkV2LError):
                if self.catalogue.inspect(entry) is not None and not is_loaded:
                    self.answering.load(self.catalogue.open(entry.id))
                    is_loaded = True

    def list_movies(self) -> list[dict[str, Any]]:
        """Return a summary of each movie, in order of names."""
        return [self.catalogue.summary(entry) for entry in self.catalogue.entries()]

    def status(self) -> dict[str, Any]:
        """Return what a client may want to know before it asks."""
        return {
            "model": self.answering.model_name,
            "waiting": self.answering.waiting,
            "read_only": self.settings.read_only,
            "policies": list(POLICIES),
        }

    def describe(self, error: ChunkV2LError) -> str:
        """Return an error's sentence as clients get it: files are called as the catalogue calls them."""
        return self.catalogue.hide_folders(str(error))

    # ---- asking

    def parse(self, question: Question) -> Question:
        """Return a question that can be queued.

        Raises:
            InputError: it is empty or too long, or names a policy that isn't built in.
        """
        if question.policy is not None and question.policy not in POLICIES:
            raise InputError(f'There is no policy "{question.policy[:80]}": choose one of {", ".join(POLICIES)}.')
        return Question(clean_question(question.text), question.policy, question.top_k, question.weights)

    async def look_at_all(self) -> None:
        """Look at the indexes that nobody has looked at yet, before all movies are asked."""
        await asyncio.to_thread(self.all_movies.inspect, self.settings.limits.question_seconds / 2)

    async def ask(self, movie: OpenedMovie | None, question: Question) -> Answer:
        """Return the answer of a movie, or of all (None); being cancelled frees the question's place.

        Raises:
            Busy, TooSlow, NotReady, InputError, ChunkV2LError: as a sentence.
        """
        job = self.answering.submit(movie, self.parse(question))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job.result), self.settings.limits.question_seconds + 1.0)
        except (asyncio.TimeoutError, TimeoutError):
            raise TooSlow("The answer took too long: ask again, or less.") from None
        finally:
            self.answering.cancel(job)

    def ask_in_steps(self, movie: OpenedMovie | None, question: Question) -> AsyncIterator[PartialAnswer | Answer]:
        """Queue a question; return its answer while it is made, then the whole of it.

        Closing the iterator frees the question's place. Iterating raises what `ask` does.

        Raises:
            Busy, Unavailable, InputError: the question isn't queued.
        """
        loop = asyncio.get_running_loop()
        steps: asyncio.Queue[PartialAnswer | None] = asyncio.Queue()

        def pass_on(step: PartialAnswer | None) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(steps.put_nowait, step)

        job = self.answering.submit(movie, self.parse(question), pass_on)
        job.result.add_done_callback(lambda _: pass_on(None))
        return self._follow(job, steps)

    async def _follow(
        self, job: Job, steps: asyncio.Queue[PartialAnswer | None]
    ) -> AsyncIterator[PartialAnswer | Answer]:
        """Yield the steps of a job, then its answer; whatever happens, the job's place is freed."""
        try:
            patience = self.settings.limits.question_seconds + 1.0
            while (step := await asyncio.wait_for(steps.get(), patience)) is not None:
                yield step
            yield job.result.result()
        except (asyncio.TimeoutError, TimeoutError):
            raise TooSlow("The answer took too long: ask again, or less.") from None
        finally:
            self.answering.cancel(job)

    def to_json(self, answer: Answer, explain: bool = False) -> dict[str, Any]:
        """Return an answer as JSON; where all movies were asked, spans and quotes have the ids of theirs."""
        values = answer.to_json(explain)
        values |= {key: self._add_ids(values[key]) for key in ("spans", "quotes") if key in values}
        return values | ({"notes": self.notes_of(answer)} if answer.notes else {})

    def notes_of(self, answer: Answer) -> list[str]:
        """Return an answer's notes as clients get them: files are called as the catalogue calls them."""
        return [self.catalogue.hide_folders(note) for note in answer.notes]

    def spans_json(self, spans: Sequence[Span]) -> list[dict[str, Any]]:
        """Return spans likewise."""
        return self._add_ids([span.to_json() for span in spans])

    def _add_ids(self, values: list[dict[str, Any]]) -> list[dict[str, Any]]:
        ids = self.all_movies
        return [{**value, "id": ids.id_of(value["movie"])} if "movie" in value else value for value in values]

    # ---- parts of a movie

    def thumbnail(self, movie: OpenedMovie, number: int) -> bytes:
        """Return a segment's picture, a JPEG.

        Raises:
            UnknownMovie: there is no such segment.
        """
        if not 0 <= number < len(movie.file):
            raise UnknownMovie(f"{movie.entry.name} has segments 0 to {len(movie.file) - 1}, not {number}.")
        return movie.file.thumbnail(number)

    def segment_at(self, movie: OpenedMovie, seconds: float) -> int:
        """Return the number of the segment that a time falls into.

        Raises:
            UnknownMovie: the movie doesn't last that long.
        """
        for segment in movie.file.segments:
            if segment.start <= seconds < segment.end:
                return segment.id
        end = movie.file.segments[-1].end
        raise UnknownMovie(f"{movie.entry.name} lasts {end:g} s: {seconds:g} s isn't in it.")

    def transcript(self, movie: OpenedMovie, channel: Channel | None = None) -> list[ChannelCue]:
        """Return what is said and written in the movie, in order of time; none where its index holds none.

        Args:
            channel: "heard" or "read", to get that alone.
        """
        cues = (cue for cue in movie.file.cues() if channel is None or channel_of(cue) == channel)
        return sorted(cues, key=lambda cue: (cue.start, cue.end))

    def movie_file(self, movie: OpenedMovie) -> Path:
        """Return the movie's real path.

        Raises:
            UnknownMovie: it isn't beside its index.
        """
        path = self.catalogue.find_movie(movie.entry, movie.file)
        if path is None:
            raise UnknownMovie(f"The movie of {movie.entry.name} isn't beside it: only its index can be shown.")
        return path

    def cut(self, movie: OpenedMovie, start: float, end: float, reencode: bool, out: Path | None = None) -> TrimmedClip:
        """Cut a clip out of the movie: into a file of its own, to be deleted by the caller, or into `out`.

        Raises:
            UnknownMovie: the movie isn't there.
            InputError: nothing of it is in that interval, or the interval is too long.
            Busy: another clip is being cut.
        """
        source, longest = self.movie_file(movie), self.settings.limits.clip_seconds
        if not 0 <= start < end:
            raise InputError("A clip begins before it ends: give start and end in seconds.")
        if end - start > longest:
            raise InputError(f"A clip may last {longest:g} s: choose a shorter one.")
        if not self._cutting.acquire(timeout=2):
            raise Busy("Another clip is being cut: try again in a moment.")
        folder: Path | None = None
        try:
            if out is None:
                folder = Path(tempfile.mkdtemp(dir=self.clips))
                out = folder / f"clip{movie.stamp[0]}.mp4"
            length, stream = movie.file.segments[-1].end, movie.file.meta.settings.get("stream")
            return cut_clip(source, start, end, out, reencode, length=length, stream=stream)
        except BaseException as error:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            if not isinstance(error, ChunkV2LError):
                raise
            hidden = str(error).replace(str(source), source.name).replace(str(out), "the clip")
            raise type(error)(hidden) from error
        finally:
            self._cutting.release()

    def name_export(self, movie: OpenedMovie, start: float, end: float) -> Path:
        """Return where a clip that stays is written: beside the movie.

        Raises:
            Forbidden: the server only reads.
        """
        if self.settings.read_only:
            raise Forbidden("This server only reads (--read-only): it writes no clips.")
        source = self.movie_file(movie)
        return source.with_name(f"{source.stem}.{start:.1f}-{end:.1f}.mp4")
