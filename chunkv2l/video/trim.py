"""Cut a stretch out of a movie into a file of its own: streams copied from a key frame on, or encoded anew.

All times are seconds on the movie's timeline (`probe`). The stretch's packets are scanned first (`packet_scan`): where
a copy would show what the movie doesn't, or can't be written, the clip is encoded anew, and says why. What a copied
clip shows is read back from the clip. A clip is written under another name beside its own, and renamed when complete.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Final

import av

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.files import atomic_write
from chunkv2l.sanitize import plural
from chunkv2l.timecode import clock, precision
from chunkv2l.video.container import create_container, open_container, packets, timeline
from chunkv2l.video.packet_scan import TOLERANCE, Scan, ScannedPicture, read_mended, scan
from chunkv2l.video.probe import MovieInfo, probe
from chunkv2l.video.transcode import PATIENCE, encode, sound_streams

FORMATS: Final[Mapping[str, str]] = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Endings of a clip's name, and FFmpeg's names of these containers."""
MARK: Final = "cut by chunkv2l"
"""In a clip's comment: only files that carry it are replaced."""
_LATE = 0.05  # seconds by which a copied clip may begin or end elsewhere than planned
_LEAD = 15.0  # seconds before the start, from where decoding is tried where the last key frame doesn't suffice
_MOST_BEYOND = 2  # seconds behind the end that a copied clip may reach
_CHECKED = 50  # pictures at a copied clip's beginning that are decoded to see what it shows
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM})


@dataclass(frozen=True)
class TrimmedClip:
    """A clip that was cut out of a movie.

    Attributes:
        path: the file.
        start, end: what it really shows, seconds on the movie's timeline.
        requested: the stretch that was asked for, as far as the movie goes.
        exact: whether it was encoded anew, which cuts at the very frame.
        reason: why it was encoded anew though that wasn't asked for, or "".
        left_out: how many sound tracks are missing, because FFmpeg doesn't know their coding.
    """

    path: Path
    start: float
    end: float
    requested: tuple[float, float]
    exact: bool
    reason: str = ""
    left_out: int = 0

    def describe(self) -> str:
        """Return a sentence that says what was written; of a copy also how early it begins."""
        decimals = max(1, precision(self.end - self.start))
        text = f"{self.path}: {clock(self.start, decimals)} to {clock(self.end, decimals)} of the movie"
        missing = f" {plural(self.left_out, 'sound track')} left out: coded in an unknown way." if self.left_out else ""
        if self.exact:
            return f"{text}{f', encoded anew: {self.reason}' if self.reason else ''}.{missing}"
        early = self.requested[0] - self.start
        where = f"{early:.1f} s early, at a key frame" if early > 0.05 else "at a key frame"
        return f"{text}, copied as it is; it starts {where} (--reencode cuts exactly).{missing}"


class _CannotCopyError(Exception):
    """Streams can't be copied; the message is a part of a sentence."""


@dataclass(frozen=True)
class _CopiedPicture:
    """A picture to copy: when it is shown and decoded, and how long it is shown; seconds on the movie's timeline."""

    time: Fraction
    decoded: Fraction
    duration: Fraction


