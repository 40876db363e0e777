"""Read and write QVHighlights' files, one JSON object a line: queries with their true windows, and predictions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chunkv2l.errors import InputError
from chunkv2l.files import atomic_write
from evaluation.common.metrics import Scored, Window

CLIP = 2.0
"""Seconds of the clips whose saliency QVHighlights ranks."""


@dataclass(frozen=True)
class MomentQuery:
    """A query about one movie (`vid`) and its true windows, seconds; () where they aren't known."""

    qid: int | str
    vid: str
    query: str
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Prediction:
    """The windows predicted for a query.

    Attributes:
        windows: best first, each with its score.
        saliency: a score for every `CLIP` seconds of the movie, to rank highlights by; () where unknown.
    """

    qid: int | str
    vid: str
    query: str
    windows: tuple[Scored, ...]
    saliency: tuple[float, ...] = ()


def read_queries(path: Path, truths: bool = True) -> list[MomentQuery]:
    """Read `{"qid", "vid", "query", "relevant_windows": [[start, end], …]}` a line; other keys are ignored.

    "vid" may be called "movie", and "relevant_windows" "windows". Without "qid" the line's number is the id, without
    "vid" all queries are about one movie.

    Args:
        truths: require windows of every query; the test split, whose answers aren't published, has none.

    Raises:
        InputError: no such file, no query in it, or a line that isn't in the format (the sentence has its number).
    """
    queries: dict[int | str, MomentQuery] = {}
    for number, row in rows_of(path):
        where = f"{path}, line {number}"
        text = row.get("query")
        if not isinstance(text, str) or not text.strip():
            raise InputError(f'{where}: "query" must be a sentence, not {json.dumps(text)}.')
        qid = row.get("qid", number)
        if qid in queries:
            raise InputError(f'{where}: the "qid" {json.dumps(qid)} has been used before; each query needs its own.')
        key = "windows" if "windows" in row else "relevant_windows"
        known = truths or key in row
        listed = _windows(where, key, row, numbers=(2,)) if known else []
        windows = tuple((w[0], w[1]) for w in listed)
        if known and not windows:
            raise InputError(f'{where}: "{key}" is empty; a query is scored by the windows it is true in.')
        if bad := [list(w) for w in windows if not 0 <= w[0] < w[1]]:
            raise InputError(f'{where}: "{key}" has {bad[0]}, which has no length or a negative time.')
        queries[qid] = MomentQuery(qid, str(row.get("vid", row.get("movie", ""))), text, windows)
    if not queries:
        raise InputError(f"{path} has no query in it; each line needs a JSON object with query and relevant_windows.")
    return list(queries.values())


def read_predictions(path: Path, queries: Sequence[MomentQuery]) -> list[Prediction]:
    """Read `{"qid", "pred_relevant_windows": [[start, end, score], …]}` a line, in the order of `queries`.

    A query that the file lacks gets no window. Without scores the windows' order counts. A window without length counts
    as wrong; it isn't an error.

    Raises:
        InputError: no such file, a line that isn't in the format, or a query that isn't among `queries`.
    """
    known = {query.qid: query for query in queries}
    predicted: dict[int | str, tuple[Scored, ...]] = {}
    for number, row in rows_of(path):
        where = f"{path}, line {number}"
        qid = row.get("qid")
        if qid not in known:
            raise InputError(f"{where}: the queries have none with the qid {json.dumps(qid)}.")
        if qid in predicted:
            raise InputError(f"{where}: the qid {json.dumps(qid)} has been predicted before.")
        windows = _windows(where, "pred_relevant_windows", row, numbers=(2, 3))
        predicted[qid] = tuple((w[0], w[1], w[2] if len(w) == 3 else -float(rank)) for rank, w in enumerate(windows))
    return [Prediction(q.qid, q.vid, q.query, predicted.get(q.qid, ())) for q in queries]


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write predictions in QVHighlights' submission format, with saliency where it is known."""
    try:
        with atomic_write(path) as part, part.open("w", encoding="utf-8") as out:
            for p in predictions:
                windows = [list(window) for window in p.windows]
                row: dict[str, Any] = {"qid": p.qid, "query": p.query, "vid": p.vid, "pred_relevant_windows": windows}
                if p.saliency:
                    row["pred_saliency_scores"] = [round(score, 6) for score in p.saliency]
                out.write(json.dumps(row) + "\n")
    except OSError as error:
        raise InputError(f"The predictions can't be written to {path}: {error.strerror}.") from None


def rows_of(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    """Yield the JSON objects of a file's lines with the lines' numbers.

    Raises:
        InputError: it can't be read, or a line isn't a JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} isn't text; one JSON object a line is needed, as QVHighlights has them.") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            raise InputError(f"{path}, line {number} isn't JSON; one object a line is needed.") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number} isn't a JSON object.")
        if not isinstance(row.get("qid", number), int | str):
            raise InputError(f'{path}, line {number}: "qid" must be a number or a string.')
        yield number, row


def _windows(where: str, key: str, row: dict[str, Any], numbers: tuple[int, ...]) -> list[list[float]]:
    shape = " or ".join("[start, end]" if n == 2 else "[start, end, score]" for n in numbers)
    value = row.get(key)
    if not isinstance(value, list):
        raise InputError(f'{where}: "{key}" must be a list of {shape}, in seconds.')
    for window in value:
        if not isinstance(window, list) or len(window) not in numbers or not all(map(_finite, window)):
            raise InputError(f'{where}: "{key}" has {json.dumps(window)[:80]}, where {shape} in seconds is needed.')
    return [[float(x) for x in window] for window in value]


def _finite(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < 1e12
