"""Measure moment retrieval: queries with known windows, asked through the public API, with QVHighlights' metrics.

    python -m evaluation moments --index movie.idx --queries queries.jsonl --json

`--index` may be a folder with an index `VID.idx` for each movie of the queries, which may be in any of the formats of
`evaluation.datasets.moment_files`. `--score` takes predictions from a file instead of asking; no model is loaded then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click
from tqdm import tqdm

from chunkv2l.ask import Index
from chunkv2l.cli import streams as terminal
from chunkv2l.errors import InputError, NothingFound
from chunkv2l.query.parse import parse
from evaluation.benchmarks import asking
from evaluation.common import metrics, results, table
from evaluation.common.metrics import Scored, Window
from evaluation.common.options import (
    ask_arguments,
    asking_options,
    device_option,
    json_option,
    out_option,
    policies_option,
)
from evaluation.datasets import moment_files, qvhighlights
from evaluation.datasets.qvhighlights import MomentQuery, Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from chunkv2l.answer.answer import Answer


BRIEF = ("R1@0.5", "R5@0.5", "mIoU", "n", "ceiling")


def question(query: str) -> str:
    """Return the question for a query: itself if it is answered with times (a statement, "When …"), else for its
    moment.

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

    The model is loaded once. `options` go to `Index.ask`. The predictions are in the order of `queries`. A query for
    which nothing is predictions (`fts`, and words that no caption has) has a prediction without windows.
    """
    predictions: dict[int | str, Prediction] = {}
    with tqdm(total=len(queries), unit="query", disable=None, leave=False) as bar:
        for vid, index in asking.opened(files, device):
            for query in (query for query in queries if query.vid == vid):
                answer = ask(index, question(query.query), **options)
                scores = () if answer is None else saliency(answer, index.segments[-1].end)
                predictions[query.qid] = Prediction(query.qid, vid, query.query, spans_of(answer), scores)
                bar.update()
    return [predictions[query.qid] for query in queries]


def windows(index: Index, question: str, **options: Any) -> tuple[Scored, ...]:
    """Ask and return the answer's spans, best first; () if nothing is found."""
    return spans_of(ask(index, question, **options))


def ask(index: Index, question: str, **options: Any) -> Answer | None:
    """Return the answer; None if nothing is found."""
    try:
        return index.ask(question, **options)
    except NothingFound:
        return None


def spans_of(answer: Answer | None) -> tuple[Scored, ...]:
    """Return the spans of an answer as (start, end, score)."""
    return () if answer is None else tuple((span.start, span.end, span.score) for span in answer.spans)


def saliency(answer: Answer, duration: float) -> tuple[float, ...]:
    """Return a score for every `CLIP` seconds: the probability of the segment in the middle, 0 if it wasn't scored.

    If the policy didn't use the router, the answer's spans take the segments' place.

    Args:
        duration: of the movie, seconds.
    """
    scored = [
        (candidate.start, candidate.end, candidate.p)
        for look in (answer.route.looks if answer.route else ())
        for candidate in look.candidates
        if isinstance(candidate.node, int)
    ] or spans_of(answer)
    middles = [(number + 0.5) * qvhighlights.CLIP for number in range(math.ceil(duration / qvhighlights.CLIP))]
    return tuple(max((p for start, end, p in scored if start <= at < end), default=0.0) for at in middles)


Score: TypeAlias = dict[str, "float | int | None"]

COLUMNS = ("R1@0.3", "R1@0.5", "R1@0.7", "R5@0.5", "mIoU", "mAP")
RECALLS = ((1, 0.3), (1, 0.5), (1, 0.7), (5, 0.5))
LENGTHS: Mapping[str, tuple[float, float]] = {"short": (0, 10), "middle": (10, 30), "long": (30, float("inf"))}
"""QVHighlights' (min, max] seconds of true windows, whose "long" ends at its videos' 150 s."""


def score(
    queries: Sequence[MomentQuery],
    predictions: Sequence[Prediction],
    cuts: Mapping[str, Sequence[Window]] | None = None,
) -> Score:
    """Return all metrics by name, fractions in [0, 1], and `n`; `ceiling` is None without `cuts`, the segments by vid.

    mAP-short, -middle and -long are mAP over the true windows of those lengths alone, over the queries that have any,
    as QVHighlights' evaluator has them; None where no query has.
    """
    truths = [query.windows for query in queries]
    predicted = [prediction.windows for prediction in predictions]
    result: Score = {f"R{k}@{threshold}": metrics.recall(predicted, truths, k, threshold) for k, threshold in RECALLS}
    result["mIoU"] = metrics.mean_iou(predicted, truths)
    result["mAP"] = metrics.mean_average_precision(predicted, truths, metrics.AP_THRESHOLDS)
    result["mAP@0.5"] = metrics.mean_average_precision(predicted, truths, [0.5])
    result["mAP@0.75"] = metrics.mean_average_precision(predicted, truths, [0.75])
    for name, (least, most) in LENGTHS.items():
        result[f"mAP-{name}"] = metrics.mean_average_precision_of_lengths(predicted, truths, least, most)
    result["n"] = len(queries)
    result["ceiling"] = metrics.ceiling([cuts[q.vid] for q in queries], truths) if cuts else None
    return result


def each(queries: Sequence[MomentQuery], predictions: Sequence[Prediction]) -> dict[str, dict[str, float]]:
    """Return each query's metrics for paired tests: {qid: {"R1@0.5", "R5@0.5", "mIoU", "mAP", …}}."""
    return {
        str(query.qid): {
            **{
                f"R{k}@{threshold}": metrics.recall([prediction.windows], [query.windows], k, threshold)
                for k, threshold in RECALLS
            },
            "mIoU": metrics.mean_iou([prediction.windows], [query.windows]),
            "mAP": metrics.mean_average_precision([prediction.windows], [query.windows], metrics.AP_THRESHOLDS),
        }
        for query, prediction in zip(queries, predictions, strict=True)
    }


