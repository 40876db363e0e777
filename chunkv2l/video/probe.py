"""What a movie file holds, and a sentence for everything that is not one: `probe`. Cheap, and no torch.

The timeline: time 0 is where the file begins to play, the earliest start of all its streams, as in players. A movie
whose clock starts at 5 s starts at 0 here; one whose pictures come half a second after its sound has its first frame
at 0.5, and its first segment starts at 0.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av

from chunkv2l.errors import InputError

_USUAL_FPS = 25.0  # where a file says nothing
_FAST_FPS = 121.0  # a mean rate above is doubted
_ENOUGH = 500  # packets that tell a mean rate
_PATIENCE = 500  # packets that may fail before the first picture
_LATE_STREAMS = 64  # streams that may be announced on the way
_LONGEST = 30 * 86_400.0  # seconds; a header that promises more has a broken clock
_NOT_MOVIES = {"tty", "hls", "concat", "dash", "ffmetadata", "sdp", "imf", "lavfi"}  # text, and lists of other files


@dataclass(frozen=True)
class MovieInfo:
    """What a movie's header says.

    Attributes:
        duration: seconds from the timeline's start to the end of the pictures, as far as the header knows.
        fps: mean frame rate.
        width, height: pixels as shown, upright, square.
        frames: how many the header claims, or None.
        codec: FFmpeg's name of it.
        origin: what the file's own clock says at the timeline's start, seconds.
        rotation: degrees, counterclockwise, by which stored frames are turned to be upright.
        first: time of the first frame, seconds on the timeline.
        stored_width, stored_height: pixels as stored.
        pixels: FFmpeg's name of the format of a decoded picture.
    """

    path: Path
    duration: float
    fps: float
    width: int
    height: int
    frames: int | None
    codec: str
    origin: float
    rotation: int
    first: float
    stored_width: int
    stored_height: int
    pixels: str


def probe(path: str | os.PathLike[str]) -> MovieInfo:
    """Look at a movie without reading it through: open it and decode its first frame.

    Raises:
        InputError: with a sentence for everything that is not a movie with at least one picture.
    """
    path = Path(path)
    _check_file(path)
    try:
        container = open_container(path)
    except (av.FFmpegError, ValueError) as error:
        raise InputError(_cant_open(path, error)) from error
    with container:
        if container.format.name in _NOT_MOVIES:
            raise InputError(f"{path} is not a movie: it looks like {container.format.long_name}.")
        stream = video_stream(container)
        if stream is None:
            raise InputError(_no_pictures(path, container))
        first = _first_frame(path, container, stream)
        start = origin(container, stream)
        base = Fraction(stream.time_base)
        fps = _mean_fps(path, stream)
        time = max(0.0, float(first.pts * base - start)) if first.pts is not None else 0.0
        end = _end_of_pictures(container, stream, start)
        duration = max(end, time + 1 / fps)
        if duration > _LONGEST:
            raise InputError(
                f"{path} says that it lasts {duration / 86_400:.0f} days: its clock is damaged. Convert it first."
            )
        turned = turns(first.rotation) % 2 == 1
        width, height = shown_width(first.width, stream), first.height
        return MovieInfo(
            path=path,
            duration=duration,
            fps=fps,
            width=height if turned else width,
            height=width if turned else height,
            frames=stream.frames or None,
            codec=stream.codec_context.name,
            origin=float(start),
            rotation=int(first.rotation),
            first=time,
            stored_width=first.width,
            stored_height=first.height,
            pixels=first.format.name,
        )


def open_container(path: Path, hwaccel: Any = None) -> Any:
    """FFmpeg's demuxer on a local file, and on nothing else that the name or the content may point to.

    Args:
        hwaccel: PyAV's `HWAccel` of what is to decode instead of the CPU.
    """
    options = {"protocol_whitelist": "file"}
    return av.open(f"file:{path}", options=options, metadata_errors="replace", hwaccel=hwaccel)


def packets(container: Any, stream: Any) -> Iterator[Any]:
    """A stream's packets, as `container.demux` gives them.

    PyAV stumbles where a recording announces another stream on the way (transport streams do): this goes on behind.
    """
    flushed = False
    for _ in range(_LATE_STREAMS):
        try:
            for packet in container.demux(stream):
                flushed = not packet.size and packet.pts is None and packet.dts is None
                yield packet
            return
        except IndexError:
            if flushed:
                return


def video_stream(container: Any) -> Any | None:
    """The first stream of moving pictures, or None; a cover picture is none."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    return None


def origin(container: Any, stream: Any) -> Fraction:
    """Seconds on the file's clock where its timeline starts."""
    if container.start_time is not None:
        return Fraction(container.start_time, av.time_base)
    return Fraction(stream.start_time or 0) * Fraction(stream.time_base)


