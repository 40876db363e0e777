"""Make questions about order in time, on movies of known order. Pure functions.

A movie of N segments has two kinds of events that occur 2–5 times, never next to each other: a *scene* (one photograph,
filmed anew each time, so that its caption is true of every occurrence) and a *subject* (photographs that share a noun
which no other segment has). Every other segment is another photograph. Those with a caption whose nouns no other
segment has together are anchors for before, after and while.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from chunkv2l.errors import InputError
from chunkv2l.train.data.nouns import bare_name, with_article
from chunkv2l.train.data.questions import Described
from evaluation.movies.photographs import SECONDS
from evaluation.movies.structure import is_absent

Relation = Literal["before", "after", "while", "first", "last", "count", "within"]
RELATIONS: Final[tuple[Relation, ...]] = ("before", "after", "while", "first", "last", "count", "within")
FEWEST, MOST = 2, 5
"""Least and greatest number of occurrences of an event."""
ANCHORS: Final = 3
"""Anchors that questions are asked about."""
LEAST: Final = 26
"""Least number of segments: four events of five occurrences, never adjacent, and anchors."""
_TRIES: Final = 100


@dataclass(frozen=True)
class Question:
    """A question, and the segments with its answer.

    Attributes:
        relation: the relation asked for.
        text: the question.
        right: the segments that answer it: all occurrences for "count", else one segment.
        anchor: a statement of the event that the question refers to, as the router alone would be asked.
        occurrences: the segments that the anchor is true of.
        event: "anchor" for an event that occurs once, else "scene" or "subject".
    """

    relation: Relation
    text: str
    right: tuple[int, ...]
    anchor: str
    occurrences: tuple[int, ...]
    event: str


@dataclass(frozen=True)
class Ordered:
    """A movie: segment i is take `takes[i]` of photograph `photographs[i]`."""

    photographs: tuple[int, ...]
    takes: tuple[int, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class _Event:
    type: str
    clause: str
    """the event within a question: "a dog runs"; "there is a dog" """
    statement: str
    photographs: tuple[int, ...]
    takes: tuple[int, ...]
    noun: str = ""
    """the noun that a subject's photographs share, and no other segment mentions"""


def make_ordered(
    described: Sequence[Described], segments: int, rng: random.Random, allowed: Sequence[int] | None = None
) -> Ordered:
    """Return a movie of so many segments, with four questions for each event and three for each anchor.

    Raises:
        InputError: fewer segments than `LEAST`, or photographs that can't fill them.
    """
    if segments < LEAST:
        raise InputError(f"A movie with relations has at least {LEAST} segments, not {segments}.")
    numbers = [i for i in (range(len(described)) if allowed is None else sorted(set(allowed))) if described[i].captions]
    for _ in range(_TRIES):
        movie = _try(described, numbers, segments, rng)
        if movie is not None:
            return movie
    raise InputError(
        f"{len(numbers)} photographs with captions can't fill a movie of {segments} segments with events that occur "
        f"{FEWEST} to {MOST} times: give more photographs."
    )


def _try(described: Sequence[Described], numbers: Sequence[int], segments: int, rng: random.Random) -> Ordered | None:
    events = _subjects(described, numbers, rng)
    if len(events) < 2:
        return None
    nouns = frozenset(event.noun for event in events)
    used = {number for event in events for number in event.photographs}
    plain = [n for n in numbers if n not in used and not nouns & described[n].nouns]
    taken = rng.sample(plain, len(plain))
    scenes: list[tuple[int, int]] = []
    while taken and len(scenes) < 2:
        number = taken.pop()
        times = rng.randint(FEWEST, MOST)
        scenes.append((number, times))
    once = segments - sum(len(event.photographs) for event in events) - sum(times for _, times in scenes)
    if len(scenes) < 2 or once > len(taken):
        return None
    single = taken[:once]
    everyone = [*used, *(number for number, _ in scenes), *single]

    def unique(number: int) -> list[str]:
        others = [described[n].nouns for n in everyone if n != number]
        return [caption for caption in described[number].captions if is_absent(caption, others)]

    all_events = list(events)
    for number, times in scenes:
        captions = unique(number)
        if not captions:
            return None
        caption = rng.choice(captions)
        all_events.append(_Event("scene", _clause(caption), caption, (number,) * times, tuple(range(times))))
    positions = _positions(segments, [len(event.photographs) for event in all_events], rng)
    if positions is None:
        return None
    photographs, takes = [-1] * segments, [0] * segments
    for event, segments_of in zip(all_events, positions, strict=True):
        for segment, number, take in zip(segments_of, event.photographs, event.takes, strict=True):
            photographs[segment], takes[segment] = number, take
    free = [i for i, number in enumerate(photographs) if number < 0]
    for segment, number in zip(free, single, strict=True):
        photographs[segment] = number
    anchors = [(i, c) for i in free if 0 < i < segments - 1 and (c := unique(photographs[i]))]
    if len(anchors) < ANCHORS:
        return None
    questions = [
        question
        for segment, captions in rng.sample(anchors, ANCHORS)
        for question in _about_anchor(segment, rng.choice(captions))
    ]
    for event, segments_of in zip(all_events, positions, strict=True):
        questions += _about_event(event, segments_of, segments, rng)
    return Ordered(tuple(photographs), tuple(takes), tuple(questions))


