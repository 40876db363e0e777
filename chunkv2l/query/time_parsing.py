"""Take the time range out of a question: "in the first ten minutes", "between 10:00 and 12:30", "at the end".

What is understood is in `chunkv2l.query.time_grammar`, which is imported for questions that may hold a time only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from chunkv2l.query.bare_names import AUXILIARIES
from chunkv2l.query.time_hints import HINT
from chunkv2l.query.time_ranges import Restriction, TimeRange

if TYPE_CHECKING:
    from chunkv2l.query.time_grammar import Phrase

_FILLER = r"(?:please|and|so|then|now|ok|okay|well|hey|hi|tell me|can you tell me|exactly|again|right there|there)"
_AHEAD = re.compile(rf"(?:{_FILLER}[ ,]*)*", re.IGNORECASE)
_BEHIND = re.compile(rf"[ ,.:;!?]*(?:{_FILLER}[ ,.:;!?]*)*", re.IGNORECASE)
_QUANTIFIED = re.compile(
    r"\d|%|(?:seconds?|secs?|minutes?|mins?|hours?|hrs?|percent|per cent)\b|\b(?:movie|video|film|clip|footage)$",
    re.IGNORECASE,
)
_CERTAIN = re.compile(r"\d|%|\b(?:first|last|final|opening|closing)\b", re.IGNORECASE)
_STATED = re.compile(
    r"(?:in|during|throughout|within|over) .*(?:first|last|final|former|latter|middle|second|third|fourth"
    r"|\d(?:st|nd|rd|th)) (?:half|third|quarter)\b",
    re.IGNORECASE,
)
"""A part of something, of the movie where nothing else is named."""
_OCCURRENCE = re.compile(
    r"\b(?:first|last|final|\w+(?:th|nd|rd|st)) (?:time|moment|occasion|instance|occurrence|appearance|scene|shot)$",
    re.IGNORECASE,
)
_QUESTION_WORD = re.compile(r"\b(?:when|where|what|who|whom|how|why|which(?: \w+)?)$", re.IGNORECASE)
_GOES_ON = re.compile(r" ?[,:]| (?:what|who|whom|where|when|why|how|which)\b", re.IGNORECASE)
"""Words that a question goes on with behind a point without a preposition: "0:41, what …"."""
_AUXILIARY = re.compile(rf"{AUXILIARIES}\b", re.IGNORECASE)
_SMALL_WORDS = (
    r"(?: (?:about|out|over|past|in|at|during|the|all|what|everything|anything|part|is|happens|of|from|for|even|only|it"
    r"|its|that))*"
)
_OPPOSING = re.compile(
    r"\b(?:neither|nor|never|nowhere|not|except\w*|exclu\w+|without|besides|barring|unless|but|"
    r"regardless|irrespective|regard (?:to|for)|(?:do not|don't|does not|doesn't|not) (?:care|interested|bother)|"
    r"(?:(?:sooner|earlier|later|rather|other|elsewhere|more|less) )?than|instead of|at least|at most)"
    rf"{_SMALL_WORDS}[ ,]*$",
    re.IGNORECASE,
)
"""Words right before a time that turn or change its sense: a time behind them isn't what a question asks for."""
_LEAVING_OUT = re.compile(
    r"\b(?:(?:ignor|skip|omit|discount|disregard|drop|forget|neglect|exclud|avoid|bypass|remov|overlook|dismiss|eliminat|"
    r"discard|subtract)(?:e|es|s|ting|ping|ing|ted|ped|ed|ten)?|never mind|minus|negative|no|bar"
    r"|(?:leav|set|pass|jump)\w* (?:out|aside|off|over))"
    rf"(?P<small>{_SMALL_WORDS}) ?$",
    re.IGNORECASE,
)
_LEFT_OUT = re.compile(
    r"[ ,]*(?:(?:is|are|was|were|being|gets?|to be|(?:should|can|could|may|must|will) be|has been|have been) )?"
    r"(?:(?:not|never) (?:counted|included|considered|used|searched)|(?:does|do|did)(?: not|n't) (?:count|matter)"
    r"|(?:ignor|skipp|omitt|discount|disregard|dropp|neglect|exclud|avoid|bypass|remov|overlook|dismiss|discard|trimm|"
    r"except)ed|cut|left (?:out|aside|off)|set aside|aside|apart|gone|forgotten)\b",
    re.IGNORECASE,
)
_BEGINS_CLAUSE = re.compile(
    r"(?<![\w'])(?:(?:if|once|provided|and|but|so|i|i'm|i am|we|we've|we have|having|nothing|anything|about)[ ,]+)+$",
    re.IGNORECASE,
)
"""Words before those that oppose a time, which mean nothing without them."""
_ALL = re.compile(r"\b(?:everything|anything|all|what|part)\b", re.IGNORECASE)
_NUMBER = (
    r"(?:\d+(?:[.,:]\d+)*|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|"
    r"fifty|sixty|ninety)"
)
_NTH = r"(?:first|second|third|fourth|fifth|last|final|\d+(?:st|nd|rd|th))"
_JOINED_AHEAD = re.compile(
    rf"\b(?:(?:between|from) {_NUMBER} (?:and|to) )?"
    rf"(?:(?:in|at|on|during|within|between|from|after|before) )?(?:the )?(?:{_NTH}(?: {_NUMBER})?|{_NUMBER})"
    r",? (?:and|or|plus|to|&)(?: (?:again|then|also))* *$",
    re.IGNORECASE,
)
"""A number before a time that belongs to it: "at 10 or" before "after 30 seconds"."""
_JOINED_BEHIND = re.compile(
    r"(?:, (?:in |at |during )?the [\w-]+)*[ ,]*\b(?:and|or|to|until|till|through|&)"
    r"(?: (?:again|then|also|in|at|on|during|after|before|the|a|an))* "
    rf"(?:{_NTH}(?: {_NUMBER})?|{_NUMBER})(?: one)? *$",
    re.IGNORECASE,
)
_DANGLING = re.compile(
    r"\b(?:between|until|till|during|within|(?:in|at|by|around|before|after|from) (?:the|its|this))[ ,]*$",
    re.IGNORECASE,
)
"""Words before a time that mean nothing without what they begin: "between" before "the first and second chapter"."""
_BETWEEN_TIMES = re.compile(r"[ ,]*(?:(?:and|or|then|also|again|&|plus)[ ,]*)+|,[ ]*", re.IGNORECASE)
_JOINT = re.compile(r"[ ,]+(?:and|but|yet)[ ,]*$", re.IGNORECASE)
_BESIDE_EVENT = re.compile(r"\b(?:after|before|while|once|until)\b", re.IGNORECASE)
_BESIDE_TIME = re.compile(r"(?:after|before|until)\b", re.IGNORECASE)
_CLAUSE_ENDS = r"(?= *(?:$|[,;:.]|(?:of|in) (?:the |this )?(?:movie|video|film|clip)\b))"
_WITHIN = r"(?:in|at|during|within|throughout|after|before|until|till|since|from|around|between)"
_DETERMINER = r"(?:the|an?|its|this|every|each|all|any|both)"
_OTHER = (
    r"(?:(?:score|handful|number|bunch|dozens) of |"
    rf"(?!(?:{_DETERMINER}|{_WITHIN}|that|his|her|their|of|for|per|to|by|with|on|and|or|than|as)\b)[\w.'-]+ )"
)
"""A word that neither begins nor joins a phrase."""
_DAYS = r"(?:night|week|month|year)"
_UNIT_LEFT = re.compile(
    rf"\b{_WITHIN} (?P<article>{_DETERMINER} )?{_OTHER}{{1,3}}(?P<unit>[a-z]{{3,12}}){_CLAUSE_ENDS}", re.IGNORECASE
)
_CALENDAR_LEFT = re.compile(
    r"\b(?:(?!the\b|did\b)[\w-]+ )?(?:second|minute|hour|day|week|month|year|moment)s? ago\b|\blong ago\b"
    r"|\b(?:yesterday|tomorrow)\b(?= *(?:$|[,;]|(?:at|in|after|before)\b))"
    rf"|\b(?:last|this|next) {_DAYS}\b(?= *(?:$|[,;]))",
    re.IGNORECASE,
)
_PART_LEFT = re.compile(
    r"\b[a-z]+\d{1,3}:[0-5]\d\b"
    rf"|\bwithin (?:an?|{_NUMBER}) (?:seconds|secs?|minutes?|mins?|hours?) of\b[^,;]*"
    rf"|\b{_WITHIN} (?:{_DETERMINER}(?: of the)? {_OTHER}{{0,3}}|(?:first|last|final|next|\w+th) )?"
    r"(?:chapters?|chap|ch)\b(?:\.? (?:\d+|[ivx]+|but|except)\b[^,;]*)?(?= *(?:$|[,;:]|(?:begin|start|end)s\b))",
    re.IGNORECASE,
)
_SAYS = re.compile(r"\b(?:says?|said|saying|tells?(?! me)|told|talks?|mentions?|speaks?|asks?|reads?)\b", re.IGNORECASE)
_UNITS = frozenset(
    ["seconds", "secs", "minute", "minutes", "min", "mins", "hour", "hours", "millisecond", "milliseconds"]
)
_OTHER_WORDS = frozenset(["minuet", "minuets"])
"""Words that are near a unit of time and that mean something else."""
_PREPOSITION = re.compile(
    r"(?:in|at|on|during|within|throughout|over|after|before|until|till|by|for|near|around|about|since|right|just)\b",
    re.IGNORECASE,
)

