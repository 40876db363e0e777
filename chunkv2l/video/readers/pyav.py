"""Reads with PyAV (FFmpeg), on the CPU or on an NVIDIA GPU's decoders: the default reader.

A GPU's decoders (NVDEC) give FFmpeg's frames, to the bit, of what isn't damaged. Each process takes some of the GPU's
memory and starts later, so they are for processes that read a long movie together
(docs/measurements.md#decoding-on-the-gpu). Only 8-bit 4:2:0 pictures come this way; of others the GPU's layouts differ.
"""

from __future__ import annotations

import math
import os
import threading
from bisect import insort
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.video.reformatter import VideoReformatter

from chunkv2l.errors import InputError
from chunkv2l.sandbox.limits import has_room
from chunkv2l.video.container import (
    LARGE_PICTURE,
    MAX_PIXELS,
    count_picture_bytes,
    is_flush,
    limit_pixels,
    open_container,
    packets,
    timeline,
)
from chunkv2l.video.notes import Notes
from chunkv2l.video.probe import MovieInfo, shown_width, turns
from chunkv2l.video.readers.base import Frame, Image, ReaderError, count_frames, fitted
from chunkv2l.video.readers.timestamps import Clock, CodedOrder, DamageLog
from chunkv2l.video.refusals import explain_memory

if TYPE_CHECKING:
    import torch

GPU_CODECS: Final = frozenset({"h264", "hevc", "vp9"})
"""FFmpeg's names of the codecs that a GPU may decode: their decoders' output is exactly specified."""
GPU_INPUT: Final = "yuv420p"
"""Pixel format of the movies that a GPU may decode."""
GPU_OUTPUT: Final = "nv12"
"""Pixel format in which a GPU returns such pictures: the same bytes, the two colour planes interleaved."""
GPU_MEMORY: Final = 1 << 30
"""Bytes of GPU memory that must be free for each process that decodes on it."""
_MAX_THREADS = 16  # that FFmpeg starts by itself
_ROOM_THREADS = 256 << 20  # bytes of the frames that FFmpeg's threads decode at a time
_PADDING = 64  # pixels to whose multiples FFmpeg rounds widths
_RETRIES = 8  # times in a row that the demuxer may fail before the file is given up


def choose_gpu(info: MovieInfo, device: torch.device, processes: int) -> int | None:
    """Return the number of the GPU on which so many processes should decode this movie; None for the CPU.

    Args:
        device: the model's device. Only its GPU is considered.
    """
    if device.type != "cuda" or "cuda" not in hwdevices_available() or not is_gpu_decodable(info):
        return None
    import torch

    number = torch.cuda.current_device() if device.index is None else int(device.index)
    return number if torch.cuda.mem_get_info(number)[0] >= processes * GPU_MEMORY else None


def is_gpu_decodable(info: MovieInfo) -> bool:
    """Return whether a GPU may decode this movie, judging by its first picture."""
    return info.codec in GPU_CODECS and info.pixels == GPU_INPUT


def open_on_gpu(path: Path, gpu: int) -> Any:
    """Open a file so that this GPU decodes its pictures, or the CPU where the GPU can't.

    Raises:
        av.FFmpegError, OSError: as `open_container`.
    """
    with suppress(av.FFmpegError):
        return open_container(path, HWAccel("cuda", str(gpu), allow_software_fallback=True))
    return open_container(path)


class Scalers(threading.local):
    """FFmpeg's scalers, which remember the sizes that they last used; each thread has its own."""

    def __init__(self) -> None:
        self.picture, self.small, self.planes = VideoReformatter(), VideoReformatter(), VideoReformatter()


@dataclass(frozen=True)
class AVFrame:
    """A decoded frame, still in the codec's own pixel format."""

    time: float
    duration: float
    width: int  # in square pixels, before turning
    raw: Any
    scalers: Scalers

    @property
    def nbytes(self) -> int:
        return sum(plane.buffer_size for plane in self.raw.planes)

    def small(self, width: int, height: int) -> Image:
        scaled: Any = self.scalers.small.reformat(self.raw, width, height, "bgr24", interpolation="AREA")
        image: Image = scaled.to_ndarray()
        return image

    def picture(self, side: int | None = None) -> Image:
        width, height = fitted(self.width, self.raw.height, side)
        interpolation = "AREA" if width < self.width else "BILINEAR"
        source: Any = self.raw
        if source.format.name == GPU_OUTPUT:  # FFmpeg converts this format to RGB in another way
            source = self.scalers.planes.reformat(source, format=GPU_INPUT)
        scaled: Any = self.scalers.picture.reformat(source, width, height, "rgb24", interpolation=interpolation)
        image: Image = scaled.to_ndarray()
        quarters = turns(self.raw.rotation)
        return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


