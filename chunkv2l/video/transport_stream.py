"""Read what FFmpeg doesn't say of MPEG transport streams: programmes, scrambled streams, jumps of the clock.

A transport stream is a run of packets of 188 bytes (in .m2ts files each behind four bytes, in some recordings before
sixteen), each of one stream, which is known by its number (PID). Tables name the programmes and their streams; other
packets carry pieces of PES packets, whose headers hold the time at which a picture or some sound is presented.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import BinaryIO, Final

HEAD: Final = 1 << 20
"""Bytes at a file's beginning in which its programmes and scrambled streams are looked for."""
_SYNC = 0x47
_STRIDES = (188, 192, 204)  # bytes from packet to packet
_PACKET = 188
_FILLING = 0x1FFF  # the number of packets that only fill
_TICKS = 90_000  # of a presentation time, a second
CLOCK_PERIOD: Final = Fraction(1 << 33, _TICKS)
"""Seconds after which a file's clock begins anew."""
_SAMPLES = 128  # places of a file at which its clock is read
_BLOCK = 64 << 10  # bytes that are read at such a place at first
_MOST = 16 << 20  # bytes that are read there until a time is met
_LEAF = 256 << 10  # bytes in which times are read one by one
_MOST_LEAVES = 256  # such pieces of a file that are read: clocks of damaged files jump everywhere
_JUMP = 90.0  # seconds that the clock goes forward at once where sound stops and goes on, too: no still does that
_SILENT_JUMP = 600.0  # the same without any sound, where a still may be meant
_LEAD = 5.0  # seconds that sound and pictures that lie side by side may be apart
_REORDERED = 16  # pictures that may be coded behind a later one


@dataclass(frozen=True)
class ClockJump:
    """A place where a file's clock goes forward though no time passes.

    Attributes:
        at: the last time before it, seconds.
        by: seconds too many that the clock goes forward.
    """

    at: Fraction
    by: Fraction


@dataclass(frozen=True)
class _Packet:
    """A packet of a transport stream; `begins` says whether its payload begins with a header."""

    stream: int
    begins: bool
    is_scrambled: bool
    payload: bytes


def find_scrambled(path: Path) -> frozenset[int]:
    """Return the numbers of the streams most of whose packets, at the beginning of a file, are scrambled."""
    return _find_scrambled(path, *_state(path))


def _state(path: Path) -> tuple[int, int]:
    """Return size and time of change of a file, by which what was read of it is known again."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=16)
def _find_scrambled(path: Path, _size: int, _modified: int) -> frozenset[int]:
    flags: dict[int, list[bool]] = defaultdict(list)
    for packet in _read_packets(read_head(path)):
        if packet.payload:
            flags[packet.stream].append(packet.is_scrambled)
    return frozenset(number for number, of_stream in flags.items() if 2 * sum(of_stream) > max(2, len(of_stream)))


def find_programmes(path: Path) -> tuple[frozenset[int], ...]:
    """Return the numbers of each programme's streams, as the tables at the beginning of a file name them."""
    return _find_programmes(path, *_state(path))


@lru_cache(maxsize=16)
def _find_programmes(path: Path, _size: int, _modified: int) -> tuple[frozenset[int], ...]:
    tables: dict[int, int] = {}  # number of a programme's table → the programme
    programmes: dict[int, frozenset[int]] = {}
    for packet in _read_packets(read_head(path)):
        section = _read_section(packet)
        if packet.stream == 0 and section[:1] == b"\x00":
            entries = section[8 : 3 + _length(section, 1) - 4]
            for at in range(0, len(entries) - 3, 4):
                if entries[at : at + 2] != b"\0\0":  # the network's table
                    tables[_length(entries, at + 2, 0x1F)] = _length(entries, at, 0xFF)
        elif packet.stream in tables and section[:1] == b"\x02":
            programmes.setdefault(tables[packet.stream], _streams_of(section))
    return tuple(programmes[number] for number in sorted(programmes))


def _streams_of(section: bytes) -> frozenset[int]:
    end = 3 + _length(section, 1) - 4
    at = 12 + _length(section, 10)
    streams = set()
    while at + 5 <= min(end, len(section)):
        streams.add(_length(section, at + 1, 0x1F))
        at += 5 + _length(section, at + 3)
    return frozenset(streams)


def _length(data: bytes, at: int, mask: int = 0x0F) -> int:
    """Return the number in two bytes, without what else the first of them holds; 0 where the data end before."""
    return (data[at] & mask) << 8 | data[at + 1] if at + 1 < len(data) else 0


def _read_section(packet: _Packet) -> bytes:
    """Return the table's section that begins in a packet; b"" where none does."""
    return packet.payload[1 + packet.payload[0] :] if packet.begins and packet.payload else b""


def find_jumps(path: Path, pictures: int, streams: frozenset[int]) -> tuple[ClockJump, ...]:
    """Return where the clock of a file's pictures jumps forward, in order of time, seconds on the file's own clock.

    Recordings that were joined, or whose source went away, have such jumps. A long still is none: sound goes on
    beneath it. Without sound, only leaps beyond ten minutes count.

    Args:
        pictures: number of the stream of pictures.
        streams: numbers of the streams that share a clock with it, itself included.
    """
    return _find_jumps(path, *_state(path), pictures, streams)


