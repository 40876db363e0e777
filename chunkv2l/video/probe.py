"""Reads what a movie file holds, cheaply and without torch; what isn't a movie is refused with a sentence.

The timeline: time 0 is where the file begins to play, the earliest start of all its streams, as in players. A movie
whose clock starts at 5 s starts at 0 here; one whose pictures come half a second after its sound has its first frame
at 0.5, and its first segment starts at 0.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av

from chunkv2l.errors import InputError
from chunkv2l.files import local_path
from chunkv2l.video.container import (
    MAX_PIXELS,
    StreamInfo,
    Timeline,
    choose_video_stream,
    count_picture_bytes,
    is_flush,
    list_scrambled,
    list_video_streams,
    open_container,
    packets,
    timeline,
)
from chunkv2l.video.refusals import (
    explain_animation,
    explain_encryption,
    explain_list,
    explain_other_file,
    lacks_index,
)

_USUAL_FPS = 25.0  # where a file says nothing
_FAST_FPS = 121.0  # a mean rate above is doubted
_RATE_PACKETS = 500  # packets from which a mean rate is measured
_RAW_CODECS = {"h264", "hevc", "vvc"}  # streams of these may come without a container
_CLOCKLESS = {"mpegvideo", "m4v", "h261", "h263", "vc1", "cavsvideo", "avs2", "avs3"}  # coded pictures, one by one
_PATIENCE = 500  # packets that may fail before the first picture
_ROOM = 768 << 20  # bytes of the pictures that are decoded before the first one to be shown is asked for
_LONGEST = 30 * 86_400.0  # seconds; a header that promises more has a broken clock


@dataclass(frozen=True)
class MovieInfo:
    """A movie file as its header describes it.

    Attributes:
        duration: seconds from the timeline's start to the end of the pictures, by the header; the pictures that are
            read may end earlier or later.
        fps: mean frame rate.
        width, height: pixels as shown, upright, square.
        frames: how many the header claims, or None.
        codec: FFmpeg's name of it.
        origin: seconds on the file's own clock at the timeline's start.
        rotation: degrees, counterclockwise, by which stored frames are turned to be upright.
        first: time of the first frame, seconds on the timeline.
        stored_width, stored_height: pixels as stored.
        pixels: FFmpeg's name of the format of a decoded picture.
        container: FFmpeg's name of the file's format.
        has_coded_order: the file says only when its pictures are decoded, not when they are shown (H.264 in AVI).
        has_clock: the file has times; of coded pictures without a container, those that FFmpeg makes up aren't read.
        jumps: times at which the file's clock goes forward though no time passes, seconds on the timeline.
        scrambled: FFmpeg's numbers of other streams, which are scrambled or otherwise encrypted.
        stream: FFmpeg's number of the video stream that is read.
        video_streams: all that could be read.
        picture_bytes: memory that a decoded picture takes, about, with the margins that are cut off.
        size, modified, changed: when the file was probed: bytes, the time of the last change, and the system's time of
            the last change of content, name or rights, which nobody can set, nanoseconds.
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
    container: str = ""
    has_coded_order: bool = False
    has_clock: bool = True
    jumps: tuple[float, ...] = ()
    scrambled: tuple[int, ...] = ()
    stream: int = 0
    video_streams: tuple[StreamInfo, ...] = ()
    picture_bytes: int = 0
    size: int = 0
    modified: int = 0
    changed: int = 0

    def describe_choice(self) -> str | None:
        """Return a sentence that says which of several video streams is read; None where there is only one."""
        others = [str(stream) for stream in self.video_streams if stream.number != self.stream]
        if not others:
            return None
        (chosen,) = (stream for stream in self.video_streams if stream.number == self.stream)
        return (
            f"{self.path.name} has {len(self.video_streams)} video streams: stream {chosen} is read. "
            f"--stream chooses another: {', '.join(others)}."
        )

    def describe_scrambled(self) -> str:
        """Return a sentence that says which streams are left out because they are scrambled."""
        numbers = ", ".join(map(str, self.scrambled))
        streams = f"stream {numbers} is" if len(self.scrambled) == 1 else f"the streams {numbers} are"
        return f"Of {self.path.name}, {streams} scrambled, and left out: get a copy without encryption."

    def has_another_size(self) -> bool:
        """Return whether the file is longer or shorter now, or gone."""
        status = self._status()
        return status is None or status.st_size != self.size

    def has_changed(self) -> bool:
        """Return whether the file has another size or time of change now, or is gone.

        A file that was merely renamed, linked or made readable counts, too.
        """
        status = self._status()
        if status is None:
            return True
        return (status.st_size, status.st_mtime_ns, status.st_ctime_ns) != (self.size, self.modified, self.changed)

    def _status(self) -> os.stat_result | None:
        try:
            return self.path.stat()
        except OSError:
            return None


