"""Recognise text in a picture with rapidocr (PP-OCR on onnxruntime), whose models come with its package."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from chunkv2l.sanitize import one_line

SIDE: Final = 1280
"""Pixels of the longer side of the pictures that are read, at most."""
MIN_CONFIDENCE: Final = 0.6
"""Confidence below which a line isn't believed."""
MIN_LETTERS: Final = 2
"""Letters and digits of the shortest line that is kept."""
MAX_LINES: Final = 200


@dataclass(frozen=True)
class TextLine:
    """A line of text in a picture: its confidence, and its upper left corner and height in pixels."""

    text: str
    confidence: float
    left: float
    top: float
    height: float


class TextRecogniser(Protocol):
    """Finds lines of text in pictures."""

    def read(self, picture: NDArray[np.uint8]) -> tuple[TextLine, ...]:
        """Return the lines of an RGB picture [H, W, 3] in reading order."""
        ...


class RapidTextRecogniser:
    """rapidocr's models, loaded."""

    def __init__(self) -> None:
        from rapidocr import RapidOCR

        self._engine: Any = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.use_cls": False,
                "Det.limit_type": "max",
                "Det.limit_side_len": SIDE,
                "EngineConfig.onnxruntime.intra_op_num_threads": _threads(),
            }
        )

    def read(self, picture: NDArray[np.uint8]) -> tuple[TextLine, ...]:
        """See `TextRecogniser`."""
        result = self._engine(np.ascontiguousarray(picture[:, :, ::-1]))
        if result is None or result.txts is None or result.boxes is None:
            return ()
        lines: list[TextLine] = []
        for text, confidence, box in zip(result.txts, result.scores, result.boxes, strict=True):
            corners = np.asarray(box, np.float64)
            top, left = float(corners[:, 1].min()), float(corners[:, 0].min())
            height = float(corners[:, 1].max()) - top
            lines.append(TextLine(one_line(str(text)), float(confidence), left, top, height))
        return order_lines(line for line in lines if is_believable(line))


def _threads() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) > 0 else os.cpu_count() or 1


def is_believable(line: TextLine) -> bool:
    """Tell whether a line is text: confident enough, with some letters or digits."""
    return line.confidence >= MIN_CONFIDENCE and sum(letter.isalnum() for letter in line.text) >= MIN_LETTERS


def order_lines(lines: Any) -> tuple[TextLine, ...]:
    """Return lines from top to bottom; those at about the same height from left to right."""
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda line: (line.top, line.left)):
        if rows and line.top - rows[-1][0].top < 0.5 * min(line.height, rows[-1][0].height):
            rows[-1].append(line)
        else:
            rows.append([line])
    return tuple(line for row in rows for line in sorted(row, key=lambda line: line.left))[:MAX_LINES]