@lru_cache(maxsize=16)
def _find_jumps(path: Path, size: int, _modified: int, pictures: int, streams: frozenset[int]) -> tuple[ClockJump, ...]:
    with path.open("rb") as file:
        positions = [size * number // _SAMPLES for number in range(_SAMPLES)] if size > _SAMPLES * _BLOCK else [0]
        times = [(position, _time_at(file, position, streams)) for position in positions]
        known = [(position, time) for position, time in times if time is not None]
        if not known:
            return ()
        pieces = [(a, b, end - begin) for (a, begin), (b, end) in pairwise(known)]
        usual = float(median(time for _, _, time in pieces)) if pieces else 0.0
        suspects = [(a, b) for a, b, time in pieces if time > _JUMP + 1.25 * usual]
        suspects.append((known[-1][0], size))
        jumps = {jump.at: jump for jump in _search(file, suspects, pictures, streams)}
    return tuple(sorted(jumps.values(), key=lambda jump: jump.at))


def _search(
    file: BinaryIO, pieces: list[tuple[int, int]], pictures: int, streams: frozenset[int]
) -> Iterator[ClockJump]:
    """Yield the jumps between the two ends of each piece of a file, of which `_MOST_LEAVES` are read at most."""
    leaves = 0
    while pieces and leaves < _MOST_LEAVES:
        start, end = pieces.pop()
        if end - start <= _LEAF:
            leaves += 1
            yield from _read_jumps(file, start, end, pictures, streams)
            continue
        middle = (start + end) // 2
        first, centre, last = (_time_at(file, position, streams) for position in (start, middle, end))
        if first is not None and centre is not None and centre - first > _JUMP:
            pieces.append((start, middle))
        if centre is not None and (last is None or last - centre > _JUMP):
            pieces.append((middle, end))


def _time_at(file: BinaryIO, position: int, streams: frozenset[int]) -> Fraction | None:
    """Return the first time that some streams have behind a place of a file; None if there is none soon."""
    length = _BLOCK
    while length <= _MOST:
        file.seek(position)
        block = file.read(length)
        for packet in _read_packets(block):
            if packet.stream in streams and (time := _presentation_time(packet)) is not None:
                return time
        if len(block) < length:
            return None
        length *= 4
    return None


def _read_jumps(file: BinaryIO, start: int, end: int, pictures: int, streams: frozenset[int]) -> list[ClockJump]:
    """Return the jumps that begin between two places of a file, from the times of all packets there."""
    file.seek(start)
    shown: list[Fraction] = []
    heard: list[Fraction] = []
    for packet in _read_packets(file.read(end - start + _LEAF)):
        if packet.stream in streams and (time := _presentation_time(packet)) is not None:
            (shown if packet.stream == pictures else heard).append(time)
    ordered = sorted(shown)
    steps = [after - before for before, after in pairwise(ordered)]
    usual = median(steps) if steps else Fraction(0)
    return [
        ClockJump(before, step - usual)
        for before, step in zip(ordered[:-1], steps, strict=True)
        if step > _JUMP and _is_forward(shown, before) and _is_jump(before, before + step, heard)
    ]


def _is_forward(times: list[Fraction], before: Fraction) -> bool:
    """Return whether times in coded order go from up to `before` to later ones, but for a few pictures out of order."""
    first = next(number for number, time in enumerate(times) if time > before)
    return first > 0 and sum(time <= before for time in times[first:]) <= _REORDERED


def _is_jump(before: Fraction, after: Fraction, heard: list[Fraction]) -> bool:
    """Return whether nothing shown between two times is a jump of the clock, not a still, by the times of the sound."""
    is_heard_on = any(before + _LEAD < time < after - _LEAD for time in heard)
    has_sound = min(heard, default=after) <= before + _LEAD and max(heard, default=before) >= after - _LEAD
    return not is_heard_on and after - before > (_JUMP if has_sound else _SILENT_JUMP)


def _presentation_time(packet: _Packet) -> Fraction | None:
    """Return the time in the PES header that a packet begins with, seconds; None where it has none."""
    data = packet.payload
    if not packet.begins or packet.is_scrambled or len(data) < 14 or data[:3] != b"\0\0\1" or not data[7] & 0x80:
        return None
    ticks = (data[9] >> 1 & 7) << 30 | data[10] << 22 | data[11] >> 1 << 15 | data[12] << 7 | data[13] >> 1
    return Fraction(ticks, _TICKS)


def read_head(path: Path) -> bytes:
    """Return the beginning of a file."""
    with path.open("rb") as file:
        return file.read(HEAD)


def _read_packets(data: bytes) -> Iterator[_Packet]:
    """Yield the packets of a piece of a transport stream, from the first that is whole; none of any other data.

    Behind a packet that is cut, or other bytes, it goes on where packets follow each other again.
    """
    layout = next(((at, stride) for at in range(204) for stride in _STRIDES if _is_synchronous(data, at, stride)), None)
    if layout is None:
        return
    start, stride = layout
    last = len(data) - _PACKET
    at = start - stride
    while (at := at + stride) <= last:
        if data[at] != _SYNC:
            at = data.find(_SYNC, at - stride + 1)
            while 0 <= at <= last and not _is_synchronous(data, at, stride):
                at = data.find(_SYNC, at + 1)
            if not 0 <= at <= last:
                return
        number = _length(data, at + 1, 0x1F)
        if number == _FILLING:
            continue
        flags = data[at + 3]
        begin = at + 4 + (1 + data[at + 4] if flags & 0x20 else 0)
        payload = data[begin : at + _PACKET] if flags & 0x10 else b""
        yield _Packet(number, bool(data[at + 1] & 0x40), bool(flags & 0xC0), payload)


def _is_synchronous(data: bytes, at: int, stride: int) -> bool:
    return len(data) > at + 4 * stride and all(data[at + n * stride] == _SYNC for n in range(5))
