"""What every fuzz target needs: cases run one seed after the other for so long, limits of time, and a command line.

A target is a class made from a folder to write to, with `cases()`, and a `__str__` that says what came of them.
"""

from __future__ import annotations

import argparse
import faulthandler
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from chunkv2l.errors import ChunkV2LError

HANGS = 300
"""Seconds after which a single case ends the process, with a traceback."""
SLOWER = 50.0
"""How many times as long as sound files a mutated one may take."""


@dataclass(frozen=True)
class Case:
    """What is tried, and with what.

    Attributes:
        run: called with a value of each strategy; whatever it raises is a finding.
        strategies: one an argument.
        examples: how many a seed.
    """

    run: Callable[..., None]
    strategies: tuple[st.SearchStrategy[Any], ...]
    examples: int


class Target(Protocol):
    def cases(self) -> Sequence[Case]: ...


T = TypeVar("T", bound=Target)


def fuzz(target: T, seconds: float, start: int = 0) -> T:
    """Try a target's cases for so long, from seed number `start` on, each case at least once; returns the target.

    Raises:
        AssertionError, or whatever else a case raised: with the values that led to it, made small.
    """
    until, number = time.monotonic() + seconds, start
    while number == start or time.monotonic() < until:
        for case in target.cases():
            _try(case, number)
        number += 1
    return target


def _try(case: Case, number: int) -> None:
    @seed(number)
    @settings(
        max_examples=case.examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(st.tuples(*case.strategies))
    def one(values: tuple[Any, ...]) -> None:
        faulthandler.dump_traceback_later(HANGS, exit=True)
        try:
            case.run(*values)
        finally:
            faulthandler.cancel_dump_traceback_later()

    one()


def check_time(spent: float, limit: float, again: Callable[[], object], sound: Callable[[], object]) -> None:
    """Assert that something did not take too much CPU time.

    On a slow or busy machine anything may take long once: what took longer than `limit` is done again, and has failed
    if it takes longer a second time, and `SLOWER` times as long as what is sound, at that moment on that machine.

    Args:
        spent, limit: seconds.
        again, sound: what took so long, and what is known to be quick; errors of chunkv2l's own are passed over.
    """
    if spent > limit:
        usual, second = cpu_time(sound), cpu_time(again)
        assert second <= max(limit, SLOWER * usual), f"{spent:.1f} s, {second:.1f} s; sound files {usual:.2f} s"


def cpu_time(work: Callable[[], object]) -> float:
    """Seconds of CPU time that it takes."""
    started = time.process_time()
    with suppress(ChunkV2LError):
        work()
    return time.process_time() - started


def main(about: str | None, name: str, target: Callable[[Path], Target]) -> None:
    """`--seconds` and `--seed`; prints where mutated files lie, and in the end what the target has to say."""
    parser = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz_{name}_"))
    print(f"mutated files lie in {folder}", flush=True)
    print(fuzz(target(folder), chosen.seconds, chosen.seed))
