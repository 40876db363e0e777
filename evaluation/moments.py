"""Moment retrieval: queries with known windows, asked through the public API, scored as QVHighlights scores them.

    python -m evaluation moments --index movie.idx --queries queries.jsonl --json

`--index` may be a folder with an index `VID.idx` for each movie of the queries. `--score` takes predictions from a file
instead of asking; no model is loaded then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

import chunkv2l
from chunkv2l.ask import Index
from chunkv2l.errors import InputError, NothingFound
from chunkv2l.query import parse
from evaluation import metrics, qvhighlights
from evaluation.metrics import Scored, Window
from evaluation.qvhighlights import MomentQuery, Prediction

BRIEF = ("R1@0.5", "R5@0.5", "mIoU", "n", "ceiling")


def question(query: str) -> str:
    """What is asked for a query: itself where that is answered with times (a statement, "When …"), else when it is so.

    >>> question("A woman in a pink vest runs along a path")
    'A woman in a pink vest runs along a path'
    >>> question("What is on the table?")
    'Find the moment when What is on the table?'
    """
    return query if parse(query).kind in ("when", "statement") else f"Find the moment when {query}"


def predict(
    files: Mapping[str, Path], queries: Sequence[MomentQuery], device: str = "auto", **options: Any
) -> list[Prediction]:
    """Ask every query of its movie's index; the answer's spans, best first, are the prediction.

    The model is loaded once. `options` go to `Index.ask`. The predictions are in the order of `queries`. A query that
    nothing is found for (`fts` and words that no caption has) is one without a prediction.
    """
    found: dict[int | str, Prediction] = {}
    model = None
    with tqdm(total=len(queries), unit="query", disable=None, leave=False) as bar:
        for vid, path in files.items():
            with chunkv2l.open(path, model=model, device=device) as index:
                for query in (query for query in queries if query.vid == vid):
                    windows = _windows(index, question(query.query), options)
                    found[query.qid] = Prediction(query.qid, vid, query.query, windows)
                    bar.update()
                model = index.model
    return [found[query.qid] for query in queries]


def _windows(index: Index, question: str, options: Mapping[str, Any]) -> tuple[Scored, ...]:
    """The answer's spans, best first; none where nothing is found."""
    try:
        spans = index.ask(question, **options).spans
    except NothingFound:
        return ()
    return tuple((span.start, span.end, span.score) for span in spans)


def segments(path: Path) -> list[Window]:
    """The segments of an index, without its model."""
    with chunkv2l.open(path) as index:
        return [(segment.start, segment.end) for segment in index.segments]


def score(
    queries: Sequence[MomentQuery],
    predictions: Sequence[Prediction],
    cuts: Mapping[str, Sequence[Window]] | None = None,
) -> dict[str, float | int | None]:
    """All metrics by name, fractions in [0, 1] and `n`; `ceiling` is None without `cuts`, the segments by vid."""
    truths = [query.windows for query in queries]
    found = [prediction.windows for prediction in predictions]
    result: dict[str, float | int | None] = {
        f"R{k}@{threshold}": metrics.recall(found, truths, k, threshold)
        for k, threshold in ((1, 0.3), (1, 0.5), (1, 0.7), (5, 0.5))
    }
    result["mIoU"] = metrics.mean_iou(found, truths)
    result["mAP"] = metrics.mean_average_precision(found, truths, metrics.AP_THRESHOLDS)
    result["mAP@0.5"] = metrics.mean_average_precision(found, truths, [0.5])
    result["mAP@0.75"] = metrics.mean_average_precision(found, truths, [0.75])
    result["n"] = len(queries)
    result["ceiling"] = metrics.ceiling([cuts[q.vid] for q in queries], truths) if cuts else None
    return result


def indexes(path: Path, queries: Sequence[MomentQuery]) -> dict[str, Path]:
    """Which index each movie of the queries has: `path` itself, or `path`/VID.idx where it is a folder.

    Raises:
        InputError: a movie without an index, or queries about several movies and one index that isn't named like any.
    """
    vids = list(dict.fromkeys(query.vid for query in queries))
    if path.is_dir():
        found = {vid: path / f"{vid}.idx" for vid in vids}
        missing = [str(file) for file in found.values() if not file.is_file()]
        if missing:
            raise InputError(
                f"There is no {missing[0]}; {len(missing)} of the queries' {len(vids)} movies lack an index."
            )
        return found
    if len(vids) == 1:
        return {vids[0]: path}
    if path.stem in vids:
        return {path.stem: path}
    raise InputError(
        f"The queries are about {len(vids)} movies, and {path.name} is named like none of them: give a folder with an"
        f" index for each ({vids[0]}.idx, …) as --index."
    )


@click.command("moments")
@click.option(
    "--index", "index_path", type=click.Path(exists=True, path_type=Path), help="Index, or folder of VID.idx."
)
@click.option("--queries", "queries_path", required=True, type=click.Path(path_type=Path), help="QVHighlights' JSONL.")
@click.option("--policy", help="As in `chunkv2l ask`: a name, or FILE.py:function.")
@click.option("--top-k", type=click.IntRange(min=1), help="Segments to compose.")
@click.option("--budget", help='Segments to score exactly for a query, or "all".')
@click.option("--device", default="auto", show_default=True)
@click.option("--predictions", type=click.Path(path_type=Path), help="Write the predictions to this file.")
@click.option(
    "--score", "scored", type=click.Path(path_type=Path), help="Score this file of predictions; asks nothing."
)
@click.option("--full", is_flag=True, help="All metrics: R1@0.3, R1@0.7 and mAP too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    index_path: Path | None,
    queries_path: Path,
    policy: str | None,
    top_k: int | None,
    budget: str | None,
    device: str,
    predictions: Path | None,
    scored: Path | None,
    full: bool,
    as_json: bool,
) -> None:
    """Moment retrieval: share of queries whose moment is found (R1, R5), mean IoU, mAP.

    The ceiling is R1@0.5 of the best single segment: what a router that never errs would reach.
    """
    queries = qvhighlights.read_queries(queries_path)
    found = qvhighlights.read_predictions(scored, queries) if scored is not None else []
    files = indexes(index_path, queries) if index_path is not None else {}
    if files:
        found = [prediction for prediction in found if prediction.vid in files]
        queries = [query for query in queries if query.vid in files]
    if scored is None:
        if not files:
            raise InputError("Nothing to evaluate: give --index to ask the queries, or --score to score predictions.")
        options: dict[str, Any] = {"policy": policy, "top_k": top_k}
        if budget is not None:
            options["budget"] = int(budget) if budget.isdigit() else budget
        found = predict(files, queries, device, **options)
    if predictions is not None:
        qvhighlights.write_predictions(predictions, found)
    result = score(queries, found, {vid: segments(path) for vid, path in files.items()})
    shown = {key: result[key] for key in (result if full else BRIEF)}
    if as_json:
        click.echo(json.dumps(shown))
    else:
        click.echo("\n".join(f"{key:9}{_number(value)}" for key, value in shown.items()))


def _number(value: float | int | None) -> str:
    return "unknown: no --index" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
