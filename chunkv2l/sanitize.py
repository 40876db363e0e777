"""Values that cross the border between us and a file: what can be shown on a line, what can be reckoned with, JSON."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

MAX_TEXT: Final = 1 << 16
"""Characters of a line of text in an index: a caption, a subtitle, what is said in a segment."""
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def canonical_json(value: Any) -> str:
    """JSON with one spelling a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def finite(value: object) -> bool:
    """Whether a value from a file is a number that one can reckon with."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_line(value: object) -> bool:
    """Whether a value from a file is a text that can be shown on one line: no control characters, nothing that
    turns the direction of what follows."""
    return isinstance(value, str) and not _CONTROL.search(value)


def one_line(text: str) -> str:
    """A text as `is_line` wants it, spaces made single."""
    return " ".join(_CONTROL.sub(" ", text).split())


def quoted(said: object) -> str:
    """What a library said about a file, which may quote the file: short and printable."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(said))
    return text if len(text) <= 200 else text[:200] + " …"
