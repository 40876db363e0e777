"""What `latency` measured, as a table and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARED_BY = (1, 2, 5, 10, 20, 50, 100, 200)
"""Questions among which what is done once is shared out."""


@dataclass(frozen=True)
class Asked:
    """An index, asked: medians in seconds.

    Attributes:
        ask: with routing, every question a new one.
        follow_up: another question to an adapter that is composed already.
    """

    segments: int
    ask: float
    follow_up: float


@dataclass(frozen=True)
class InContext:
    """So many frames in context: medians in seconds.

    Attributes:
        tokens: visual tokens, words between the frames included.
        frames_s: looking at the frames, and reading what was seen.
        stored_s: reading only.
        kept_s: the question alone, on a key-value cache that is kept.
        kept_bytes: of that cache.
    """

    frames: int
    tokens: int
    frames_s: float
    stored_s: float
    kept_s: float
    kept_bytes: int


def amortised(once: float, each: float) -> list[float]:
    """Seconds a question, for each of `SHARED_BY`."""
    return [once / count + each for count in SHARED_BY]


def rows(context: Sequence[InContext], asked: Sequence[Asked]) -> list[list[str]]:
    """The table: our ways, then frames in context; how many times our ask's median (of the largest index)."""
    ours = asked[-1].ask
    found = []
    for one in asked:
        found.append([f"ask, {one.segments} segments", "0", _s(one.ask), f"{one.ask / ours:.2f}×", ""])
        found.append(
            [f"follow-up, {one.segments} segments", "0", _s(one.follow_up), f"{one.follow_up / ours:.2f}×", ""]
        )
    for held in context:
        for name, seconds, memory in (
            ("in context", held.frames_s, ""),
            ("features stored", held.stored_s, ""),
            ("cache kept", held.kept_s, f"{held.kept_bytes / 1e6:.0f} MB"),
        ):
            found.append(
                [f"{held.frames} frames, {name}", str(held.tokens), _s(seconds), f"{seconds / ours:.2f}×", memory]
            )
    return found


def _s(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds < 10 else f"{seconds:.1f} s"


def draw(
    figure: Figure, context: Sequence[InContext], asked: Sequence[Asked], shared: Mapping[str, list[float]]
) -> None:
    """First token over frames, and seconds a question over the questions asked."""
    over, among = figure.subplots(1, 2)
    frames = [one.frames for one in context]
    for label, values in (
        ("in context", [one.frames_s for one in context]),
        ("features stored", [one.stored_s for one in context]),
        ("cache kept", [one.kept_s for one in context]),
    ):
        over.plot(frames, values, "o-", label=label)
    over.axhline(asked[-1].ask, color="black", label=f"ask, {asked[-1].segments} segments")
    over.axhline(asked[-1].follow_up, color="black", linestyle="--", label="follow-up")
    over.set(xscale="log", yscale="log", xlabel="frames in context", ylabel="seconds to the first token")
    over.set_xticks(frames, [str(number) for number in frames])
    over.set_xticks([], minor=True)
    over.legend(fontsize="small")
    for label, seconds in shared.items():
        among.plot(SHARED_BY, seconds, "o-", label=label)
    among.set(xscale="log", yscale="log", xlabel="questions", ylabel="seconds a question, with what is done once")
    among.legend(fontsize="small")
