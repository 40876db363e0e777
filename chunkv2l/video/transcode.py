"""Encode a stretch of a movie anew, with borders that are exact to the frame and to the sample.

Pictures keep the times at which they were shown, however uneven, and their rotation; the first is the one on screen
where the stretch begins. Sound is one run of samples from the same moment on, with silence where the movie has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np

from chunkv2l.errors import ChunkV2LError
from chunkv2l.video.container import timeline
from chunkv2l.video.packet_scan import Scan, read_mended
from chunkv2l.video.probe import MovieInfo
from chunkv2l.video.readers.timestamps import CodedOrder

ENCODERS: Final[Mapping[str, tuple[str, str]]] = {"webm": ("libvpx-vp9", "libopus")}
"""FFmpeg's encoders of pictures and of sound, by container; H.264 and AAC in the others."""
TICK: Final = Fraction(1, 120_000)
"""Seconds in a tick of the clip's clock, in which usual frame rates are whole numbers."""
_WARM_UP = 1.0  # seconds of sound before the start, with which decoders begin
_LAYOUTS: Final = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1"}  # by channels
_MOST_CHANNELS: Final = 6  # more don't fit into PyAV's frames; they are mixed down
_QUALITY: Final = {"libx264": {"crf": "18", "bf": "0"}, "libvpx-vp9": {"crf": "28", "b": "0", "cpu-used": "4"}}
_RGB: Final = 0  # FFmpeg's number of the colour space of pictures that become YUV here
_JITTER: Final = 0.05  # seconds by which stamps of sound may be off before silence is inserted
PATIENCE: Final = 10
"""Seconds of pictures behind the end that are read to get the sound up to the end."""


def encode(source: Any, target: Any, info: MovieInfo, scanned: Scan, start: float, end: float) -> tuple[float, float]:
    """Encode [start, end) seconds of the movie `source` into `target`, two open containers.

    Args:
        scanned: the pictures of that stretch.

    Returns:
        When the clip's first picture begins and its last one ends, seconds on the movie's timeline.

    Raises:
        ChunkV2LError: there is no picture, or this PyAV lacks the encoder.
    """
    video: Any = source.streams[info.stream]
    zero = timeline(source, video).origin
    names = ENCODERS.get(target.format.name.split(",")[0], ("libx264", "aac"))
    tracks: dict[int, _Pictures | _Sound] = {}
    try:
        tracks[video.index] = pictures = _Pictures(target, video, names[0], info, start, end)
        sounds = sound_streams(source)
        for sound in sounds:
            tracks[sound.index] = _Sound(target, sound, names[1], start, end)
    except av.codec.codec.UnknownCodecError as error:
        raise ChunkV2LError(f"This PyAV can't encode with {error}: name the clip .mkv, without --reencode.") from error
    video.thread_type = "AUTO"

    order = CodedOrder() if info.has_coded_order else None

    def shown(frame: Any, stream: Any) -> float | None:
        """Return when a frame is shown, seconds: its packet's stamp is mended already."""
        stamp = frame.pts if frame.pts is not None else frame.dts
        if not info.has_clock and stream.index == video.index:
            return None
        if order is not None and stream.index == video.index:
            stamp = order.pop(frame)
        return None if stamp is None else float(stamp * Fraction(stream.time_base) - zero)

    for _, time, packet in read_mended(source, info, scanned, sounds, start - _WARM_UP):
        track = tracks[packet.stream.index]
        if not track.is_done:
            if order is not None and track is pictures and packet.size:
                order.push(packet)
            for frame in _decode(packet.stream, packet):
                track.add(frame, shown(frame, packet.stream))
        is_late = time is not None and time > end + PATIENCE
        if all(track.is_done for track in tracks.values()) or (is_late and track is pictures and pictures.is_done):
            break
    for number, track in tracks.items():
        for frame in _decode(source.streams[number], None):
            track.add(frame, shown(frame, source.streams[number]))
        track.finish()
    if pictures.first is None:
        raise ChunkV2LError(f"{info.path} has no picture between {start:g} and {end:g} s that can be decoded.")
    return pictures.first, pictures.last


def sound_streams(source: Any) -> list[Any]:
    """Return the sound tracks of a movie that FFmpeg can decode."""
    return [stream for stream in source.streams.audio if stream.codec_context is not None]


def _choose_layout(codec: str, rate: int, layout: av.AudioLayout) -> av.AudioLayout:
    """Return the layout of channels to encode: the sound's own, the usual one for as many channels, or stereo.

    More than six channels become 5.1.
    """
    if layout.nb_channels > _MOST_CHANNELS:
        return av.AudioLayout("5.1")
    for name in (layout.name, _LAYOUTS[layout.nb_channels]):
        context: Any = av.CodecContext.create(codec, "w")
        try:
            context.layout, context.sample_rate, context.format = name, rate, "flt" if codec == "libopus" else "fltp"
            context.time_base = Fraction(1, rate)
            context.open()
        except (av.FFmpegError, ValueError):
            continue
        return av.AudioLayout(name)
    return av.AudioLayout("stereo")


def _decode(stream: Any, packet: Any | None) -> list[Any]:
    """Return a packet's frames, or without a packet those that the decoder still holds; none where it is damaged."""
    try:
        return list(stream.decode(packet))
    except av.FFmpegError:
        return []


