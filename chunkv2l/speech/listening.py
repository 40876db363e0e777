"""Listen to a movie from beginning to end, a window of sound at a time.

A window is cut where it is quietest near its end. What is recognised in it depends on the window's first sample and the
language so far and on nothing before, so that a build that was killed goes on from any window with the same cues.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from chunkv2l.channels.cues import Source
from chunkv2l.channels.recognition import RecognitionStep
from chunkv2l.speech.audio import RATE, Samples, read_samples
from chunkv2l.speech.recogniser import Recogniser, Whisper
from chunkv2l.speech.weights import fetch_recogniser, weights_hash
from chunkv2l.video.container import Track

WINDOW: Final = 120 * RATE
"""Samples of a window at most."""
SEARCHED: Final = 20 * RATE
"""Samples at the end of a window in which the quietest moment is looked for."""
MAX_LANGUAGE: Final = 16
"""Letters of a language's name in a state."""
_FRAME: Final = RATE // 20  # samples whose loudness is compared
_SMOOTHED: Final = 8  # frames


@dataclass(frozen=True)
class Listening:
    """Speech recognition over one movie (`Recognition`).

    Attributes:
        track: the audio stream.
        name: the recogniser's, as `--speech` takes it.
        folder: its weights.
        duration: of the movie, seconds.
    """

    movie: Path
    track: Track
    name: str
    folder: Path
    duration: float
    source: Source = "heard"
    stage: str = "speech"

    @classmethod
    def prepare(cls, movie: Path, track: Track, name: str, duration: float) -> Listening:
        """Return the recognition of a movie's speech, its weights fetched.

        Raises:
            InputError, ChunkV2LError: as `fetch_recogniser`.
        """
        return cls(movie, track, name, fetch_recogniser(name), duration)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Recogniser, weights and track."""
        name = self.name if not Path(self.name).is_dir() else Path(self.name).name
        return {"recogniser": name, "weights": weights_hash(self.folder), "track": self.track.number}

    def is_possible(self, state: Mapping[str, Any], end: float) -> bool:
        """See `Recognition`."""
        sample, language = state.get("sample"), state.get("language")
        is_sample = type(sample) is int and 0 < sample <= end * RATE + WINDOW
        return len(state) == 2 and is_sample and isinstance(language, str) and len(language) <= MAX_LANGUAGE

    def steps(self, state: Mapping[str, Any] | None) -> Iterator[RecognitionStep]:
        """See `Recognition`; states are {"sample": the next window's first, "language": so far}."""
        first, language = (0, "") if state is None else (int(state["sample"]), str(state["language"]))
        recogniser = Whisper(self.folder)
        return listen(read_samples(self.movie, self.track, self.duration), recogniser, first, language)


def listen(
    blocks: Iterable[Samples], recogniser: Recogniser, first: int = 0, language: str = ""
) -> Iterator[RecognitionStep]:
    """Yield a step for each window of the sound from sample `first` on.

    Args:
        blocks: the sound from time 0 on.
        language: expected in the first window; "" to detect it.
    """
    for window in _cut_windows(_skip(blocks, first)):
        recognised = recogniser.recognise(window, first / RATE, language)
        first, language = first + len(window), recognised.language
        yield RecognitionStep(recognised.cues, first / RATE, {"sample": first, "language": language})


def _skip(blocks: Iterable[Samples], count: int) -> Iterator[Samples]:
    """Yield blocks without their first `count` samples."""
    for block in blocks:
        if len(block) > count:
            yield block[count:]
        count = max(0, count - len(block))


def _cut_windows(blocks: Iterable[Samples]) -> Iterator[Samples]:
    """Yield samples in windows of `WINDOW` at most, each cut at its quietest moment."""
    waiting: list[Samples] = []
    for block in blocks:
        waiting.append(block)
        while sum(map(len, waiting)) >= WINDOW:
            samples = np.concatenate(waiting)
            cut = find_quietest(samples[:WINDOW])
            yield samples[:cut]
            waiting = [samples[cut:]]
    if sum(map(len, waiting)):
        yield np.concatenate(waiting)


def find_quietest(samples: Samples) -> int:
    """Return the middle of the quietest 0.4 s of the last `SEARCHED` samples."""
    begin = max(0, len(samples) - SEARCHED)
    frames = samples[begin:][: (len(samples) - begin) // _FRAME * _FRAME].reshape(-1, _FRAME)
    loudness = np.sqrt(np.square(frames, dtype=np.float64).mean(axis=1))
    smoothed = np.convolve(loudness, np.ones(_SMOOTHED) / _SMOOTHED, mode="valid")
    return begin + (int(smoothed.argmin()) * _FRAME + _SMOOTHED * _FRAME // 2)
