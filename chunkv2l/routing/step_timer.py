"""Seconds that a question takes, by step. No torch here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class StepTimer:
    """Add up the seconds of named steps.

        with timer("score"):
            ...

    A step within another counts for itself, not for the outer one.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner_seconds = [0.0]

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Count what the `with` block takes as this step's."""
        started = perf_counter()
        self._inner_seconds.append(0.0)
        try:
            yield
        finally:
            elapsed = perf_counter() - started
            self.seconds[step] = self.seconds.get(step, 0.0) + elapsed - self._inner_seconds.pop()
            self._inner_seconds[-1] += elapsed
