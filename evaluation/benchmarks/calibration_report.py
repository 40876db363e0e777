"""The table and the plots of `python -m evaluation calibration`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.common import results
from evaluation.common.table import markdown, share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = (
    "ECE",
    "ECE, equal mass",
    "ECE of there",
    "Brier",
    "Brier of there",
    "accuracy",
    "confidence",
    "R@1 where present",
    "false alarms",
    "misses",
    "equal error",
    "separation",
)


def write(name: str, figures: Mapping[str, Any], out: Path, seed: int) -> None:
    """NAME.json, NAME.md and NAME.png."""
    results.write(name, figures, table(figures), partial(draw, figures=figures), out=out, seed=seed)


def table(figures: Mapping[str, Any]) -> str:
    """The calibration; photograph queries; the same by size; the movie's queries."""
    photographs = figures["photographs"]
    numbers = figures["calibration"]
    blocks = [markdown(list(numbers), [[f"{value:.4g}" for value in numbers.values()]])]
    if "nll held out" in figures:
        rows = [[name, f"{value:.3f}"] for name, value in figures["nll held out"].items()]
        rows.append(["chosen, on its own cases", f"{figures['nll']:.3f}"])
        rows.append(["unfitted", f"{figures['nll unfitted']:.3f}"])
        blocks.append(markdown(["fit", "NLL of the outcome, held out"], rows))
    rows = [[name, share(photographs[name], 3)] for name in SHOWN]
    rows.append(["NLL of the outcome", f"{photographs['nll']:.3f}"])
    blocks.append(markdown([f"{photographs['queries']} queries, {photographs['absent']} absent", "value"], rows))
    rows = [
        [size, share(one["accuracy"]), share(one["confidence"]), str(one["queries"])]
        for size, one in photographs["by segments"].items()
    ]
    blocks.append(markdown(["segments", "accuracy", "confidence", "queries"], rows))
    if "movie" in figures:
        rows = [[name, share(value, 3)] for name, value in figures["movie"].items() if name != "queries"]
        blocks.append(markdown([f"{figures['movie']['queries']} queries of the movie", "value"], rows))
    return "\n\n".join(blocks)


def draw(figure: Figure, figures: Mapping[str, Any]) -> None:
    """Left: how often answers are right over how sure they are. Right: misses over false alarms."""
    left, right = figure.subplots(1, 2)
    photographs = figures["photographs"]
    most = max(one["count"] for one in photographs["bins"])
    left.plot([0, 1], [0, 1], ":", color="grey")
    left.scatter(
        [one["said"] for one in photographs["bins"]],
        [one["right"] for one in photographs["bins"]],
        s=[8 + 120 * one["count"] / most for one in photographs["bins"]],
    )
    left.set_xlabel("confidence")
    left.set_ylabel("share right (size: how many queries)")
    left.set_title(f"ECE {photographs['ECE']:.3f} over 15 bins")
    right.step([alarms for alarms, _ in photographs["trade-off"]], [m for _, m in photographs["trade-off"]])
    right.plot(photographs["false alarms"], photographs["misses"], "o", label="in use: p(not there) > p(best)")
    right.set_xlabel("false alarms: absent, said to be there")
    right.set_ylabel("misses: present, said not to be there")
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