ReadPlain: TypeAlias = Callable[[str], tuple[str, str]]
"""Question without times → (its statement, the kind of answer)."""


@dataclass(frozen=True)
class Reading:
    """A question read for times.

    Attributes:
        text: the question without its time range.
        time_range: None where it names none.
        unread: its restriction as it words it, if that wasn't understood; () otherwise.
    """

    text: str
    time_range: Restriction | None = None
    unread: tuple[str, ...] = ()


def take_time_range(text: str, read_plain: ReadPlain) -> Reading:
    """Take the time range out of a question.

    A range stands at the question's beginning or end, or in the middle of it if it has a number or a unit. A statement
    keeps its words ("A man rests after ten minutes") unless they can hardly mean anything else ("… in the first 10 s").

    Args:
        text: without its question mark.
    """
    if not HINT.search(text):
        return Reading(text)
    from chunkv2l.query.time_grammar import find_phrases

    phrases = find_phrases(text)
    for phrase in sorted(phrases, key=lambda phrase: _order(text, phrase)):
        remaining = _without(text, phrase.start, phrase.end)
        if _order(text, phrase) == 2 and not _fits_inside(text, phrase):
            continue
        statement, answer_kind = read_plain(remaining)
        if phrase.is_bare and statement and not _GOES_ON.match(text, phrase.end):
            continue
        words = text[phrase.start : phrase.end]
        is_certain = (_QUANTIFIED.search(words) and _CERTAIN.search(words)) or _STATED.match(words)
        if remaining and answer_kind == "statement" and not is_certain:
            continue
        if (joint := _find_joint(text, phrase)) is not None:
            return Reading(_without(text, joint, phrase.end), phrase.range)
        if (unread := _find_opposed(text, phrase) or _find_listed(text, phrase, phrases)) is not None:
            return Reading(_without(text, *unread), None, (text[slice(*unread)].strip(" ,"),))
        return Reading(remaining, phrase.range, () if phrase.range is not None else (words,))
    return Reading(text)


