"""Measure which answers are marked unsure: queries asked of their own movie, and of the others, which lack them.

    python -m evaluation unsure --index indexes/ --queries movie.jsonl --queries other.jsonl

The evidence is that of `Scoring.key_evidence`: of the segment whose key is nearest. Of a movie's own queries those are
"right" whose nearest segment fits the moment. Only keys are computed, so it takes seconds where asking takes minutes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import click

from chunkv2l.ask import Index
from chunkv2l.defaults import UNSURE_BELOW
from chunkv2l.errors import InputError
from chunkv2l.query.parse import statement
from chunkv2l.routing.probability import evidence
from evaluation.benchmarks import asking
from evaluation.benchmarks.reliability import separation
from evaluation.common import metrics, results, table
from evaluation.common.options import device_option, json_option, out_option
from evaluation.datasets import moment_files
from evaluation.datasets.qvhighlights import MomentQuery

Outcome = Literal["right", "wrong", "absent"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("right", "wrong", "absent")
FITS: Final = 0.5
"""IoU from which a segment fits a moment."""
STEPS: Final = tuple(UNSURE_BELOW + 0.25 * step for step in range(-4, 7))
"""Thresholds of the table."""


@dataclass(frozen=True)
class Case:
    """A query asked of a movie.

    Attributes:
        vid: the movie.
        key_evidence: the highest of all segments.
        outcome: the nearest segment fits ("right"), another does ("wrong"), or the query is another movie's ("absent").
    """

    vid: str
    key_evidence: float
    outcome: Outcome


def judge(cases: Sequence[Case]) -> dict[str, Any]:
    """Return the share of each outcome that is marked unsure at each threshold, and how well absent is told apart.

    Raises:
        InputError: there is no query of a movie's own, or none of another movie.
    """
    by_outcome = {name: [case.key_evidence for case in cases if case.outcome == name] for name in OUTCOMES}
    present = [*by_outcome["right"], *by_outcome["wrong"]]
    if not present or not by_outcome["absent"]:
        raise InputError("Both a movie's own queries and another's are needed: give --queries of two movies or more.")
    doubt = [-value for value in (*present, *by_outcome["absent"])]
    is_present = [True] * len(present) + [False] * len(by_outcome["absent"])
    return {
        "separation": separation(doubt, is_present),
        "queries": {name: len(values) for name, values in by_outcome.items()},
        "unsure": {
            f"{step:g}": {name: _share_below(values, step) for name, values in by_outcome.items()} for step in STEPS
        },
    }


def _share_below(values: Sequence[float], threshold: float) -> float | None:
    return sum(value < threshold for value in values) / len(values) if values else None


def measure(index: Index, vid: str, queries: Sequence[MomentQuery]) -> list[Case]:
    """Return a case for each query that names something to look for.

    Raises:
        InputError: the model or the index has no keys.
    """
    cases: list[Case] = []
    router, calibration = index.router, index.model.calibration
    for query in queries:
        sought = statement(query.query)
        if not sought:
            continue
        similarity = router.key_similarity(sought)
        if similarity is None or not calibration.key:
            raise InputError(f"{index.path} has no keys that count, so none of its answers is marked unsure.")
        nearest = max(range(len(similarity)), key=similarity.__getitem__)
        segment = index.segments[nearest]
        value = evidence(0.0, similarity[nearest], router.tokens(sought), calibration)
        fits = max((metrics.iou((segment.start, segment.end), window) for window in query.windows), default=0.0)
        here: Outcome = "right" if fits >= FITS else "wrong"
        cases.append(Case(vid, value, here if query.vid == vid else "absent"))
    return cases


def as_table(figures: dict[str, Any]) -> str:
    """Return a row a threshold, with the share of each outcome that is marked."""
    rows = [[step, *(table.share(shares[name]) for name in OUTCOMES)] for step, shares in figures["unsure"].items()]
    return table.markdown(["below", *OUTCOMES], rows)


@click.command("unsure")
@click.option(
    "--index", "index_path", required=True, type=click.Path(exists=True, path_type=Path), help="Folder of VID.idx."
)
@click.option("--queries", "queries_paths", required=True, multiple=True, type=click.Path(path_type=Path))
@device_option
@json_option
@out_option
def command(index_path: Path, queries_paths: tuple[Path, ...], device: str, as_json: bool, out: Path) -> None:
    """Unsure answers: share of right, wrong and absent queries that are marked, by threshold.

    Give --queries once a movie. Writes unsure.json and .md to --out.
    """
    queries = [query for path in queries_paths for query in moment_files.read(path, "auto")]
    cases: list[Case] = []
    for vid, index in asking.opened(asking.indexes(index_path, queries), device):
        cases += measure(index, vid, queries)
    figures = {**judge(cases), "cases": [asdict(case) for case in cases]}
    shown = as_table(figures)
    results.write("unsure", figures, shown, out=out)
    if as_json:
        click.echo(json.dumps({key: value for key, value in figures.items() if key != "cases"}))
    else:
        click.echo(shown)
