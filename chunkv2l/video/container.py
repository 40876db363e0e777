"""Opens a movie file with FFmpeg's demuxers, chooses its video stream, and reads that stream's packets."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

from chunkv2l.errors import InputError
from chunkv2l.sanitize import one_line
from chunkv2l.video.refusals import ENCRYPTED_TAGS
from chunkv2l.video.transport_stream import CLOCK_PERIOD, ClockJump, find_jumps, find_programmes, find_scrambled

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
MAX_PIXELS: Final = 8192 * 4608
"""Pixels of the largest picture that is decoded: 8K. A small file may say that it has a hundred times as many."""
LARGE_PICTURE: Final = 20 << 20
"""Bytes of a picture (`count_picture_bytes`) from which on forty of them, which a decoder may hold, are too many: those
of 4K with 8 bits take less."""
_OPTIONS: Final = {
    "max_pixels": str(MAX_PIXELS),
    "format_whitelist": ",".join(FORMATS),
    "protocol_whitelist": "file",
    "enable_drefs": "0",  # QuickTime's tracks that lie in another file
}
_NOTED_BYTES = 0.75  # of each pixel that decoders note beside its colours, for pictures that refer to this one
_USUAL_BITS = 24  # of a pixel in a format that FFmpeg doesn't name
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
    is_scrambled: bool = False

    def __str__(self) -> str:
        scrambled = ", scrambled" if self.is_scrambled else ""
        return f"{self.number} ({self.codec}, {self.width} × {self.height}{scrambled})"


@dataclass(frozen=True)
class Track:
    """A stream of sound or of text as its header describes it; `number` is FFmpeg's, which counts all streams."""

    number: int
    codec: str
    language: str

    @classmethod
    def of(cls, stream: Any) -> Track:
        """Describe a stream whose codec is known."""
        language = one_line(str(stream.metadata.get("language", "")))[:20].lower()
        return cls(stream.index, stream.codec_context.name, language)

    def __str__(self) -> str:
        return f"{self.number} ({', '.join(filter(None, (self.codec, self.language)))})"


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
    container = av.open(_address(path), options=dict(_OPTIONS), metadata_errors="replace", hwaccel=hwaccel)
    for stream in container.streams.video:
        if stream.codec_context is not None:
            limit_pixels(stream.codec_context, MAX_PIXELS)
    return container


def limit_pixels(context: Any, most: int) -> None:
    """Let a decoder that hasn't begun refuse pictures of more pixels."""
    context.options = {"max_pixels": str(most)}


def count_picture_bytes(width: int, height: int, pixels: str | None) -> int:
    """Return the memory that a decoder takes for a picture, bytes, about.

    Args:
        pixels: FFmpeg's name of its format.
    """
    try:
        bits = av.VideoFormat(pixels).padded_bits_per_pixel if pixels else _USUAL_BITS
    except ValueError:
        bits = _USUAL_BITS
    return int(width * height * (bits / 8 + _NOTED_BYTES))


def create_container(path: Path, container_format: str | None = None, options: Mapping[str, str] | None = None) -> Any:
    """Open a local file to write a movie into, whatever its name says.

    Args:
        container_format: FFmpeg's name; None takes what the name's ending says.
        options: FFmpeg's, of the container.

    Raises:
        ValueError, av.FFmpegError: it can't be written, or FFmpeg knows no such format.
    """
    return av.open(_address(path), "w", format=container_format, options=dict(options or {}))


def _address(path: Path) -> str:
    """Return a path as FFmpeg takes it for a file: what lies before a colon would be a protocol (`0:01.mp4`)."""
    return f"file:{path}"


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


@dataclass(frozen=True)
class Timeline:
    """The movie's timeline, by the ticks of one of its streams.

    Attributes:
        base: seconds of a tick.
        origin: time on the file's own clock at which the timeline starts, seconds.
        jumps: places where that clock goes forward though no time passes, in order; seconds from the origin on.
    """

    base: Fraction
    origin: Fraction
    jumps: tuple[ClockJump, ...] = ()

    def at(self, ticks: int) -> Fraction:
        """Return the time of a stamp, seconds on the timeline."""
        time = ticks * self.base - self.origin
        return time - sum((jump.by for jump in self.jumps if time > jump.at + jump.by / 2), Fraction(0))

    def jump_times(self) -> tuple[float, ...]:
        """Return the times of the jumps, seconds on the timeline."""
        return tuple(float(jump.at - sum(other.by for other in self.jumps[:i])) for i, jump in enumerate(self.jumps))

    def ticks(self, time: float | Fraction) -> int:
        """Return the stamp of a time on the timeline, seconds."""
        stamp = Fraction(time)
        for jump in self.jumps:
            if stamp > jump.at:
                stamp += jump.by
        return int((stamp + self.origin) / self.base)


