"""Recognise speech with faster-whisper (CTranslate2): samples → cues with words and times, the same ones every time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from chunkv2l.channels.cues import ChannelCue, Word
from chunkv2l.channels.sentences import join_words
from chunkv2l.sanitize import one_line
from chunkv2l.speech.audio import RATE, Samples
from chunkv2l.speech.guards import drop_repeats, is_believable

SURE_OF_LANGUAGE: Final = 0.7
"""Probability of a language from which on it is kept for what follows."""
MIN_CONFIDENCE: Final = 0.45
"""Mean confidence of a part's cues below which its language is detected anew the next time."""
_SILENCE_MS: Final = 500  # that ends a stretch of speech
_PAD_MS: Final = 300  # that is kept on each side of it
_LEAST_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Recognised:
    """Cues of some samples, and the language to expect in those that follow ("" for none)."""

    cues: tuple[ChannelCue, ...]
    language: str


class Recogniser(Protocol):
    """Turns samples into cues."""

    def recognise(self, samples: Samples, start: float, language: str) -> Recognised:
        """Return the cues of samples that begin at `start` seconds, in the language, or in the one detected ("")."""
        ...


class Whisper:
    """Whisper behind Silero's voice detector.

    Args:
        folder: the weights.
    """

    def __init__(self, folder: Path) -> None:
        from faster_whisper import WhisperModel

        self._model: Any = WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=_threads(), local_files_only=True
        )

    def recognise(self, samples: Samples, start: float, language: str) -> Recognised:
        """See `Recogniser`. Decoding is greedy, so that it gives the same text every time."""
        chunks = _find_speech(samples)
        if not chunks:
            return Recognised((), language)
        speech = np.concatenate([samples[first:behind] for first, behind in chunks])
        segments, info = self._transcribe(speech, language)
        cues = tuple(_make_cues(segments, chunks, start))
        is_sure = info.language_probability >= SURE_OF_LANGUAGE and not _is_doubtful(cues)
        return Recognised(cues, str(info.language) if is_sure else "")

    def _transcribe(self, speech: Samples, language: str) -> tuple[Iterable[Any], Any]:
        segments, info = self._model.transcribe(
            speech,
            language=language if language in self._model.supported_languages else None,
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
            vad_filter=False,
        )
        return segments, info


def _threads() -> int:
    """Return the number of cores that this process may use, or what OMP_NUM_THREADS says."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_doubtful(cues: Sequence[ChannelCue]) -> bool:
    return not cues or sum(cue.confidence for cue in cues) < MIN_CONFIDENCE * len(cues)


def _find_speech(samples: Samples) -> list[tuple[int, int]]:
    """Return the stretches in which somebody speaks: (first sample, sample behind)."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if len(samples) < _LEAST_SECONDS * RATE:
        return []
    options = VadOptions(min_silence_duration_ms=_SILENCE_MS, speech_pad_ms=_PAD_MS)
    return [(int(chunk["start"]), int(chunk["end"])) for chunk in get_speech_timestamps(samples, options)]


def _make_cues(segments: Iterable[Any], chunks: Sequence[tuple[int, int]], start: float) -> Iterable[ChannelCue]:
    """Yield the cues of Whisper's segments of the joined chunks, at their times in the movie, without invented ones."""
    joined = [0, *accumulate(behind - first for first, behind in chunks)]
    latest = start
    for segment in segments:
        if not is_believable(segment.avg_logprob, segment.no_speech_prob):
            continue
        words = drop_repeats(_join_words(segment.words or (), chunks, joined, start))
        text = one_line(join_words([word.text for word in words]))
        if not text:
            continue
        latest = max(latest, words[0].start)
        end = max(latest, *(word.end for word in words))
        yield ChannelCue(latest, end, text, "heard", round(min(1.0, math.exp(segment.avg_logprob)), 4), tuple(words))


def _join_words(
    pieces: Iterable[Any], chunks: Sequence[tuple[int, int]], joined: Sequence[int], start: float
) -> list[Word]:
    """Return whole words in order: pieces without a space before them belong to the word before, but in Chinese."""
    words: list[Word] = []
    for piece in pieces:
        text = one_line(piece.word)
        if not text:
            continue
        first = start + _to_movie(float(piece.start), chunks, joined, is_end=False)
        behind = start + _to_movie(float(piece.end), chunks, joined, is_end=True)
        first = max(first, words[-1].start if words else 0.0)
        behind = max(first, behind)
        is_new = piece.word[:1].isspace() or not words or not text.isascii()
        if is_new:
            words.append(Word(round(first, 3), round(behind, 3), text))
        else:
            words[-1] = Word(words[-1].start, round(behind, 3), words[-1].text + text)
    return words


def _to_movie(seconds: float, chunks: Sequence[tuple[int, int]], joined: Sequence[int], is_end: bool) -> float:
    """Return the time in the samples of a time in the joined chunks; an end on a border belongs to the chunk before."""
    position = seconds * RATE
    for (first, behind), before, after in zip(chunks, joined, joined[1:], strict=True):
        if position < after or (is_end and position <= after):
            return min(behind, first + max(0.0, position - before)) / RATE
    return chunks[-1][1] / RATE
