"""Texts become cues, from the frame that shows them to the one that doesn't, the same from any minute on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from chunkv2l.channels.recognition import RecognitionStep
from chunkv2l.screen_text.reading import read_steps
from chunkv2l.screen_text.recogniser import TextLine, is_believable, order_lines

TEXTS = {50: ("Agenda", "results, outlook"), 100: ("Costs by department",), 150: (), 200: ("Costs by departmant",)}


@dataclass(frozen=True)
class FakeFrame:
    """A frame of one shade."""

    time: float
    shade: int
    duration: float = 0.2
    nbytes: int = 0

    def small(self, width: int, height: int) -> NDArray[np.uint8]:
        return np.full((height, width, 3), self.shade, np.uint8)

    def picture(self, side: int | None = None) -> NDArray[np.uint8]:
        return np.full((4, 4, 3), self.shade, np.uint8)


class FakeTextRecogniser:
    """Reads a text by the shade of the picture, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def read(self, picture: NDArray[np.uint8]) -> tuple[TextLine, ...]:
        self.count += 1
        lines = TEXTS[int(picture[0, 0, 0])]
        return tuple(TextLine(text, 0.9, 0.0, 10.0 * i, 8.0) for i, text in enumerate(lines))


def frames(shades: Sequence[int], seconds: float = 10.0, start: float = 0.0) -> list[FakeFrame]:
    """Each shade for so many seconds, five frames a second; those before `start` are left out."""
    count = round(5 * seconds * len(shades))
    made = [FakeFrame(number / 5, shades[int(number / 5 / seconds)]) for number in range(count)]
    return [frame for frame in made if frame.time >= start]


def cues(steps: Sequence[RecognitionStep]) -> list[tuple[float, float, str]]:
    return [(cue.start, cue.end, cue.text) for step in steps for cue in step.cues]


def test_a_text_is_a_cue_while_it_is_shown() -> None:
    recogniser = FakeTextRecogniser()
    steps = list(read_steps(frames([150, 50, 50, 150, 100]), recogniser))
    assert [text for _, _, text in cues(steps)] == ["Agenda results, outlook", "Costs by department"]
    times = [time for start, end, _ in cues(steps) for time in (start, end)]
    assert times == pytest.approx([10.0, 30.0, 40.0, 50.0], abs=0.7)
    assert recogniser.count == 4 and steps[-1].done == pytest.approx(50.0)


def test_a_text_that_is_read_a_little_differently_is_the_same() -> None:
    assert [text for _, _, text in cues(list(read_steps(frames([100, 200, 100]), FakeTextRecogniser())))] == [
        "Costs by department"
    ]


def test_it_goes_on_from_any_minute_with_the_same_steps() -> None:
    shades = [150, 50, 100, 50, 150, 100, 50] * 3
    steps = list(read_steps(frames(shades), FakeTextRecogniser()))
    assert len(steps) == 4 and [step.state["minute"] for step in steps] == [1, 2, 3, 4]
    for number in (1, 2, 3):
        again = list(read_steps(frames(shades, start=60.0 * number), FakeTextRecogniser(), number))
        assert again == steps[number:]


def test_a_minute_without_frames_is_a_step_without_cues() -> None:
    made = [FakeFrame(0.0, 50), FakeFrame(0.6, 50), FakeFrame(185.0, 100)]
    steps = list(read_steps(made, FakeTextRecogniser()))
    assert [len(step.cues) for step in steps] == [1, 0, 0, 1] and [step.done for step in steps[:3]] == [60, 120, 180]


def test_lines_are_in_reading_order_and_believable() -> None:
    lines = [TextLine("c", 0.9, 5, 40, 10), TextLine("b", 0.9, 60, 12, 10), TextLine("a", 0.9, 5, 10, 10)]
    assert [line.text for line in order_lines(lines)] == ["a", "b", "c"]
    assert is_believable(TextLine("ab", 0.9, 0, 0, 1)) and not is_believable(TextLine("ab", 0.3, 0, 0, 1))
    assert not is_believable(TextLine("| -", 0.9, 0, 0, 1))
