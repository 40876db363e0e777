"""Movies with bursts of sound, and a recogniser that hears a word in each."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from chunkv2l.channels.cues import ChannelCue, Word
from chunkv2l.speech.audio import RATE, Samples
from chunkv2l.speech.recogniser import Recognised

LOUD = 0.2


def write_talk(
    path: Path, bursts: Sequence[tuple[float, float]], seconds: float, *, start: float = 0.0, rate: int = 8000
) -> Path:
    """Write a grey movie of so many seconds whose sound is silent but for bursts of a tone, (start, end) each.

    Args:
        start: seconds added to all times of the file's clock.
        rate: of the sound, samples a second.
    """
    wave = np.zeros(round(seconds * rate), np.float32)
    for begin, end in bursts:
        first, behind = round(begin * rate), round(end * rate)
        wave[first:behind] = 0.5 * np.sin(np.arange(behind - first) * 2 * np.pi * 440 / rate)
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=5)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio: Any = container.add_stream("aac", rate=rate)
        audio.codec_context.layout = "mono"
        for number in range(round(seconds * 5)):
            shade = 60 + 40 * (int(number / 5 / 4) % 4)
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), "rgb24")
            frame.pts, frame.time_base = round((number / 5 + start) * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for first in range(0, len(wave), 1024):
            sound = av.AudioFrame.from_ndarray(wave[None, first : first + 1024], "fltp", "mono")
            sound.sample_rate, sound.pts, sound.time_base = rate, first + round(start * rate), Fraction(1, rate)
            container.mux(audio.encode(sound))
        container.mux(audio.encode())
    return path


def hear_bursts(samples: NDArray[np.float32]) -> list[tuple[float, float]]:
    """Return when samples are loud: (start, end) seconds of each burst, to a fiftieth of a second."""
    size = RATE // 50
    loud = np.abs(samples[: len(samples) // size * size].reshape(-1, size)).max(axis=1) > LOUD
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]])))
    return [(first / 50, behind / 50) for first, behind in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]


class FakeRecogniser:
    """Hears in each burst the word "burst" and its time in the movie, in a language that it counts."""

    def __init__(self, folder: Path | None = None) -> None:
        self.calls = 0

    def recognise(self, samples: Samples, start: float, language: str) -> Recognised:
        """See `Recogniser`."""
        self.calls += 1
        cues = []
        for begin, end in hear_bursts(samples):
            first, behind = round(start + begin, 2), round(start + end, 2)
            text = f"Burst at {first:.1f}."
            words = [Word(first, behind, word) for word in text.split()]
            cues.append(ChannelCue(first, behind, text, "heard", 0.9, tuple(words)))
        return Recognised(tuple(cues), f"{language}x"[:8])


def install_fake_recogniser(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let builds listen with a `FakeRecogniser`, whatever is installed."""
    (folder / "model.bin").write_bytes(b"weights")
    monkeypatch.setattr("chunkv2l.speech.choice.is_installed", lambda: True)
    monkeypatch.setattr("chunkv2l.speech.listening.fetch_recogniser", lambda name: folder)
    monkeypatch.setattr("chunkv2l.speech.listening.Whisper", FakeRecogniser)