def read_part(text: str) -> TimeRange | None:
    """Return the part of a movie that a text is the name of, and nothing else: "the second minute", "the first half".

    >>> read_part("the second minute of the video") is not None, read_part("the second half of the apple")
    (True, None)
    """
    return read_range(f"in {text}" if text.lower().startswith("the ") else f"in the {text}")


def read_range(text: str) -> TimeRange | None:
    """Return the time range that a text is, and nothing else: "after 0:08", "between 1:00 and 2:30"; else None."""
    if not HINT.search(text):
        return None
    from chunkv2l.query.time_grammar import find_phrases

    phrases = find_phrases(text)
    is_range = len(phrases) == 1 and (phrases[0].start, phrases[0].end) == (0, len(text))
    return phrases[0].range if is_range and isinstance(phrases[0].range, TimeRange) else None


def find_unread(text: str) -> tuple[str, ...]:
    """Return the times, durations and parts of the movie that a text still names, as it words them."""
    leftovers = _find_leftovers(text)
    if not HINT.search(text):
        return tuple(text[start:end] for start, end in sorted(leftovers))
    from chunkv2l.query.time_grammar import find_phrases, find_quantities

    spans = [(phrase.start, phrase.end) for phrase in find_phrases(text) if not phrase.is_bare]
    spans = [(start, end) for start, end in spans if _QUANTIFIED.search(text[start:end])]
    spans += [(a, b) for a, b in find_quantities(text) if not any(start <= a and b <= end for start, end in spans)]
    spans += [(a, b) for a, b in leftovers if not any(start < b and a < end for start, end in spans)]
    return tuple(text[start:end] for start, end in sorted(spans))


