"""The word error rate counts words, and clips are read with their transcripts."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from chunkv2l.errors import InputError
from evaluation.benchmarks.speech import count_errors, normalise, read_clips


@pytest.mark.parametrize(
    ("reference", "words", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("a b c", "a b b c", 1),
        ("a b c", "", 3),
        ("", "a b", 2),
        ("mister dashwood was ill-disposed", "Mr. Dashwood, was ill disposed!", 0),
    ],
)
def test_errors_are_the_least_edits(reference: str, words: str, errors: int) -> None:
    assert count_errors(normalise(reference), normalise(words)) == errors


def test_clips_are_read_with_their_transcripts(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(np.zeros(8000, "<i2").tobytes())
    (tmp_path / "transcription").write_text("<s> good morning </s> (one)\n\nhello (two)\n")
    clips = read_clips(tmp_path)
    assert [clip.words for clip in clips] == [("good", "morning"), ("hello",)]
    assert all(abs(len(clip.samples) - 16000) < 100 for clip in clips)
    (tmp_path / "transcription").write_text("no clip\n")
    with pytest.raises(InputError, match="no line with a transcript"):
        read_clips(tmp_path)
    with pytest.raises(InputError, match="pocketsphinx-testdata"):
        read_clips(tmp_path / "missing")
