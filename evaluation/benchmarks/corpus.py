"""Measure moment retrieval over a corpus: a query may be about any of its movies, asked as one library.

    python -m evaluation corpus --index a.idx --index b.idx --queries a.jsonl --queries b.jsonl

Each query is asked of all movies together and of its own alone. Beside chunkv2l stand ways with the same segments and
as many windows: the learned keys alone, full-text search over the captions, the captions' embeddings, and chance. A
window is right if it is in the query's movie, and its IoU with a true window reaches the threshold.
"""

from __future__ import annotations

import glob
import math
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click
import torch
from torch import Tensor
from tqdm import tqdm

from chunkv2l.ask import Index
from chunkv2l.cli import streams as terminal
from chunkv2l.errors import InputError, NothingFound
from chunkv2l.index.fts import make_fts_query
from chunkv2l.library.choice import Filter
from chunkv2l.library.contents import IndexSet
from chunkv2l.library.library import Library
from chunkv2l.models import Model
from chunkv2l.query.parse import parse
from evaluation.benchmarks import moments
from evaluation.common import results, table
from evaluation.common.metrics import best_iou
from evaluation.common.options import device_option, json_option, out_option
from evaluation.datasets import moment_files, tvr_ranking
from evaluation.datasets.tvr_ranking import RankedQuery, Truth, rank_all_alike

MOST: Final = 20
"""Windows of a prediction."""
THRESHOLDS: Final = (0.3, 0.5, 0.7)
RANKS: Final = (1, 5)
COLUMNS: Final = tuple(f"R{k}@{threshold}" for threshold in THRESHOLDS for k in RANKS)
GRADED: Final = tuple(f"NDCG@{MOST}, {threshold}" for threshold in THRESHOLDS)
"""Columns of queries whose windows are more or less relevant."""
GRADED_FORMAT: Final = "tvr-ranking"
ALONE, TOGETHER = "its movie alone", "all movies"


@dataclass(frozen=True)
class Located:
    """A window in a movie of the corpus, seconds."""

    vid: str
    start: float
    end: float


Prediction = Sequence[Located]
"""Windows, best first."""
Way = Callable[[str, "str | None"], Prediction]
"""Returns the windows for a query: in one movie, or in all (None)."""


class Corpus:
    """The segments of all movies, with their keys and captions."""

    def __init__(self, files: Mapping[str, Path], device: str = "auto", model: Model | None = None) -> None:
        """
        Args:
            files: each movie's index, by its name.
            model: the model, if it is loaded already.

        Raises:
            InputError: an index is damaged, or of another model than the first.
        """
        self.files = files
        self.segments: list[Located] = []
        self.captions: list[str] = []
        keys: list[Tensor] = []
        for vid, path in files.items():
            with Index(path, model, device=device) as index:
                model = index.model
                self.segments += [Located(vid, row.start, row.end) for row in index.segments]
                self.captions += [row.caption for row in index.segments]
                of_movie = index.file.keys()
                keys += [] if of_movie is None else [of_movie]
        assert model is not None
        self.model = model
        self.keys = torch.cat(keys) if len(keys) == len(files) else None
        self._words = sqlite3.connect(":memory:")
        self._words.execute("CREATE VIRTUAL TABLE words USING fts5(caption, tokenize='porter unicode61')")
        self._words.executemany("INSERT INTO words (rowid, caption) VALUES (?, ?)", enumerate(self.captions))
        self._meanings: Tensor | None = None

    def ways(self) -> dict[str, Way]:
        """Return the ways to search it that its model has what is needed for."""
        ways: dict[str, Way] = {"captions, full text": self.by_words}
        if self.model.sentences is not None:
            ways["captions, embeddings"] = self.by_meaning
            if self.keys is not None and self.model.keys is not None:
                ways["keys only"] = self.by_keys
        return ways

    def by_keys(self, query: str, vid: str | None) -> Prediction:
        """Return the segments whose keys are nearest to the statement's query vector."""
        assert self.keys is not None and self.model.keys is not None and self.model.sentences is not None
        vector = self.model.keys.of_sentences(self.model.sentences([_statement(query)]))[0].float().cpu()
        return self._best(self.keys @ vector, vid)

    def by_meaning(self, query: str, vid: str | None) -> Prediction:
        """Return the segments whose captions' embeddings are nearest to the statement's."""
        assert self.model.sentences is not None
        if self._meanings is None:
            self._meanings = self.model.sentences(self.captions).float().cpu()
        return self._best(self._meanings @ self.model.sentences([_statement(query)])[0].float().cpu(), vid)

    def by_words(self, query: str, vid: str | None) -> Prediction:
        """Return the segments whose captions share words with the statement, by BM25 over all movies' captions."""
        rows = self._words.execute(
            "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words), rowid",
            (make_fts_query(_statement(query)),),
        )
        hits = [self.segments[row] for (row,) in rows]
        return [hit for hit in hits if vid in (None, hit.vid)][:MOST]

    def _best(self, similarities: Tensor, vid: str | None) -> Prediction:
        order = torch.argsort(similarities, descending=True, stable=True).tolist()
        return [self.segments[i] for i in order if vid in (None, self.segments[i].vid)][:MOST]

    def chance(self, query: RankedQuery, vid: str | None, k: int, threshold: float) -> float:
        """Return the probability that one of k segments, drawn at random, is right."""
        among = [segment for segment in self.segments if vid in (None, segment.vid)]
        wrong = sum(not is_right(segment, query, threshold) for segment in among)
        return 1.0 - math.comb(wrong, k) / math.comb(len(among), k) if len(among) >= k else 1.0