def probe(path: str | os.PathLike[str], stream: int | None = None) -> MovieInfo:
    """Look at a movie without reading it through: open it and decode its first frame.

    Args:
        stream: FFmpeg's number of the video stream to read; by default the one that players show.

    Raises:
        InputError: with a sentence for everything that is not a movie with at least one picture.
    """
    path = Path(path)
    status = _check_file(local_path(path, "movie"))
    try:
        container = open_container(path)
    except (av.FFmpegError, ValueError) as error:
        raise InputError(_explain_failure(path, error)) from error
    with container:
        video = choose_video_stream(container, stream)
        if video is None:
            raise InputError(_explain_no_pictures(path, container))
        first = _first_frame(path, container, video)
        clock = timeline(container, video)
        fps = _mean_fps(path, video)
        has_clock = container.format.name not in _CLOCKLESS
        has_coded_order = container.format.name == "avi" and video.codec_context.name in _RAW_CODECS
        stamp = first.pts if has_clock and not has_coded_order else None
        time = max(0.0, float(clock.at(stamp))) if stamp is not None else 0.0
        end = _end_of_pictures(container, video, clock, fps)
        duration = max(end, time + 1 / fps)
        if duration > _LONGEST:
            raise InputError(
                f"{path} says that it lasts {duration / 86_400:.0f} days: its clock is damaged. Convert it first."
            )
        is_on_its_side = turns(first.rotation) % 2 == 1
        width, height = shown_width(first.width, video), first.height
        return MovieInfo(
            path=path,
            duration=duration,
            fps=fps,
            width=height if is_on_its_side else width,
            height=width if is_on_its_side else height,
            frames=video.frames or None,
            codec=video.codec_context.name,
            origin=float(clock.origin),
            rotation=int(first.rotation),
            first=time,
            stored_width=first.width,
            stored_height=first.height,
            pixels=first.format.name,
            container=container.format.name,
            has_coded_order=has_coded_order,
            has_clock=has_clock,
            jumps=clock.jump_times(),
            scrambled=tuple(sorted(list_scrambled(container) - {video.index})),
            stream=video.index,
            video_streams=tuple(list_video_streams(container)),
            picture_bytes=count_picture_bytes(
                max(first.width, video.codec_context.coded_width),
                max(first.height, video.codec_context.coded_height),
                first.format.name,
            ),
            size=status.st_size,
            modified=status.st_mtime_ns,
            changed=status.st_ctime_ns,
        )


def turns(rotation: float) -> int:
    """Return the quarter turns counterclockwise, 0 … 3, that bring a frame of this rotation (degrees) upright."""
    return round(rotation / 90) % 4


def shown_width(width: int, stream: Any) -> int:
    """Return the width in square pixels of frames whose pixels aren't square (DV, DVD).

    An aspect that is off by a rounding counts as square.
    """
    aspect = float(stream.sample_aspect_ratio or 1)
    return max(1, round(width * aspect)) if 0.25 <= aspect <= 4 and abs(aspect - 1) > 0.03 else width


def _check_file(path: Path) -> os.stat_result:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a directory; give the path of a movie file.")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is not a regular file; give the path of a movie file.")
        with path.open("rb") as file:
            head = file.read(16)
        if not head:
            raise InputError(f"{path} is empty (0 bytes); the copy or download may have failed.")
        if head == b"SQLite format 3\0":
            raise InputError(f"{path} is an index, not a movie; give the movie that it is to be made of.")
        return status
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise InputError(f"{path} does not exist; check the path of the movie.") from error
    except PermissionError as error:
        raise InputError(f"{path} can't be read: permission denied; change its permissions or your user.") from error
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}).") from error


def _explain_failure(path: Path, error: Exception) -> str:
    """Return a sentence that says why a file can't be opened."""
    if lacks_index(path):
        return (
            f"{path} is cut off: its table of contents, which is written last, is missing; "
            "the recording or download did not finish. Get the whole file, or repair it with a tool for that."
        )
    if known := explain_animation(path) or explain_encryption(path) or explain_list(path) or explain_other_file(path):
        return known
    if isinstance(error, av.ArgumentError):  # none of `container.FORMATS`, as texts are
        return f"{path} is not a movie, or its format is none that is read here: convert it to an MP4 first."
    return f"{path} is not a movie that can be read ({_reason(error)})."


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _explain_no_pictures(path: Path, container: Any) -> str:
    """Return a sentence that says why a container has no video stream."""
    known = explain_animation(path) or explain_encryption(path) or explain_other_file(path)
    if known is not None:
        return known
    if container.streams.audio:
        return f"{path} has sound but no video stream; give a movie with pictures."
    return f"{path} has no video stream; give a movie with pictures."