def as_table(rows: Mapping[str, Score], first: str = "policy") -> str:
    """Return a table with a row a policy or way; the last column is the ceiling of R1@0.5."""
    return table.markdown(
        [first, *COLUMNS, "queries", "ceiling"],
        [
            [name, *(table.share(row[column]) for column in COLUMNS), str(row["n"]), table.share(row["ceiling"])]
            for name, row in rows.items()
        ],
    )


def draw(figure: Figure, rows: Mapping[str, Score]) -> None:
    """Draw a group of bars for each metric, with a bar a row, and a line at the ceiling of R1@0.5."""
    axes = figure.subplots()
    width = 0.8 / len(rows)
    for number, (name, row) in enumerate(rows.items()):
        places = [i - 0.4 + width * (number + 0.5) for i in range(len(COLUMNS))]
        axes.bar(places, [_or_nan(row[column]) for column in COLUMNS], width, label=name)
    ceiling = next((row["ceiling"] for row in rows.values() if row["ceiling"] is not None), None)
    if ceiling is not None:
        position = COLUMNS.index("R1@0.5")
        axes.hlines(ceiling, position - 0.45, position + 0.45, color="black", linestyle=":", label="ceiling of R1@0.5")
    axes.set_xticks(range(len(COLUMNS)), COLUMNS)
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("share, mean IoU, mAP")
    axes.set_title("Moments row")
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")


def _or_nan(value: Any) -> float:
    return float(value) if value is not None else float("nan")


@click.command("moments")
@click.option(
    "--index", "index_path", type=click.Path(exists=True, path_type=Path), help="Index, or folder of VID.idx."
)
@click.option("--queries", "queries_path", required=True, type=click.Path(path_type=Path), help="The dataset's file.")
@click.option(
    "--format",
    type=click.Choice(["auto", *moment_files.FORMATS]),
    default="auto",
    show_default=True,
    help="Of --queries: QVHighlights, Charades-STA, ActivityNet Captions, TimeLens.",
)
@policies_option
@asking_options
@device_option
@click.option("--predictions", type=click.Path(path_type=Path), help="Write the predictions to this file.")
@click.option(
    "--score", "scored", type=click.Path(path_type=Path), help="Score this file of predictions; asks nothing."
)
@click.option("--full", is_flag=True, help="Print all metrics: R1@0.3, R1@0.7 and mAP too.")
@json_option
@out_option
def command(
    index_path: Path | None,
    queries_path: Path,
    format: str,
    policies: tuple[str, ...],
    top_k: int | None,
    budget: str | None,
    device: str,
    predictions: Path | None,
    scored: Path | None,
    full: bool,
    as_json: bool,
    out: Path,
) -> None:
    """Moment retrieval: share of queries whose moment is predicted (R1, R5), mean IoU, mAP.

    \b
    python -m evaluation moments --index movie.idx --queries movie.jsonl
    python -m evaluation moments --index indexes/ --queries charades_sta_test.txt --policy route --policy fts
    python -m evaluation moments --queries highlight_val.jsonl --score predictions.jsonl

    The ceiling is R1@0.5 of the best single segment: what perfect routing would reach. Predictions are
    written (with the saliency of every two seconds) and read in QVHighlights' submission format; its test split, which
    has no answers, can be predicted. Writes moments.json, .md and .png to --out.
    """
    if len(policies) > 1 and (predictions or scored):
        raise InputError("A file of predictions belongs to row policy: give --policy once.")
    queries = moment_files.read(queries_path, format, truths=predictions is None or scored is not None)
    given = qvhighlights.read_predictions(scored, queries) if scored is not None else []
    files = asking.indexes(index_path, queries) if index_path is not None else {}
    if files:
        given = [prediction for prediction in given if prediction.vid in files]
        queries = [query for query in queries if query.vid in files]
    predicted: dict[str, list[Prediction]] = {}
    if scored is not None:
        predicted[scored.name] = given
    elif not files:
        raise InputError("Nothing to evaluate: give --index to ask the queries, or --score to score predictions.")
    else:
        options = ask_arguments(top_k, budget)
        for policy in policies or (None,):
            predicted[policy or "default"] = predict(files, queries, device, policy=policy, **options)
    if predictions is not None:
        qvhighlights.write_predictions(predictions, next(iter(predicted.values())))
        if unknown := sum(not query.windows for query in queries):
            terminal.say(f"{predictions} is written; {unknown} queries have no true windows, so nothing is scored.")
            return
    cuts = {vid: asking.segments(path) for vid, path in files.items()}
    rows = {name: score(queries, row, cuts) for name, row in predicted.items()}
    results.write(
        "moments",
        {
            "rows": rows,
            "questions": {name: each(queries, row) for name, row in predicted.items()},
            "movies": {str(query.qid): query.vid for query in queries},
        },
        as_table(rows),
        lambda figure: draw(figure, rows),
        out=out,
    )
    shown = [{key: row[key] for key in (row if full else BRIEF)} for row in rows.values()]
    if as_json:
        click.echo(json.dumps(shown[0] if len(shown) == 1 else dict(zip(rows, shown, strict=True))))
    elif len(rows) > 1:
        click.echo(as_table(rows))
    else:
        width = max(map(len, shown[0])) + 2
        click.echo("\n".join(f"{key:<{width}}{_number(value)}" for key, value in shown[0].items()))


def _number(value: float | int | None) -> str:
    return "unknown" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