def turns(rotation: float) -> int:
    """Quarter turns counterclockwise, 0 … 3, that bring a frame of this rotation (degrees) upright."""
    return round(rotation / 90) % 4


def shown_width(width: int, stream: Any) -> int:
    """The width in square pixels of frames whose pixels are not (DV, DVD); an aspect that is off by a rounding is 1."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return max(1, round(width * aspect)) if 0.25 <= aspect <= 4 and abs(aspect - 1) > 0.03 else width


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path} is a directory; give the path of a movie file.")
        if not stat.S_ISREG(mode):
            raise InputError(f"{path} is not a regular file; give the path of a movie file.")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path} is empty (0 bytes); the copy or download may have failed.")
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise InputError(f"{path} does not exist; check the path of the movie.") from error
    except PermissionError as error:
        raise InputError(f"{path} can't be read: permission denied; change its permissions or your user.") from error
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}).") from error


def _cant_open(path: Path, error: Exception) -> str:
    if _lacks_contents(path):
        return (
            f"{path} is cut off: its table of contents, which is written last, is missing; "
            "the recording or download did not finish. Get the whole file, or repair it with a tool for that."
        )
    return f"{path} is not a movie that can be read ({_reason(error)})."


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _lacks_contents(path: Path) -> bool:
    """Whether this is an MP4 or QuickTime file without a `moov` box."""
    names: list[bytes] = []
    at, end = 0, path.stat().st_size
    with path.open("rb") as file:
        while at < end and len(names) < 1000:  # a damaged size may point anywhere
            file.seek(at)
            if len(head := file.read(16)) < 8:
                break
            size, name = int.from_bytes(head[:4], "big"), head[4:8]
            if size == 1:  # a 64-bit size follows
                size = int.from_bytes(head[8:16], "big")
            names.append(name)
            if size < 8:
                break
            at += size
    return bool(names) and names[0] in (b"ftyp", b"mdat", b"free", b"wide", b"skip") and b"moov" not in names


def _no_pictures(path: Path, container: Any) -> str:
    if container.streams.audio:
        return f"{path} has sound but no video stream; give a movie with pictures."
    return f"{path} has no video stream; give a movie with pictures."


def _first_frame(path: Path, container: Any, stream: Any) -> Any:
    """The first frame that can be decoded; a damaged beginning is passed over."""
    failed: Exception | None = None
    try:
        for number, packet in enumerate(packets(container, stream)):
            try:
                for frame in packet.decode():
                    return frame
            except av.FFmpegError as error:
                failed = error
            if number > _PATIENCE:
                break
    except av.FFmpegError as error:
        failed = error
    if isinstance(failed, av.DecoderNotFoundError):
        raise InputError(f"{path} is coded in a way that the FFmpeg inside PyAV can't decode; convert it first.")
    if failed is None:
        raise InputError(f"{path} has a video stream without a single picture; the file is cut off or empty.")
    raise InputError(
        f"{path} has a video stream, but no picture of it can be decoded ({_reason(failed)}); the file is damaged."
    )


def _mean_fps(path: Path, stream: Any) -> float:
    """Frames a second on average. Some headers hold a clock's rate there (1000): then the packets tell."""
    rate = float(stream.average_rate or 0)
    if 0.001 <= rate <= _FAST_FPS:
        return rate
    stamps: list[int] = []
    with open_container(path) as container, suppress(av.FFmpegError):
        for packet in islice(packets(container, video_stream(container)), _ENOUGH):
            if packet.pts is not None and packet.size:
                stamps.append(packet.pts)
    stamps = sorted(set(stamps))
    if len(stamps) > 1:
        measured = (len(stamps) - 1) / float((stamps[-1] - stamps[0]) * Fraction(stream.time_base))
        return min(max(measured, 0.001), 1000.0)
    return _USUAL_FPS


def _end_of_pictures(container: Any, stream: Any, start: Fraction) -> float:
    """Seconds on the timeline where the pictures end, from the header; where it is silent, from the packets."""
    base = Fraction(stream.time_base)
    if stream.duration:
        return float((stream.duration + (stream.start_time or 0)) * base - start)
    if container.duration:
        counted_from = start if "matroska" in container.format.name else 0  # it writes the last stamp, others a length
        return float(Fraction(container.duration, av.time_base) - counted_from)
    last = Fraction(0)  # a recording that was never closed: look at every packet, decode none
    with suppress(av.FFmpegError):
        for packet in packets(container, stream):
            if packet.pts is not None:
                last = max(last, (packet.pts + (packet.duration or 0)) * base - start)
    return float(last)