def check_out(out: str | Path, movie: Path) -> Path:
    """Return the path that a clip of a movie will be written to, after checking it.

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


def cut_clip(
    movie: str | Path,
    start: float,
    end: float,
    out: str | Path,
    reencode: bool = False,
    *,
    length: float | None = None,
    stream: int | None = None,
) -> TrimmedClip:
    """Cut [start, end) seconds out of a movie, pictures and sound.

    Without `reencode` the streams are copied: nothing is lost, and it takes no time, but the clip can only begin at a
    key frame, which may be seconds earlier. With it the borders are exact; frames keep their times and their rotation.
    What can't be copied is encoded anew all the same, and the clip's `reason` says why.

    Args:
        out: .mp4, .mov, .mkv or .webm. An older clip of ours is replaced, any other file never.
        length: seconds of the movie that were read when it was indexed, where that is known: headers may be wrong.
        stream: FFmpeg's number of the video stream; by default the one that players show.

    Raises:
        InputError: not a movie, a stretch without a picture, or a file that can't be written.
        ChunkV2LError: the movie can't be read there, or the disk is full or fails. Nothing is left behind.
    """
    info = probe(movie, stream)
    movie, out = info.path, check_out(out, info.path)
    known = info.duration if length is None else length
    scanned = scan(info, start, end, known) if 0 <= start < end else None
    reach = known if scanned is None or scanned.end is None else float(scanned.end)
    stretch = (start, end if scanned is not None and scanned.end is None else min(end, reach))
    if scanned is None or not stretch[0] < stretch[1] or not _shows_something(scanned, stretch[1]):
        raise InputError(f"There is nothing of {movie} from {start:g} to {end:g} s: it lasts {reach:g} s.")
    with _replacing(out) as part:
        reason = ""
        if not reencode:
            try:
                return _copy(info, scanned, stretch, part, out)
            except _CannotCopyError as error:
                reason = str(error)
        clip = _encode(info, scanned, stretch, part, out, reason)
        if clip.start > start + _LATE and (scanned.pictures[0].time or 0) > info.first + _LATE:
            scanned = scan(info, start, end, known, _LEAD)  # decoders may need more than one key frame
            clip = _encode(info, scanned, stretch, part, out, reason)
        return clip


def _shows_something(scanned: Scan, end: float) -> bool:
    """Return whether any picture is on screen before `end`."""
    return any(picture.is_shown and (picture.time is None or picture.time < end) for picture in scanned.pictures)


@contextmanager
def _open_target(part: Path, out: Path, movie: Path, stretch: tuple[float, float]) -> Iterator[Any]:
    """Open the file that a clip is written to."""
    options = {"movflags": "faststart"} if out.suffix.lower() in (".mp4", ".mov") else {}  # plays while it loads
    with create_container(part, FORMATS[out.suffix.lower()], options) as target:
        target.metadata["comment"] = f"{MARK}: {stretch[0]:.3f} to {stretch[1]:.3f} s of {movie.name}"
        yield target


def _encode(
    info: MovieInfo, scanned: Scan, stretch: tuple[float, float], part: Path, out: Path, reason: str
) -> TrimmedClip:
    """Encode a stretch anew into the file `part`, which will be called `out`."""
    with open_container(info.path) as source, _open_target(part, out, info.path, stretch) as target:
        shown = encode(source, target, info, scanned, *stretch)
        left_out = len(source.streams.audio) - len(sound_streams(source))
    return TrimmedClip(out, *shown, stretch, True, reason, left_out)


def _copy(info: MovieInfo, scanned: Scan, stretch: tuple[float, float], part: Path, out: Path) -> TrimmedClip:
    """Copy a stretch from its key frame on into the file `part`, which will be called `out`.

    Raises:
        _CannotCopyError: the container can't hold the streams, or the copy doesn't show the pictures that it should.
    """
    end = Fraction(stretch[1])
    pictures = _plan_copy(scanned, end, info)
    with open_container(info.path) as source:
        left_out = len(source.streams.audio) - len(sound_streams(source))
        try:
            with _open_target(part, out, info.path, stretch) as target:
                _write_copy(source, target, info, scanned, pictures, end)
        except (av.FFmpegError, OSError) as error:
            if error.errno in _DISK_ERRORS:
                raise
            raise _CannotCopyError(f"{out.suffix.lower()} files can't hold the movie's streams") from error
    return TrimmedClip(out, *_read_borders(part, pictures), stretch, False, "", left_out)


def _plan_copy(scanned: Scan, end: Fraction, info: MovieInfo) -> dict[int, _CopiedPicture]:
    """Return the pictures to copy, by number: those from the key frame on that are needed up to `end`, without a gap.

    Pictures shown before the key frame need others that aren't copied, and are left out. Times to decode are the times
    to show, delayed by as many pictures as the coded order needs: a file may lack them, or count in another way.

    Raises:
        _CannotCopyError: a copy would not show what the movie does.
    """
    timed = [(picture, picture.time) for picture in scanned.pictures if picture.time is not None]
    if len(timed) < len(scanned.pictures):
        raise _CannotCopyError("the movie's pictures have no times of their own")
    timed = [(picture, time) for picture, time in timed if time >= timed[0][1]]
    following = [time for _, time in timed]
    latest = end - TOLERANCE
    while True:  # with each picture, those that are coded later and shown earlier
        count = 1 + max((i for i, (_, time) in enumerate(timed) if time < latest), default=0)
        if max(time for _, time in timed[:count]) <= latest:
            break
        latest = max(time for _, time in timed[:count])
    timed = timed[:count]
    if obstacle := _find_obstacle([picture for picture, _ in timed], latest > end + _MOST_BEYOND):
        raise _CannotCopyError(obstacle)
    step = Fraction(1 / info.fps).limit_denominator(100_000)
    times = sorted(time for _, time in timed)
    ranks = {time: rank for rank, time in enumerate(times)}
    delay = max(i - ranks[time] for i, (_, time) in enumerate(timed))
    decoded = [times[0] - number * step for number in range(delay, 0, -1)] + times
    planned = {}
    for i, (picture, time) in enumerate(timed):
        is_last = ranks[time] + 1 == len(times)
        at_end = end if time < end else min((later for later in following if later > time), default=time + step)
        until = at_end if is_last else times[ranks[time] + 1]
        planned[picture.number] = _CopiedPicture(time, decoded[i], until - time)
    return planned


def _find_obstacle(pictures: Sequence[ScannedPicture], reaches_too_far: bool) -> str:
    """Return why these pictures can't be copied, as a part of a sentence, or "" where they can."""
    if any(picture.shift for picture in pictures):
        return "the movie's clock jumps"
    if not all(picture.is_shown for picture in pictures):
        return "the movie has pictures there that are never shown (an edit list)"
    if not pictures[0].is_key:
        return "the movie has no key frame there"
    if len({picture.time for picture in pictures}) < len(pictures):
        return "several of the movie's pictures have the same time"
    if reaches_too_far:
        return "the pictures there need others that are shown much later"
    return ""


