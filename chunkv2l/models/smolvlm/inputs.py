"""Make SmolVLM2's input of a clip as the Frames2LoRA reference does: frames, pixels, words.

Pure functions. The rules are those of transformers 4.51.3, under which the released hypernetworks were trained (arXiv
2606.04351, section 4); later transformers changed names and filters, so nothing here depends on its processors.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from num2words import num2words
from numpy.typing import NDArray
from PIL import Image

from chunkv2l.errors import InputError
from chunkv2l.files import read_json
from chunkv2l.sanitize import quoted

INSTRUCTION = "Internalize this video for later captioning."
"""The question that the reference asks while it reads a clip; the released hypernetworks know no other."""
MAX_FRAMES = 12
FRAMES_PER_SECOND = 1.0
MAX_TILE = 4096
"""Pixels of a tile's side; SmolVLM2's have 384 and 512."""
SKIP_SECONDS = 1
LONGEST_EDGE = 384
_FALLBACK_FPS = 30.0
_CLOCK_SLACK = 1e-6
"""Seconds: a time stamp that is a whole second up to floating point counts as that second."""


def sample_indices(
    total: int, fps: float, max_frames: int = MAX_FRAMES, target_fps: float = FRAMES_PER_SECOND
) -> list[int]:
    """Return the indices of the frames to take from `total` frames at `fps`: ascending, one to `max_frames` of them.

    One frame a `1 / target_fps` seconds, spread evenly from the first to the last; over `max_frames` of them (with a
    second to spare at both ends), the first and the last second are left out.
    """
    duration = total / fps
    count = max(min(round(target_fps * duration), max_frames), 1)
    start, end = 0, total - 1
    if duration - 2 * SKIP_SECONDS > max_frames * target_fps:
        start, end = int(SKIP_SECONDS * fps), int(total - SKIP_SECONDS * fps)
    start, end = max(0, start), min(end, total - 1)
    if start >= end:
        start, end = 0, total - 1
    return [int(index) for index in np.unique(np.linspace(start, end, count, dtype=int))]


def sample_times(duration: float, fps: float, max_frames: int = MAX_FRAMES) -> list[float]:
    """Return `sample_indices` for a segment of `duration` seconds, in seconds from its start."""
    if not (math.isfinite(fps) and fps > 0):
        fps = _FALLBACK_FPS
    total = max(round(duration * fps), 1)
    return [index / fps for index in sample_indices(total, fps, max_frames)]


def fit_size(height: int, width: int, longest_edge: int) -> tuple[int, int]:
    """Return (height, width): the longest edge at `longest_edge`, the other one scaled, made even, at least 1."""
    ratio = width / height
    if width >= height:
        short = int(longest_edge / ratio)
        return max(short + short % 2, 1), longest_edge
    short = int(longest_edge * ratio)
    return longest_edge, max(short + short % 2, 1)


def shrink(image: NDArray[np.uint8], longest_edge: int = LONGEST_EDGE) -> NDArray[np.uint8]:
    """Apply the reference's first step to a frame, uint8 [H, W, 3]: Lanczos to the size that `fit_size` gives.

    A shrunk frame passes unchanged, so frames may be shrunk as they are decoded and again when they are used.
    """
    height, width = image.shape[:2]
    if max(height, width) == longest_edge and (min(height, width) % 2 == 0 or min(height, width) == 1):
        return image
    new_height, new_width = fit_size(height, width, longest_edge)
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((new_width, new_height), Image.Resampling.LANCZOS))


@dataclass(frozen=True)
class PixelRule:
    """The way from a shrunk frame to the vision tower's input: a square of `tile` pixels, scaled and normalised."""

    tile: int
    longest_edge: int = LONGEST_EDGE
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    scale: float = 1 / 255

    def pixels(self, frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return float32 [F, 3, tile, tile] of frames uint8 [H, W, 3], whole or shrunk, of any sizes.

        Each is shrunk, then stretched to the square whatever its shape was, both Lanczos, one tile a frame; then each
        value is looked up in `levels`.
        """
        out = np.empty((len(frames), 3, self.tile, self.tile), dtype=np.float32)
        levels = self.levels()

        def fill(row: NDArray[np.float32], frame: NDArray[np.uint8]) -> None:
            square = self._square(frame)
            for channel in range(3):
                np.take(levels[channel], square[..., channel], out=row[channel], mode="clip")

        _fill_in_threads(fill, out, frames)
        return out

    def _square(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        picture = Image.fromarray(np.ascontiguousarray(shrink(frame, self.longest_edge)))
        return np.asarray(picture.resize((self.tile, self.tile), Image.Resampling.LANCZOS))

    def levels(self) -> NDArray[np.float32]:
        """Return what each channel's 256 values become, float32 [3, 256], computed in the reference's order."""
        mean, std = (np.asarray(values, dtype=np.float32)[:, None] for values in (self.mean, self.std))
        scaled = (np.arange(256, dtype=np.float64) * self.scale).astype(np.float32)
        return np.asarray((scaled[None] - mean) / std, dtype=np.float32)


def _fill_in_threads(fill: Callable[[Any, NDArray[np.uint8]], None], rows: Any, frames: Sequence[Any]) -> None:
    """Fill each row from its frame, in threads where there are several."""
    if len(frames) < 2:
        for row, frame in zip(rows, frames, strict=True):
            fill(row, frame)
        return
    with ThreadPoolExecutor(min(len(frames), os.cpu_count() or 1)) as pool:
        list(pool.map(fill, rows, frames))


def pixel_rule(folder: Path, image_size: int) -> PixelRule:
    """Return the pixel rule of a model's folder: its processor's JSON if there is one, else one tile of `image_size`.

    The published folders say it in `preprocessor_config.json`, those saved by transformers 5 in
    `processor_config.json`. The first step's 384 px are the reference's, whatever the file says.
    """
    values: Mapping[str, Any] = {}
    for name in ("processor_config.json", "preprocessor_config.json"):
        path = folder / name
        if path.is_file():
            content = read_json(path)
            content = content.get("image_processor", content) if isinstance(content, dict) else None
            if not isinstance(content, dict):
                raise InputError(f"{path} can't be read as a processor's configuration.")
            values = {**values, **content}
    try:
        tile = int(values.get("max_image_size", {}).get("longest_edge", image_size))
        rule = PixelRule(
            tile=tile,
            mean=_triple(values.get("image_mean", 0.5)),
            std=_triple(values.get("image_std", 0.5)),
            scale=float(values.get("rescale_factor", 1 / 255)),
        )
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: its processor's configuration can't be used ({quoted(error)}).") from None
    numbers = (*rule.mean, *rule.std, rule.scale)
    if not (1 <= tile <= MAX_TILE and all(map(math.isfinite, numbers)) and all(rule.std)):
        raise InputError(f"{folder}: its processor's configuration has numbers that can't be.")
    return rule


def _triple(value: float | Sequence[float]) -> tuple[float, float, float]:
    """Return a number for each channel, of one for all or three."""
    numbers = [float(value)] * 3 if isinstance(value, (int, float)) else [float(item) for item in value]
    first, second, third = numbers
    return first, second, third


def time_stamp(seconds: float) -> str:
    """Return seconds as MM:SS, rounded down."""
    whole = int(seconds + _CLOCK_SLACK)
    return f"{whole // 60:02d}:{whole % 60:02d}"


def video_text(
    times: Sequence[float], duration: float, frame_tokens: int, *, image: str, fake: str, whole_image: str
) -> str:
    """Return the words around a clip's frames, each frame already as its run of image tokens, up to the instruction.

    Args:
        times: seconds from the clip's start, one a frame.
        duration: the clip's own length in seconds (transformers 4.51.3 wrote the batch's last one into every prompt).
        frame_tokens: image tokens a frame, `(tile / patch)² / scale_factor²`.
        image, fake, whole_image: the tokenizer's `<image>`, `<fake_token_around_image>` and `<global-img>`.
    """
    length = timedelta(seconds=int(duration + _CLOCK_SLACK))
    count = num2words(len(times))
    picture = f"{fake}{whole_image}{image * frame_tokens}{fake}"
    frames = "".join(f"\nFrame from {time_stamp(time)}:{picture}" for time in times)
    return f"You are provided the following series of {count} frames from a {length} [H:MM:SS] video.\n{frames}\n\n"