def split_offset(text: str) -> tuple[str, tuple[float, float] | None]:
    """Return a text without the distance in time that it ends with, and that distance: (least, most) seconds.

    >>> split_offset("What happens ten seconds"), split_offset("What happens within a minute")
    (('What happens', (10.0, 10.0)), ('What happens', (0.0, 60.0)))
    """
    if not HINT.search(text):
        return text, None
    from chunkv2l.query.time_grammar import find_offset

    start, offset = find_offset(text)
    return text[:start].rstrip(" ,"), offset


def _order(text: str, phrase: Phrase) -> int:
    """Return 0 for a phrase at the beginning of a text, 1 for one at its end, 2 for one in between."""
    if _AHEAD.fullmatch(text, 0, phrase.start) and re.match(r"$|[,:;.!]? ", text[phrase.end :]):
        return 0
    return 1 if _BEHIND.fullmatch(text, phrase.end) else 2


def _fits_inside(text: str, phrase: Phrase) -> bool:
    """Return whether a phrase in the middle of a question is its time range."""
    ahead, behind = text[: phrase.start].rstrip(" ,"), text[phrase.end :].lstrip(" ,")
    if _QUESTION_WORD.search(ahead) and _AUXILIARY.match(behind):
        return True
    if _OCCURRENCE.search(ahead) and behind:
        return True
    return not phrase.is_bare and bool(_QUANTIFIED.search(text[phrase.start : phrase.end]))


def _find_listed(text: str, phrase: Phrase, phrases: Sequence[Phrase]) -> tuple[int, int] | None:
    """Return a phrase with the words that are listed beside it and were not read: (start, end) characters.

    None where there are none. Of several times all are meant, never the last alone.
    """
    start, end = phrase.start, phrase.end
    for other in phrases:
        if other.end <= start and _BETWEEN_TIMES.fullmatch(text, other.end, start):
            start = other.start
    is_last = bool(_BEHIND.fullmatch(text, end))
    if match := _JOINED_AHEAD.search(text[:start]) or (_DANGLING.search(text[:start]) if is_last else None):
        start = match.start()
    if match := _JOINED_BEHIND.match(text, end):
        end = match.end()
    return None if (start, end) == (phrase.start, phrase.end) else (start, end)


