"""Ways that take turns, and the numbers made of their times."""

from __future__ import annotations

import time
from functools import partial

from evaluation.common.timing import Times, Way, interleaved


def test_ways_take_turns_and_the_first_round_doesnt_count() -> None:
    done: list[str] = []
    ways = {name: Way(partial(done.append, name), partial(done.append, f"({name})")) for name in "ab"}
    times = interleaved(ways, 3)
    assert [len(taken.wall) for taken in times.values()] == [len(taken.cpu) for taken in times.values()] == [3, 3]
    first, second = ["(a)", "a", "(b)", "b"], ["(b)", "b", "(a)", "a"]
    assert done == [*second, *first, *second, *first]  # the round to warm up, then three


def test_what_happens_before_isnt_timed_and_sleep_costs_no_cpu() -> None:
    times = interleaved({"idle": Way(lambda: time.sleep(0.02), lambda: time.sleep(0.2))}, 2)["idle"]
    assert 0.02 <= times.wall_s < 0.1 and times.cpu_s < 0.02


def test_a_machine_that_gets_busy_doesnt_change_the_ratio() -> None:
    """From the third round on everything takes ten times as long, and a single round is hit by something else."""
    ours = Times((1.0, 1.0, 10.0, 10.0, 90.0), (1.0,) * 5)
    theirs = Times((2.0, 2.0, 20.0, 20.0, 20.0), (2.0,) * 5)
    assert theirs.over(ours) == 2.0 and ours.over(theirs) == 0.5
    assert (ours.wall_s, theirs.cpu_s) == (10.0, 2.0)
