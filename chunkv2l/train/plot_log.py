"""Draw a run's log: a panel for each unit; lines are training batches, dots are dev photographs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chunkv2l.errors import InputError

Row = Mapping[str, Any]

_PANELS: Mapping[str, tuple[str, ...]] = {
    "nats a token": (
        "nll",
        "internalise",
        "compose_sum",
        "compose_mean",
        "compose_route",
        "distil",
        "nll_context",
        "nll_adapter",
        "nll_bias",
        "nll_wrong",
    ),
    "InfoNCE, nats": ("find", "key"),
    "share": ("found", "key_found", "yesno_context", "yesno_adapter", "R@1/64", "R@5/64", "R@1/256", "key R@32/256"),
}


def read_log(path: Path) -> list[Row]:
    """Read the rows of a `log.jsonl`.

    Raises:
        InputError: no such file, or not a run's log.
    """
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as a run's log.jsonl ({error}).") from None
    if not rows or not all(isinstance(row, dict) and "step" in row for row in rows):
        raise InputError(f"{path} isn't a run's log.jsonl: every line must be an object with a step.")
    return rows


def series(rows: Sequence[Row], name: str) -> tuple[list[int], list[float]]:
    """Return the steps and values of one figure, where it was logged."""
    points = [(int(row["step"]), float(row[name])) for row in rows if isinstance(row.get(name), int | float)]
    return [step for step, _ in points], [value for _, value in points]


def draw(log: Path, out: Path) -> None:
    """Draw a run's log.

    Raises:
        InputError: the log can't be read or has nothing to draw, the picture can't be written, or no matplotlib.
    """
    rows = read_log(log)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError('Drawing needs matplotlib: pip install "chunkv2l[plot]".') from None
    panels = {title: [n for n in names if series(rows, n)[0]] for title, names in _PANELS.items()}
    panels = {title: names for title, names in panels.items() if names}
    if not panels:
        raise InputError(f"{log} has none of the figures that are drawn: the run has logged no step yet.")
    figure = Figure(figsize=(9, 3.2 * len(panels)), layout="constrained")
    for number, (title, names) in enumerate(panels.items()):
        axes = figure.add_subplot(len(panels), 1, number + 1)
        for name in names:
            steps, values = series(rows, name)
            unseen = name[:3] in ("nll", "yes", "R@1", "R@5", "key") and name not in ("nll", "key", "key_found")
            axes.plot(steps, values, "o--" if unseen else "-", label=f"{name} (unseen)" if unseen else name)
        axes.set_xlabel("step")
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, ncols=2)
    try:
        figure.savefig(out, dpi=120)
    except (OSError, ValueError) as error:
        raise InputError(f"{out} can't be written ({str(error).splitlines()[0]}).") from None
