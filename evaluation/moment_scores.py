"""Moment retrieval's scores: of a set of queries, of each query (for paired tests), as a table and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from evaluation.common import metrics, table
from evaluation.common.metrics import Window
from evaluation.datasets.qvhighlights import MomentQuery, Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Score: TypeAlias = dict[str, "float | int | None"]

COLUMNS = ("R1@0.3", "R1@0.5", "R1@0.7", "R5@0.5", "mIoU", "mAP")
RECALLS = ((1, 0.3), (1, 0.5), (1, 0.7), (5, 0.5))
LENGTHS: Mapping[str, tuple[float, float]] = {"short": (0, 10), "middle": (10, 30), "long": (30, float("inf"))}
"""QVHighlights' (min, max] seconds of true windows, whose own "long" ends at its videos' 150 s."""


def score(
    queries: Sequence[MomentQuery],
    predictions: Sequence[Prediction],
    cuts: Mapping[str, Sequence[Window]] | None = None,
) -> Score:
    """All metrics by name, fractions in [0, 1] and `n`; `ceiling` is None without `cuts`, the segments by vid.

    mAP-short, -middle and -long are mAP over the true windows of those lengths alone, over the queries that have any,
    as QVHighlights' evaluator has them; None where no query has.
    """
    truths = [query.windows for query in queries]
    found = [prediction.windows for prediction in predictions]
    result: Score = {f"R{k}@{threshold}": metrics.recall(found, truths, k, threshold) for k, threshold in RECALLS}
    result["mIoU"] = metrics.mean_iou(found, truths)
    result["mAP"] = metrics.mean_average_precision(found, truths, metrics.AP_THRESHOLDS)
    result["mAP@0.5"] = metrics.mean_average_precision(found, truths, [0.5])
    result["mAP@0.75"] = metrics.mean_average_precision(found, truths, [0.75])
    for name, (least, most) in LENGTHS.items():
        result[f"mAP-{name}"] = metrics.mean_average_precision_of_lengths(found, truths, least, most)
    result["n"] = len(queries)
    result["ceiling"] = metrics.ceiling([cuts[q.vid] for q in queries], truths) if cuts else None
    return result


def each(queries: Sequence[MomentQuery], predictions: Sequence[Prediction]) -> dict[str, dict[str, float]]:
    """For paired tests: {qid: {"R1@0.5", "R5@0.5", "mIoU", "mAP", …}}, each the query's own part of the mean."""
    return {
        str(query.qid): {
            **{
                f"R{k}@{threshold}": metrics.recall([found.windows], [query.windows], k, threshold)
                for k, threshold in RECALLS
            },
            "mIoU": metrics.mean_iou([found.windows], [query.windows]),
            "mAP": metrics.mean_average_precision([found.windows], [query.windows], metrics.AP_THRESHOLDS),
        }
        for query, found in zip(queries, predictions, strict=True)
    }


def as_table(rows: Mapping[str, Score], first: str = "policy") -> str:
    """One row a policy or baseline; the ceiling, what perfect routing would reach at R1@0.5, in the last column."""
    return table.markdown(
        [first, *COLUMNS, "queries", "ceiling"],
        [
            [name, *(table.share(found[column]) for column in COLUMNS), str(found["n"]), table.share(found["ceiling"])]
            for name, found in rows.items()
        ],
    )


def draw(figure: Figure, rows: Mapping[str, Score]) -> None:
    """A group of bars a metric, a bar a row; a line at the ceiling of R1@0.5."""
    axes = figure.subplots()
    width = 0.8 / len(rows)
    for number, (name, found) in enumerate(rows.items()):
        places = [i - 0.4 + width * (number + 0.5) for i in range(len(COLUMNS))]
        axes.bar(places, [_number(found[column]) for column in COLUMNS], width, label=name)
    ceiling = next((found["ceiling"] for found in rows.values() if found["ceiling"] is not None), None)
    if ceiling is not None:
        place = COLUMNS.index("R1@0.5")
        axes.hlines(ceiling, place - 0.45, place + 0.45, color="black", linestyle=":", label="ceiling of R1@0.5")
    axes.set_xticks(range(len(COLUMNS)), COLUMNS)
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("share, mean IoU, mAP")
    axes.set_title("Moments found")
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")


def _number(value: Any) -> float:
    return float(value) if value is not None else float("nan")
