"""Scan the packets of a part of a movie, before a clip is cut: when each picture is shown, where key frames are.

Times are seconds on the movie's timeline (`probe`), mended as the readers mend them (`readers.timestamps`): where the
file's clock jumps, what follows goes on one frame later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av

from chunkv2l.errors import ChunkV2LError
from chunkv2l.video.container import Timeline, is_flush, open_container, packets, timeline
from chunkv2l.video.probe import MovieInfo
from chunkv2l.video.readers.timestamps import MAX_HOLD, is_torn

TOLERANCE: Final = Fraction(1, 1000)
"""Seconds by which stamps are rounded: a Matroska file's clock ticks every millisecond."""
_BACKS: Final = (0.0, 15.0, math.inf)  # seconds before the start that are sought, until a key frame is met
_MARGIN: Final = 1  # seconds behind the end in which pictures may be coded that are shown before others of the stretch
_RETRIES: Final = 8  # times in a row that the demuxer may fail
_BACK: Final = Fraction(1, 10)  # seconds by which times to decode, which ascend, go back where the clock does
_LONGER: Final = 0.1  # seconds by which more was read than the header says where the clock jumps, perhaps
_SAME_JUMP: Final = 2  # seconds by which a jump of the sound's clock may differ from one of the pictures'
_UNINDEXED: Final = frozenset({"mpeg", "mpegvideo", "h264", "hevc", "vvc", "m4v", "h263", "h261", "av1", "obu", "ivf"})
"""FFmpeg's formats without an index of times, or without times: these are read from their beginning."""


@dataclass(frozen=True)
class ScannedPicture:
    """A coded picture.

    Attributes:
        number: its place among the pictures that `read_packets` gives.
        time: when it is shown, seconds on the timeline; None where the file doesn't say.
        duration: seconds for which it is shown as far as its packet says, or 0.
        shift: seconds that were added because the file's clock had jumped.
        is_key: whether it can be decoded without any other.
        is_shown: False for one that only helps to decode others (before the start of an edit list).
    """

    number: int
    time: Fraction | None
    duration: Fraction
    shift: Fraction
    is_key: bool
    is_shown: bool


@dataclass(frozen=True)
class Scan:
    """The coded pictures of a stretch.

    Attributes:
        seek: where reading begins, seconds on the timeline; None for the file's beginning.
        pictures: in coded order, from the last key frame at or before the start (or the first picture of all) on.
        end: where the pictures end, seconds on the timeline, if that is within the stretch; None if they go on.
        jumps: the shifts of the pictures' clock up to the end.
        has_key: whether the first picture is a key frame.
    """

    seek: Fraction | None
    pictures: tuple[ScannedPicture, ...]
    end: Fraction | None
    jumps: tuple[Fraction, ...]
    has_key: bool


class PacketClock:
    """Turns the stamps of one stream's packets into times on the timeline, and mends jumps.

    Args:
        step: seconds from one packet to the next where a jump is mended.
        jumps: shifts of the pictures' clock; a jump of the sound takes the one that is nearest to its own.
        is_start: whether reading begins at the file's beginning; elsewhere, the first stamp is believed.
    """

    def __init__(self, step: Fraction, duration: float, jumps: Sequence[Fraction] = (), is_start: bool = True) -> None:
        self._step, self._duration, self._jumps, self._is_start = step, duration, jumps, is_start
        self._last: Fraction | None = None  # the latest time
        self._decoded: Fraction | None = None  # the time to decode the packet before
        self.shift = Fraction(0)

    def read(self, stamp: Fraction, decoded: Fraction | None) -> Fraction:
        """Return when a packet is shown, seconds. Packets come in coded order, so times may go back.

        Args:
            stamp, decoded: when it is shown and decoded by the file's own clock, seconds on the timeline. Times to
                decode ascend, whatever the order of the pictures: jumps are seen in them. Behind a seek, Matroska has
                none for the first few.
        """
        if self._last is None:
            has_jumped = self._is_start and stamp > MAX_HOLD
            expected = Fraction(0)
        else:
            has_jumped = (
                decoded is not None
                and self._decoded is not None
                and (
                    decoded + self.shift < self._decoded - _BACK
                    or is_torn(float(decoded + self.shift), float(self._decoded), self._duration)
                )
            )
            expected = self._last + self._step
        time = stamp + self.shift
        if has_jumped:
            self.shift = expected - stamp
            near = min(self._jumps, key=lambda jump: abs(jump - self.shift), default=self.shift)
            if abs(near - self.shift) < _SAME_JUMP:
                self.shift = near
            time = stamp + self.shift
        self._last = time if self._last is None or has_jumped else max(self._last, time)
        self._decoded = self._decoded if decoded is None else decoded + self.shift
        return time


def scan(info: MovieInfo, start: float, end: float, length: float, lead: float = 0.0) -> Scan:
    """Scan the pictures of [start, end), from the last key frame before it on.

    Args:
        length: how long the movie is by what was read of it, or by its header, seconds.
        lead: seconds before the start that the key frame comes at least.

    Raises:
        ChunkV2LError: reading fails.
    """
    is_doubtful = (
        info.container in _UNINDEXED or not -1.0 < length - info.duration < _LONGER or end > info.duration + 1.0
    )
    start = start - lead
    for back in (math.inf,) if is_doubtful else _BACKS:
        seek = Fraction(start - back) if back < start else None
        result = _scan_from(info, seek, Fraction(start), Fraction(end))
        begin = result.pictures[0].time if result.pictures else None
        if seek is None or (result.has_key and begin is not None and begin <= start + TOLERANCE):
            return result
    return _scan_from(info, None, Fraction(start), Fraction(end))


