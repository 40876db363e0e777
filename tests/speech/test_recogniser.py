"""Whisper itself, on real speech, silence and music: the weights are fetched, so these are long tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chunkv2l.speech import fetch_recogniser
from chunkv2l.speech.audio import RATE, Samples
from chunkv2l.speech.recogniser import Whisper
from evaluation.benchmarks.speech import LIBRIVOX, count_errors, normalise, read_clips

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    pytest.importorskip("faster_whisper")
    return Whisper(fetch_recogniser("tiny.en"))


def test_silence_and_music_have_no_words(whisper: Whisper) -> None:
    time = np.arange(20 * RATE, dtype=np.float32) / RATE
    chord = sum(
        0.1 * np.sin(2 * np.pi * hertz * time) * (1 + np.sin(2 * np.pi * 2 * time)) for hertz in (220, 277, 330)
    )
    noise = np.random.default_rng(0).normal(0, 0.05, 20 * RATE)
    for samples in (np.zeros(20 * RATE), chord, noise, np.zeros(100)):
        assert whisper.recognise(np.asarray(samples, np.float32), 0.0, "").cues == ()


def test_speech_is_recognised_with_words_where_they_are_spoken(whisper: Whisper) -> None:
    if not Path(LIBRIVOX).is_dir():
        pytest.skip("needs Debian's pocketsphinx-testdata")
    clips = read_clips(Path(LIBRIVOX))
    silence: Samples = np.zeros(5 * RATE, np.float32)
    samples = np.concatenate([part for clip in clips for part in (silence, clip.samples)])
    recognised = whisper.recognise(samples, 100.0, "")
    text = normalise(" ".join(cue.text for cue in recognised.cues))
    reference = [word for clip in clips for word in clip.words]
    assert count_errors(reference, text) <= 0.2 * len(reference) and recognised.language == "en"
    assert recognised == whisper.recognise(samples, 100.0, "")
    position = 100.0
    for clip in clips:
        position += 5
        behind = position + len(clip.samples) / RATE
        words = [word for cue in recognised.cues for word in cue.words if position - 0.5 <= word.start <= behind]
        assert abs(len(words) - len(clip.words)) <= 3
        position = behind
