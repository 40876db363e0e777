"""Test whether B is as good as A, question by question, between two results of `moments`, `qa` or `baselines`.

    python -m evaluation equivalence a/qa.json b/qa.json --measure F1 --margin .05

For each measure there are both means, their difference (B − A) with its paired bootstrap 95 % interval, whether B is
not inferior (the interval's lower end is above −margin) and whether both are equivalent (the 90 % interval lies within
±margin: two one-sided tests at 5 %). The paper's margins are .05 for token-F1 and .15 for a judge's score; other
measures need one of your own. FILE:ROW names a row of a file that has several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chunkv2l.cli import streams as terminal
from chunkv2l.errors import InputError
from evaluation.common import results
from evaluation.common.options import json_option, out_option, seed_option
from evaluation.common.resampling import ROUNDS, Comparison, compare
from evaluation.common.table import markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARGIN = 0.05
Scores = Mapping[str, Mapping[str, float]]


def scores(spec: str) -> tuple[str, Scores, Mapping[str, str]]:
    """Return a label, {question: {measure: score}} of FILE or FILE:ROW, and each question's movie.

    Raises:
        InputError: no such file or row, several rows and none named, or a result without each question's scores.
    """
    file, row = (spec, None) if Path(spec).exists() else (spec.rpartition(":")[0] or spec, spec.rpartition(":")[2])
    path = Path(file)
    figures = results.read(path)["figures"]
    rows = figures.get("questions")
    if not isinstance(rows, dict) or not rows:
        raise InputError(f"{path} has no scores of single questions: moments, qa and baselines write them.")
    if row is None and len(rows) > 1:
        names = ", ".join(rows)
        raise InputError(f"{path} has several rows ({names}): name one as {path.name}:ROW.")
    row = row if row is not None else next(iter(rows))
    if row not in rows:
        raise InputError(f"{path} has no row {row!r}, but {', '.join(rows)}.")
    return (f"{path.parent.name}/{path.stem}" if len(rows) == 1 else row), rows[row], figures.get("movies", {})


def paired(first: Scores, second: Scores, measure: str) -> tuple[list[str], list[float], list[float]]:
    """Return the questions that both results have a score for, and the scores.

    Raises:
        InputError: there are none.
    """
    ids = [id for id, scores in first.items() if measure in scores and measure in second.get(id, {})]
    if not ids:
        raise InputError(f"The two results have no question in common with a score called {measure}.")
    return ids, [first[id][measure] for id in ids], [second[id][measure] for id in ids]


def common(first: Scores, second: Scores) -> list[str]:
    """Return the measures that both results have."""
    ours, theirs = (
        dict.fromkeys(measure for scores in result.values() for measure in scores) for result in (first, second)
    )
    return [measure for measure in ours if measure in theirs]


def as_table(comparisons: Mapping[str, Comparison], margins: Mapping[str, float], names: Sequence[str]) -> str:
    """Return a table with a row a measure."""
    header = ["measure", names[0], names[1], "difference", "95 % interval", "margin", "not inferior", "equivalent", "n"]
    return markdown(
        header,
        [
            [
                measure,
                f"{c.first:.3f}",
                f"{c.second:.3f}",
                f"{c.difference:+.3f}",
                f"{c.low:+.3f} to {c.high:+.3f}",
                f"{margins[measure]:g}",
                "yes" if c.is_not_inferior(margins[measure]) else "not shown",
                "yes" if c.is_equivalent(margins[measure]) else "not shown",
                str(c.n),
            ]
            for measure, c in comparisons.items()
        ],
    )


def draw(
    figure: Figure, comparisons: Mapping[str, Comparison], margins: Mapping[str, float], names: Sequence[str]
) -> None:
    """Draw differences with their 95 % intervals, and the margins in grey."""
    axes = figure.subplots()
    for position, (measure, c) in enumerate(comparisons.items()):
        margin = margins[measure]
        axes.fill_betweenx([position - 0.3, position + 0.3], -margin, margin, color="lightgrey")
        axes.errorbar(
            [c.difference], [position], xerr=[[c.difference - c.low], [c.high - c.difference]], fmt="o", capsize=4
        )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(comparisons)), list(comparisons))
    axes.invert_yaxis()
    axes.set_xlabel(f"{names[1]} − {names[0]} (95 % intervals; grey: the margin)")


@click.command(short_help="Paired bootstrap between two results: difference, non-inferiority, equivalence.")
@click.argument("first", metavar="A.json[:ROW]")
@click.argument("second", metavar="B.json[:ROW]")
@click.option("--measure", "measures", multiple=True, help="R1@0.5, mIoU, accuracy, F1 …; repeat.  [default: all]")
@click.option("--margin", type=float, multiple=True, help=f"For each --measure, or one for all.  [default: {MARGIN}]")
@click.option("--rounds", type=click.IntRange(min=100), default=ROUNDS, show_default=True, help="Bootstrap samples.")
@click.option("--by-movie", is_flag=True, help="Draw whole movies, not questions: for few movies with many questions.")
@seed_option()
@json_option
@out_option
def command(
    first: str,
    second: str,
    measures: tuple[str, ...],
    margin: tuple[float, ...],
    rounds: int,
    by_movie: bool,
    seed: int,
    as_json: bool,
    out: Path,
) -> None:
    """Compare two results on the same questions: is B as good as A?

    \b
    python -m evaluation equivalence frames/qa.json adapter/qa.json --measure F1 --margin .05
    python -m evaluation equivalence moments.json:fts moments.json:route --measure R1@0.5

    A margin is a loss small enough to ignore. Questions about one movie are alike: where a few movies have many
    questions, --by-movie gives wider intervals that account for it. Writes equivalence.json, .md and .png to --out.
    """
    (a, ours, about), (b, theirs, _) = scores(first), scores(second)
    chosen = measures or tuple(common(ours, theirs))
    if len(margin) > 1 and len(margin) != len(chosen):
        raise InputError(f"{len(chosen)} measures need one --margin, or {len(chosen)} of them, not {len(margin)}.")
    if any(not value > 0 for value in margin):
        raise InputError("A margin must be above 0: it is a loss small enough to ignore.")
    each = margin * len(chosen) if len(margin) == 1 else margin or (MARGIN,) * len(chosen)
    margins = dict(zip(chosen, each, strict=True))
    comparisons = {}
    for measure in chosen:
        ids, x, y = paired(ours, theirs, measure)
        if by_movie and not about.keys() >= set(ids):
            raise InputError(f"{first} doesn't say which movies its questions are about: leave --by-movie out.")
        clusters = [about[id] for id in ids] if by_movie else None
        comparisons[measure] = compare(x, y, rounds=rounds, seed=seed, clusters=clusters)
    if not comparisons:
        raise InputError("The two results have no measure in common.")
    names = (a, b) if a != b else ("A", "B")
    table = as_table(comparisons, margins, names)
    figures: dict[str, Any] = {
        measure: {
            **asdict(c),
            "margin": margins[measure],
            "not_inferior": c.is_not_inferior(margins[measure]),
            "equivalent": c.is_equivalent(margins[measure]),
        }
        for measure, c in comparisons.items()
    }
    figures = {"A": a, "B": b, "rounds": rounds, "by_movie": by_movie, "measures": figures}
    results.write("equivalence", figures, table, lambda f: draw(f, comparisons, margins, names), out=out, seed=seed)
    if as_json:
        terminal.emit_json(figures)
    else:
        terminal.emit(table)
