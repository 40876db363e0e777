"""Timing several ways of doing one thing on a machine that does other things too.

The ways take turns, round by round, so that whatever else runs hits all of them alike, and what is compared is compared
within a round. Medians over the rounds count, of wall time and of CPU time.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter, process_time


@dataclass(frozen=True)
class Way:
    """One way of doing it; `before` is called before each run and isn't timed."""

    run: Callable[[], object]
    before: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Times:
    """Seconds of each round: on the wall, and on all of the process's CPUs together."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def wall_s(self) -> float:
        """The median."""
        return statistics.median(self.wall)

    @property
    def cpu_s(self) -> float:
        """The median."""
        return statistics.median(self.cpu)

    def over(self, other: Times) -> float:
        """How many times as long as `other` this took: the median over the rounds of each round's own ratio."""
        return statistics.median(a / b for a, b in zip(self.wall, other.wall, strict=True))


def interleaved(ways: Mapping[str, Way], rounds: int) -> dict[str, Times]:
    """Each way once a round, after a round to warm up; the order turns, so that none always follows the same other."""
    names = list(ways)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(-1, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            way = ways[name]
            way.before()
            wall, cpu = perf_counter(), process_time()
            way.run()
            if number >= 0:
                found[name].append((perf_counter() - wall, process_time() - cpu))
    return {name: Times(tuple(w for w, _ in times), tuple(c for _, c in times)) for name, times in found.items()}