def _find_joint(text: str, phrase: Phrase) -> int | None:
    """Return where the word begins that joins a time to an event: "after a dog jumps but before 3:00"."""
    joint = _JOINT.search(text[: phrase.start])
    if joint is None or not _BESIDE_TIME.match(text, phrase.start) or phrase.range is None:
        return None
    return joint.start() if _BESIDE_EVENT.search(text, 0, joint.start()) else None


def _find_leftovers(text: str) -> list[tuple[int, int]]:
    """Return where a text speaks of a time in words that no grammar has: "in the frist minute", "two days ago"."""
    spans = [match.span() for match in _UNIT_LEFT.finditer(text) if _is_unit(match)]
    spans += [match.span() for match in _CALENDAR_LEFT.finditer(text) if not _SAYS.search(text, 0, match.start())]
    spans += [match.span() for match in _PART_LEFT.finditer(text)]
    if not spans:
        return []
    from chunkv2l.query.time_grammar import find_quotations

    quoted = find_quotations(text)
    return [(a, b) for a, b in spans if not any(start < b and a < end for start, end in quoted)]


def _is_unit(match: re.Match[str]) -> bool:
    """Return whether the last word of a match is a unit of time, or one with a letter wrong or out of order."""
    word = match["unit"].lower()
    if word == "second":  # "in the frist second", not "in a close second"
        return (match["article"] or "").lower() == "the "
    if word in _UNITS or word in _OTHER_WORDS:
        return word in _UNITS
    return any(_is_misspelt(word, unit) for unit in ("minute", "minutes", "second", "seconds"))


def _is_misspelt(word: str, unit: str) -> bool:
    """Return whether a word has one letter too many, too few or wrong, or two out of order."""
    same = next((i for i, (a, b) in enumerate(zip(word, unit, strict=False)) if a != b), min(len(word), len(unit)))
    ahead, behind = word[same:], unit[same:]
    if len(word) == len(unit):
        return ahead[1:] == behind[1:] or (ahead[:2] == behind[:2][::-1] and ahead[2:] == behind[2:])
    return ahead[1:] == behind or ahead == behind[1:]


def _find_opposed(text: str, phrase: Phrase) -> tuple[int, int] | None:
    """Return a phrase with words beside it that may exclude the time that it names: (start, end) characters.

    "He skips in the first minute" restricts a question, "once we've skipped the first minute" doesn't.
    """
    ahead = text[: phrase.start]
    match, behind = _OPPOSING.search(ahead), _LEFT_OUT.match(text, phrase.end)
    if match is None and (leaving := _LEAVING_OUT.search(ahead)) is not None:
        is_object = _ALL.search(leaving["small"]) or not _PREPOSITION.match(text, phrase.start)
        match = leaving if is_object else None
    if match is None and behind is None:
        return None
    start = phrase.start if match is None else match.start()
    begins = _BEGINS_CLAUSE.search(text, 0, start)
    return begins.start() if begins else start, phrase.end if behind is None else behind.end()


def _without(text: str, start: int, end: int) -> str:
    """Return a text without the characters [start, end), and without brackets or fillers that are left there."""
    if text[start - 1 : start] + text[end : end + 1] in ("()", "[]", "{}"):
        start, end = start - 1, end + 1
    ahead = re.sub(r"[ ,]+$", "", text[:start])
    ahead = "" if _AHEAD.fullmatch(ahead) else ahead
    behind = re.sub(r"^[ ,:;.!]+(?:(?:and|then) )*" if not ahead else r"^[ ,:;]+", "", text[end:])
    behind = "" if _BEHIND.fullmatch(behind) else behind
    return f"{ahead} {behind}".strip() if behind else re.sub(r"(?:[ ?!.;,]+(?:and|or|but|&))?[ ?!.;]*$", "", ahead)
