"""Questions about the movie as a file, which the index answers without a model: its length, its start, its end."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

Fact: TypeAlias = Literal["length", "start", "end"]

_MOVIE = r"(?:the |this |that )?(?:whole |entire |full )?(?:video|movie|film|clip|footage|recording|episode)"
_LENGTH = r"(?:length|duration|run(?:ning)? ?time)"
_LASTS = r"(?:last|run|take|go on|long|is|have|has|contain|altogether|in total|total)"
_FACTS: Final[tuple[tuple[Fact, str], ...]] = (
    ("length", rf"how long (?:is|was|does|did|will) {_MOVIE}(?: {_LASTS})*"),
    (
        "length",
        rf"(?:what|how much) (?:is|was) (?:the )?(?:total |full )?{_LENGTH} of {_MOVIE}",
    ),
    ("length", rf"(?:what is )?{_MOVIE}'s (?:total )?{_LENGTH}"),
    ("length", rf"(?:the )?(?:total )?{_LENGTH} of {_MOVIE}"),
    ("length", rf"what is the (?:total |full |overall )?(?:(?:video|movie|film|clip) )?{_LENGTH}"),
    (
        "length",
        rf"how many (?:seconds|minutes|hours)(?: long)? (?:is|does|are (?:there )?in|has) {_MOVIE}(?: {_LASTS})*",
    ),
    ("start", rf"(?:when|at (?:what|which) time|what time) (?:does|did|will) {_MOVIE} (?:start|begin)"),
    ("start", rf"(?:when|what) is the (?:very )?(?:start|beginning)(?: time)? of {_MOVIE}"),
    ("end", rf"(?:when|at (?:what|which) time|what time) (?:does|did|will) {_MOVIE} (?:end|stop|finish|conclude)"),
    ("end", rf"(?:when|at (?:what|which) time|what time) is {_MOVIE} (?:over|finished|done)"),
    ("end", rf"(?:when|what) is the (?:very )?end(?: time)? of {_MOVIE}"),
)
_PATTERNS: Final = tuple((fact, re.compile(pattern, re.IGNORECASE)) for fact, pattern in _FACTS)
_POLITE: Final = re.compile(r"(?:please |(?:can|could) you )?(?:tell me |say )", re.IGNORECASE)


def parse_fact(text: str) -> Fact | None:
    """Return what a question asks about the movie as a file; None for questions about what it shows.

    >>> parse_fact("How long is the video"), parse_fact("How long is the race in the video")
    ('length', None)

    Args:
        text: without its question mark, contractions written out.
    """
    polite = _POLITE.match(text)
    plain = text[polite.end() :] if polite else text
    return next((fact for fact, pattern in _PATTERNS if pattern.fullmatch(plain)), None)
