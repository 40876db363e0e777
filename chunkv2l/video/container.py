"""Opens a movie file with FFmpeg's demuxers, chooses its video stream, and reads that stream's packets."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

from chunkv2l.errors import InputError

FORMATS: Final = (
    # files of cameras, players, broadcasters and the web
    *("asf", "avi", "flv", "gxf", "live_flv", "lxf", "matroska", "mov", "mpeg", "mpegts", "mpjpeg", "mxf", "nsv"),
    *("nut", "nuv", "ogg", "pva", "rm", "smjpeg", "swf", "ty", "wtv", "yuv4mpegpipe"),
    *("dhav", "hxvs", "ifv", "ivr", "kux", "luodat", "mxg"),
    # coded pictures without a container
    *("av1", "avs2", "avs3", "cavsvideo", "dirac", "dnxhd", "dv", "h261", "h263", "h264", "hevc", "ivf", "m4v"),
    *("mjpeg", "mpegvideo", "obu", "vc1", "vvc"),
    # pictures
    *("apng", "gif", "bmp_pipe", "jpeg_pipe", "png_pipe", "tiff_pipe", "webp_pipe"),
    # sound, which is told from other files that are no movies
    *("aac", "flac", "mp3", "wav"),
)
"""FFmpeg's names of the formats that are read. None of them opens another file than the one that it is in, as do lists
(`concat`, `hls`, `dash`, `imf`, `sdp`), numbered pictures (`image2`), and what looks for its other half beside it
(`vobsub`, `mlv`)."""
_OPTIONS: Final = {
    "format_whitelist": ",".join(FORMATS),
    "protocol_whitelist": "file",
    "enable_drefs": "0",  # QuickTime's tracks that lie in another file
}
_LATE_STREAMS = 64  # streams that may be announced on the way
_SCANNED_PACKETS = 2000  # packets that are counted to tell moving pictures from a still
_SCANNED_BYTES = 64 << 20
_MOVING = 3  # packets of a stream that moves


@dataclass(frozen=True)
class StreamInfo:
    """A video stream as its header describes it; `number` is FFmpeg's, which counts sound and subtitles, too."""

    number: int
    codec: str
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.number} ({self.codec}, {self.width} × {self.height})"


def open_container(path: Path, hwaccel: Any = None) -> Any:
    """Open a local file with one of FFmpeg's demuxers that open nothing else, whatever the name or the content says.

    Args:
        hwaccel: PyAV's `HWAccel` for decoding on a GPU.

    Raises:
        av.ArgumentError: the file's format isn't among `FORMATS`, or it is a pipe or a folder.
        av.FFmpegError: it can't be opened.
    """
    if path.exists() and not path.is_file():
        raise av.ArgumentError(errno.EINVAL, "Not a regular file", str(path))
    return av.open(f"file:{path}", options=dict(_OPTIONS), metadata_errors="replace", hwaccel=hwaccel)


def packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yield a stream's packets, as `container.demux` does.

    PyAV fails where a recording announces another stream on the way, as transport streams do: this reads on.
    """
    is_flushed = False
    for _ in range(_LATE_STREAMS):
        try:
            for packet in container.demux(stream):
                is_flushed = is_flush(packet)
                yield packet
            return
        except IndexError:
            if is_flushed:
                return


def is_flush(packet: Any) -> bool:
    """Return whether this is the empty packet behind the last one, which makes a decoder give what it still holds."""
    return not packet.size and packet.pts is None and packet.dts is None


def origin(container: Any, stream: Any) -> Fraction:
    """Return the time on the file's own clock, seconds, at which the movie's timeline starts."""
    if container.start_time is not None:
        return Fraction(container.start_time, av.time_base)
    return Fraction(stream.start_time or 0) * Fraction(stream.time_base)


def list_video_streams(container: Any) -> list[StreamInfo]:
    """Return the video streams that a movie may be, in order; cover pictures and chapter pictures aren't among them."""
    return [_describe(stream) for stream in _candidates(container)]


def choose_video_stream(container: Any, number: int | None = None) -> Any | None:
    """Return the stream to read: the one with that number, or the one that players show; None where there is none.

    Moving pictures come before a still, then the stream that is flagged as default, then the one with most pixels.

    Raises:
        InputError: there is no video stream of that number.
    """
    candidates = _candidates(container)
    if number is not None:
        for stream in candidates:
            if stream.index == number:
                return stream
        choices = ", ".join(map(str, map(_describe, candidates))) or "none"
        raise InputError(
            f"{_path(container)} has no video stream {number}; the streams that --stream takes are: {choices}."
        )
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    moving = _find_moving(_path(container), [stream.index for stream in candidates])

    def rank(stream: Any) -> tuple[bool, bool, bool, int]:
        described = _describe(stream)
        is_default = bool(stream.disposition & av.stream.Disposition.default)
        is_known = stream.codec_context is not None
        return is_known, stream.index in moving, is_default, described.width * described.height

    return max(candidates, key=rank)


def _candidates(container: Any) -> list[Any]:
    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


def _path(container: Any) -> Path:
    return Path(container.name.removeprefix("file:"))


def _describe(stream: Any) -> StreamInfo:
    context = stream.codec_context
    if context is None:
        return StreamInfo(stream.index, "unknown", 0, 0)
    return StreamInfo(stream.index, context.name, context.width or 0, context.height or 0)


def _find_moving(path: Path, numbers: list[int]) -> set[int]:
    """Return which of these streams hold more than a picture or two, as far as a file's first packets tell."""
    counts: Counter[int] = Counter()
    size = 0
    with suppress(av.FFmpegError), open_container(path) as container:
        streams = [container.streams[number] for number in numbers]
        for count, packet in enumerate(packets(container, streams)):
            counts[packet.stream.index] += bool(packet.size)
            size += packet.size
            if count >= _SCANNED_PACKETS or size > _SCANNED_BYTES or all(counts[n] >= _MOVING for n in numbers):
                break
    return {number for number in numbers if counts[number] >= _MOVING}
