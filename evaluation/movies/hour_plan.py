"""Plan a long movie: the source of each shot, the part of it that is shown, the camera, and the transition.

Pure functions from sources and a seed to shots and their true windows. Times are counted in frames. Sources come in
shuffled rounds: none comes again before all others of its type have. A source that comes again shows another part, at
another speed, through another window, perhaps mirrored, so that no two shots are the same.
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
"""Share of transitions that are dissolves; the others are hard cuts."""
DISSOLVE = (0.4, 1.0)
"""Least and greatest length of a dissolve, seconds."""
SPEEDS = (0.8, 1.0, 1.25)
SourceType = Literal["clip", "photograph"]

MAX_ZOOM: Mapping[SourceType, float] = MappingProxyType({"clip": 1.5, "photograph": 1.25})
"""Greatest zoom: a window is at least 1/MAX_ZOOM as wide as the widest that fits."""


@dataclass(frozen=True)
class Source:
    """A clip or a photograph.

    Attributes:
        captions: sentences that are true of it, perhaps none.
        seconds: length of a clip.
    """

    name: str
    type: SourceType
    captions: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class View:
    """The window of a picture: its centre, as fractions of the range that it can move over, and its zoom, ≥ 1."""

    x: float
    y: float
    zoom: float


@dataclass(frozen=True)
class Shot:
    """`frames` frames of one source; the first `dissolve` of them are blended with the end of the previous shot.

    Attributes:
        begin: second of the clip at which the shot begins.
        speed: seconds of the clip a second.
        views: windows of the first and the last frame; the camera moves from one to the other.
    """

    source: Source
    frames: int
    views: tuple[View, View]
    dissolve: int = 0
    begin: float = 0.0
    speed: float = 1.0
    mirrored: bool = False


def plan(sources: Sequence[Source], seconds: float, fps: int, seed: int, clips: float = 0.4) -> list[Shot]:
    """Return the shots of a movie, which ends with the first shot that reaches `seconds`.

    Args:
        sources: at least one.
        clips: share of shots that are clips, where there are both.
    """
    random = np.random.default_rng(seed)
    by_type: dict[SourceType, list[Source]] = {
        "clip": [source for source in sources if source.type == "clip"],
        "photograph": [source for source in sources if source.type == "photograph"],
    }
    share = 0.0 if not by_type["clip"] else 1.0 if not by_type["photograph"] else clips
    rounds = {type_: _rounds(group, random) for type_, group in by_type.items()}
    shots: list[Shot] = []
    end = 0
    while end < seconds * fps:
        source = next(rounds["clip" if random.random() < share else "photograph"])
        shot = _shot(source, shots[-1].frames if shots else 0, fps, random)
        shots.append(shot)
        end += shot.frames - shot.dissolve
    return shots


def starts(shots: Sequence[Shot]) -> list[int]:
    """Return the frame at which each shot begins; with a dissolve it begins before the previous one's end."""
    begins, end = [], 0
    for shot in shots:
        begins.append(end - shot.dissolve)
        end = begins[-1] + shot.frames
    return begins


def windows(shots: Sequence[Shot], fps: int) -> list[tuple[float, float]]:
    """Return (start, end) of each shot, seconds; they cover the movie and meet in the middle of dissolves."""
    begins = starts(shots)
    borders = [begin + shot.dissolve / 2 for begin, shot in zip(begins, shots, strict=True)]
    borders.append(begins[-1] + shots[-1].frames)
    return [(a / fps, b / fps) for a, b in pairwise(borders)]


def queries(shots: Sequence[Shot], fps: int, vid: str) -> list[dict[str, object]]:
    """Return QVHighlights' rows, one for each source with captions, with all windows in which it is shown."""
    when: dict[Source, list[list[float]]] = {}
    times = windows(shots, fps)
    for shot, (start, end) in zip(shots, times, strict=True):
        if shot.source.captions:
            when.setdefault(shot.source, []).append([start, end])
    return [
        {"qid": qid, "vid": vid, "query": source.captions[0], "relevant_windows": shown, "duration": times[-1][1]}
        for qid, (source, shown) in enumerate(when.items())
    ]


def _rounds(sources: Sequence[Source], random: np.random.Generator) -> Iterator[Source]:
    """Yield all sources in random order, again and again; no source comes twice in a row."""
    last: Source | None = None
    while sources:
        order = [sources[number] for number in random.permutation(len(sources))]
        if order[0] is last:
            order.append(order.pop(0))
        yield from order
        last = order[-1]


def _shot(source: Source, before: int, fps: int, random: np.random.Generator) -> Shot:
    """Draw a shot; `before` is the number of frames of the previous one, 0 for the first."""
    length = float(random.uniform(SHORTEST, LONGEST))
    begin, speed = 0.0, 1.0
    if source.type == "clip":
        speed = float(random.choice(SPEEDS))
        length = min(length, source.seconds / speed)
        begin = float(random.uniform(0.0, max(0.0, source.seconds - length * speed)))
    frames = max(2, int(length * fps))
    dissolve = round(float(random.uniform(*DISSOLVE)) * fps) if before and random.random() < DISSOLVES else 0
    dissolve = min(dissolve, frames // 3, before // 3)  # a shot may dissolve in and out
    first = _view(source.type, random)
    last = _view(source.type, random) if source.type == "photograph" or random.random() < 0.3 else first
    return Shot(source, frames, (first, last), dissolve, begin, speed, bool(random.random() < 0.5))


def _view(source_type: SourceType, random: np.random.Generator) -> View:
    x, y, zoom = random.random(3)
    return View(float(x), float(0.2 + 0.6 * y), float(1 + zoom * (MAX_ZOOM[source_type] - 1)))
