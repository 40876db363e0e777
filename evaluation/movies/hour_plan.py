"""What a long movie shows and when: which source, which part of it, seen how, and how it follows the shot before it.

Pure: sources and a seed in, shots and their true windows out. Times are counted in frames. Sources come in shuffled
rounds, so that none comes again before all of its kind have; when one does, it is another part of it, at another speed,
through another window, perhaps mirrored, so that no two shots are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import numpy as np

SHORTEST, LONGEST = 2.5, 11.0
"""Seconds of a shot; a clip that is shorter is shown whole."""
DISSOLVES = 0.25
"""The share of borders that are dissolves; the others are hard cuts."""
DISSOLVE = (0.4, 1.0)
"""Seconds that a dissolve takes."""
SPEEDS = (0.8, 1.0, 1.25)
Kind = Literal["clip", "photograph"]

DEEPEST: Mapping[Kind, float] = MappingProxyType({"clip": 1.5, "photograph": 1.25})
"""How far in a window may be: it is at least 1/DEEPEST as wide as the widest that fits."""


@dataclass(frozen=True)
class Source:
    """A clip or a photograph.

    Attributes:
        words: sentences that are true of it, perhaps none.
        seconds: of a clip.
    """

    name: str
    kind: Kind
    words: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class View:
    """What is seen of a picture: the window's centre (fractions of what it can move over) and how far in, ≥ 1."""

    x: float
    y: float
    zoom: float


@dataclass(frozen=True)
class Shot:
    """`frames` frames of one source, the first `dissolve` of which lie over the last ones of the shot before.

    Attributes:
        begin: seconds into a clip.
        speed: clip seconds a second.
        views: at the first frame and at the last; the camera moves from one to the other.
    """

    source: Source
    frames: int
    views: tuple[View, View]
    dissolve: int = 0
    begin: float = 0.0
    speed: float = 1.0
    mirrored: bool = False


def plan(sources: Sequence[Source], seconds: float, fps: int, seed: int, clips: float = 0.4) -> list[Shot]:
    """Shots for a movie that ends with the first shot that reaches `seconds`.

    Args:
        sources: at least one.
        clips: the share of shots that are clips, where there are both.
    """
    random = np.random.default_rng(seed)
    kinds: dict[Kind, list[Source]] = {
        "clip": [source for source in sources if source.kind == "clip"],
        "photograph": [source for source in sources if source.kind == "photograph"],
    }
    share = 0.0 if not kinds["clip"] else 1.0 if not kinds["photograph"] else clips
    rounds = {kind: _rounds(own, random) for kind, own in kinds.items()}
    shots: list[Shot] = []
    end = 0
    while end < seconds * fps:
        source = next(rounds["clip" if random.random() < share else "photograph"])
        shot = _shot(source, shots[-1].frames if shots else 0, fps, random)
        shots.append(shot)
        end += shot.frames - shot.dissolve
    return shots


def starts(shots: Sequence[Shot]) -> list[int]:
    """The movie's frame at which each shot begins; one that dissolves in begins before the last one's end."""
    found, end = [], 0
    for shot in shots:
        found.append(end - shot.dissolve)
        end = found[-1] + shot.frames
    return found


def windows(shots: Sequence[Shot], fps: int) -> list[tuple[float, float]]:
    """(start, end) of each shot, seconds; they cover the movie, and a border is a dissolve's middle."""
    begun = starts(shots)
    borders = [start + shot.dissolve / 2 for start, shot in zip(begun, shots, strict=True)]
    borders.append(begun[-1] + shots[-1].frames)
    return [(a / fps, b / fps) for a, b in pairwise(borders)]


def queries(shots: Sequence[Shot], fps: int, vid: str) -> list[dict[str, object]]:
    """QVHighlights' rows: one for each source that has words, with all the windows in which it is seen."""
    when: dict[Source, list[list[float]]] = {}
    times = windows(shots, fps)
    for shot, (start, end) in zip(shots, times, strict=True):
        if shot.source.words:
            when.setdefault(shot.source, []).append([start, end])
    return [
        {"qid": qid, "vid": vid, "query": source.words[0], "relevant_windows": found, "duration": times[-1][1]}
        for qid, (source, found) in enumerate(when.items())
    ]


def _rounds(sources: Sequence[Source], random: np.random.Generator) -> Iterator[Source]:
    """All sources in a random order, then all in another one …; a new round doesn't begin with the last one's end."""
    last: Source | None = None
    while sources:
        order = [sources[place] for place in random.permutation(len(sources))]
        if order[0] is last:
            order.append(order.pop(0))
        yield from order
        last = order[-1]


def _shot(source: Source, before: int, fps: int, random: np.random.Generator) -> Shot:
    """`before`: frames of the shot before it, 0 for the first."""
    length = float(random.uniform(SHORTEST, LONGEST))
    begin, speed = 0.0, 1.0
    if source.kind == "clip":
        speed = float(random.choice(SPEEDS))
        length = min(length, source.seconds / speed)
        begin = float(random.uniform(0.0, max(0.0, source.seconds - length * speed)))
    frames = max(2, int(length * fps))
    dissolve = round(float(random.uniform(*DISSOLVE)) * fps) if before and random.random() < DISSOLVES else 0
    dissolve = min(dissolve, frames // 3, before // 3)  # a shot may dissolve in and out
    first = _view(source.kind, random)
    last = _view(source.kind, random) if source.kind == "photograph" or random.random() < 0.3 else first
    return Shot(source, frames, (first, last), dissolve, begin, speed, bool(random.random() < 0.5))


def _view(kind: Kind, random: np.random.Generator) -> View:
    x, y, zoom = random.random(3)
    return View(float(x), float(0.2 + 0.6 * y), float(1 + zoom * (DEEPEST[kind] - 1)))