class PyAVReader:
    """Reads a movie with PyAV.

    Args:
        side: not used; pictures are scaled when they are asked for.
        gpu: number of the GPU that decodes, if it can; None for the CPU.
    """

    def __init__(
        self, info: MovieInfo, side: int | None = None, notes: Notes | None = None, gpu: int | None = None
    ) -> None:
        self._info, self.gpu = info, gpu
        self._notes = Notes() if notes is None else notes
        self._has_encrypted = False
        self._largest = max(LARGE_PICTURE, info.picture_bytes)
        self._open()

    def _open(self) -> None:
        try:
            path = self._info.path
            self._container = open_container(path) if self.gpu is None else open_on_gpu(path, self.gpu)
        except (av.FFmpegError, OSError) as error:
            raise ReaderError(f"PyAV can't open {self._info.path} ({error}).") from error
        if self._info.stream >= len(self._container.streams):
            raise ReaderError(f"PyAV finds no stream {self._info.stream} in {self._info.path} any more.")
        stream: Any = self._container.streams[self._info.stream]
        stream.thread_type = "AUTO"
        threads = count_frames(self._info, _ROOM_THREADS, _MAX_THREADS)
        if threads <= (os.cpu_count() or 1):  # each decodes a frame of its own
            stream.codec_context.thread_count = threads
        pixels = self._largest * 1000 // count_picture_bytes(1000, 1, self._info.pixels)
        limit_pixels(stream.codec_context, min(MAX_PIXELS, pixels + _PADDING * self._info.stored_height))
        self._stream = stream
        self._base = Fraction(stream.time_base)
        self._timeline = timeline(self._container, stream)

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        scalers = Scalers()
        damage = DamageLog(start, self._notes)
        clock = Clock(self._info, start, self._notes)
        for stamp, raw, shown_for in self._decode_from(start, damage):
            time = clock.read(stamp)
            if time is None:
                continue
            if raw.is_corrupt:
                damage.record_bad()
            else:
                damage.record_good(time)
            if time >= start - 1e-6:
                width = shown_width(raw.width, self._stream)
                yield AVFrame(time, float((shown_for or 0) * self._base), width, raw, scalers)
        damage.close()

    def close(self) -> None:
        self._container.close()

    def _stamp(self, item: Any) -> float | None:
        """Return when a packet or a raw frame is shown by the file's clock, seconds on the timeline."""
        has_shown = item.pts is not None and not self._info.has_coded_order
        return self._to_seconds(item.pts if has_shown else item.dts)

    def _note_encryption(self, time: float | None) -> None:
        """Note the first picture that is encrypted, in a movie whose beginning isn't."""
        if not self._has_encrypted:
            where = "" if time is None else f" from {max(0.0, time):.2f} s on"
            self._notes.add(
                "pictures", f"Pictures{where} are encrypted (DRM), and left out: get a copy without encryption."
            )
        self._has_encrypted = True

    def _check_size(self, frame: Any) -> None:
        """Refuse a movie whose pictures become such that each takes much more memory than its first one."""
        if count_picture_bytes(frame.width, frame.height, frame.format.name) > self._largest:
            raise InputError(explain_memory(self._info.path))

    def _to_seconds(self, stamp: int | None) -> float | None:
        return None if stamp is None or not self._info.has_clock else float(self._timeline.at(stamp))

    def _decode_from(self, start: float, damage: DamageLog) -> Iterator[tuple[float | None, Any, int | None]]:
        """Yield stamps (seconds), raw frames and durations (ticks), from the frame on screen at `start` or before."""
        backs = (
            [math.inf] if start <= self._info.first + 1e-6 or not self._info.has_clock else [0.0, 15.0, math.inf]
        )  # seconds before `start`
        for back in backs:
            if back < start:
                try:
                    self._container.seek(self._timeline.ticks(start - back), stream=self._stream)
                except av.FFmpegError:  # no index to seek in
                    continue
            elif back is not backs[0]:
                self._container.close()
                self._open()
            frames = self._decode(damage)
            first = next(frames, None)
            # in containers without an index, seeking may end behind the key frame
            if first is not None and (back >= start or (first[0] is not None and first[0] <= start + 1e-6)):
                yield first
                yield from frames
                return

    def _decode(self, damage: DamageLog) -> Iterator[tuple[float | None, Any, int | None]]:
        """Yield stamps, raw frames and their durations; packets that fail are counted and passed over.

        An empty packet repeats the picture before it (Theora, and AVI captures, write these while nothing moves).
        """
        failures = 0
        repeats: list[tuple[float, int]] = []  # stamps, ascending, and durations of empty packets, not yet repeated
        order = CodedOrder() if self._info.has_coded_order else None
        last: Any = None
        while True:
            try:
                for packet in packets(self._container, self._stream):
                    failures = 0
                    if not packet.size and not is_flush(packet):
                        if (stamp := self._stamp(packet)) is not None:
                            insort(repeats, (stamp, packet.duration or 0))
                        continue
                    if packet.size and packet.has_sidedata("encryption_info"):
                        self._note_encryption(self._stamp(packet))
                        continue
                    if order is not None and packet.size:
                        order.push(packet)
                    try:
                        frames = packet.decode()
                    except av.FFmpegError as error:
                        if not has_room(2 * self._largest):  # decoders call it damage
                            raise InputError(explain_memory(self._info.path)) from error
                        damage.record_bad()
                        continue
                    for frame in frames:
                        if last is None or frame.format.name != last.format.name:
                            self._check_size(frame)
                        stamp = self._stamp(frame) if order is None else self._to_seconds(order.pop(frame))
                        while repeats and stamp is not None and repeats[0][0] < stamp:
                            repeated, duration = repeats.pop(0)
                            if last is not None:  # before the first picture there is none to repeat
                                yield repeated, last, duration
                        yield stamp, frame, frame.duration
                        last = frame
                for stamp, duration in repeats if last is not None else ():
                    yield stamp, last, duration
                return
            except av.FFmpegError as error:  # the demuxer fails: try again behind this position
                damage.record_bad()
                failures += 1
                if failures > _RETRIES:
                    damage.close()
                    raise ReaderError(f"PyAV can't read on ({error}).") from error
