"""Stretches of a movie as questions say them: "in the first ten minutes", "between 10:00 and 12:30", "at the end".

The table of what is understood is in `chunkv2l.query.relations`. No torch here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

AUXILIARIES = "(?:do|does|did|is|are|was|were|has|have)"
_UNITS = {"s": 1, "m": 60, "h": 3600}
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
_NUMBERS = {word: number for number, word in enumerate(f"{_ONES} eighteen nineteen".split())}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_NUMBERS |= _TENS | {"a": 1, "an": 1, "couple of": 2, "a couple of": 2, "few": 3, "a few": 3}
_NUMBERS |= {
    f"{ten}{dash}{one}": value + _NUMBERS[one]
    for ten, value in _TENS.items()
    for one in _ONES.split()[1:10]
    for dash in "- "
}
_NUMBER = r"(?:\d+(?:\.\d+)?|" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + ")"
_UNIT = r"(?:seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h)"
_STRETCH = (
    r"(?:half an? (?:minute|hour)|(?:a )?quarter of an hour|an hour and a half|"
    rf"{_NUMBER}[ -]?{_UNIT}|minute|hour|second)"
)
_CLOCK = r"\d{1,3}:\d{2}(?::\d{2})?"
_TIME = rf"(?:{_CLOCK}|(?:minute|second|hour) {_NUMBER}|{_STRETCH})"
_POINT = rf"(?:{_CLOCK}|(?:minute|second|hour) {_NUMBER})"
_MOVIE = r"(?: (?:of|in|into) (?:the|this) (?:movie|video|film|clip|footage|recording|show|episode))?"
_INTO = r"(?:into (?:it|(?:the|this) (?:movie|video|film))|in|into)"
_FIRST, _LAST = r"(?:very )?(?:first|opening|initial)", r"(?:very )?(?:last|final|closing)"
_IN = r"(?:(?:in|during|within|over|throughout|for|of) )?the"

_PARTS = {"half": 1 / 2, "third": 1 / 3, "quarter": 1 / 4, "tenth": 1 / 10}
_ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "last": -1, "final": -1}
_ENDS = {"beginning": (0.0, 0.1), "start": (0.0, 0.1), "opening": (0.0, 0.1), "middle": (0.4, 0.6)}

_SPANS = tuple(
    re.compile(pattern + _MOVIE, re.IGNORECASE)
    for pattern in (
        rf"(?:(?:after|past) the {_FIRST} (?P<from>{_STRETCH}))",
        rf"(?:(?:before|until|till) the {_LAST} (?P<until_last>{_STRETCH}))",
        rf"(?:{_IN} {_FIRST} (?P<first>{_STRETCH}))",
        rf"(?:{_IN} {_LAST} (?P<last>{_STRETCH}))",
        rf"(?:{_IN} (?P<ordinal>first|second|third|fourth|last|final) (?P<part>half|third|quarter|tenth))",
        rf"(?:(?:between|from) (?P<low>{_NUMBER}) (?:and|to|until|till) (?P<high>{_NUMBER}) ?(?P<unit>{_UNIT}))",
        rf"(?:(?:between|from) (?P<begin>{_TIME}) (?:and|to|until|till) (?P<end>{_TIME}))",
        rf"(?:(?:from|since|starting at) (?P<on>{_TIME})(?: on| onwards?)?)",
        rf"(?:(?:after|past) (?P<after>{_TIME}))",
        rf"(?:(?:before|until|till) (?P<before>{_TIME}))",
        rf"(?:(?:at|around|about|near) (?P<at>{_POINT}))",
        rf"(?:(?:(?:at|around|about|after) )?(?P<into>{_NUMBER}[ -]?{_UNIT}) {_INTO})",
        r"(?:(?:right )?(?:at|in|near|towards?|by) the (?:very )?(?P<place>beginning|start|opening|middle|end|ending))",
        rf"(?:(?:in|during) the (?P<scene>{_FIRST}|{_LAST}) (?:scene|shot|segment|clip))",
    )
)


def seconds(text: str) -> float:
    """A stretch or a time in words, in seconds.

    >>> seconds("12:30"), seconds("ten minutes"), seconds("half an hour"), seconds("minute 5"), seconds("minute")
    (750.0, 600.0, 1800.0, 300.0, 60.0)

    Raises:
        ValueError: it is none.
    """
    text = text.lower().strip()
    if ":" in text:
        total = 0.0
        for part in text.split(":"):
            total = 60 * total + float(part)
        return total
    if text == "an hour and a half":
        return 5400.0
    if "quarter of an hour" in text:
        return 900.0
    if match := re.fullmatch(r"half an? (minute|hour)", text):
        return _UNITS[match[1][0]] / 2
    if match := re.fullmatch(rf"(minute|second|hour)(?: ({_NUMBER}))?", text):
        return _UNITS[match[1][0]] * _number(match[2] or "one")
    if match := re.fullmatch(rf"({_NUMBER})[ -]?({_UNIT})", text):
        return _UNITS[match[2][0]] * _number(match[1])
    raise ValueError(f"no time: {text!r}")


def _number(text: str) -> float:
    known = _NUMBERS.get(text.lower())
    return float(text) if known is None else float(known)


@dataclass(frozen=True)
class Stretch:
    """A part of the movie; see `Relation.span` and `Relation.share`."""

    span: tuple[float | None, float | None]
    share: bool = False


def take_stretch(text: str) -> tuple[str, Stretch | None]:
    """A question without the stretch of time that it begins or ends with, and that stretch.

    >>> take_stretch("When does a dog bark in the last 30 seconds")
    ('When does a dog bark', Stretch(span=(-30.0, None), share=False))
    """
    for pattern in _SPANS:
        if (match := pattern.match(text)) and (rest := re.match(r",?\s+(?=\w)|$", text[match.end() :])):
            return text[match.end() + rest.end() :], _stretch(match)
        for match in pattern.finditer(text):
            if match.end() == len(text) and re.search(r"[\s,]$", text[: match.start()]):
                return re.sub(r"[\s,]+$", "", text[: match.start()]), _stretch(match)
    return text, None


def _stretch(match: re.Match[str]) -> Stretch:
    found = {name: value.lower() for name, value in match.groupdict().items() if value}
    if "part" in found:
        size, ordinal = _PARTS[found["part"]], _ORDINALS[found["ordinal"]]
        start = 1 - size if ordinal < 0 else min(ordinal * size, 1 - size)
        return Stretch((start, start + size), share=True)
    if "place" in found:
        return Stretch(_ENDS.get(found["place"], (0.9, 1.0)), share=True)
    if "scene" in found:
        begins = re.search("first|opening|initial", found["scene"]) is not None
        return Stretch((0.0, 0.0)) if begins else Stretch((1.0, 1.0), share=True)
    if "low" in found:
        unit = _UNITS[found["unit"][0]]
        return Stretch((unit * _number(found["low"]), unit * _number(found["high"])))
    times = {name: seconds(value) for name, value in found.items()}
    if "begin" in times:
        return Stretch((times["begin"], times["end"]))
    ((name, t),) = times.items()
    if name in ("at", "into"):
        return Stretch((t, t))
    spans: dict[str, tuple[float | None, float | None]] = {
        "first": (0.0, t),
        "last": (-t, None),
        "until_last": (None, -t),
        "before": (None, t),
    }
    return Stretch(spans.get(name, (t, None)))
