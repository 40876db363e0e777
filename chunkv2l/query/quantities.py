"""Numbers, durations and clock times in English text, as elements of a grammar; values are floats, times in seconds.

Elements read text in lower case with straight apostrophes and hyphens, as `fold` makes it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from num2words import num2words

from chunkv2l.query.combinators import Element, check, constant, element, match_words, optional, pattern, rule

SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
UNIT_WORDS: Final = {
    "ms": r"milliseconds?|msecs?|ms",
    "s": r"seconds?|secs?|s",
    "m": r"minutes?|mins?|m",
    "h": r"hours?|hrs?|h",
}
_CHARACTERS: Final = str.maketrans("‐‑‒–—−’‘′″\u00a0\u202f", "------'''\"  ")


def fold(text: str) -> str:
    """Return a text in lower case, with plain dashes and apostrophes; offsets stay what they were."""
    return "".join(low if len(low := char.lower()) == 1 else char for char in text.translate(_CHARACTERS))


# ---- numbers


def _spell(number: int) -> str:
    return str(num2words(number)).replace("-", " ").replace(" and ", " ")


_CARDINALS: Final = {_spell(number): number for number in range(1000)}
_ORDINALS: Final = {str(num2words(number, to="ordinal")).replace("-", " "): number for number in range(1, 101)}
_COUNTS: Final = {"a couple of": 2, "couple of": 2, "a couple": 2, "a few": 3, "few": 3, "a dozen": 12, "dozen": 12}
_FRACTIONS: Final = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10}


def _alternatives(words: object) -> str:
    """Return a regular expression of several words, the longest first, with spaces or hyphens between their parts."""
    return "|".join(word.replace(" ", "[ -]") for word in sorted(map(str, words), key=len, reverse=True))  # type: ignore[call-overload]


_SMALL = _alternatives(word for word, number in _CARDINALS.items() if number < 100)
_HUNDREDS = _alternatives([_spell(number) for number in range(1, 10)] + ["a"])
_SPELLED = rf"(?:(?:(?:{_HUNDREDS})[ -])?hundred(?:(?: and)?[ -](?:{_SMALL}))?|{_SMALL})(?![\w'])"
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+(?:[.,]\d+)?|(?<![\w.])\.\d+)(?!\d|[:/]\d|[.,]\d)"
_VULGAR = "½⅓⅔¼¾⅛"
_NUMBER: Final = (
    rf"(?P<fraction>(?:\d+[ -])?\d+/[1-9]\d*)|(?P<vulgar>\d*[{_VULGAR}])"
    rf"|(?P<count>{_alternatives(_COUNTS)})(?![\w'])"
    rf"|(?P<whole>{_DIGITS}|{_SPELLED})(?P<decimals>(?: point (?:{_SMALL})(?![\w']))*)"
    r"(?P<half>[ -]and[ -](?:a|one)[ -]half(?![\w']))?"
)


def _value(text: str) -> float:
    """Return a number in digits or in words."""
    if text[0].isdigit() or text[0] == ".":
        return float(text.replace(",", "") if re.fullmatch(r"\d{1,3}(?:,\d{3})+", text) else text.replace(",", "."))
    spelled = re.sub(r"[ -]+", " ", text).replace(" and ", " ")
    return float(_CARDINALS[re.sub(r"^(?:a )?hundred", "one hundred", spelled)])


def _number_of(match: re.Match[str]) -> float:
    if match["fraction"]:
        *ahead, ratio = re.split(r"[ -]", match["fraction"])
        over, under = ratio.split("/")
        return (float(ahead[0]) if ahead else 0.0) + float(over) / float(under)
    if match["vulgar"]:
        return float(match["vulgar"][:-1] or 0) + unicodedata.numeric(match["vulgar"][-1])
    if match["count"]:
        return float(_COUNTS[match["count"].replace("-", " ")])
    digits = "".join(f"{_value(word):g}" for word in match["decimals"].split(" point ") if word)
    return (
        float(f"{_value(match['whole']):g}.{digits}") if digits else _value(match["whole"]) + 0.5 * bool(match["half"])
    )


def number() -> Element:
    """Return an element for a number: "12", "1.5", "1 1/2", "2½", "twenty-five", "two and a half", "a few"."""
    return element(_NUMBER, _number_of)


def ordinal() -> Element:
    """Return an element for an ordinal, "third", "3rd", "twenty-first": its number from 1 on."""

    def number_of(match: re.Match[str]) -> int:
        return int(match["digits"]) if match["digits"] else _ORDINALS[re.sub(r"[ -]+", " ", match["words"])]

    words = _alternatives(_ORDINALS)
    return element(rf"(?P<digits>[1-9]\d{{0,2}})(?:st|nd|rd|th)(?!\w)|(?P<words>{words})(?![\w'])", number_of)


def percentage() -> Element:
    """Return an element for a percentage, "10 %", "ten per cent": its share, 0.1."""
    sign = match_words(r"-?(?:percent|per cent|pct)") | pattern("%")
    return rule(number() + sign, lambda count: count / 100)


def fraction() -> Element:
    """Return an element for a share of a whole: "half", "two thirds", "a quarter", "3/4", or a percentage."""

    def share_of(match: re.Match[str]) -> float:
        if match["name"]:
            return _value(match["over"] or "one") / _FRACTIONS[match["name"].removesuffix("s")]
        return float(match["ratio_over"]) / float(match["ratio_under"])

    named = rf"(?:(?:(?P<over>\d+|{_SMALL})|an?)[ -])?(?P<name>(?:{'|'.join(_FRACTIONS)})s?)(?![\w'])"
    ratio = r"(?P<ratio_over>\d+)/(?P<ratio_under>[1-9]\d*)(?!\w)"
    return percentage() | element(f"{named}|{ratio}", share_of)


# ---- durations


def unit(*names: str) -> Element:
    """Return an element for a unit of time, of those named ("s", "m" …): its seconds."""
    alternatives = "|".join(rf"(?P<{name}>(?:{UNIT_WORDS[name]})(?![a-z'])\.?)" for name in names)
    return element(alternatives, lambda match: SECONDS[str(match.lastgroup)])


def bare_unit() -> Element:
    """Return an element for one unit without a number, "minute", "minute and a half", "hour": its seconds."""
    return element(
        r"(?P<unit>second|minute|min|hour)(?P<half> and a half)?(?![\w'])",
        lambda match: SECONDS[match["unit"][0]] * (1.5 if match["half"] else 1.0),
    )


def unit_and_more() -> Element:
    """Return an element for one unit without a number and a smaller amount, "minute, thirty seconds": its seconds."""
    joint = pattern(r",? ?and(?!\w)|,")
    smaller = number() + optional(pattern("-"))
    return rule(
        constant("minute", 60.0) + joint + smaller + unit("s")
        | constant("hour", 3600.0) + joint + smaller + unit("m", "s"),
        lambda whole, count, seconds: whole + count * seconds,
    )


_SECOND_OF_TIME: Final = r"(?= ?(?:$|[,;:]|and a half|in(?:to)? |before |after |from |later|left|long))"
_FIXED: Final = (
    r"(?:a )?half(?: of)?[ -](?:an? )?(?P<half>second|minute|min|hour)(?![\w'])"
    r"|(?:(?:(?P<quarters>three|3)|a|one)[ -])?quarters?[ -](?:of )?(?:an? )?(?P<quarter>minute|hour)(?![\w'])"
    r"|(?:(?:(?P<thirds>two|2)|a|one)[ -])?thirds?[ -]of an? (?P<third>minute|hour)(?![\w'])"
    rf"|an? (?P<one>minute|hour|second(?![a-z]){_SECOND_OF_TIME})(?P<more> and a (?:half|quarter))?(?![\w'])"
)
_COMPACT: Final = (
    r"(?:(?P<h>\d+)h ?)?(?:(?P<m>\d+(?:\.\d+)?)m(?:in)? ?)(?P<s>\d{1,2}(?:\.\d+)?)s?(?![\w:])"
    r"|(?P<h2>\d+)h ?(?P<m2>\d{1,2})(?:m(?:in)?)?(?![\w:])"
    r"|(?P<m3>\d{1,3})'(?P<s3>[0-5]?\d)(?:\"|'')?(?!\w)"
)


def _fixed_seconds(match: re.Match[str]) -> float:
    if match["half"]:
        return SECONDS[match["half"][0]] / 2
    if match["quarter"]:
        return SECONDS[match["quarter"][0]] * (3 if match["quarters"] else 1) / 4
    if match["third"]:
        return SECONDS[match["third"][0]] * (2 if match["thirds"] else 1) / 3
    more = match["more"] or ""
    return SECONDS[match["one"][0]] * (1 + (0.5 if "half" in more else 0.25 if "quarter" in more else 0.0))


def _compact_seconds(match: re.Match[str]) -> float:
    parts = {name: float(value) for name, value in match.groupdict().items() if value}
    return sum(value * SECONDS[name[0]] for name, value in parts.items())


_DECADE: Final = pattern(r"(?:1[5-9]|20)\d0'?s(?!\w)")


def duration(joined_by_and: bool = True) -> Element:
    """Return an element for a duration: "90 s", "1h02m", "a minute and a half", "two minutes, 30 seconds".

    Args:
        joined_by_and: parts may be joined by "and"; False where it leads to another time, "between 1 min and 90 s".
    """
    joint = optional(match_words(r", and|,|and") if joined_by_and else pattern(",(?! and)"))

    def amount(*names: str) -> Element:
        plain = number() + optional(pattern("-")) + unit(*names)
        more = optional(constant("and a half", 0.5) | constant("and a quarter", 0.25), 0.0)
        return rule(~_DECADE + plain + more, lambda count, seconds, half: (count + half) * seconds)

    seconds = amount("ms", "s")
    minutes = (amount("m") | element(r"an? (minute)(?![\w'])", lambda _: 60.0)) + optional(joint + seconds)
    hours = (amount("h") | element(r"an? (hour)(?![\w'])", lambda _: 3600.0)) + optional(joint + (minutes | seconds))
    total = rule(hours ^ minutes ^ seconds, lambda *amounts: sum(amounts))
    return element(_COMPACT, _compact_seconds) ^ element(_FIXED, _fixed_seconds) ^ _minute_thirty(joined_by_and) ^ total


_TIME_GOES_ON: Final = (
    r"(?= ?(?:$|[,;:?-]|(?:to|until|till?|through|and|into|in|mark|point|before|after|from|past)(?!\w)"
    r"|(?:of|around) (?:the )?(?:\d|minute|start|beginning|end|middle)))"
)
"""Words that may follow the seconds of "one minute thirty"; with other words, thirty is their number."""


def _minute_thirty(joined_by_and: bool) -> Element:
    """Return an element for minutes and seconds without the word "seconds", "one minute thirty": its seconds.

    Args:
        joined_by_and: "a minute and thirty" is one, too.
    """
    seconds = element(rf"(?:(?P<digits>[1-5]?\d)|(?P<words>{_SMALL}))(?![\w'.:]){_TIME_GOES_ON}", _small_seconds)
    seconds = check(seconds, lambda count: count < 60)
    minutes = number() + unit("m") | element(r"a (?=minute)", lambda _: 1.0) + unit("m")
    if joined_by_and:
        minutes = minutes + optional(match_words("and"))
    return rule(minutes + seconds, lambda count, unit_s, seconds: count * unit_s + seconds)


def _small_seconds(match: re.Match[str]) -> float:
    return _value(match["digits"] or match["words"])


# ---- clock times

_CLOCK: Final = (
    r"(?<![\w:.])(?:(?P<hours>\d{1,3}):(?P<minutes>[0-5]\d)|(?P<only>\d{1,3})):(?P<seconds>[0-5]\d(?:[.,]\d{1,6})?)"
    r"(?: ?(?:(?P<unit>hours?|hrs?|h)|minutes?|mins?|seconds?|secs?|s))?(?!\w|:\d|[.,]\d)(?! ?(?:[ap]\.?m\b|o'clock))"
)


def _clock_seconds(match: re.Match[str]) -> float:
    hours, minutes = float(match["hours"] or 0), float(match["minutes"] or match["only"] or 0)
    seconds = 3600 * hours + 60 * minutes + float(match["seconds"].replace(",", "."))
    return 60 * seconds if match["unit"] and not match["hours"] else seconds


_TENS: Final = _alternatives(word for word, number in _CARDINALS.items() if 10 <= number < 60)
_DIGIT: Final = _alternatives(word for word, number in _CARDINALS.items() if 0 < number < 10)
_SPOKEN: Final = (
    rf"(?P<minutes>{_SMALL}) (?:(?P<tens>{_TENS})|(?:oh?|zero)[ -](?P<digit>{_DIGIT}))(?![\w'-]){_TIME_GOES_ON}"
)


def spoken_clock_time() -> Element:
    """Return an element for a time as it is read out, "one thirty", "twelve oh five": minutes and seconds."""
    return element(_SPOKEN, lambda match: 60 * _value(match["minutes"]) + _value(match["tens"] or match["digit"]))


def clock_time() -> Element:
    """Return an element for a time as players show it, "2:15", "01:02:03.5": m:ss or h:mm:ss, never a time of day."""
    return element(_CLOCK, _clock_seconds)
