"""Cutting a stretch out of a movie, as a file of its own: copied from a key frame on, or encoded anew to the frame.

All times are seconds on the movie's timeline (`movies.py`). A clip is written under another name beside its own and
takes its name when it is whole.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.files import atomic_write
from chunkv2l.timecode import clock
from chunkv2l.video.container import choose_video_stream, open_container, origin, packets
from chunkv2l.video.probe import probe
from chunkv2l.video.transcode import PATIENCE, encode, sound_streams

FORMATS: Final[Mapping[str, str]] = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""What a clip's name may end in, and FFmpeg's name of that container."""
MARK: Final = "cut by chunkv2l"
"""In a clip's comment: only files that carry it are replaced."""
_BACKS: Final = (0.0, 15.0, float("inf"))  # seconds before the start that are sought, until a key frame is met
_RETRIES: Final = 8  # times in a row that the demuxer may fail


@dataclass(frozen=True)
class TrimmedClip:
    """A clip that was cut out of a movie.

    Attributes:
        path: the file.
        start, end: what it really shows, seconds on the movie's timeline.
        requested: the stretch that was asked for.
        exact: whether it was encoded anew, which cuts at the very frame.
    """

    path: Path
    start: float
    end: float
    requested: tuple[float, float]
    exact: bool

    def describe(self) -> str:
        """For people: what was written, and, where streams were copied, that it begins at a key frame."""
        text = f"{self.path}: {clock(self.start, 1)} to {clock(self.end, 1)} of the movie"
        if self.exact:
            return f"{text}."
        early = self.requested[0] - self.start
        where = f"{early:.1f} s early, at a key frame" if early > 0.05 else "at a key frame"
        return f"{text}, copied as it is; it starts {where} (--reencode cuts exactly)."


def check_out(out: str | Path, movie: Path) -> Path:
    """Where a clip of a movie may be written to.

    Raises:
        InputError: a name that doesn't end in one of `FORMATS`, no such folder, the movie itself, or another file that
            isn't one of our clips.
    """
    out = Path(out)
    if out.suffix.lower() not in FORMATS:
        raise InputError(f"A clip's name must end in {', '.join(FORMATS)}, which {out} doesn't.")
    if not out.parent.is_dir():
        raise InputError(f"There is no folder {out.parent} to put {out.name} into.")
    if out.exists() and out.samefile(movie):
        raise InputError(f"The clip would replace the movie {movie}: choose another name.")
    if (out.exists() or out.is_symlink()) and not _is_ours(out):
        raise InputError(f"{out} is there already, and isn't a clip that chunkv2l cut: choose another name.")
    return out


def cut_clip(movie: str | Path, start: float, end: float, out: str | Path, reencode: bool = False) -> TrimmedClip:
    """TrimmedClip [start, end) seconds of a movie out of it, pictures and sound.

    Without `reencode` the streams are copied: nothing is lost, and it takes no time, but the clip can only begin at a
    key frame, which may be seconds earlier. With it the borders are exact; frames keep their times and their rotation.

    Args:
        out: .mp4, .mov, .mkv or .webm. An older clip of ours is replaced, any other file never.

    Raises:
        InputError: not a movie, an empty stretch, a place that can't be written to, or a container that can't hold
            what the movie is coded in.
        ChunkV2LError: the movie can't be read there, or the disk is full or fails. Nothing is left behind.
    """
    info = probe(movie)
    movie, out = info.path, check_out(out, info.path)
    if not 0 <= start < min(end, info.duration):
        raise InputError(f"There is nothing of {movie} from {start:g} to {end:g} s: it lasts {info.duration:g} s.")
    end = min(end, info.duration)
    back, key = find_key(movie, start)
    about = f"{MARK}: {start:.3f} to {end:.3f} s of {movie.name}"
    kind = FORMATS[out.suffix.lower()]
    with (
        _replacing(out) as part,
        open_container(movie) as source,
        av.open(str(part), "w", format=kind, options=_options(out)) as target,
    ):
        target.metadata["comment"] = about
        found = from_key(source, start, back)
        stretch = (
            encode(source, target, info, start, end, found) if reencode else _copy(source, target, key, end, found)
        )
    return TrimmedClip(out, *stretch, (start, end), reencode)


def find_key(movie: Path, start: float) -> tuple[float, int]:
    """Where the last key frame at or before `start` is: how far back one must seek to meet it, and its stamp.

    Where there is none (a movie whose pictures begin later), it is the first of all.

    Raises:
        ChunkV2LError: there is no key frame, or reading fails.
    """
    for back in _BACKS:
        with open_container(movie) as source:
            stream = choose_video_stream(source)
            limit = Fraction(start) + origin(source, stream)
            found: int | None = None
            for packet in from_key(source, start, back, sounds=False):
                stamp = _stamp(packet)
                if packet.is_keyframe and (stamp * packet.time_base <= limit or (found is None and back > start)):
                    found = stamp
                elif _decoded(packet) * packet.time_base > limit and (found is not None or back <= start):
                    break
            if found is not None:
                return back, found
    raise ChunkV2LError(f"{movie} has no key frame to begin a clip with.")