def timeline(container: Any, stream: Any) -> Timeline:
    """Return the timeline of an open movie by one of its streams.

    It starts where the file begins to play: at the earliest start of all streams, or of those of the same programme
    where a transport stream has several, whose clocks may differ.
    """
    base = Fraction(stream.time_base)
    if container.format.name != "mpegts":
        return Timeline(base, _first_time(container, stream))
    fellows = list_fellows(container, stream)
    starts = [other.start_time * Fraction(other.time_base) for other in fellows if other.start_time is not None]
    has_others = len(fellows) < len(container.streams)
    start = min(starts) if has_others and starts else _first_time(container, stream)
    pictures = next((other.id for other in fellows if other.type == "video"), None)
    if pictures is None:
        return Timeline(base, start)
    jumps = find_jumps(_path(container), pictures, frozenset(other.id for other in fellows))
    return Timeline(base, start, tuple(ClockJump((jump.at - start) % CLOCK_PERIOD, jump.by) for jump in jumps))


def list_fellows(container: Any, stream: Any) -> list[Any]:
    """Return the streams of the programme that a stream belongs to; all where a file has one programme."""
    streams = list(container.streams)
    programmes = find_programmes(_path(container)) if container.format.name == "mpegts" else ()
    if len(programmes) < 2:
        return streams
    return [other for other in streams if other is stream or any({stream.id, other.id} <= ids for ids in programmes)]


def _first_time(container: Any, stream: Any) -> Fraction:
    if container.start_time is not None:
        return Fraction(container.start_time, av.time_base)
    return Fraction(stream.start_time or 0) * Fraction(stream.time_base)


def list_video_streams(container: Any) -> list[StreamInfo]:
    """Return the video streams that a movie may be, in order; cover pictures and chapter pictures aren't among them."""
    scrambled = list_scrambled(container)
    return [_describe(stream, scrambled) for stream in _candidates(container)]


def choose_video_stream(container: Any, number: int | None = None) -> Any | None:
    """Return the stream to read: the one with that number, or the one that players show; None where there is none.

    Clear streams come before scrambled ones, moving pictures before a still, then the stream that is flagged as
    default, then the one with most pixels.

    Raises:
        InputError: there is no video stream of that number.
    """
    candidates, scrambled = _candidates(container), list_scrambled(container)
    if number is not None:
        for stream in candidates:
            if stream.index == number:
                return stream
        choices = ", ".join(str(_describe(stream, scrambled)) for stream in candidates) or "none"
        raise InputError(
            f"{_path(container)} has no video stream {number}; the streams that --stream takes are: {choices}."
        )
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    moving = _find_moving(_path(container), [stream.index for stream in candidates])

    def rank(stream: Any) -> tuple[bool, bool, bool, bool, int]:
        described = _describe(stream, scrambled)
        is_default = bool(stream.disposition & av.stream.Disposition.default)
        is_known = stream.codec_context is not None
        return (
            is_known,
            not described.is_scrambled,
            stream.index in moving,
            is_default,
            described.width * described.height,
        )

    return max(candidates, key=rank)


def _candidates(container: Any) -> list[Any]:
    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


def _path(container: Any) -> Path:
    return Path(container.name.removeprefix("file:"))


def list_scrambled(container: Any) -> frozenset[int]:
    """Return FFmpeg's numbers of a broadcast's scrambled streams, or of those that an MP4 calls encrypted."""
    if container.format.name != "mpegts":
        known = (stream for stream in container.streams if stream.codec_context is not None)
        return frozenset(stream.index for stream in known if stream.codec_context.codec_tag in ENCRYPTED_TAGS)
    scrambled = find_scrambled(_path(container))
    return frozenset(stream.index for stream in container.streams if stream.id in scrambled)


def _describe(stream: Any, scrambled: frozenset[int]) -> StreamInfo:
    context, is_scrambled = stream.codec_context, stream.index in scrambled
    if context is None:
        return StreamInfo(stream.index, "unknown", 0, 0, is_scrambled)
    return StreamInfo(stream.index, context.name, context.width or 0, context.height or 0, is_scrambled)


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
