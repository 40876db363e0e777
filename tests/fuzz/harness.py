"""What every fuzz target needs: to go on for so long, one seed after the other, and to be run from the command line."""

from __future__ import annotations

import argparse
import faulthandler
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings

HANGS = 120
"""Seconds after which a single case ends the process, with a traceback."""


def rule(examples: int) -> settings:
    """Hypothesis' settings: so many cases a seed, nothing remembered, failures made small."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )


def seeds(seconds: float, start: int = 0) -> Iterator[int]:
    """Numbers from `start` on, until the time is up; at least one."""
    until, number = time.monotonic() + seconds, start
    while number == start or time.monotonic() < until:
        yield number
        number += 1


@contextmanager
def watched() -> Iterator[None]:
    """A case that hangs ends the process and says where."""
    faulthandler.dump_traceback_later(HANGS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def main(about: str | None, name: str, fuzz: Callable[[float, Path, int], object]) -> None:
    """`--seconds` and `--seed`; prints where mutated files lie, and in the end what `fuzz` found to say."""
    parser = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz_{name}_"))
    print(f"mutated files lie in {folder}", flush=True)
    print(fuzz(given.seconds, folder, given.seed))