def _subjects(described: Sequence[Described], numbers: Sequence[int], rng: random.Random) -> list[_Event]:
    """Draw two rare nouns, each with photographs that don't mention the other; [] if there are none."""
    by_noun: dict[str, list[int]] = {}
    for number in numbers:
        for noun in sorted(described[number].nouns):
            by_noun.setdefault(noun, []).append(number)
    nouns = sorted(noun for noun, having in by_noun.items() if MOST <= len(having) <= max(MOST, len(numbers) // 8))
    if len(nouns) < 2:
        return []
    pair = rng.sample(nouns, 2)
    events = []
    for noun, other in (pair, reversed(pair)):
        usable = [n for n in by_noun[noun] if other not in described[n].nouns]
        times = rng.randint(FEWEST, MOST)
        if len(usable) < times:
            return []
        clause, photographs = f"there is {with_article(noun)}", tuple(rng.sample(usable, times))
        events.append(_Event("subject", clause, bare_name(noun), photographs, (0,) * times, noun))
    return events


def _positions(segments: int, counts: Sequence[int], rng: random.Random) -> list[list[int]] | None:
    """Draw the segments of each event's occurrences: no segment twice, no event twice in a row; None if that fails."""
    for _ in range(_TRIES):
        order = rng.sample(range(segments), sum(counts))
        positions, begin = [], 0
        for count in counts:
            positions.append(sorted(order[begin : begin + count]))
            begin += count
        if all(b - a > 1 for occurrences in positions for a, b in pairwise(occurrences)):
            return positions
    return None


def _about_anchor(segment: int, caption: str) -> list[Question]:
    clause = _clause(caption)
    asked: tuple[tuple[Relation, str, int], ...] = (
        ("before", f"What happens before {clause}?", segment - 1),
        ("after", f"What happens after {clause}?", segment + 1),
        ("while", f"What happens while {clause}?", segment),
    )
    return [Question(relation, text, (right,), caption, (segment,), "anchor") for relation, text, right in asked]


def _about_event(event: _Event, occurrences: Sequence[int], segments: int, rng: random.Random) -> list[Question]:
    """Ask for the first and the last time, the number of times, and the one time within a range."""
    if rng.random() < 0.5:
        right, border = occurrences[0], rng.randint(occurrences[0] + 1, occurrences[1])
        within = f"In the first {border * SECONDS:g} seconds, when is it that {event.clause}?"
    else:
        right, border = occurrences[-1], rng.randint(occurrences[-2] + 1, occurrences[-1])
        within = f"In the last {(segments - border) * SECONDS:g} seconds, when is it that {event.clause}?"
    asked: tuple[tuple[Relation, str, tuple[int, ...]], ...] = (
        ("first", f"When is the first time that {event.clause}?", (occurrences[0],)),
        ("last", f"When is the last time that {event.clause}?", (occurrences[-1],)),
        ("count", f"How many times is it that {event.clause}?", tuple(occurrences)),
        ("within", within, (right,)),
    )
    return [
        Question(relation, text, answering, event.statement, tuple(occurrences), event.type)
        for relation, text, answering in asked
    ]


def _clause(caption: str) -> str:
    """Return a caption as a clause: "A dog runs." → "a dog runs"."""
    text = caption.rstrip(" .")
    return text[:1].lower() + text[1:]