def _write_copy(
    source: Any, target: Any, info: MovieInfo, scanned: Scan, pictures: Mapping[int, _CopiedPicture], end: Fraction
) -> None:
    """Copy these pictures and their sound; the clip's clock starts with the first picture."""
    video, sounds = source.streams[info.stream], sound_streams(source)
    suffix = next(suffix for suffix, name in FORMATS.items() if name == target.format.name)
    tracks = {stream.index: _add_copy(stream, target, suffix) for stream in (video, *sounds)}
    begin, final = min(picture.time for picture in pictures.values()), max(pictures)
    late = end + PATIENCE + timeline(source, video).origin
    last_stamps: dict[int, int] = {}
    done: set[int] = set()
    for number, time, packet in read_mended(source, info, scanned, sounds, float(begin)):
        index, base = packet.stream.index, Fraction(packet.time_base)
        if number is not None:
            if number > final:
                done.add(index)
            if picture := pictures.get(number):
                packet.pts, packet.dts = round((picture.time - begin) / base), round((picture.decoded - begin) / base)
                packet.duration = max(1, round(picture.duration / base))
        elif time is None or time >= end:
            done.add(index)
        else:
            packet.pts = packet.dts = round((time - begin) / base)
        is_late = number is not None and number > final and packet.dts is not None and packet.dts * base >= late
        if len(done) == len(tracks) or is_late:
            break
        if index in done or (number is not None and number not in pictures):
            continue
        if packet.dts <= last_stamps.get(index, packet.dts - 1):
            if number is None:  # sound that overlaps
                continue
            packet.dts = last_stamps[index] + 1  # two that are rounded to the same tick
        last_stamps[index] = packet.dts
        packet.stream = tracks[index]
        target.mux(packet)


def _add_copy(stream: Any, target: Any, suffix: str) -> Any:
    """Add a stream of the same coding to the clip.

    Raises:
        _CannotCopyError: the container can't hold it.
    """
    name = stream.codec_context.codec.canonical_name
    if name not in target.supported_codecs:
        subject = "pictures are" if stream.type == "video" else "sound is"
        raise _CannotCopyError(f"the movie's {subject} coded as {name}, which {suffix} files can't hold")
    return target.add_stream_from_template(stream, opaque=True)


def _read_borders(part: Path, pictures: Mapping[int, _CopiedPicture]) -> tuple[float, float]:
    """Return when a copied clip's first and last picture are shown, seconds on the movie's timeline: start and end.

    Raises:
        _CannotCopyError: the clip's pictures can't be decoded from its key frame on, or aren't those that were copied.
    """
    begin = min(picture.time for picture in pictures.values())
    last = max(pictures.values(), key=lambda picture: picture.time)
    try:
        with open_container(part) as clip:
            video = clip.streams.video[0]
            base = Fraction(video.time_base)
            zero = _first_stamp(part) * base
            first = [frame.pts * base - zero for frame in islice(clip.decode(video), _CHECKED) if not frame.is_corrupt]
            clip.seek(round((zero + last.time - begin) / base), stream=video)
            shown = [frame.pts * base - zero for frame in clip.decode(video) if not frame.is_corrupt]
    except (av.FFmpegError, StopIteration, TypeError) as error:  # TypeError: a frame without a time
        raise _CannotCopyError("a copy's pictures can't be decoded") from error
    if not first or not shown or first[0] > _LATE:
        raise _CannotCopyError("the pictures behind the key frame can't be decoded from there")
    if first != sorted(first) or shown != sorted(shown):
        raise _CannotCopyError("the movie's pictures have no times of their own")
    final = begin + shown[-1]
    if abs(final - last.time) > _LATE:
        raise _CannotCopyError("a copy doesn't show all of the pictures")
    nearest = min(pictures.values(), key=lambda picture: abs(picture.time - final))
    return float(begin + first[0]), float(final + nearest.duration)


def _first_stamp(part: Path) -> int:
    """Return when a clip's first picture is shown, ticks of its track."""
    with open_container(part) as clip:
        return next(int(packet.pts) for packet in packets(clip, clip.streams.video[0]) if packet.size)


def _is_ours(path: Path) -> bool:
    """Return whether a file is a clip that was cut by `cut_clip`."""
    try:
        with open_container(path) as container:
            return any(key.lower() == "comment" and MARK in text for key, text in container.metadata.items())
    except (av.FFmpegError, OSError, ValueError):
        return False


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Give a name to write to; the file there becomes `out` at the end, and after an exception it is removed.

    Raises:
        ChunkV2LError: writing fails.
    """
    try:
        with atomic_write(out) as part:
            yield part
    except (av.FFmpegError, OSError) as error:
        full = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise ChunkV2LError(f"Can't write {out} ({full}).") from error
