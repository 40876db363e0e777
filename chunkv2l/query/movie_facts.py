"""Questions about the movie as a file, which the index answers without a model: its length, its start, its end."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from chunkv2l.query.time_parsing import read_part, read_range
from chunkv2l.query.time_ranges import END, START, Moment, TimeRange

Fact: TypeAlias = Literal["length", "start", "end", "chapters"]

_MOVIE = r"(?:the |this |that |my |our )?(?:whole |entire |full )?(?:video|movie|film|clip|footage|recording|episode)"
_AMOUNT = r"(?:,? in (?:seconds|minutes|hours|total))"
_LENGTH = r"(?:length|duration|run(?:ning)? ?time)"
_LASTS = r"(?:last|run|take|go on|long|is|have|has|contain|altogether|in total|total)"
_FACTS: Final[tuple[tuple[Fact, str], ...]] = (
    ("length", rf"how long(?:{_AMOUNT})? (?:is|was|does|did|will) {_MOVIE}(?: {_LASTS})*"),
    ("length", rf"how long {_MOVIE} (?:is|was|lasts|runs|takes|goes on)"),
    (
        "length",
        rf"(?:what|how much) (?:is|was) (?:the )?(?:total |full )?{_LENGTH} of {_MOVIE}",
    ),
    ("length", rf"(?:what is )?{_MOVIE}'s (?:total )?{_LENGTH}"),
    ("length", rf"(?:the )?(?:total )?{_LENGTH} of {_MOVIE}"),
    ("length", rf"{_MOVIE} {_LENGTH}"),
    ("length", rf"what is the (?:total |full |overall )?(?:(?:video|movie|film|clip) )?{_LENGTH}"),
    (
        "length",
        rf"how many (?:seconds|minutes|hours)(?: long)? (?:is|does|are (?:there )?in|has) {_MOVIE}(?: {_LASTS})*",
    ),
    (
        "length",
        r"how many (?:seconds|minutes|hours)(?: long)? (?:is it|does it (?:last|run|take))(?: altogether| in total)?",
    ),
    (
        "chapters",
        rf"how many chapters (?:(?:are|is|were) there|(?:are )?(?:there )?in {_MOVIE}|(?:does|did|has) {_MOVIE}"
        rf"(?: have| contain)?)(?: (?:in|of) {_MOVIE}| in total| altogether)?",
    ),
    ("chapters", rf"(?:what is )?the number of chapters(?: (?:in|of) {_MOVIE})?"),
    ("start", rf"(?:when|at (?:what|which) time|what time) (?:does|did|will) {_MOVIE} (?:start|begin)"),
    ("start", rf"(?:when|what) is the (?:very )?(?:start|beginning)(?: time)? of {_MOVIE}"),
    ("end", rf"(?:when|at (?:what|which) time|what time) (?:does|did|will) {_MOVIE} (?:end|stop|finish|conclude)"),
    ("end", rf"(?:when|at (?:what|which) time|what time) is {_MOVIE} (?:over|finished|done)"),
    ("end", rf"(?:when|what) is the (?:very )?end(?: time)? of {_MOVIE}"),
)
_PATTERNS: Final = tuple((fact, re.compile(pattern, re.IGNORECASE)) for fact, pattern in _FACTS)
_POLITE: Final = re.compile(r"(?:please |(?:can|could|do) you )*(?:(?:tell me|say|know) )?", re.IGNORECASE)
_OF_PART: Final[tuple[tuple[Fact, str], ...]] = (
    ("length", r"how long (?:is|are|was|were) (?P<part>.+)"),
    ("length", r"how long (?:does|do|did|will) (?P<part>.+) (?:last|take|run)"),
    ("length", rf"(?:what is )?the {_LENGTH} of (?P<part>.+)"),
    ("start", r"(?:when|at (?:what|which) time|what time) (?:does|did|will) (?P<part>.+) (?:start|begin)"),
    ("start", r"(?:when|where|what) is the (?:start|beginning)(?: time)? of (?P<part>.+)"),
    ("end", r"(?:when|at (?:what|which) time|what time) (?:does|did|will) (?P<part>.+) (?:end|stop|finish)"),
    ("end", r"(?:when|at (?:what|which) time|what time) is (?P<part>.+) over"),
    ("end", r"(?:when|where|what) is the end(?: time)? of (?P<part>.+)"),
)
_HOW_LONG = r"how (?:long|much(?: time)?|many (?:seconds|minutes|hours))"
_HOW_MUCH = rf"(?:{_HOW_LONG}|how much of {_MOVIE})"
_IS = r"(?:is|are|was|were|do|does|did|will|has|have)(?: (?:it|there|that))?"
_LEFT = (
    rf"(?:{_IS} )?(?:{_MOVIE} )?(?:have |has )?(?:left|remain(?:s|ing)?|(?:still |yet )?to (?:go|come|play))"
    rf"(?: (?:of|in|on) (?:{_MOVIE}|it))?(?: (?:until|till?|to|before) (?:the end|it ends)(?: of {_MOVIE})?)?"
    rf"|(?:{_IS} )?(?:until|till?|to|before) (?:the end|it ends)(?: of {_MOVIE})?"
)
_GONE = rf"(?:{_IS} )?(?:{_MOVIE} )?(?:passed|elapsed|gone(?: by)?|over|played)"
_SPANS: Final = tuple(
    (measure, re.compile(pattern, re.IGNORECASE))
    for measure, pattern in (
        ("left", rf"{_HOW_MUCH} (?:{_LEFT}) (?P<range>.+)"),
        ("left", rf"(?P<range>.+?),? {_HOW_MUCH} (?:{_LEFT})"),
        ("gone", rf"{_HOW_MUCH} (?:{_GONE}) (?P<range>.+)"),
        ("gone", rf"(?P<range>.+?),? {_HOW_MUCH} (?:{_GONE})"),
        ("length", rf"{_HOW_LONG} (?:{_IS} )?(?P<range>(?:from|between) .+)"),
        ("length", rf"{_HOW_LONG} {_IS} (?:passes|(?:pass|elapse|lie)) (?P<range>(?:from|between) .+)"),
    )
)
"""Questions for a length between times: of the movie after a time, before it, or from one time to another."""
_HALFWAY: Final = re.compile(
    rf"(?:when|where|what|at (?:what|which) time|what time) is (?:the )?(?:exact )?"
    rf"(?:half-?way(?: point| mark)?|mid-?point|middle)(?: of {_MOVIE}| (?:in|through) {_MOVIE})?",
    re.IGNORECASE,
)
_PART_PATTERNS: Final = tuple((fact, re.compile(pattern, re.IGNORECASE)) for fact, pattern in _OF_PART)


def parse_fact(text: str) -> Fact | None:
    """Return what a question asks about the movie as a file; None for questions about what it shows.

    >>> parse_fact("How long is the video"), parse_fact("How long is the race in the video")
    ('length', None)

    Args:
        text: without its question mark, contractions written out.
    """
    plain = _strip(text)
    return next((fact for fact, pattern in _PATTERNS if pattern.fullmatch(plain)), None)


def parse_part_fact(text: str) -> tuple[Fact, TimeRange] | None:
    """Return what a question asks about a part of the movie as such, and that part; None for any other question.

    "How much is left after 0:08?" asks for the length of what is after it.

    >>> parse_part_fact("When does the second minute start")[0], parse_part_fact("When does the second half-time start")
    ('start', None)

    Args:
        text: as for `parse_fact`.
    """
    plain = _strip(text)
    for fact, pattern in _PART_PATTERNS:
        if (match := pattern.fullmatch(plain)) and (part := read_part(match["part"])) is not None:
            return fact, part
    if _HALFWAY.fullmatch(plain):
        return "start", TimeRange(Moment(share=0.5), END)
    for measure, pattern in _SPANS:
        if (match := pattern.fullmatch(plain)) and (time_range := read_range(match["range"])) is not None:
            return "length", _measured(measure, time_range)
    return None


def _measured(measure: str, time_range: TimeRange) -> TimeRange:
    """Return the range whose length is asked for: what is left at a time, what is gone by then, or the range itself."""
    if measure == "length":
        return time_range
    moment = time_range.end if time_range.start == START else time_range.start
    return TimeRange(moment, END) if measure == "left" else TimeRange(START, moment)


def _strip(text: str) -> str:
    """Return a question without polite words around it, and without the unit in which it wants the length."""
    polite = _POLITE.match(text)
    text = text[polite.end() :] if polite else text
    return re.sub(rf"(?:{_AMOUNT}|,? please)$", "", text, flags=re.IGNORECASE)
