"""Questions about order in time, on movies of known order. Pure functions.

A movie of N segments has two kinds of events that occur 2–5 times, never next to each other: a *scene* (one photograph,
filmed anew each time, so that its caption is true of every occurrence) and a *subject* (photographs that share a noun
which no other segment has). All other segments are photographs of their own; some have a caption whose nouns no other
segment has together: anchors for before, after and while.
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

Kind = Literal["before", "after", "while", "first", "last", "count", "within"]
KINDS: Final[tuple[Kind, ...]] = ("before", "after", "while", "first", "last", "count", "within")
FEWEST, MOST = 2, 5
"""How often an event occurs."""
ANCHORS: Final = 3
"""Anchors that a movie has at least."""
LEAST: Final = 26
"""Segments of a movie: four events of five occurrences, never adjacent, and room for anchors."""
_TRIES: Final = 100


@dataclass(frozen=True)
class Question:
    """A question, and where in the movie its answer is.

    Attributes:
        kind: the relation asked for.
        text: the question.
        right: the segments that it is to be answered from: all of them for "count", one otherwise.
        anchor: a statement of the event that it hangs on; what the router alone would be asked.
        occurrences: the segments of which the anchor is true.
        event: "anchor" for an event that occurs once, else "scene" or "subject".
    """

    kind: Kind
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
    kind: str
    clause: str
    """As it stands in a question: "a dog runs", "there is a dog"."""
    statement: str
    photographs: tuple[int, ...]
    takes: tuple[int, ...]
    noun: str = ""
    """What a subject's photographs share, and no other segment mentions."""


def make_ordered(
    described: Sequence[Described], segments: int, rng: random.Random, allowed: Sequence[int] | None = None
) -> Ordered:
    """A movie of so many segments, with four questions for each event and three for each of `ANCHORS` anchors.

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

    told = list(events)
    for number, times in scenes:
        captions = unique(number)
        if not captions:
            return None
        caption = rng.choice(captions)
        told.append(_Event("scene", _clause(caption), caption, (number,) * times, tuple(range(times))))
    order = _places(segments, [len(event.photographs) for event in told], rng)
    if order is None:
        return None
    photographs, takes = [-1] * segments, [0] * segments
    for event, places in zip(told, order, strict=True):
        for place, number, take in zip(places, event.photographs, event.takes, strict=True):
            photographs[place], takes[place] = number, take
    free = [i for i, number in enumerate(photographs) if number < 0]
    for place, number in zip(free, single, strict=True):
        photographs[place] = number
    anchors = [(i, c) for i in free if 0 < i < segments - 1 and (c := unique(photographs[i]))]
    if len(anchors) < ANCHORS:
        return None
    questions = [
        question
        for place, captions in rng.sample(anchors, ANCHORS)
        for question in _about_anchor(place, rng.choice(captions))
    ]
    for event, places in zip(told, order, strict=True):
        questions += _about_event(event, places, segments, rng)
    return Ordered(tuple(photographs), tuple(takes), tuple(questions))


def _subjects(described: Sequence[Described], numbers: Sequence[int], rng: random.Random) -> list[_Event]:
    """Two nouns with photographs that don't mention the other one; rare nouns, so that enough is left without them."""
    by_noun: dict[str, list[int]] = {}
    for number in numbers:
        for noun in sorted(described[number].nouns):
            by_noun.setdefault(noun, []).append(number)
    nouns = sorted(noun for noun, own in by_noun.items() if MOST <= len(own) <= max(MOST, len(numbers) // 8))
    if len(nouns) < 2:
        return []
    pair = rng.sample(nouns, 2)
    found = []
    for noun, other in (pair, reversed(pair)):
        own = [n for n in by_noun[noun] if other not in described[n].nouns]
        times = rng.randint(FEWEST, MOST)
        if len(own) < times:
            return []
        clause, photographs = f"there is {with_article(noun)}", tuple(rng.sample(own, times))
        found.append(_Event("subject", clause, bare_name(noun), photographs, (0,) * times, noun))
    return found


def _places(segments: int, counts: Sequence[int], rng: random.Random) -> list[list[int]] | None:
    """Where each event occurs, in order: no segment twice, no event next to itself."""
    for _ in range(_TRIES):
        order = rng.sample(range(segments), sum(counts))
        places, begin = [], 0
        for count in counts:
            places.append(sorted(order[begin : begin + count]))
            begin += count
        if all(b - a > 1 for own in places for a, b in pairwise(own)):
            return places
    return None


def _about_anchor(place: int, caption: str) -> list[Question]:
    clause = _clause(caption)
    asked: tuple[tuple[Kind, str, int], ...] = (
        ("before", f"What happens before {clause}?", place - 1),
        ("after", f"What happens after {clause}?", place + 1),
        ("while", f"What happens while {clause}?", place),
    )
    return [Question(kind, text, (right,), caption, (place,), "anchor") for kind, text, right in asked]


def _about_event(event: _Event, places: Sequence[int], segments: int, rng: random.Random) -> list[Question]:
    """The first and the last time, how often, and once within a stretch that has one occurrence only."""
    occurrences = tuple(places)
    if rng.random() < 0.5:
        right, border = places[0], rng.randint(places[0] + 1, places[1])
        within = f"In the first {border * SECONDS:g} seconds, when is it that {event.clause}?"
    else:
        right, border = places[-1], rng.randint(places[-2] + 1, places[-1])
        within = f"In the last {(segments - border) * SECONDS:g} seconds, when is it that {event.clause}?"
    asked: tuple[tuple[Kind, str, tuple[int, ...]], ...] = (
        ("first", f"When is the first time that {event.clause}?", (places[0],)),
        ("last", f"When is the last time that {event.clause}?", (places[-1],)),
        ("count", f"How many times is it that {event.clause}?", occurrences),
        ("within", within, (right,)),
    )
    return [Question(kind, text, own, event.statement, occurrences, event.kind) for kind, text, own in asked]


def _clause(caption: str) -> str:
    """A caption as it stands within a sentence: "A dog runs." → "a dog runs"."""
    text = caption.rstrip(" .")
    return text[:1].lower() + text[1:]