def _statement(query: str) -> str:
    return parse(query).statement or query


def is_right(window: Located, query: RankedQuery, threshold: float) -> bool:
    """Tell whether a window fits one of the query's true windows, in its movie."""
    windows = [(truth.start, truth.end) for truth in query.truths if truth.vid == window.vid]
    return best_iou((window.start, window.end), windows) >= threshold


def ndcg(predicted: Prediction, truths: Sequence[Truth], threshold: float, most: int = MOST) -> float:
    """Return a query's NDCG as TVR-Ranking's evaluator has it.

    Each window takes the relevance of the free true window of its movie that it fits best, if their IoU is above the
    threshold. A relevance r counts 2^r - 1, discounted by the logarithm of the rank.
    """
    free = list(truths)
    gains: list[float] = []
    for window in predicted[:most]:
        here = [truth for truth in free if truth.vid == window.vid]
        fit = max(here, key=lambda truth: _iou(window, truth), default=None)
        if fit is not None and _iou(window, fit) > threshold:
            free.remove(fit)
            gains.append(fit.relevance)
        else:
            gains.append(0.0)
    ideal = _discounted(sorted((truth.relevance for truth in truths), reverse=True)[:most])
    return _discounted(gains) / ideal if ideal else 0.0


def _iou(window: Located, truth: Truth) -> float:
    return best_iou((window.start, window.end), [(truth.start, truth.end)])


def _discounted(relevances: Sequence[float]) -> float:
    return sum((2**relevance - 1) / math.log2(rank + 2) for rank, relevance in enumerate(relevances))


