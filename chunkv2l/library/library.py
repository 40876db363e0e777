"""Ask a folder of indexes: one answer over all of its movies, with one model in memory.

All keys lie in one memory-mapped matrix (`keys_file`), all words and sentences' vectors in one full-text index
(`text_file`); they choose a bounded number of movies, which are opened and asked as one (`joined`), within the budget
of one question. So a question costs about the same however many hours the library has, but for one product of the
matrix with the statement's query vector, and one comparison of a few bytes a sentence.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path, PurePosixPath
from threading import RLock
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkv2l.answer.answer import Answer, PartialAnswer
from chunkv2l.answer.channels import MIN_SPAN, SHARES
from chunkv2l.ask import Index
from chunkv2l.defaults import AUTO_BUDGET
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.index.schema import MAX_SEGMENTS
from chunkv2l.library.choice import BY_KEYS, Filter, Ranking, choose_movies, rank
from chunkv2l.library.contents import (
    Contents,
    IndexSet,
    identity_digest,
    list_indexes,
    name_movie,
    read_contents,
)
from chunkv2l.library.folder import shorten_notes
from chunkv2l.library.joined import JoinedAsker, JoinedFile, OpenedMovie
from chunkv2l.library.keys_file import MovieRecord
from chunkv2l.library.text_file import NAME
from chunkv2l.library.text_search import Flags, Floats, TextSearch
from chunkv2l.models import ModelSpec
from chunkv2l.policies import Policy
from chunkv2l.query.channels import read_channel
from chunkv2l.query.parse import Parsed, clean_question, parse_question
from chunkv2l.query.query import BudgetChoice
from chunkv2l.sanitize import plural, quoted

if TYPE_CHECKING:
    from chunkv2l.channels.cues import Channel
    from chunkv2l.models import Model

logger = logging.getLogger(__name__)

ALL: Final = Filter()
KEPT: Final = 6_000
"""Segments of movies that stay open for the next question."""
LEAST_SHARE: Final = 0.1
"""A movie isn't opened for what is said in it if that is less probable than this share of the likeliest movie's."""


@dataclass(frozen=True)
class Choice:
    """The numbers of the movies that a question opens, and of those among them whose sentences it reads."""

    movies: tuple[int, ...]
    speaking: frozenset[int]


class Library:
    """A folder of indexes, opened to be asked. Close it, or use it as a context manager.

        with chunkv2l.Library("movies") as library:
            answer = library.ask("When does a dog catch the ball?")
            print(answer.answer, answer.spans[0].movie)

    Threads may share it: they take turns.
    """

    def __init__(
        self,
        folder: str | Path | IndexSet,
        model: Model | str | None = None,
        *,
        recursive: bool = False,
        hypernet: str | None = None,
        device: str = "auto",
    ) -> None:
        """
        Args:
            folder: the folder, or indexes wherever they lie.
            model: a loaded model, or a name as `build --model` takes it; None for the one that built most of the
                indexes. Indexes of other models are left out.
            recursive: with the folders in it.
            hypernet, device: as for `chunkv2l.open`.

        Raises:
            InputError: there is no such folder, or no index in it that can be used.
        """
        started = perf_counter()
        self._lock = RLock()
        indexes = folder if isinstance(folder, IndexSet) else list_indexes(folder, recursive)
        self._contents: Contents = read_contents(indexes)
        self._spec = ModelSpec(model if isinstance(model, str) else None, hypernet, device)
        self._model: Model | None = None if isinstance(model, str) else model
        self._opened: OrderedDict[str, OpenedMovie] = OrderedDict()
        self._lost: dict[str, str] = {}
        self._text: TextSearch | None = None
        if not self._contents.entries:
            reasons = " ".join(self._contents.notes)
            where = "" if recursive else " (-r looks into the folders in it)"
            raise InputError(
                f"There is no index in {indexes.title}{where}: chunkv2l build FOLDER makes them. {reasons}".strip()
            )
        self._unreported_s = perf_counter() - started

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            for opened in self._opened.values():
                opened.index.close()
            self._opened.clear()
            if self._contents.text is not None:
                self._contents.text.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.movies)

    def __repr__(self) -> str:
        return f"<chunkv2l.Library {self.title!r}: {plural(len(self), 'movie')}>"

    @property
    def title(self) -> str:
        """The library's name in sentences."""
        return self._contents.indexes.title

    @property
    def movies(self) -> tuple[MovieRecord, ...]:
        """The movies that can be asked, in order of their indexes' paths."""
        return tuple(self._contents.entries[i].record for i in self._members())

    @property
    def model_name(self) -> str:
        """The name of the model that built the movies' indexes."""
        return self.movies[0].model

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what was left out: damaged indexes, those of other models, links."""
        members = set(self._members())
        others = [e.record for i, e in enumerate(self._contents.entries) if i not in members]
        models = [
            f"{record.index} was built with another model ({record.model}), and was left out."
            for record in others
            if record.index not in self._lost
        ]
        return shorten_notes([*self._contents.notes, *self._lost.values(), *models])

    def path(self, movie: str) -> Path:
        """Return the path of a movie's index.

        Args:
            movie: its name, as a span has it.

        Raises:
            InputError: there is none of that name.
        """
        for record in self.movies:
            if record.name == movie:
                return self._contents.path(record)
        raise InputError(f'There is no movie "{quoted(movie)}" in {self.title}.')

    def day(self, record: MovieRecord) -> date:
        """Return the day on which a movie's file was last changed, or its index's, where the movie isn't beside it."""
        path = self._contents.path(record)
        try:
            return date.fromtimestamp((path.parent / PurePosixPath(record.name).name).stat().st_mtime)
        except (OSError, ValueError, OverflowError):
            return date.fromtimestamp(max(0, record.mtime_ns) // 1_000_000_000)

    @property
    def model(self) -> Model:
        """The model that all questions share, loaded when it is first needed.

        Raises:
            InputError: it can't be had, or isn't the one that built any of the indexes.
        """
        with self._lock:
            if self._model is None:
                started = perf_counter()
                self._model = self._load_model()
                self._unreported_s += perf_counter() - started
            if not self._members():
                names = ", ".join(sorted({entry.record.model for entry in self._contents.entries}))
                raise InputError(
                    f"No index in {self.title} was built with the model {self._model.name}: ask with one of "
                    f"{quoted(names)}, or build them anew."
                )
            return self._model

    def ask(
        self,
        question: str,
        policy: str | Policy | None = None,
        top_k: int | None = None,
        budget: BudgetChoice = AUTO_BUDGET,
        progress: Callable[[PartialAnswer], None] | None = None,
        only: Filter = ALL,
    ) -> Answer:
        """Answer a question over all movies: as `Index.ask`, each span with its `movie`.

        `not_there` is the probability that no segment of any of the movies shows it. A time range is taken of each
        movie by itself.

        Args:
            only: the movies that are asked.

        Raises:
            InputError: as `Index.ask`; no movie that the filter keeps; or a question about one movie's length.
        """
        parsed = parse_question(clean_question(question))
        with self._lock:
            model = self.model
            while True:
                members = [i for i in self._members() if self._keeps(only, i)]
                if not members:
                    raise InputError(f"No movie of {self.title} is one that was asked for: chunkv2l show lists them.")
                if len(members) > 1 and (parsed.fact is not None or parsed.asks_for_range):
                    raise InputError(
                        f"That is a question about one movie, and there are {len(members)}: ask it of that movie "
                        "alone (--movie names it; chunkv2l show lists them)."
                    )
                if len(members) == 1:
                    choice = Choice(tuple(members), frozenset(members))
                else:
                    choice = self._choose(members, parsed, policy is not None)
                opened = {i: movie for i in choice.movies if (movie := self._open(i)) is not None}
                if len(opened) == len(choice.movies):
                    break
            segments = sum(self._contents.entries[i].record.segments for i in members)
            sentences = sum(self._contents.entries[i].record.sentences for i in members)
            opening_s, self._unreported_s = self._unreported_s, 0.0
            joined = JoinedFile(list(opened.values()), {opened[i].name for i in choice.speaking})
            asker = JoinedAsker(joined, model, segments, sentences, opening_s)
            report = None if progress is None else lambda partial: progress(asker.localise_partial(partial))
            answer = asker.localise(asker.ask(question, policy, top_k, budget, report))
            self._close_oldest({movie.name for movie in opened.values()})
            return replace(answer, notes=(*answer.notes, *self.notes))

    def to_json(self) -> dict[str, Any]:
        """Return what `show FOLDER --json` prints."""
        return {
            "library": self.title,
            "movies": [
                {
                    "movie": record.name,
                    "index": record.index,
                    "seconds": record.seconds,
                    "date": self.day(record).isoformat(),
                    "segments": record.segments,
                    "sentences": record.sentences,
                    "model": record.model,
                }
                for record in self.movies
            ],
            "notes": list(self.notes),
        }

    # ---- steps

    def _text_search(self) -> TextSearch | None:
        """Return the search over all movies' words and sentences; None where they can't be had."""
        if self._text is None and self._contents.text is not None:
            self._text = TextSearch(self._contents.text, [entry.record.index for entry in self._contents.entries])
        return self._text

    @cached_property
    def _rows(self) -> list[tuple[int, int] | None]:
        """The rows of each movie in the matrix; None where it has none there."""
        rows: list[tuple[int, int] | None] = []
        row = 0
        for entry in self._contents.entries:
            if entry.keys is None:
                rows.append(None)
            else:
                rows.append((row, row + entry.record.segments))
                row += entry.record.segments
        return rows

    def _members(self) -> list[int]:
        """Return the numbers of the movies that the model can answer about."""
        entries = self._contents.entries
        if self._model is not None:
            identity = identity_digest(dict(self._model.identity))
        else:
            identity = Counter(entry.record.identity for entry in entries).most_common(1)[0][0]
        return [
            i
            for i, entry in enumerate(entries)
            if entry.record.identity == identity and entry.record.index not in self._lost
        ]

    def _load_model(self) -> Model:
        spec = self._spec
        if spec.name is not None:
            from chunkv2l.models import load_model

            return load_model(spec)
        for i in self._members():
            opened = self._open(i)
            if opened is not None:  # says what the user has to name, where the index names no model of chunkv2l's
                return opened.index.model
        raise InputError(f"No index in {self.title} can be read: {' '.join(self._lost.values())}")

    def _keeps(self, only: Filter, number: int) -> bool:
        if only == ALL:
            return True
        record = self._contents.entries[number].record
        needs_day = only.since is not None or only.until is not None
        return only.keeps(record, self.day(record) if needs_day else date.min)

    def _choose(self, members: Sequence[int], parsed: Parsed, has_policy: bool) -> Choice:
        """Return the movies to open, by the keys, words and sentences of what the question looks for."""
        try:
            return self._choose_by(members, parsed, has_policy, self._text_search())
        except InputError as error:  # its pages are only read when they are searched
            assert self._contents.text is not None
            logger.warning("%s is damaged (%s): it is made anew when the library is opened again.", NAME, error)
            self._contents.text.discard()
            self._contents, self._text = replace(self._contents, text=None), None
            return self._choose_by(members, parsed, has_policy, None)

    def _choose_by(self, members: Sequence[int], parsed: Parsed, has_policy: bool, search: TextSearch | None) -> Choice:
        entries = self._contents.entries
        is_member = np.zeros(len(entries), bool)
        is_member[list(members)] = True
        sizes = [entry.record.segments for entry in entries]
        request = None if has_policy else read_channel(parsed)
        rankings: list[Ranking] = []
        if request is not None and search is not None and search.count(request.channel)[is_member].any():
            members = [i for i in members if search.count(request.channel)[i]]
            sizes = search.count(request.channel).tolist()
            p = self._weigh_sentences(search, request.topic or parsed.statement, request.channel, is_member)
            rankings = [rank(p, LEAST_SHARE * p.max())]
            speaking = set(members)
        elif parsed.statement:
            p = np.zeros(len(entries))
            if search is not None:
                for channel, share in SHARES.items():
                    p = np.maximum(p, share * self._weigh_sentences(search, parsed.statement, channel, is_member))
                rankings.append(rank(p, MIN_SPAN))
            rankings.append(rank(self._nearest_keys(members, parsed.statement), -np.inf, BY_KEYS))
            if search is not None:
                rankings.append(rank(search.weigh_captions(parsed.statement, is_member), 0.0))
            speaking = set(members) if has_policy or search is None else set(np.flatnonzero(p > MIN_SPAN).tolist())
        else:
            speaking = set(members)
        chosen = choose_movies(members, sizes, rankings)
        return Choice(tuple(chosen), frozenset(chosen) & speaking if len(chosen) < len(members) else frozenset(chosen))

    def _weigh_sentences(self, search: TextSearch, topic: str, channel: Channel, is_asked: Flags) -> Floats:
        if not search.count(channel)[is_asked].any():
            return np.zeros(len(is_asked))
        encoder = self.model.sentences
        vector = None if encoder is None else encoder([topic])[0].float().cpu().numpy()
        return search.weigh_sentences(topic, channel, is_asked, vector)

    def _nearest_keys(self, members: Sequence[int], statement: str) -> Floats:
        """Return each movie's highest key similarity with a statement; -inf for others, and where it has no keys."""
        nearest = np.full(len(self._contents.entries), -np.inf)
        cosines = self._key_similarities(statement)
        with_keys = [i for i in members if self._rows[i] is not None]
        if cosines is not None and with_keys:
            bounds = [bound for i in with_keys for bound in self._rows[i] or ()]
            padded = np.append(cosines, np.float32(-np.inf))  # the last movie's end is a bound, too
            nearest[with_keys] = np.maximum.reduceat(padded, bounds)[::2]
        return nearest

    def _key_similarities(self, statement: str) -> np.ndarray[Any, np.dtype[np.float32]] | None:
        """Return the cosine of each row of the matrix and the statement's query vector; None where there are none."""
        model, matrix = self.model, self._contents.matrix
        if model.keys is None or model.sentences is None or matrix is None:
            return None
        query = model.keys.of_sentences(model.sentences([statement]))[0].float().cpu().numpy()
        if matrix.shape[1] != len(query):
            return None
        cosines: np.ndarray[Any, np.dtype[np.float32]] = np.nan_to_num(matrix @ query, nan=-1.0)
        return cosines

    def _open(self, number: int) -> OpenedMovie | None:
        """Return a movie's index, opened with the shared model; None where it can't be, which becomes a note."""
        record = self._contents.entries[number].record
        opened = self._opened.get(record.index)
        if opened is None:
            path = self._contents.path(record)
            try:
                if path.is_symlink():
                    raise InputError(f"{path} is a link now")
                spec = self._spec
                index = Index(path, self._model or spec.name, hypernet=spec.hypernet, device=spec.device)
            except ChunkV2LError as error:
                self._lost[record.index] = f"{quoted(error).removesuffix('.')}; it was left out."
                return None
            if len(index) != record.segments or len(index) > MAX_SEGMENTS:
                index.close()
                self._lost[record.index] = f"{record.index} has changed since the library was opened; it was left out."
                return None
            name = record.name
            if name not in (name_movie(index.file, record.index), record.index):  # renamed since, or library.keys lies
                name = record.index
                self._contents = self._contents.rename(number, name)
            opened = self._opened[record.index] = OpenedMovie(name, index)
        self._opened.move_to_end(record.index)
        return opened

    def _close_oldest(self, asked: Collection[str]) -> None:
        """Close the movies that were asked longest ago, but for those that were asked now, down to `KEPT` segments."""
        total = sum(len(opened.index) for opened in self._opened.values())
        for index, opened in list(self._opened.items()):
            if total > KEPT and opened.name not in asked:
                total -= len(opened.index)
                self._opened.pop(index).index.close()
