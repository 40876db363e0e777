"""Order described photographs into movies with structure. Pure functions.

A movie consists of runs of 6–12 photographs that share a noun, the run's subject. A third of the subjects have a second
run, and one photograph of each subject stands within a run about another subject: a cutaway.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from chunkv2l.errors import InputError
from chunkv2l.train.data.nouns import find_nouns
from chunkv2l.train.data.questions import Described

SHORTEST, LONGEST = 6, 12
"""Least and greatest number of photographs in a run."""
USUAL: Final = 9
LEAST: Final = 20
"""Least number of segments of a structured movie: two subjects, one of them with two runs."""
_TRIES: Final = 200


@dataclass(frozen=True)
class Run:
    """Segments `first` … `last` (both included), which share a noun, the cutaways among them excepted."""

    noun: str
    first: int
    last: int


@dataclass(frozen=True)
class Structure:
    """A movie: segment i is photograph `photographs[i]`; `cutaways` are the segments whose subject isn't their
    run's."""

    photographs: tuple[int, ...]
    runs: tuple[Run, ...]
    cutaways: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.photographs)

    def recurring(self) -> set[str]:
        """Return the subjects that have more than one run."""
        nouns = [run.noun for run in self.runs]
        return {noun for noun in nouns if nouns.count(noun) > 1}


@dataclass(frozen=True)
class Plan:
    """The number of photographs of each run of each subject: one or two numbers a subject, 6–12 each."""

    lengths: tuple[tuple[int, ...], ...]

    @property
    def needs(self) -> tuple[int, ...]:
        """Return the number of photographs that each subject takes, in its runs and as its cutaway."""
        return tuple(sum(runs) + 1 for runs in self.lengths)


def plan(segments: int, rng: random.Random) -> Plan:
    """Return the run lengths of a movie of so many segments; about a third of the subjects recur.

    Raises:
        InputError: fewer segments than `LEAST`.
    """
    if segments < LEAST:
        raise InputError(f"A movie with structure has at least {LEAST} segments, not {segments}.")

    def fits(subjects: int) -> bool:
        runs = subjects + _recurring(subjects)
        return SHORTEST * runs + subjects <= segments <= LONGEST * runs + subjects

    def off(subjects: int) -> tuple[bool, int]:
        runs = subjects + _recurring(subjects)
        return subjects > 3 and subjects % 3 > 0, abs(USUAL * runs + subjects - segments)

    subjects = min(filter(fits, range(2, segments)), key=off)
    runs = subjects + _recurring(subjects)
    lengths = [SHORTEST] * runs
    for _ in range(segments - subjects - SHORTEST * runs):
        lengths[rng.choice([i for i, length in enumerate(lengths) if length < LONGEST])] += 1
    twice = _recurring(subjects)
    pairs = [(lengths[2 * i], lengths[2 * i + 1]) for i in range(twice)]
    return Plan((*pairs, *((length,) for length in lengths[2 * twice :])))


def make_structure(
    described: Sequence[Described], segments: int, rng: random.Random, allowed: Iterable[int] | None = None
) -> Structure:
    """Return a movie of described photographs, each of which occurs once.

    Args:
        described: the texts of every photograph.
        allowed: numbers of the photographs to choose from; all if None.

    Raises:
        InputError: too few segments, or photographs that can't fill it.
    """
    numbers = sorted(range(len(described)) if allowed is None else set(allowed))
    by_noun: dict[str, list[int]] = {}
    for number in numbers:
        for noun in sorted(described[number].nouns):
            by_noun.setdefault(noun, []).append(number)
    if segments <= len(numbers):
        for _ in range(_TRIES):
            lengths = plan(segments, rng)
            if (cast := _cast(lengths, by_noun, rng)) and (movie := _arrange(lengths, cast, rng)):
                return movie
    else:
        plan(segments, rng)
    raise InputError(
        f"{len(numbers)} photographs can't be put into runs of {SHORTEST} to {LONGEST} that share a noun for a movie "
        f"of {segments} segments: give more photographs, or ask for fewer segments."
    )


def _recurring(subjects: int) -> int:
    return max(1, round(subjects / 3))


def _cast(plan: Plan, by_noun: Mapping[str, Sequence[int]], rng: random.Random) -> list[tuple[str, list[int]]] | None:
    """Draw a noun and its photographs for each subject, largest first; None if too few photographs are left."""
    free = {noun: list(numbers) for noun, numbers in by_noun.items()}
    cast: dict[int, tuple[str, list[int]]] = {}
    for subject in sorted(range(len(plan.needs)), key=lambda s: -plan.needs[s]):
        need = plan.needs[subject]
        nouns = sorted(noun for noun, numbers in free.items() if len(numbers) >= need)
        if not nouns:
            return None
        noun = rng.choice(nouns)
        taken = rng.sample(free.pop(noun), need)
        cast[subject] = (noun, taken)
        used = set(taken)
        free = {other: [n for n in numbers if n not in used] for other, numbers in free.items()}
    return [cast[subject] for subject in range(len(plan.needs))]


def _arrange(plan: Plan, cast: Sequence[tuple[str, list[int]]], rng: random.Random) -> Structure | None:
    """Order the runs so that no subject follows itself, and put each cutaway into a run of another subject."""
    runs: list[tuple[str, list[int]]] = []
    spare: list[tuple[str, int]] = []
    for (noun, numbers), lengths in zip(cast, plan.lengths, strict=True):
        begin = 0
        for length in lengths:
            runs.append((noun, numbers[begin : begin + length]))
            begin += length
        spare.append((noun, numbers[begin]))
    for _ in range(_TRIES):
        rng.shuffle(runs)
        if all(a[0] != b[0] for a, b in pairwise(runs)):
            break
    else:
        return None
    cut: set[int] = set()
    for noun, number in spare:
        run = rng.choice([numbers for other, numbers in runs if other != noun])
        run.insert(rng.randrange(1, len(run)), number)
        cut.add(number)
    photographs = [number for _, numbers in runs for number in numbers]
    placed, first = [], 0
    for noun, numbers in runs:
        placed.append(Run(noun, first, first + len(numbers) - 1))
        first += len(numbers)
    return Structure(
        tuple(photographs), tuple(placed), tuple(i for i, number in enumerate(photographs) if number in cut)
    )


def is_absent(caption: str, others: Iterable[Collection[str]]) -> bool:
    """Return True if none of the photographs has all of a caption's nouns: it is then true of none, as far as nouns
    tell.

    Args:
        others: the nouns of each photograph (`Described.nouns`).
    """
    nouns = find_nouns(caption)
    return bool(nouns) and not any(nouns <= set(other) for other in others)
