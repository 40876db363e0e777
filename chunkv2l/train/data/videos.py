"""Read videos to train on: a folder with a `captions.jsonl`, a row for each interval of a video that is described.

    {"file": "beach.mp4", "captions": ["A dog runs into the sea.", "A wet dog on a beach."], "start": 12.5, "end": 20}
    {"file": "kitchen/soup.mkv", "captions": ["A man stirs a pot."]}

`file` is relative to the folder. `start` and `end` are seconds on the video's own timeline, as `chunkv2l` counts them
(0 is where it begins to play, by presentation times); without them the row is about the whole video. Captions are whole
sentences about what is seen; the more of them an interval has, the better. A row without captions has `"captions": []`.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chunkv2l.errors import InputError
from chunkv2l.train.data.questions import Described, clean
from chunkv2l.video.clip import Clip, read_clip
from chunkv2l.video.frame_sampling import FrameSampling
from chunkv2l.video.probe import MovieInfo, probe

ROWS = "captions.jsonl"
KEYS = ("captions", "end", "file", "start")


@dataclass(frozen=True)
class VideoInterval:
    """An interval [start, end) of a video, seconds on its timeline."""

    path: Path
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def part(self, least: float, rng: random.Random) -> VideoInterval:
        """Return a random part, whose length is at least the share `least` of the interval's."""
        length = self.seconds * rng.uniform(least, 1.0)
        start = self.start + rng.uniform(0.0, self.seconds - length)
        return VideoInterval(self.path, start, start + length)

    def middle(self, share: float) -> VideoInterval:
        """Return the middle part, whose length is this share of the interval's."""
        margin = self.seconds * (1 - share) / 2
        return VideoInterval(self.path, self.start + margin, self.end - margin)

    def clip(self, sampling: FrameSampling) -> Clip:
        """Return the interval's frames, each the one shown at its sample time (`chunkv2l.video.clip.read_clip`).

        Raises:
            InputError: the file can't be read, or has no picture there.
        """
        return read_clip(self.path, sampling.times, sampling.shrink, self.start, self.end)


@dataclass(frozen=True)
class VideoSet:
    """Intervals of videos, and the texts of each."""

    name: str
    intervals: tuple[VideoInterval, ...]
    described: tuple[Described, ...]

    def __len__(self) -> int:
        return len(self.intervals)


def load_videos(folder: Path, limit: int | None = None) -> VideoSet:
    """Read a folder's `captions.jsonl` and look at the header of each video that it names.

    Args:
        limit: rows to read, at most; all if None.

    Raises:
        InputError: no such file, or a row that can't be used; the sentence says which and why.
    """
    path = folder / ROWS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"A folder of videos needs a {ROWS}, and {path} can't be read ({error}).") from None
    infos: dict[Path, MovieInfo] = {}
    intervals: list[VideoInterval] = []
    described: list[Described] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if limit is not None and len(intervals) >= limit:
            break
        try:
            interval, captions = _row(line, folder, infos)
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        intervals.append(interval)
        described.append(Described(captions))
    if not intervals:
        raise InputError(f"{path} has no rows: each describes an interval of a video.")
    return VideoSet(folder.name, tuple(intervals), tuple(described))


def _row(line: str, folder: Path, infos: dict[Path, MovieInfo]) -> tuple[VideoInterval, tuple[str, ...]]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"it isn't JSON ({error}).") from None
    if not isinstance(row, dict):
        raise InputError('a row must be an object: {"file": …, "captions": […]}.')
    if unknown := sorted(set(row) - set(KEYS)):
        raise InputError(f"a row has no {', '.join(unknown)}; it has {', '.join(KEYS)}.")
    name, captions = row.get("file"), row.get("captions")
    if not isinstance(name, str) or not name:
        raise InputError('its "file" must be a video\'s name in the folder.')
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise InputError('its "captions" must be a list of sentences.')
    path = folder / name
    if path not in infos:
        infos[path] = probe(path)
    return _interval(row, infos[path]), tuple(text for caption in captions if (text := clean(caption)))


def _interval(row: dict[str, Any], info: MovieInfo) -> VideoInterval:
    start, end = _seconds(row, "start", info.first), _seconds(row, "end", info.duration)
    if not 0 <= start < end:
        raise InputError(f"it ends at {end:g} s, which isn't after its start at {start:g} s.")
    if start >= info.duration:
        raise InputError(f"it starts at {start:g} s, but {info.path.name} is {info.duration:.2f} s long.")
    if end > info.duration + 1.0:  # headers are off by a little
        raise InputError(f"it ends at {end:g} s, but {info.path.name} is {info.duration:.2f} s long.")
    return VideoInterval(info.path, start, min(end, info.duration))


def _seconds(row: dict[str, Any], name: str, default: float) -> float:
    value = row.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f'its "{name}" must be seconds, not {value!r}.')
    return float(value)
