"""Videos to train on: a folder with a `captions.jsonl`, one row a stretch of a video that its captions describe.

    {"file": "beach.mp4", "captions": ["A dog runs into the sea.", "A wet dog on a beach."], "start": 12.5, "end": 20}
    {"file": "kitchen/soup.mkv", "captions": ["A man stirs a pot."]}

`file` is relative to the folder. `start` and `end` are seconds on the video's own timeline, as `chunkv2l` counts them
(0 is where it begins to play, by presentation times); without them the whole video is meant. Captions are whole
sentences about what is seen; the more of them a stretch has, the better. A row without captions has `"captions": []`.
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
KNOWN = ("captions", "end", "file", "start")


@dataclass(frozen=True)
class Stretch:
    """A stretch [start, end) of a video, in seconds on its timeline."""

    path: Path
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def part(self, least: float, rng: random.Random) -> Stretch:
        """A part of it, at least that share of it long."""
        length = self.seconds * rng.uniform(least, 1.0)
        start = self.start + rng.uniform(0.0, self.seconds - length)
        return Stretch(self.path, start, start + length)

    def middle(self, share: float) -> Stretch:
        """Its middle, that share of it long."""
        rest = self.seconds * (1 - share) / 2
        return Stretch(self.path, self.start + rest, self.end - rest)

    def clip(self, sampling: FrameSampling) -> Clip:
        """Its frames, each the one shown at its sample time (`chunkv2l.video.clip.read_clip`).

        Raises:
            InputError: the file can't be read, or has no picture there.
        """
        return read_clip(self.path, sampling.times, sampling.shrink, self.start, self.end)


@dataclass(frozen=True)
class VideoSet:
    """Stretches of videos; `described[i]` says what is known of stretch i."""

    name: str
    stretches: tuple[Stretch, ...]
    described: tuple[Described, ...]

    def __len__(self) -> int:
        return len(self.stretches)


def load_videos(folder: Path, limit: int | None = None) -> VideoSet:
    """Read a folder's `captions.jsonl` and look at the header of each video that it names.

    Args:
        limit: at most so many rows.

    Raises:
        InputError: no such file, or a row that can't be used; the sentence says which and why.
    """
    path = folder / ROWS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"A folder of videos needs a {ROWS}, and {path} can't be read ({error}).") from None
    infos: dict[Path, MovieInfo] = {}
    stretches: list[Stretch] = []
    described: list[Described] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if limit is not None and len(stretches) >= limit:
            break
        try:
            stretch, captions = _row(line, folder, infos)
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        stretches.append(stretch)
        described.append(Described(captions))
    if not stretches:
        raise InputError(f"{path} has no rows: each is a stretch of a video and what is seen in it.")
    return VideoSet(folder.name, tuple(stretches), tuple(described))


def _row(line: str, folder: Path, infos: dict[Path, MovieInfo]) -> tuple[Stretch, tuple[str, ...]]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"it isn't JSON ({error}).") from None
    if not isinstance(row, dict):
        raise InputError('a row must be an object: {"file": …, "captions": […]}.')
    if unknown := sorted(set(row) - set(KNOWN)):
        raise InputError(f"a row has no {', '.join(unknown)}; it has {', '.join(KNOWN)}.")
    name, captions = row.get("file"), row.get("captions")
    if not isinstance(name, str) or not name:
        raise InputError('its "file" must be a video\'s name in the folder.')
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise InputError('its "captions" must be a list of sentences.')
    path = folder / name
    if path not in infos:
        infos[path] = probe(path)
    return _stretch(row, infos[path]), tuple(text for caption in captions if (text := clean(caption)))


def _stretch(row: dict[str, Any], info: MovieInfo) -> Stretch:
    start, end = _seconds(row, "start", info.first), _seconds(row, "end", info.duration)
    if not 0 <= start < end:
        raise InputError(f"it ends at {end:g} s, which isn't after its start at {start:g} s.")
    if start >= info.duration:
        raise InputError(f"it starts at {start:g} s, but {info.path.name} is {info.duration:.2f} s long.")
    if end > info.duration + 1.0:  # headers are off by a little
        raise InputError(f"it ends at {end:g} s, but {info.path.name} is {info.duration:.2f} s long.")
    return Stretch(info.path, start, min(end, info.duration))


def _seconds(row: dict[str, Any], name: str, default: float) -> float:
    value = row.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f'its "{name}" must be seconds, not {value!r}.')
    return float(value)
