"""A movie is listened to in windows, and from any window on with the same cues."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chunkv2l.channels.recognition import RecognitionStep
from chunkv2l.speech import listening
from chunkv2l.speech.audio import RATE, Samples
from chunkv2l.speech.listening import find_quietest, listen
from tests.helpers.speech import FakeRecogniser

SECONDS = 100


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "WINDOW", 12 * RATE)
    monkeypatch.setattr(listening, "SEARCHED", 6 * RATE)


@pytest.fixture
def sound() -> Samples:
    """A second of noise every three seconds."""
    samples: Samples = np.zeros(SECONDS * RATE, np.float32)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32)
    for second in range(1, SECONDS, 3):
        samples[second * RATE : (second + 1) * RATE] = noise
    return samples


def blocks(samples: Samples, size: int = 1000) -> Iterator[Samples]:
    return (samples[first : first + size] for first in range(0, len(samples), size))


def run(samples: Samples, size: int = 1000, **state: Any) -> list[RecognitionStep]:
    return list(listen(blocks(samples, size), FakeRecogniser(), **state))


def test_each_burst_is_heard_once_and_no_window_cuts_one(sound: Samples) -> None:
    steps = run(sound)
    starts = [cue.start for step in steps for cue in step.cues]
    assert starts == [float(second) for second in range(1, SECONDS, 3)]
    assert len(steps) > SECONDS / 12 and steps[-1].done == pytest.approx(SECONDS)
    assert all(cue.end <= step.done for step in steps for cue in step.cues)


def test_it_goes_on_from_any_step_with_the_same_steps(sound: Samples) -> None:
    steps = run(sound)
    for number, step in enumerate(steps):
        again = run(sound, first=int(step.state["sample"]), language=str(step.state["language"]))
        assert again == steps[number + 1 :]


def test_the_size_of_blocks_doesnt_matter(sound: Samples) -> None:
    assert run(sound, 1000) == run(sound, 77777) == run(sound, 20 * RATE)


def test_silence_and_no_sound_have_no_cues() -> None:
    silent = np.zeros(30 * RATE, np.float32)
    assert [step.cues for step in run(silent)] == [()] * len(run(silent)) and run(silent)[-1].done == 30
    assert run(np.zeros(0, np.float32)) == []


def test_the_quietest_moment_is_between_words() -> None:
    samples = np.full(12 * RATE, 0.5, np.float32)
    samples[9 * RATE : 10 * RATE] = 0.01
    samples[2 * RATE : 3 * RATE] = 0.0  # too far from the end
    assert 9 * RATE < find_quietest(samples) < 10 * RATE
