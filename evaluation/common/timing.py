"""Time several ways to do something, on a machine that runs other programs too.

The ways take turns, round by round, so that other programs slow all of them alike, and times are compared within a
round. The results are medians over the rounds, of wall time and of CPU time.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter, process_time


@dataclass(frozen=True)
class Way:
    """A way to do something; `before` is called before each run and isn't timed."""

    run: Callable[[], object]
    before: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Times:
    """Seconds of each round: of the clock, and of all of the process's CPUs together."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def wall_s(self) -> float:
        """Return the median of the clock's seconds."""
        return statistics.median(self.wall)

    @property
    def cpu_s(self) -> float:
        """Return the median of the CPUs' seconds."""
        return statistics.median(self.cpu)

    def over(self, other: Times) -> float:
        """Return how many times as long as `other` this took: the median of the rounds' ratios."""
        return statistics.median(a / b for a, b in zip(self.wall, other.wall, strict=True))


def interleaved(ways: Mapping[str, Way], rounds: int) -> dict[str, Times]:
    """Time each way once a round, after a round to warm up; the order rotates from round to round."""
    names = list(ways)
    rounds_of: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(-1, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            way = ways[name]
            way.before()
            wall, cpu = perf_counter(), process_time()
            way.run()
            if number >= 0:
                rounds_of[name].append((perf_counter() - wall, process_time() - cpu))
    return {name: Times(tuple(w for w, _ in times), tuple(c for _, c in times)) for name, times in rounds_of.items()}