def _scan_from(info: MovieInfo, seek: Fraction | None, start: Fraction, end: Fraction) -> Scan:
    pictures: list[ScannedPicture] = []
    jumps = [Fraction(0)]
    last: Fraction | None = None  # end of the pictures so far, repeats of the last one included
    number = -1
    with open_container(info.path) as source:
        video = source.streams[info.stream]
        line = timeline(source, video)
        step = Fraction(1 / info.fps).limit_denominator(100_000)
        clock = PacketClock(step, info.duration, is_start=seek is None)
        for packet in read_packets(source, info, seek, [video]):
            shown, decoded = _times(packet, video, info)
            stamp = shown if shown is not None else decoded
            time = None if stamp is None else clock.read(line.at(stamp), None if decoded is None else line.at(decoded))
            if clock.shift != jumps[-1]:
                jumps.append(clock.shift)
            duration = (packet.duration or 0) * line.base
            if time is not None and not packet.is_discard:
                last = max(last or time, time + (duration or step))
            if not packet.size:  # repeats the picture before it
                continue
            number += 1
            is_shown = not packet.is_discard and (time is None or time >= -TOLERANCE)
            shown_time = None if shown is None else time
            is_before = time is not None and time <= start + TOLERANCE
            if packet.is_keyframe and (is_before or not (pictures and pictures[0].is_key)):
                pictures = []
            elif seek is not None and not pictures:
                continue
            elif pictures and _is_beyond(packet, time, decoded, clock.shift, line, end + _MARGIN):
                return Scan(seek, tuple(pictures), None, tuple(jumps), pictures[0].is_key)
            pictures.append(
                ScannedPicture(number, shown_time, duration, clock.shift, bool(packet.is_keyframe), is_shown)
            )
    if last is None:  # a raw stream, without times
        last = Fraction(info.first) + len(pictures) * step
    return Scan(seek, tuple(pictures), last, tuple(jumps), bool(pictures) and pictures[0].is_key)


def _times(packet: Any, stream: Any, info: MovieInfo) -> tuple[int | None, int | None]:
    """Return when a packet is shown and when it is decoded, ticks; what is shown in coded order needs no first time."""
    if not info.has_clock:
        return None, None
    if info.has_coded_order:
        return None if stream.codec_context.has_b_frames else packet.dts, packet.dts
    if packet.pts is None and not stream.codec_context.has_b_frames:
        return packet.dts, packet.dts
    return packet.pts, packet.dts


def _is_beyond(
    packet: Any,
    time: Fraction | None,
    decoded: int | None,
    shift: Fraction,
    line: Timeline,
    end: Fraction,
) -> bool:
    """Return whether neither this picture nor any behind it is shown before `end`."""
    if decoded is not None:  # Matroska has no such times: FFmpeg derives them, and sometimes too late
        return line.at(decoded) + shift >= end and (time is None or time >= end)
    return time is not None and packet.is_keyframe and time >= end


def read_packets(source: Any, info: MovieInfo, seek: Fraction | None, streams: Sequence[Any]) -> Iterator[Any]:
    """Yield the packets of some streams of an open movie, from about `seek` on; empty ones too, but no flush.

    Args:
        seek: seconds on the timeline; None for the file's beginning.

    Raises:
        ChunkV2LError: reading fails again and again.
    """
    if seek is not None:
        video = source.streams[info.stream]
        with suppress(av.FFmpegError):  # no index to seek in: from the beginning then
            source.seek(timeline(source, video).ticks(seek), stream=video)
    failures = 0
    while True:
        try:
            for packet in packets(source, list(streams)):
                failures = 0
                if not is_flush(packet) or packet.size:
                    yield packet
            return
        except av.FFmpegError as error:
            failures += 1
            if failures > _RETRIES:
                raise ChunkV2LError(f"{info.path} can't be read on ({error}).") from error


def read_mended(
    source: Any, info: MovieInfo, scanned: Scan, sounds: Sequence[Any], sound_start: float
) -> Iterator[tuple[int | None, Fraction | None, Any]]:
    """Yield (number, time, packet) of a scanned stretch's pictures and sound, and of what follows, with mended stamps.

    Args:
        source: the movie, opened anew.
        sound_start: sound from before is left out, seconds on the timeline.

    Returns:
        The picture's number as in `scanned` (None for sound), its time in seconds (None where it has none), its packet.
    """
    video = source.streams[info.stream]
    lines = {stream.index: timeline(source, stream) for stream in (video, *sounds)}
    step = Fraction(1 / info.fps).limit_denominator(100_000)
    is_start = scanned.seek is None
    clocks = {video.index: PacketClock(step, info.duration, is_start=is_start)}
    clocks |= {sound.index: PacketClock(Fraction(0), info.duration, scanned.jumps, is_start) for sound in sounds}
    first, number = scanned.pictures[0].number, -1
    for packet in read_packets(source, info, scanned.seek, [video, *sounds]):
        clock, line = clocks[packet.stream.index], lines[packet.stream.index]
        is_coded = info.has_coded_order and packet.stream.index == video.index
        stamp = packet.pts if packet.pts is not None and not is_coded else packet.dts
        time = (
            None
            if stamp is None or not (info.has_clock or packet.stream.index != video.index)
            else clock.read(line.at(stamp), None if packet.dts is None else line.at(packet.dts))
        )
        if packet.pts is not None:
            packet.pts = round((line.at(packet.pts) + clock.shift + line.origin) / line.base)
        if packet.dts is not None:
            packet.dts = round((line.at(packet.dts) + clock.shift + line.origin) / line.base)
        if packet.stream.index == video.index:
            number += bool(packet.size)
            if packet.size and number >= first:
                yield number, time, packet
        elif packet.size and time is not None and time >= sound_start:
            yield None, time, packet