class _Pictures:
    """Encodes the clip's pictures. A frame is written when the next one says how long it was shown."""

    def __init__(self, target: Any, stream: Any, codec: str, info: MovieInfo, start: float, end: float) -> None:
        self._target, self._start, self._end = target, start, end
        self._out = target.add_stream(codec, rate=Fraction(info.fps).limit_denominator(1001))
        self._out.width, self._out.height = (max(2, side // 2 * 2) for side in (info.stored_width, info.stored_height))
        self._out.pix_fmt = "yuv420p"
        self._out.time_base = self._out.codec_context.time_base = TICK
        self._out.options = _QUALITY[codec]
        context, given = self._out.codec_context, stream.codec_context
        if stream.sample_aspect_ratio:
            context.sample_aspect_ratio = stream.sample_aspect_ratio
        context.color_range, context.color_primaries = given.color_range, given.color_primaries
        context.color_trc = given.color_trc
        if given.colorspace != _RGB:
            context.colorspace = given.colorspace
        if info.rotation:
            self._out.set_display_rotation(info.rotation)
        self._held: tuple[Any, float] | None = None
        self._lengths: dict[int, int] = {}
        self._next = 0
        self._before, self._step = info.first, 1 / info.fps
        self.is_done = False
        self.first: float | None = None
        self.last = start

    def add(self, frame: Any, time: float | None) -> None:
        """Take the next frame, shown from `time` on, seconds; None where the movie has no times."""
        if time is None:
            time = self._before if self._held is None else self._held[1] + self._step
        if self.is_done or time < -1e-3 or (self._held is not None and time <= self._held[1]):
            return
        self._write(time)
        self._held = (frame, time)
        self.is_done = time >= self._end

    def finish(self) -> None:
        """Write what is left: the last frame stays until the end."""
        if self._held is not None:
            self._write(max(self._end, self._held[1]))
        self._mux(self._out.encode())

    def _write(self, until: float) -> None:
        """Write the frame that is held, which was shown until `until`, if that lies within the stretch."""
        if self._held is None:
            return
        frame, time = self._held
        begin, until = max(time, self._start), min(until, self._end)
        pts, length = round((begin - self._start) / TICK), round((until - begin) / TICK)
        if until <= self._start or length < 1 or pts < self._next:
            return
        out = frame.reformat(self._out.width, self._out.height, "yuv420p")
        out.pts, out.time_base, out.pict_type = pts, TICK, 0
        self._lengths[pts], self._next = length, pts + length
        self.first = begin if self.first is None else self.first
        self.last = until
        self._mux(self._out.encode(out))

    def _mux(self, coded: list[Any]) -> None:
        for packet in coded:
            packet.duration = self._lengths.pop(round(packet.pts * packet.time_base / TICK), packet.duration)
            self._target.mux(packet)


class _Sound:
    """Encodes one track of the clip's sound; samples are counted from the stretch's start."""

    def __init__(self, target: Any, stream: Any, codec: str, start: float, end: float) -> None:
        self._target, self._start = target, start
        rates = av.Codec(codec, "w").audio_rates
        given = stream.codec_context.sample_rate
        self._rate = given if not rates or given in rates else 48_000
        layout = _choose_layout(codec, self._rate, stream.codec_context.layout)
        self._out = target.add_stream(codec, rate=self._rate, layout=layout.name)
        self._layout, self._channels = layout, layout.nb_channels
        self._resampler = av.AudioResampler("fltp", layout, self._rate)
        self._input: tuple[str, str, int] | None = None
        self._most = round((end - start) * self._rate)
        self._written = 0
        self.is_done = False

    def add(self, frame: Any, time: float | None) -> None:
        """Take the next frame, which begins at `time`, seconds; None where the movie doesn't say."""
        if self.is_done:
            return
        if time is None:
            time = self._start + self._written / self._rate
        at = round((time - self._start) * self._rate)
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._input not in (None, form):  # broadcasts change between stereo and surround on the way
            self._resampler = av.AudioResampler("fltp", self._layout, self._rate)
        self._input = form
        for part in self._resampler.resample(frame):
            samples = part.to_ndarray()
            self._insert(samples, at)
            at += samples.shape[1]

    def finish(self) -> None:
        """Write what the resampler and the encoder still hold."""
        for part in self._resampler.resample(None) if self._written else ():
            self._insert(part.to_ndarray(), self._written)
        self._mux(self._out.encode())

    def _insert(self, samples: Any, at: int) -> None:
        """Write samples [channels, n] that begin at sample number `at`: behind silence, or without what overlaps."""
        off = at - self._written
        if self._written == 0 or abs(off) > _JITTER * self._rate:
            if off > 0:
                silent = min(off, self._most - self._written)
                for first in range(0, silent, self._rate):
                    self._encode(np.zeros((self._channels, min(self._rate, silent - first)), np.float32))
            elif off < 0:
                samples = samples[:, -off:]
        samples = samples[:, : self._most - self._written]
        if samples.shape[1]:
            self._encode(samples)
        self.is_done = self._written >= self._most

    def _encode(self, samples: Any) -> None:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), "fltp", self._out.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._written, Fraction(1, self._rate)
        self._written += samples.shape[1]
        self._mux(self._out.encode(frame))

    def _mux(self, coded: list[Any]) -> None:
        for packet in coded:
            self._target.mux(packet)
