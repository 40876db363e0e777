"""Check and clean values that come from a file or go into one: lines of text, numbers, JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final

MAX_TEXT: Final = 1 << 16
"""Characters of a line of text in an index: a caption, a subtitle, what is said in a segment."""
_CONTROL: Final = "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"

_INVISIBLE: Final = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)
"""Control characters but tab and newline, characters that turn the direction of text, and characters without width. The
two joiners are letters of some scripts and part of emoji, so they count only beside ASCII."""


@cache
def _invisible() -> re.Pattern[str]:
    """Return the compiled pattern; compiling it takes milliseconds, which --help needn't spend."""
    return re.compile(_INVISIBLE)


def ascii_escape(character: str) -> str:
    r"""Return a character as Python escapes it: "\x1b", "\u202e"."""
    return ascii(character)[1:-1]


def strip_invisible(text: str) -> str:
    """Return a text without control characters, direction marks and characters without width; blanks become spaces."""
    return _invisible().sub(lambda match: " " if match[0].isspace() else "", text)


def escape_invisible(text: str, escape: Callable[[str], str] = ascii_escape) -> str:
    """Return a text in which such characters are written as escapes: what is shown is what is there."""
    return _invisible().sub(lambda match: escape(match[0]), text)


def escape_line(text: str) -> str:
    r"""Return a text as one line that shows what is there: line ends and tabs, as a file's name may have, are escapes.

    >>> escape_line("a\tb.mp4\n")
    'a\\tb.mp4\\n'
    """
    return escape_invisible(text).replace("\n", "\\n").replace("\t", "\\t")


def canonical_json(value: Any) -> str:
    """Return a value as JSON with sorted keys, no spaces and no NaN, so that equal values give equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def is_finite(value: object) -> bool:
    """Tell whether a value from a file is a number, neither infinite nor NaN, that a float can hold."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number of 300 digits
        return False


def is_line(value: object) -> bool:
    """Tell whether a value from a file is a text that can be shown on one line.

    Such a text has no control characters, and none that turn the direction of what follows.
    """
    return isinstance(value, str) and (value.isprintable() or not re.search(_CONTROL, value))


def one_line(text: str) -> str:
    """Return a text as one line that `is_line` accepts, spaces made single."""
    return " ".join(re.sub(_CONTROL, " ", text).split())


def shorten(text: str, limit: int = 60) -> str:
    """Return a text of at most `limit` characters, the end of a longer one left out."""
    return text if len(text) <= limit else f"{text[: limit - 2]} …"


def plural(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural if need be.

    >>> plural(1, "segment"), plural(1200, "segment")
    ('1 segment', '1200 segments')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def number_range(noun: str, first: int, last: int) -> str:
    """Return numbered things in words, "segments 0 to 39", or "segment 0" where there is one.

    >>> number_range("segment", 0, 39), number_range("segment", 0, 0)
    ('segments 0 to 39', 'segment 0')
    """
    return f"{noun} {first}" if first == last else f"{noun}s {first} to {last}"


def quoted(message: object) -> str:
    """Return a library's message about a file, which may quote the file, short and printable."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(message))
    return text if len(text) <= 200 else text[:200] + " …"