@contextmanager
def open_library(corpus: Corpus) -> Iterator[Library]:
    """Yield the corpus as a library; a movie's index is called VID.idx there."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {f"{vid}.idx": path for vid, path in corpus.files.items()}
        indexes = IndexSet("the corpus", Path(folder), paths, keeps=lambda name: False)
        with closing(Library(indexes, corpus.model)) as library:
            yield library


def ask_library(library: Library) -> Way:
    """Return chunkv2l's way: a question to one movie is the library's with that movie alone."""
    names = {name: Path(record.index).stem for record in library.movies for name in (record.name, record.index)}

    def ask(query: str, vid: str | None) -> Prediction:
        only = Filter() if vid is None else Filter(movie=f"{glob.escape(vid)}.idx")
        try:
            answer = library.ask(moments.question(query), only=only)
        except NothingFound:
            return []
        return [Located(names[span.movie], span.start, span.end) for span in answer.spans[:MOST]]

    return ask


Row = dict[str, float]


def score(queries: Sequence[RankedQuery], predictions: Sequence[Prediction]) -> Row:
    """Return R{k}@{threshold}, and the share whose first window is in the right movie."""
    row = {
        f"R{k}@{threshold}": _mean(
            [
                any(is_right(window, query, threshold) for window in predicted[:k])
                for query, predicted in zip(queries, predictions, strict=True)
            ]
        )
        for threshold in THRESHOLDS
        for k in RANKS
    }
    pairs = list(zip(queries, predictions, strict=True))
    first = [bool(p) and any(p[0].vid == truth.vid for truth in query.truths) for query, p in pairs]
    graded = {
        name: _mean([ndcg(p, query.truths, threshold) for query, p in pairs])
        for name, threshold in zip(GRADED, THRESHOLDS, strict=True)
    }
    return {**row, "movie": _mean(first), **graded}


def score_chance(corpus: Corpus, queries: Sequence[RankedQuery], is_alone: bool) -> Row:
    """Return the same of as many segments drawn at random, in expectation."""
    row = {
        f"R{k}@{threshold}": _mean(
            [corpus.chance(query, query.vid if is_alone else None, k, threshold) for query in queries]
        )
        for threshold in THRESHOLDS
        for k in RANKS
    }
    sizes = {vid: sum(segment.vid == vid for segment in corpus.segments) for vid in corpus.files}
    of_queries = [sum(sizes[vid] for vid in {truth.vid for truth in query.truths}) for query in queries]
    right = [1.0 if is_alone else size / len(corpus.segments) for size in of_queries]
    return {**row, "movie": _mean(right)}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def measure(
    corpus: Corpus, queries: Sequence[RankedQuery], ways: Mapping[str, Way]
) -> dict[str, dict[str, dict[str, Row]]]:
    """Return {set of queries: {way: {scope: metrics}}}: of all queries, and of those about each movie.

    Where a query is about several movies, all queries are asked of all movies only.
    """
    is_single = all(query.vid is not None for query in queries)
    scopes = (ALONE, TOGETHER) if is_single else (TOGETHER,)
    predictions: dict[tuple[str, str], list[Prediction]] = {}
    with tqdm(total=len(scopes) * len(ways) * len(queries), unit="query", disable=None, leave=False) as bar:
        for name, way in ways.items():
            for scope in scopes:
                listed = predictions[name, scope] = []
                for query in queries:
                    listed.append(way(query.query, query.vid if scope == ALONE else None))
                    bar.update()
    sets = {"all": [True] * len(queries)}
    if len(corpus.files) > 1 and is_single:
        sets |= {vid: [query.vid == vid for query in queries] for vid in corpus.files}
    measured: dict[str, dict[str, dict[str, Row]]] = {}
    for label, flags in sets.items():
        chosen = [query for query, flag in zip(queries, flags, strict=True) if flag]
        if not chosen:
            continue
        rows: dict[str, dict[str, Row]] = {}
        for (name, scope), listed in predictions.items():
            of_set = [prediction for prediction, flag in zip(listed, flags, strict=True) if flag]
            rows.setdefault(name, {})[scope] = score(chosen, of_set)
        rows["chance"] = {scope: score_chance(corpus, chosen, scope == ALONE) for scope in scopes}
        measured[f"{label} ({len(chosen)})"] = rows
    return measured


def as_table(measured: Mapping[str, Mapping[str, Mapping[str, Row]]], is_graded: bool = False) -> str:
    """Return a table with a row for each set of queries, way and scope.

    Args:
        is_graded: with `GRADED`.
    """
    columns = (*COLUMNS, "movie", *(GRADED if is_graded else ()))
    return table.markdown(
        ["queries", "way", "asked of", *columns],
        [
            [label, name, scope, *(table.share(row.get(column)) for column in columns)]
            for label, rows in measured.items()
            for name, scopes in rows.items()
            for scope, row in scopes.items()
        ],
    )


def read_queries(paths: Sequence[Path], format: str, files: Mapping[str, Path]) -> list[RankedQuery]:
    """Return the queries of all files about the indexed movies; a file that names no movie is about that of its name.

    Raises:
        InputError: none of them is about any of the movies.
    """
    queries: list[RankedQuery] = []
    for path in paths:
        if format == GRADED_FORMAT:
            listed = tvr_ranking.read(path)
        else:
            named = [replace(query, vid=query.vid or path.stem) for query in moment_files.read(path, format)]
            listed = [rank_all_alike(query) for query in named]
        here = [replace(query, truths=tuple(truth for truth in query.truths if truth.vid in files)) for query in listed]
        kept = [query for query in here if query.truths]
        if len(kept) < len(listed):
            terminal.say(f"{path.name}: {len(listed) - len(kept)} of {len(listed)} queries are about other movies.")
        queries += kept
    if not queries:
        raise InputError(
            "None of the queries is about a movie whose index was given: VID.idx is that of the movie VID."
        )
    return queries


def list_files(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the indexes that are given, or lie in a folder that is, by the names of their movies.

    Raises:
        InputError: there is none, or two have one name.
    """
    listed = [file for path in paths for file in (sorted(path.glob("*.idx")) if path.is_dir() else [path])]
    files = {file.stem: file.resolve() for file in listed}
    if not files or len(files) < len(listed):
        raise InputError("There is no index there." if not files else "Two indexes have one name: rename one of them.")
    return files


@click.command("corpus")
@click.option(
    "--index",
    "indexes",
    multiple=True,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Index VID.idx, or a folder of them; repeatable.",
)
@click.option(
    "--queries", "query_paths", multiple=True, required=True, type=click.Path(path_type=Path), help="Repeatable."
)
@click.option(
    "--format",
    type=click.Choice(["auto", *moment_files.FORMATS, GRADED_FORMAT]),
    default="auto",
    show_default=True,
    help="Of --queries.",
)
@device_option
@json_option
@out_option
def command(
    indexes: tuple[Path, ...],
    query_paths: tuple[Path, ...],
    format: str,
    device: str,
    as_json: bool,
    out: Path,
) -> None:
    """Moment retrieval over a corpus: each query asked of all movies together, and of its own alone.

    \b
    python -m evaluation corpus --index a.idx --index b.idx --queries a.jsonl --queries b.jsonl
    python -m evaluation corpus --index indexes/ --queries highlight_val.jsonl

    Queries are in any format that `moments` reads, or {"movie", "query", "windows": [[start, end], …]} a line. Compared
    are the keys alone, full-text search over captions, captions' embeddings, and chance. Writes corpus.json and .md.
    """
    files = list_files(indexes)
    queries = read_queries(query_paths, format, files)
    corpus = Corpus(files, device)
    with open_library(corpus) as library:
        measured = measure(corpus, queries, {"chunkv2l ask": ask_library(library), **corpus.ways()})
    figures: dict[str, Any] = {"movies": len(files), "segments": len(corpus.segments), "rows": measured}
    shown = as_table(measured, format == GRADED_FORMAT)
    results.write("corpus", figures, shown, out=out)
    if as_json:
        terminal.emit_json(figures)
    else:
        click.echo(shown)
