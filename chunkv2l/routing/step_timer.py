"""Where a question's time goes: seconds by step. No torch here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class StepTimer:
    """Adds up the seconds of named steps; a step inside another counts for itself, not for the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside = [0.0]

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Everything in the `with` block is this step's."""
        started = perf_counter()
        self._inside.append(0.0)
        try:
            yield
        finally:
            took = perf_counter() - started
            self.seconds[step] = self.seconds.get(step, 0.0) + took - self._inside.pop()
            self._inside[-1] += took
