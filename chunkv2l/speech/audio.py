"""Decode a movie's sound in a stream: 16 kHz, one channel, placed on the movie's timeline; memory doesn't grow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from chunkv2l.errors import InputError
from chunkv2l.video.container import Track, list_fellows, list_scrambled, open_container, packets, timeline

RATE: Final = 16_000
"""Samples a second, as Whisper takes them."""
Samples = NDArray[np.float32]
_TOLERANCE: Final = 0.1
"""Seconds by which a frame's stamp may be off before silence is put in or sound is left out."""
_BLOCK: Final = 10 * RATE
MIN_RATE: Final = 2000
"""Samples a second of the slowest sound that is decoded; nobody can be understood in it."""
MAX_FRAME: Final = 60
"""Seconds of the longest frame that is decoded; coded sound has a tenth of a second in one."""
_RETRIES: Final = 8  # times in a row that the demuxer may fail


def choose_audio_track(movie: Path, number: int | None = None, pictures: int | None = None) -> Track | None:
    """Return the audio stream to listen to: the one with that number, or the one that players play; None without sound.

    Args:
        pictures: number of the video stream whose programme the sound is to be of, in a broadcast with several; sound
            that is scrambled counts only where it is asked for.

    Raises:
        InputError: there is no audio stream of that number, or the file can't be opened.
    """
    try:
        with open_container(movie) as container:
            streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
            if number is None:
                fellows = streams if pictures is None else list_fellows(container, container.streams[pictures])
                clear = {stream.index for stream in fellows} - list_scrambled(container)
                streams = [stream for stream in streams if stream.index in clear]
            tracks = [Track.of(stream) for stream in streams]
            defaults = [bool(stream.disposition & av.stream.Disposition.default) for stream in streams]
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"The sound of {movie} can't be read ({error}).") from error
    if number is not None:
        for track in tracks:
            if track.number == number:
                return track
        choices = ", ".join(map(str, tracks)) or "none"
        raise InputError(f"{movie} has no audio stream {number}; the streams that --audio-track takes are: {choices}.")
    return next((track for track, is_default in zip(tracks, defaults, strict=True) if is_default), (*tracks, None)[0])


def read_samples(movie: Path, track: Track, duration: float) -> Iterator[Samples]:
    """Yield the sound from time 0 on, float32 in [-1, 1], in blocks of some seconds; silence where there is none.

    Packets that can't be decoded leave silence, as do frames that would fill the memory (`MIN_RATE`, `MAX_FRAME`).

    Args:
        duration: of the movie, seconds; a stamp far behind it is not believed.
    """
    with open_container(movie) as container:
        stream: Any = container.streams[track.number]
        stream.thread_type = "AUTO"
        line = timeline(container, stream)
        resampler, layout = _make_resampler(), None
        position = 0  # samples yielded
        for frame in _decode(container, stream):
            stamp = None if frame.pts is None else float(line.at(frame.pts))
            frame.pts = None  # its place is counted here, not by the resampler
            if frame.sample_rate < MIN_RATE or frame.samples > MAX_FRAME * frame.sample_rate:
                continue
            frame_layout = (frame.format.name, frame.layout.name, frame.sample_rate)
            if layout not in (None, frame_layout):  # recordings change from one channel to two, and back
                resampler = _make_resampler()
            layout = frame_layout
            pieces = [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
            samples: Samples = np.concatenate([np.zeros(0, np.float32), *pieces])
            if stamp is not None and stamp <= duration + 60:
                off = round(stamp * RATE) - position
                if off > _TOLERANCE * RATE:
                    for first in range(0, off, _BLOCK):
                        yield np.zeros(min(_BLOCK, off - first), np.float32)
                    position += off
                elif off < -_TOLERANCE * RATE:
                    samples = samples[-off:]
            position += len(samples)
            if len(samples):
                yield samples


def _make_resampler() -> Any:
    return av.AudioResampler(format="flt", layout="mono", rate=RATE)


def _decode(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the frames of an audio stream; what can't be decoded is passed over."""
    failures = 0
    while True:
        try:
            for packet in packets(container, stream):
                failures = 0
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    continue
                yield from frames
            return
        except av.FFmpegError:
            failures += 1
            if failures > _RETRIES:
                return