def from_key(source: Any, start: float, back: float, sounds: bool = True) -> Iterator[Any]:
    """Packets of the pictures and of all sound, from about `back` seconds before `start` (or the first of all) on."""
    video: Any = choose_video_stream(source)
    if back <= start or back == 0.0:
        stamp = int((Fraction(start - back) + origin(source, video)) / Fraction(video.time_base))
        with suppress(av.FFmpegError):  # no index to seek in: from the beginning then
            source.seek(stamp, stream=video)
    failures = 0
    while True:
        try:
            for packet in packets(source, [video, *(sound_streams(source) if sounds else ())]):
                failures = 0
                if packet.size and (packet.pts is not None or packet.dts is not None):
                    yield packet
            return
        except av.FFmpegError as error:
            failures += 1
            if failures > _RETRIES:
                raise ChunkV2LError(f"{source.name.removeprefix('file:')} can't be read on ({error}).") from error


def _copy(source: Any, target: Any, key: int, end: float, found: Iterator[Any]) -> tuple[float, float]:
    """Copy packets from the key frame with this stamp until `end`; what the clip shows, seconds on the timeline."""
    video: Any = choose_video_stream(source)
    outs = {stream.index: _copied(stream, target) for stream in (video, *sound_streams(source))}
    zero = origin(source, video)
    begin, limit = key * Fraction(video.time_base), Fraction(end) + zero
    last = begin
    started, done = False, set()
    for packet in _in_order(found):
        number, base = packet.stream.index, Fraction(packet.time_base)
        time, order = _stamp(packet) * base, _decoded(packet) * base
        if order >= limit:
            done.add(number)
            if done == set(outs) or (number == video.index and order >= limit + PATIENCE):
                break
            continue
        if number == video.index:
            started = started or (packet.is_keyframe and _stamp(packet) == key)
            if not started:
                continue
            last = max(last, time + (packet.duration or 0) * base)
        if time < begin:  # sound from before; pictures that need what isn't there
            continue
        shift = round(begin / base)
        packet.pts, packet.dts = _stamp(packet) - shift, _decoded(packet) - shift
        packet.stream = outs[number]
        target.mux(packet)
    if not started:
        raise ChunkV2LError(f"{Path(source.name).name} can't be read where the clip begins.")
    return float(begin - zero), float(last - zero)


def _in_order(found: Iterator[Any]) -> Iterator[Any]:
    """The same packets with the times to decode them at: after a seek, Matroska has none for the first few pictures.

    Behind those, the n-th decoding time is the n-th smallest time to show; before, they count back frame by frame.
    """
    waiting: list[Any] = []
    for packet in found:
        if packet.stream.type == "video":
            if packet.dts is None:
                waiting.append(packet)
                continue
            for ahead, early in enumerate(reversed(waiting), start=1):
                early.dts = packet.dts - ahead * max(1, early.duration or 1)
            yield from waiting
            waiting = []
        yield packet
    yield from waiting


def _copied(stream: Any, target: Any) -> Any:
    """A stream of the same kind in the clip."""
    name = stream.codec_context.codec.canonical_name
    if name not in target.supported_codecs:
        kind = "pictures are" if stream.type == "video" else "sound is"
        raise InputError(
            f"The movie's {kind} coded as {name}, which a {target.format.name} file can't hold: "
            "name the clip .mkv, or add --reencode."
        )
    return target.add_stream_from_template(stream)


def _stamp(packet: Any) -> int:
    """When a packet is shown, ticks."""
    return int(packet.pts if packet.pts is not None else packet.dts)


def _decoded(packet: Any) -> int:
    """When a packet is decoded, ticks: never later than it is shown."""
    return int(packet.dts if packet.dts is not None else packet.pts)


def _options(out: Path) -> dict[str, str]:
    """The table of contents first, so that a browser can play while it loads."""
    return {"movflags": "faststart"} if out.suffix.lower() in (".mp4", ".mov") else {}


def _is_ours(path: Path) -> bool:
    try:
        with open_container(path) as container:
            return any(key.lower() == "comment" and MARK in text for key, text in container.metadata.items())
    except (av.FFmpegError, OSError, ValueError):
        return False


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """A name to write to; what is there at the end becomes `out`, and after an exception nothing is left of it."""
    try:
        with atomic_write(out) as part:
            yield part
    except (av.FFmpegError, OSError) as error:
        full = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise ChunkV2LError(f"Can't write {out} ({full}).") from error
