"""Makers of small, odd movies for tests, written with PyAV. Nothing here comes from a file."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
CLOCK = 60_000  # ticks a second


def scene(seed: int, count: int = 25, size: tuple[int, int] = (64, 48), drift: float = 0.5) -> list[Image]:
    """`count` RGB frames of one place: a soft random pattern of 4 × 3 colours, swaying by `drift` pixels a frame."""
    rng = np.random.default_rng(seed)
    width, height = size
    coarse = rng.integers(20, 236, (3, 4, 3), dtype=np.uint8)
    wide = cv2.resize(coarse, (width + 64, height), interpolation=cv2.INTER_CUBIC)
    frames = []
    for number in range(count):
        way = (number * drift) % 128
        shift = np.array([[1, 0, -min(way, 128 - way)], [0, 1, 0]], np.float32)
        frames.append(np.asarray(cv2.warpAffine(wide, shift, (width, height)), dtype=np.uint8))
    return frames


def dissolve(before: Sequence[Image], after: Sequence[Image], length: int) -> list[Image]:
    """Two scenes, the last `length` frames of one mixed with the first of the other."""
    mixed = []
    for number in range(length):
        share = (number + 1) / (length + 1)
        mixed.append(cv2.addWeighted(before[number - length], 1 - share, after[number], share, 0).astype(np.uint8))
    return [*before[:-length], *mixed, *after[length:]]


def plain(colour: tuple[int, int, int], count: int = 1, size: tuple[int, int] = (64, 48)) -> list[Image]:
    """`count` frames of one colour."""
    return [np.full((size[1], size[0], 3), colour, np.uint8)] * count


def corners(size: tuple[int, int] = (64, 48)) -> Image:
    """Red above left, green above right, blue below left, white below right: tells which way is up."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    top, left = slice(0, height // 2), slice(0, width // 2)
    bottom, right = slice(height // 2, None), slice(width // 2, None)
    image[top, left], image[top, right] = (255, 0, 0), (0, 255, 0)
    image[bottom, left], image[bottom, right] = (0, 0, 255), (255, 255, 255)
    return image


def write(
    path: Path,
    frames: Sequence[Image],
    times: Sequence[float] | None = None,
    *,
    fps: float = 25.0,
    start: float = 0.0,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    sound: tuple[float, float] | None = None,
) -> Path:
    """Write a movie and return its path; the suffix says which container. The same movie is encoded once a process.

    Args:
        times: seconds at which frames are shown; number / fps if not given.
        start: seconds added to all times.
        sound: (start, end) in seconds of a tone beside the pictures.
    """
    times = [number / fps for number in range(len(frames))] if times is None else times
    encoding = _Encoding(fps, start, codec, pix_fmt, rotation, aspect, options or {}, container_options or {}, sound)
    digest = hashlib.sha256(repr((path.suffix, frames[0].shape, list(times), encoding)).encode())
    for image in frames:
        digest.update(np.ascontiguousarray(image).data)
    if (key := digest.digest()) in _MOVIES:
        path.write_bytes(_MOVIES[key])
    else:
        _encode(path, frames, times, encoding)
        _MOVIES[key] = path.read_bytes()
    return path


@dataclass(frozen=True)
class _Encoding:
    """What `write` is given besides pictures and times."""

    fps: float
    start: float
    codec: str
    pix_fmt: str
    rotation: int
    aspect: Fraction | None
    options: dict[str, str]
    container_options: dict[str, str]
    sound: tuple[float, float] | None


_MOVIES: dict[bytes, bytes] = {}
"""Movies that were encoded, by what they were made from."""


def _encode(path: Path, frames: Sequence[Image], times: Sequence[float], encoding: _Encoding) -> None:
    codec, pix_fmt, aspect, sound = encoding.codec, encoding.pix_fmt, encoding.aspect, encoding.sound
    with av.open(str(path), "w", container_options=encoding.container_options) as container:
        options = {"threads": "1", **encoding.options}  # starting more takes longer than the pictures
        rate = Fraction(encoding.fps).limit_denominator(1001)
        video: Any = container.add_stream(codec, rate=rate, options=options)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = pix_fmt
        # MPEG-1 and MPEG-2 know no clock but their frame rate
        tick = 1 / video.codec_context.framerate if codec in ("mpeg1video", "mpeg2video") else Fraction(1, CLOCK)
        video.time_base = video.codec_context.time_base = tick
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        if encoding.rotation:
            video.set_display_rotation(encoding.rotation)
        audio: Any = container.add_stream("aac", rate=8000) if sound else None
        if sound:
            _tone(container, audio, *sound)
        for image, time in zip(frames, times, strict=True):
            frame: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = round((encoding.start + time) * CLOCK), Fraction(1, CLOCK)
            container.mux(video.encode(frame))
        container.mux(video.encode())


def write_sound(path: Path, seconds: float = 1.0) -> Path:
    """A file with a tone and no pictures."""
    with av.open(str(path), "w") as container:
        _tone(container, container.add_stream("aac", rate=8000), 0.0, seconds)
    return path


def _tone(container: Any, stream: Any, start: float, end: float) -> None:
    stream.codec_context.layout = "mono"
    for first in range(round(start * 8000), round(end * 8000), 1024):
        wave = np.sin(np.arange(first, first + 1024, dtype=np.float32) / 8)[None]
        frame = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, first, Fraction(1, 8000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def damage(path: Path, share: float = 0.5, length: int = 600) -> Path:
    """Overwrite `length` bytes at a share of the file's length."""
    data = bytearray(path.read_bytes())
    begin = int(len(data) * share)
    data[begin : begin + length] = (bytes(range(256)) * (length // 256 + 1))[:length]
    path.write_bytes(data)
    return path


def truncate(path: Path, share: float) -> Path:
    """Keep a share of the file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def whole(image: Image) -> Image:
    """A `shrink` that keeps everything."""
    return image


def at(*times: float) -> Callable[[float, float], list[float]]:
    """A `sample_times` that asks for these."""
    return lambda duration, fps: list(times)


def colour(image: Image) -> tuple[int, int, int]:
    """The mean colour, rounded to tens."""
    red, green, blue = (round(float(c), -1) for c in image.reshape(-1, 3).mean(axis=0))
    return int(red), int(green), int(blue)


def joined(parts: Iterable[Sequence[Image]]) -> list[Image]:
    """Scenes one after the other."""
    return [frame for part in parts for frame in part]


def write_streams(path: Path, *streams: tuple[Sequence[Image], float, bool], codec: str = "libx264") -> Path:
    """Write a movie of several video streams and return its path.

    Args:
        streams: frames, frames a second, and whether the stream is flagged as default, of each stream in order.
    """
    with av.open(str(path), "w") as container:
        outputs: list[Any] = []
        for frames, fps, is_default in streams:
            out: Any = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
            out.height, out.width = frames[0].shape[:2]
            out.pix_fmt = "yuv420p"
            out.time_base = out.codec_context.time_base = Fraction(1, CLOCK)
            out.disposition = av.stream.Disposition.default if is_default else av.stream.Disposition(0)
            outputs.append(out)
        for out, (frames, fps, _) in zip(outputs, streams, strict=True):
            for number, image in enumerate(frames):
                frame: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = round(number / fps * CLOCK), Fraction(1, CLOCK)
                container.mux(out.encode(frame))
            container.mux(out.encode())
    return path


def refer_elsewhere(path: Path, folder: str, name: str) -> Path:
    """Have the tracks of an MP4, whose `moov` box comes last, lie in another file: an alias of QuickTime's.

    Args:
        folder: in which the other file is.
        name: of the other file.
    """
    absolute = f"{folder}/{name}".encode()
    alias = bytearray(150)  # a header; letters of fixed length; then pairs of kind, length and text
    volume, file = folder.encode()[:27], name.encode()[:63]
    alias[8 : 10 + len(volume)] = bytes([0, len(volume)]) + volume
    alias[44 : 51 + len(file)] = bytes(6) + bytes([len(file)]) + file
    for kind, text in ((2, absolute), (18, absolute), (0, folder.encode())):
        alias += struct.pack(">HH", kind, len(text)) + text + b"\0" * (len(text) % 2)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + bytes(alias)
    data = path.read_bytes()
    path.write_bytes(_with_references(data, entry))
    return path


def _with_references(boxes: bytes, entry: bytes) -> bytes:
    """Return boxes in which every list of references (`dref`) has this entry alone."""
    out, at = b"", 0
    while at < len(boxes):
        size, name = struct.unpack_from(">I4s", boxes, at)
        body = boxes[at + 8 : at + size]
        if name == b"dref":
            body = struct.pack(">II", 0, 1) + entry
        elif name in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
            body = _with_references(body, entry)
        out += struct.pack(">I4s", 8 + len(body), name) + body
        at += size
    return out
