"""The table and the plot of `python -m evaluation longmovie`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.common import results
from evaluation.common.table import markdown, share

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write(figures: Mapping[str, Any], out: Path, seed: int) -> None:
    """NAME.json, NAME.md and NAME.png of what there is so far."""
    results.write("longmovie", figures, table(figures), partial(draw, figures=figures), out=out, seed=seed)


def table(figures: Mapping[str, Any]) -> str:
    """A row a policy, mode and N; then the candidates' share."""
    rows = [
        [size, mode, policy, share(one["R@1"]), share(one["R@5"]), _seconds(one["seconds"]), str(one["n"])]
        for size, own in figures.items()
        for mode in ("budgeted", "exhaustive")
        for policy, one in own[mode].items()
    ]
    header = ["segments", "scoring", "policy", "R@1", "R@5", "seconds a query", "queries"]
    blocks = [markdown(header, rows)]
    rows = [
        [size, kind, share(one["share"], 3), str(one["n"])]
        for size, own in figures.items()
        for kind, one in own["candidates"].items()
    ]
    if rows:
        header = [
            "segments",
            "index",
            "right one among the candidates, of those first when all are scored",
            "n",
        ]
        blocks.append(markdown(header, rows))
    return "\n\n".join(blocks)


def draw(figure: Figure, figures: Mapping[str, Any]) -> None:
    """R@1 of every budgeted policy over N, `route` exhaustively beside it; seconds a query on the right."""
    left, right = figure.subplots(1, 2)
    sizes = [int(size) for size in figures]
    policies = list(next(iter(figures.values()))["budgeted"])
    for number, policy in enumerate(policies):
        width = 1 + 0.7 * (len(policies) - number)  # several find the same: who is drawn over stays visible
        found = [own["budgeted"][policy]["R@1"] for own in figures.values()]
        left.plot(sizes, found, marker="o", linewidth=width, markersize=2 + width, label=policy)
    for mode in ("budgeted", "exhaustive"):
        whole = {int(size): own[mode]["route"] for size, own in figures.items() if "route" in own[mode]}
        if not whole:
            continue
        if mode == "exhaustive":
            left.plot(list(whole), [one["R@1"] for one in whole.values()], "k--", label="route, exhaustive")
        timed = {size: one["seconds"] for size, one in whole.items() if one["seconds"] is not None}
        right.plot(list(timed), list(timed.values()), marker="o", label=f"route, {mode}")
    for axes, words in ((left, "R@1"), (right, "seconds a query, median")):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("segments")
        axes.set_ylabel(words)
        axes.legend(fontsize=7)
    left.set_ylim(0, 1)
    right.set_ylim(bottom=0)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
