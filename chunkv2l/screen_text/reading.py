"""Read a movie's text from beginning to end: a cue for each text, from the frame that shows it to the one that doesn't.

A step is a minute of the movie. What is read in it depends on its frames and on nothing before, so that a build that
was killed goes on from any minute with the same cues; a text that stays longer is a cue of each minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from difflib import SequenceMatcher
from importlib import metadata
from typing import Any, Final

from chunkv2l.channels.cues import ChannelCue, Source
from chunkv2l.channels.recognition import RecognitionStep
from chunkv2l.sanitize import MAX_TEXT
from chunkv2l.screen_text.changes import HEIGHT, WIDTH, ChangeDetector
from chunkv2l.screen_text.recogniser import SIDE, RapidTextRecogniser, TextLine, TextRecogniser
from chunkv2l.video.probe import MovieInfo
from chunkv2l.video.readers import read_frames
from chunkv2l.video.readers.base import Frame

STEP: Final = 60.0
"""Seconds of the movie in a step."""
SAMPLED_EVERY: Final = 0.5
"""Seconds between frames that are compared."""
SAME_TEXT: Final = 0.85
"""Similarity of two texts from which on they are one that was read a little differently."""
_COMPARED: Final = 2000  # letters of texts that are compared


@dataclass(frozen=True)
class ScreenReading:
    """Text recognition over one movie (`Recognition`)."""

    info: MovieInfo
    source: Source = "read"
    stage: str = "screen text"

    @property
    def identity(self) -> Mapping[str, Any]:
        """Recogniser and its version, with which its models come."""
        return {"recogniser": "rapidocr", "version": metadata.version("rapidocr")}

    def is_possible(self, state: Mapping[str, Any], end: float) -> bool:
        """See `Recognition`."""
        minute = state.get("minute")
        return len(state) == 1 and type(minute) is int and 0 < minute <= end / STEP + 1

    def steps(self, state: Mapping[str, Any] | None) -> Iterator[RecognitionStep]:
        """See `Recognition`; states are {"minute": the next step's}."""
        first = 0 if state is None else int(state["minute"])
        frames = read_frames(self.info, "pyav", start=first * STEP, side=SIDE)
        with closing(frames):
            yield from read_steps(frames, RapidTextRecogniser(), first)


@dataclass(frozen=True)
class _Shown:
    """A text that is shown from `start` on."""

    start: float
    text: str
    confidence: float


def read_steps(frames: Iterable[Frame], recogniser: TextRecogniser, first: int = 0) -> Iterator[RecognitionStep]:
    """Yield a step for each minute of frames, from minute `first` on."""
    minute = _Minute(recogniser, first)
    for frame in frames:
        while frame.time >= (minute.number + 1) * STEP:
            yield minute.finish((minute.number + 1) * STEP)
            minute = _Minute(recogniser, minute.number + 1)
        minute.show(frame)
    yield minute.finish(minute.last)


class _Minute:
    """A step while its frames come."""

    def __init__(self, recogniser: TextRecogniser, number: int) -> None:
        self.number = number
        self.last = number * STEP
        self._recogniser = recogniser
        self._changes = ChangeDetector()
        self._next = -1.0
        self._shown: _Shown | None = None
        self._cues: list[ChannelCue] = []

    def show(self, frame: Frame) -> None:
        """Take the next frame; it is read if its picture is new."""
        self.last = frame.time + frame.duration
        if frame.time < self._next:
            return
        self._next = frame.time + SAMPLED_EVERY
        if self._changes.is_new(frame.time, frame.small(WIDTH, HEIGHT)):
            self._take(round(frame.time, 3), self._recogniser.read(frame.picture(SIDE)))

    def _take(self, time: float, lines: Sequence[TextLine]) -> None:
        text = " ".join(line.text for line in lines)[:MAX_TEXT].strip()
        confidence = sum(line.confidence for line in lines) / len(lines) if lines else 0.0
        shown = self._shown
        if shown is not None and text and _is_same(shown.text, text):
            if confidence > shown.confidence:
                self._shown = _Shown(shown.start, text, confidence)
            return
        self._close(time)
        self._shown = _Shown(time, text, confidence) if text else None

    def _close(self, time: float) -> None:
        if self._shown is not None:
            start, confidence = self._shown.start, round(min(1.0, self._shown.confidence), 4)
            self._cues.append(ChannelCue(start, max(start, round(time, 3)), self._shown.text, "read", confidence))
            self._shown = None

    def finish(self, end: float) -> RecognitionStep:
        """Return the step, which ends at `end` seconds."""
        self._close(end)
        return RecognitionStep(tuple(self._cues), end, {"minute": self.number + 1})


def _is_same(before: str, after: str) -> bool:
    return SequenceMatcher(None, before[:_COMPARED], after[:_COMPARED], autojunk=False).ratio() >= SAME_TEXT
