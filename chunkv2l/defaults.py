"""Names that can be chosen, and the defaults. Imports nothing, so that --help is fast."""

from __future__ import annotations

from typing import Final

MODEL: Final = "mini"
MODELS: Final = ("mini", "smolvlm2-500m", "smolvlm2-2.2b")
"""The frozen models that have a name of their own."""
DEVICE: Final = "auto"

DETECTOR: Final = "mixed"
"""The detector with the best ceiling (docs/measurements.md)."""
DETECTORS: Final = ("adaptive", "content", "hash", "histogram", "mixed", "threshold")
MIN_LENGTH: Final = 1.0
"""Seconds of the shortest segment."""
MAX_LENGTH: Final = 16.0
"""Seconds of the longest segment."""
READER: Final = "auto"
READERS: Final = ("auto", "pyav", "decord")
CAPTIONS: Final = True
CODES: Final = "int8"
CODE_FORMATS: Final = ("fp32", "fp16", "int8")

SCREEN_TEXT: Final = "auto"
"""Reading of text on the screen: wherever its recogniser is installed."""
SPEECH: Final = "auto"
"""The recogniser, where it is installed, there is sound, and no subtitles are given."""
RECOGNISER: Final = "base"
RECOGNISERS: Final = ("base", "tiny.en")
"""The speech recognisers that need no hub."""

POLICIES: Final = (
    "select",
    "route",
    "concat",
    "mean",
    "fts",
    "window",
    "diffuse",
    "chapters",
    "timeline",
    "order",
    "quote",
)
"""The built-in policies."""
BUDGET: Final = 48
"""Segments that are scored for a question."""
AUTO_BUDGET: Final = "auto"
"""The budget where none is given: `BUDGET` for the router, and no segment scored where a selector compares them."""
UNSURE_BELOW: Final = 5.5
"""Key evidence below which a generated answer is unsure (docs/measurements.md#unsure-answers)."""
UNCERTAIN_BELOW: Final = 5.0
"""Key evidence below which a segment's caption is uncertain (docs/measurements.md#uncertain-captions)."""

HOST: Final = "127.0.0.1"
PORT: Final = 8642
"""The port that `serve` listens to."""
