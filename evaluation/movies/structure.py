"""Movies with structure, put together from described photographs: which photograph stands where. Pure functions.

A movie is runs of 6–12 photographs that share a noun. Of its subjects (the nouns of its runs) a third come back in a
second run, and of each subject one photograph stands elsewhere, amid a run about something else: a cutaway.
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
"""Photographs in a run."""
USUAL: Final = 9
LEAST: Final = 20
"""Segments that a structured movie has at least: two subjects, one of which comes back."""
_TRIES: Final = 200


@dataclass(frozen=True)
class Run:
    """Segments `first` … `last` (both included) share a noun, but for the cutaways among them."""

    noun: str
    first: int
    last: int


@dataclass(frozen=True)
class Structure:
    """A movie: photograph `photographs[i]` is segment i; `cutaways` are the segments that their run isn't about."""

    photographs: tuple[int, ...]
    runs: tuple[Run, ...]
    cutaways: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.photographs)

    def recurring(self) -> set[str]:
        """The subjects that have more than one run."""
        nouns = [run.noun for run in self.runs]
        return {noun for noun in nouns if nouns.count(noun) > 1}


@dataclass(frozen=True)
class Plan:
    """How many photographs each run of each subject has: one or two numbers a subject, 6–12 each."""

    lengths: tuple[tuple[int, ...], ...]

    @property
    def needs(self) -> tuple[int, ...]:
        """Photographs that each subject takes: its runs' and its cutaway."""
        return tuple(sum(runs) + 1 for runs in self.lengths)


def plan(segments: int, rng: random.Random) -> Plan:
    """Subjects and run lengths for a movie of so many segments; a third of the subjects recur, as near as may be.

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
    """A movie from described photographs, none of which it has twice.

    Args:
        described: what is known of every photograph.
        allowed: numbers of those that may be taken; all of them if None.

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
            wanted = plan(segments, rng)
            if (cast := _cast(wanted, by_noun, rng)) and (movie := _arrange(wanted, cast, rng)):
                return movie
    else:
        plan(segments, rng)
    raise InputError(
        f"{len(numbers)} photographs can't be put into runs of {SHORTEST} to {LONGEST} that share a noun for a movie "
        f"of {segments} segments: give more photographs, or ask for fewer segments."
    )


def _recurring(subjects: int) -> int:
    return max(1, round(subjects / 3))


def _cast(wanted: Plan, by_noun: Mapping[str, Sequence[int]], rng: random.Random) -> list[tuple[str, list[int]]] | None:
    """A noun and its photographs for each subject, or None where too few are left; the largest needs come first."""
    free = {noun: list(numbers) for noun, numbers in by_noun.items()}
    found: dict[int, tuple[str, list[int]]] = {}
    for subject in sorted(range(len(wanted.needs)), key=lambda s: -wanted.needs[s]):
        need = wanted.needs[subject]
        nouns = sorted(noun for noun, numbers in free.items() if len(numbers) >= need)
        if not nouns:
            return None
        noun = rng.choice(nouns)
        taken = rng.sample(free.pop(noun), need)
        found[subject] = (noun, taken)
        used = set(taken)
        free = {other: [n for n in numbers if n not in used] for other, numbers in free.items()}
    return [found[subject] for subject in range(len(wanted.needs))]


def _arrange(wanted: Plan, cast: Sequence[tuple[str, list[int]]], rng: random.Random) -> Structure | None:
    """Runs in an order in which no subject follows itself, each cutaway inside a run of another subject."""
    runs: list[tuple[str, list[int]]] = []
    spare: list[tuple[str, int]] = []
    for (noun, numbers), lengths in zip(cast, wanted.lengths, strict=True):
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
    """Whether a caption is true of none of some photographs, as far as nouns tell: none has all of the caption's.

    Args:
        others: the nouns of each photograph (`Described.nouns`).
    """
    nouns = find_nouns(caption)
    return bool(nouns) and not any(nouns <= set(other) for other in others)
