"""Ask a folder of indexes: one answer over all of its movies, with one model in memory.

All keys lie in one memory-mapped matrix and all words in one table (`keys_file`); they choose a bounded number of
movies, which are opened and asked as one (`joined`), within the budget of one question. So a question costs about the
same however many hours the library has, but for one product of the matrix with the statement's query vector.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import cached_property
from pathlib import Path, PurePosixPath
from threading import RLock
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkv2l.answer.answer import Answer, PartialAnswer
from chunkv2l.ask import Index
from chunkv2l.defaults import AUTO_BUDGET
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.index.schema import MAX_SEGMENTS
from chunkv2l.library.choice import MOST_OPENED, Filter, choose_movies
from chunkv2l.library.contents import Contents, identity_digest, read_contents
from chunkv2l.library.folder import shorten_notes
from chunkv2l.library.joined import JoinedAsker, OpenedMovie
from chunkv2l.library.keys_file import MovieRecord
from chunkv2l.library.words import WordSearch
from chunkv2l.models import ModelSpec
from chunkv2l.policies import Policy
from chunkv2l.query.channels import read_channel
from chunkv2l.query.parse import Parsed, clean_question, parse_question
from chunkv2l.query.query import BudgetChoice
from chunkv2l.sanitize import plural, quoted

if TYPE_CHECKING:
    from chunkv2l.models import Model

ALL: Final = Filter()


class Library:
    """A folder of indexes, opened to be asked. Close it, or use it as a context manager.

        with chunkv2l.Library("movies") as library:
            answer = library.ask("When does a dog catch the ball?")
            print(answer.answer, answer.spans[0].movie)

    Threads may share it: they take turns.
    """

    def __init__(
        self,
        folder: str | Path,
        model: Model | str | None = None,
        *,
        recursive: bool = False,
        hypernet: str | None = None,
        device: str = "auto",
    ) -> None:
        """
        Args:
            model: a loaded model, or a name as `build --model` takes it; None for the one that built most of the
                indexes. Indexes of other models are left out.
            recursive: with the folders in it.
            hypernet, device: as for `chunkv2l.open`.

        Raises:
            InputError: there is no such folder, or no index in it that can be used.
        """
        started = perf_counter()
        self._lock = RLock()
        self._contents: Contents = read_contents(folder, recursive)
        self._spec = ModelSpec(model if isinstance(model, str) else None, hypernet, device)
        self._model: Model | None = None if isinstance(model, str) else model
        self._opened: OrderedDict[str, OpenedMovie] = OrderedDict()
        self._lost: dict[str, str] = {}
        if not self._contents.entries:
            reasons = " ".join(self._contents.notes)
            where = "" if recursive else " (-r looks into the folders in it)"
            raise InputError(
                f"There is no index in {folder}{where}: chunkv2l build FOLDER makes them. {reasons}".strip()
            )
        self._unreported_s = perf_counter() - started

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            for opened in self._opened.values():
                opened.index.close()
            self._opened.clear()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.movies)

    def __repr__(self) -> str:
        return f"<chunkv2l.Library {str(self._contents.root)!r}: {plural(len(self), 'movie')}>"

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
        raise InputError(f'There is no movie "{quoted(movie)}" in {self._contents.root}.')

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
                    f"No index in {self._contents.root} was built with the model {self._model.name}: ask with one of "
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
                    raise InputError(
                        f"No movie of {self._contents.root} is one that was asked for: chunkv2l show lists them."
                    )
                if len(members) > 1 and (parsed.fact is not None or parsed.asks_for_range):
                    raise InputError(
                        f"That is a question about one movie, and there are {len(members)}: name it with "
                        "--movie, or see chunkv2l show."
                    )
                chosen = members if len(members) == 1 else self._choose(members, parsed)
                opened = [movie for i in chosen if (movie := self._open(i)) is not None]
                if len(opened) == len(chosen):
                    break
            segments = sum(self._contents.entries[i].record.segments for i in members)
            sentences = sum(self._contents.entries[i].record.sentences for i in members)
            opening_s, self._unreported_s = self._unreported_s, 0.0
            asker = JoinedAsker(opened, model, segments, sentences, opening_s)
            report = None if progress is None else lambda partial: progress(asker.localise_partial(partial))
            answer = asker.localise(asker.ask(question, policy, top_k, budget, report))
            return replace(answer, notes=(*answer.notes, *self.notes))

    def to_json(self) -> dict[str, Any]:
        """Return what `show FOLDER --json` prints."""
        return {
            "library": str(self._contents.root),
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

    @cached_property
    def _word_search(self) -> WordSearch:
        return WordSearch([entry.words for entry in self._contents.entries])

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
        raise InputError(f"No index in {self._contents.root} can be read: {' '.join(self._lost.values())}")

    def _keeps(self, only: Filter, number: int) -> bool:
        if only == ALL:
            return True
        record = self._contents.entries[number].record
        needs_day = only.since is not None or only.until is not None
        return only.keeps(record, self.day(record) if needs_day else date.min)

    def _choose(self, members: Sequence[int], parsed: Parsed) -> list[int]:
        """Return the movies to open, by the keys and words of what the question looks for."""
        entries = self._contents.entries
        sizes = [entries[i].record.segments for i in members]
        nearest, relevance = np.full(len(members), -np.inf), np.zeros(len(members))
        request = read_channel(parsed)
        if request is not None and (speaking := [i for i in members if entries[i].record.sentences]):
            relevance = self._word_search(request.topic or parsed.statement)[speaking]
            sizes, nearest = [entries[i].record.segments for i in speaking], np.full(len(speaking), -np.inf)
            return [speaking[k] for k in choose_movies(sizes, nearest, relevance)]
        if parsed.statement:
            relevance = self._word_search(parsed.statement)[list(members)]
            cosines = self._key_similarities(parsed.statement)
            for k, i in enumerate(members):
                if cosines is not None and (rows := self._rows[i]) is not None:
                    nearest[k] = cosines[rows[0] : rows[1]].max()
        return [members[k] for k in choose_movies(sizes, nearest, relevance)]

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
            opened = self._opened[record.index] = OpenedMovie(record.name, index)
        self._opened.move_to_end(record.index)
        while len(self._opened) > 2 * MOST_OPENED:
            self._opened.popitem(last=False)[1].index.close()
        return opened
