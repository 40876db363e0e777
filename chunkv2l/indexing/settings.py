"""The choices that a build leaves to the user, and the form in which an index records them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chunkv2l.defaults import CAPTIONS, CODE_FORMATS, CODES, SCREEN_TEXT, SPEECH
from chunkv2l.errors import InputError
from chunkv2l.index.meta import USER_DETECTOR
from chunkv2l.video.settings import SegmentationSettings
from chunkv2l.video.subtitles.encoding import text_codec


@dataclass(frozen=True)
class BuildSettings(SegmentationSettings):
    """Choices that decide a movie's segments (`SegmentationSettings`) and what an index stores of them.

    Attributes:
        captions: whether a caption is generated from each segment's own adapter.
        codes: format of stored codes: "fp32" (exact), "fp16", or "int8" (the smallest). What each changes:
            docs/measurements.md#code-formats.
        subtitles: a .srt or .vtt file; "auto" takes the one that lies beside the movie, None takes none. What is
            recorded is its content's hash, beside the settings.
        encoding: of the subtitle file, as Python names it; None finds it out.
        speech: "off", "auto" (`speech.choose_recogniser`), or a recogniser's name. An index records what was heard
            beside the settings, since it can be added to one that is there.
        screen_text: "off", "on", or "auto", where it is installed; recorded like speech.
        audio_track: FFmpeg's number of the audio stream to listen to; None for the one that players play.

    Raises:
        InputError: a value that can't be.
    """

    captions: bool = CAPTIONS
    codes: str = CODES
    subtitles: str | Path | None = "auto"
    encoding: str | None = None
    speech: str = SPEECH
    screen_text: str = SCREEN_TEXT
    audio_track: int | None = None

    def __post_init__(self) -> None:
        if self.codes not in CODE_FORMATS:
            raise InputError(f"Codes can be stored as {', '.join(CODE_FORMATS)}, not {self.codes!r}.")
        if self.encoding is not None:
            text_codec(self.encoding)  # also where no subtitle is there to be decoded
        super().__post_init__()

    @property
    def segmentation(self) -> SegmentationSettings:
        """The part that decides the segments."""
        return SegmentationSettings(self.detector, self.min_length, self.max_length, self.reader, stream=self.stream)

    def to_meta(self) -> dict[str, Any]:
        """Return the settings as the index's meta holds them; a detector of the caller's by its class's name."""
        if isinstance(self.detector, str):
            detector = self.detector.strip().lower()
        else:
            detector = f"{USER_DETECTOR}{type(self.detector).__name__}"
        return {
            "detector": detector,
            "min_length": float(self.min_length),
            "max_length": float(self.max_length),
            "reader": self.reader,
            "captions": self.captions,
            "codes": self.codes,
            **({} if self.encoding is None else {"encoding": self.encoding}),
            **({} if self.stream is None else {"stream": self.stream}),
        }