def _first_frame(path: Path, container: Any, stream: Any) -> Any:
    """Return the first frame that can be decoded; a damaged beginning is passed over.

    A decoder may wait for sixteen more pictures before it gives the first. Of large ones it gets fewer at a time, which
    is enough for movies of cameras.
    """
    failure: Exception | None = None
    context = stream.codec_context
    try:
        for number, packet in enumerate(packets(container, stream)):
            if packet.size and (encrypted := explain_encryption(path, stream, packet) if number == 0 else None):
                raise InputError(encrypted)
            if not (packet.size or is_flush(packet)):
                continue
            try:
                for frame in packet.decode():
                    return frame
                if (number + 1) % _count_at_once(context) == 0:
                    for frame in context.decode(None):
                        return frame
                    context.flush_buffers()
            except av.FFmpegError as error:
                failure = error
            if number > _PATIENCE:
                break
    except av.FFmpegError as error:
        failure = error
    raise InputError(_explain_undecodable(path, stream, failure))


def _count_at_once(context: Any) -> int:
    """Return how many pictures a decoder gets before it has to give the first one."""
    if context is None:
        return _PATIENCE
    size = count_picture_bytes(context.coded_width or 0, context.coded_height or 0, context.pix_fmt)
    return max(1, min(_PATIENCE, _ROOM // max(1, size)))


def _explain_undecodable(path: Path, stream: Any, failure: Exception | None) -> str:
    """Return a sentence that says why no picture of a video stream can be decoded."""
    known = explain_animation(path) or explain_encryption(path, stream) or explain_other_file(path)
    if known is not None:
        return known
    if isinstance(failure, av.DecoderNotFoundError):
        return f"{path} is coded in a way that the FFmpeg inside PyAV can't decode; convert it first."
    context = stream.codec_context
    is_large = context is not None and (context.width or 0) * (context.height or 0) > MAX_PIXELS
    if is_large or isinstance(failure, av.ArgumentError):  # decoders don't all say what they refuse
        return f"{path} has a video stream, but its pictures are damaged or larger than 8K: make a smaller copy first."
    if failure is None:
        return f"{path} has a video stream without a single picture; the file is cut off or empty."
    return f"{path} has a video stream, but no picture of it can be decoded ({_reason(failure)}); the file is damaged."


def _mean_fps(path: Path, stream: Any) -> float:
    """Return the mean frames a second. Some headers hold a clock's rate there (1000): then it is measured."""
    rate = float((stream.guessed_rate if _lacks_times(path, stream) else stream.average_rate) or 0)
    if 0.001 <= rate <= _FAST_FPS:
        return rate
    stamps: list[int] = []
    with open_container(path) as container, suppress(av.FFmpegError):
        for packet in islice(packets(container, container.streams[stream.index]), _RATE_PACKETS):
            if packet.pts is not None:  # an empty packet counts: it repeats a picture
                stamps.append(packet.pts)
    stamps = sorted(set(stamps))
    if len(stamps) > 1:
        measured = (len(stamps) - 1) / float((stamps[-1] - stamps[0]) * Fraction(stream.time_base))
        return min(max(measured, 0.001), 1000.0)
    return _USUAL_FPS


def _lacks_times(path: Path, stream: Any) -> bool:
    """Return whether a stream's packets have no times: then FFmpeg's mean rate is its default, and the coded one true.

    That is so of raw H.264 and HEVC.
    """
    if stream.codec_context.name not in _RAW_CODECS or stream.duration:
        return False
    with open_container(path) as container, suppress(av.FFmpegError):
        for packet in islice(packets(container, container.streams[stream.index]), 2):
            return packet.pts is None and packet.dts is None
    return False


def _end_of_pictures(container: Any, stream: Any, clock: Timeline, fps: float) -> float:
    """Return where the pictures end, seconds on the timeline: from the header, or else from the packets."""
    has_clock = container.format.name not in _CLOCKLESS
    if stream.duration and has_clock:
        return float(clock.at(stream.duration + (stream.start_time or 0)))
    if container.duration and has_clock:
        counted_from = (
            clock.origin if "matroska" in container.format.name else 0
        )  # it writes the last stamp, others a length
        return float(Fraction(container.duration, av.time_base) - counted_from)
    last = Fraction(0)  # a recording that was never closed: look at every packet, decode none
    unstamped = 0
    with suppress(av.FFmpegError), open_container(Path(container.name.removeprefix("file:"))) as fresh:
        for packet in packets(fresh, fresh.streams[stream.index]):
            if packet.pts is not None and has_clock:
                last = max(last, clock.at(packet.pts + (packet.duration or 0)))
            unstamped += (packet.pts is None or not has_clock) and packet.size > 0
    return max(float(last), unstamped / fps)
