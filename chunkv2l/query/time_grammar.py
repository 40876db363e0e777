"""The grammar of time ranges in questions: "between 10:00 and 12:30", "the last 10 % of the second half".

In the order in which they are defined, each from the ones before it:

    extent   "ten minutes", "minute", "10 %", "half"                    a length
    point    "2:15", "minute 5", "the 3-minute mark", "30 seconds       a time
             before the end", "halfway", "t=35"
    part     "the first" extent, "the third" extent, "the middle"       an interval of another one
             extent, "the beginning", each "of" a part or of the movie
    phrase   "between" point "and" point, "after" point or part,        what a question is restricted to
             "in" part, "at" point, point "-" point, …; "except" phrase

The longest phrase that fits counts. Quantities are `chunkv2l.query.quantities`'s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, TypeAlias

from chunkv2l.query import quantities
from chunkv2l.query.combinators import (
    Element,
    check,
    constant,
    element,
    look,
    match_words,
    optional,
    pattern,
    repeated,
    rule,
    silent,
)
from chunkv2l.query.scanning import Values, scan
from chunkv2l.query.time_hints import HINT
from chunkv2l.query.time_ranges import END, START, Moment, Restriction, TimeRange, TimeRanges

SCANNED: Final = 80
"""Characters before and behind a hint at a time that are scanned in a long text; no time is worded longer."""
NEAR: Final = 10.0
"""Seconds that "right before" and "just after" a time reach."""


NOT_UNDERSTOOD: Final = "not understood"
"""Yielded for words that are a restriction without known times: "later on", "half past", "before A and after B"."""
Ranges: TypeAlias = Restriction | str
"""A restriction, or `NOT_UNDERSTOOD`."""

Part: TypeAlias = Callable[[TimeRange], TimeRange]
"""From a range to a part of it."""


def _to_moment(expression: Element) -> Element:
    """Return an expression that yields seconds as one that yields a `Moment`."""
    return rule(expression, lambda seconds: Moment(seconds=seconds))


# ---- words

_MOVIE = r"(?:movie|video|film|clip|footage|recording|show|episode|tape|vid)"
_OF_MOVIE = (
    rf"(?:(?:of|in|into|through|from|within) (?:the |this |that |my |our )?(?:whole |entire |full )?{_MOVIE}"
    r"|(?:of|in) it(?= ?(?:$|[,;:?])))"
)
_QUESTION = r"(?:what|who|where|which|how|when|is|are|was|were|do|does|did|has|have|can)"
_BREAK = rf"(?= ?(?:$|[,;:.]|{_QUESTION}\b))"
"""Follows an "in" that ends a time: "30 seconds in, what happens?", not "30 seconds in the water"."""
_HALF_WAY = r"(?:half|mid)-?way"
_ends = look(r"(?= ?(?:$|[,;:]))")
_BEGIN, _FINISH = r"beginning|start|opening|outset", r"end|ending"
_THE_MOVIE = rf"(?:it|(?:the |this |that )?{_MOVIE})"
_STARTS, _ENDS = r"(?:starts|begins|has (?:started|begun))", r"(?:ends|finishes|stops|is over|has ended)"
_MIDDLE = r"middle|mid-?point|half-?way (?:point|mark)|middle point"

_article = match_words(rf"(?:(?:the|this|that|my|our) )?{_MOVIE}'s|the")
_the = optional(_article)
_mark = match_words(r"-?(?:time ?)?(?:mark|point|time ?stamp)s?")
_of_movie = match_words(_OF_MOVIE)
_about = optional(
    match_words("exactly|precisely|about|around|roughly|approximately|approx|circa|ca|nearly|almost")
    | pattern(r"[~@]|approx\.|ca?\.")
)

# ---- extents: lengths

_or_so = optional(match_words("or so|or thereabouts"))
_length = _to_moment(quantities.duration()) + _or_so
_one_unit = _to_moment(quantities.bare_unit()) + _or_so
_share = rule(quantities.fraction(), lambda share: Moment(share=share))
_extent = _length ^ _one_unit ^ _share

# ---- points

_BEFORE_SIGN = (
    "from",
    "between",
    "and",
    "to",
    "until",
    "till",
    "at",
    "around",
    "about",
    "near",
    "by",
    "after",
    "before",
)
_is_signed = look("|".join(rf"(?<=(?<!\w){word} )" for word in _BEFORE_SIGN) + "|(?<!.)")
_minus = _is_signed + pattern(r"-(?=[\d½⅓⅔¼¾⅛])|(?:minus|negative)(?= )")
"""A sign: "from -5 to 3 seconds", not the dash of "1:00 -2:00" or of a word."""
_final_edge = constant(f"the (?:very )?(?:{_FINISH})|{_THE_MOVIE} {_ENDS}", END)
_initial_edge = constant(f"the (?:very )?(?:{_BEGIN})|{_THE_MOVIE} {_STARTS}", START)
_edge = _final_edge | _initial_edge
_bare_edge = constant("end", END) | constant("start|beginning", START)
_centre = constant(f"(?:the )?(?:very |exact )?(?:{_MIDDLE})", Moment(share=0.5))
_clock = _the + _to_moment(quantities.clock_time()) + optional(_mark) + _or_so


def _count_units(*names: str) -> Element:
    """Return an element for a numbered unit, "minute 5"."""
    return rule(
        _the + quantities.unit(*names) + optional(match_words("mark|number|no")) + quantities.number(),
        lambda seconds, count: Moment(seconds=seconds * count),
    )


_counted = _count_units("s", "m", "h")
_counted_twice = rule(
    _count_units("m", "h") + optional(match_words(",|and")) + _count_units("s"), lambda first, second: first + second
)
_unit_clock = silent(quantities.unit("s", "m", "h")) + _clock
_named = pattern(r"(?:t|ts|sec|time|time ?stamp|time ?code|position) ?(?:[=:]|is|of|at)? ?(?=\d)|@ ?(?=\d)") + (
    _clock ^ _length ^ rule(quantities.number(), lambda seconds: Moment(seconds=seconds))
)
_marked = _the + _extent + _mark ^ rule(
    _the + quantities.ordinal() + optional(pattern("-")) + _one_unit + _mark,
    lambda number, unit: unit.scaled(number),
)
_from_edge = rule(
    (_length ^ _share)
    + match_words("before|from|until|till|to|prior to|short of|off|away from|left (?:to|until|till|before)")
    + _final_edge
    | _to_moment(quantities.clock_time()) + match_words("before|prior to|short of|away from") + _final_edge
    | (_length ^ _share) + match_words("after|from|past|since|into") + _initial_edge,
    lambda extent, edge: edge - extent if edge == END else edge + extent,
) ^ rule(
    (_length + constant("after|past|from|into|later than", 1.0) | _length + constant("before|prior to|short of", -1.0))
    + (_centre ^ constant(_HALF_WAY, Moment(share=0.5))),
    lambda extent, sign, centre: centre + extent.scaled(sign),
)
_inside = (_length ^ _share) + pattern(
    rf"(?:of the way )?(?:{_OF_MOVIE}|(?:in(?:to)?|through)(?: it)?{_BREAK}|elapsed)(?![\w'])"
)
_halfway = constant(_HALF_WAY, Moment(share=0.5))
_halfway_in = constant(rf"{_HALF_WAY} (?:{_OF_MOVIE}|(?:through|in(?:to)?)(?: it)?{_BREAK})", Moment(share=0.5))
_percent = rule(quantities.percentage(), lambda share: Moment(share=share))
_unsigned = _percent ^ _clock ^ _counted ^ _counted_twice ^ _unit_clock ^ _named ^ _marked
_signed = rule(_minus + (_clock ^ _length), lambda moment: moment.scaled(-1.0))
_spoken = _the + _to_moment(quantities.spoken_clock_time()) + optional(_mark)
_exact = _unsigned ^ _signed ^ _spoken
_shifted = rule(
    _length + constant("after|past|later than|from", 1.0) + _exact
    | _length + constant("before|prior to|earlier than", -1.0) + _exact,
    lambda extent, sign, moment: moment + extent.scaled(sign),
)
_explicit = (_exact ^ _shifted ^ _from_edge ^ _inside ^ _halfway_in) + optional(_of_movie)
"""A point that is one without a preposition before it."""
_point = _about + (_explicit ^ ((_edge ^ _centre ^ _halfway) + optional(_of_movie)) ^ _length)
_short_length = _to_moment(quantities.duration(joined_by_and=False))
_first_point = _about + (_explicit ^ ((_edge ^ _centre ^ _halfway) + optional(_of_movie)) ^ _short_length)
"""The first of two points: a duration in it ends before "and"."""


# ---- parts


def _first(extent: Moment) -> Part:
    return lambda whole: TimeRange(whole.start, whole.start + whole.measure(extent))


def _last(extent: Moment) -> Part:
    return lambda whole: TimeRange(whole.end - whole.measure(extent), whole.end)


def _middle(extent: Moment) -> Part:
    def cut(whole: TimeRange) -> TimeRange:
        centre, half = whole.part(0.5, 0.5).start, whole.measure(extent).scaled(0.5)
        return TimeRange(centre - half, centre + half)

    return cut


def _nth(number: int, extent: Moment) -> Part:
    def cut(whole: TimeRange) -> TimeRange:
        length = whole.measure(extent)
        return TimeRange(whole.start + length.scaled(number - 1), whole.start + length.scaled(number))

    return cut


def _nth_from_last(number: int, extent: Moment) -> Part:
    def cut(whole: TimeRange) -> TimeRange:
        length = whole.measure(extent)
        return TimeRange(whole.end - length.scaled(number), whole.end - length.scaled(number - 1))

    return cut


def _share_of(low: float, high: float) -> Part:
    return lambda whole: whole.part(low, high)


def _within(part: Part, whole: TimeRange) -> TimeRange:
    return part(whole)


_part_extent = _extent ^ _to_moment(quantities.clock_time()) ^ _to_moment(quantities.unit_and_more())
_window = optional(
    match_words(
        r"-?(?:long )?(?:stretch|window|part|section|interval|period|portion|bit|chunk|piece|block|slot|slice|segment)"
    )
)
_FIRST, _LAST = "(?:first|1st|opening|initial|starting|beginning)", "(?:last|final|closing|ending|concluding)"
_is_first, _is_last = match_words(f"(?:very )?{_FIRST}"), match_words(f"(?:very )?{_LAST}")
_is_middle = match_words("(?:very )?(?:middle|central|mid)")
_from_last = (
    constant("penultimate|last but one", 2)
    | quantities.ordinal() + optional(pattern("-")) + match_words("(?:to[ -](?:the[ -])?)?last")
    | constant("next[ -]to[ -]last", 2)
)
_integer = check(quantities.number(), lambda number: number >= 1 and number == int(number))
_which = (
    rule(_is_first, lambda: _first)
    ^ rule(_is_last, lambda: _last)
    ^ rule(_from_last, lambda number: partial(_nth_from_last, number))
    ^ rule(quantities.ordinal(), lambda number: partial(_nth, number))
)
"""Ordinals, each yielding the function that makes a part of an extent."""
_PARTS_WORD = r"part|section|piece|portion|chunk|segment|interval|stretch"
_of_so_many = (
    match_words("(?:out )?of(?: the| a total of)?")
    + _integer
    + match_words(f"(?:equal )?(?:(?:{_PARTS_WORD})s|stretches)")
)
_nth_unit = rule(quantities.ordinal() + (_one_unit ^ _length ^ _share), _nth)
_part = (
    rule(_is_first + _part_extent, _first)
    ^ rule(_is_last + _part_extent, _last)
    ^ rule(_is_middle + _part_extent, _middle)
    ^ rule(match_words("former|front|earlier") + _share, _first)
    ^ rule(match_words("latter|back|later") + _share, _last)
    ^ rule(optional(pattern("-")) + _from_last + optional(pattern("-")) + _extent, _nth_from_last)
    ^ rule(
        quantities.ordinal()
        + (_one_unit ^ _share)
        + match_words("(?:counted |counting )?(?:from|before)")
        + silent(_final_edge),
        _nth_from_last,
    )
    ^ _nth_unit
    ^ rule(_which + _of_so_many, lambda which, count: which(Moment(share=1 / count)))
    ^ rule(_is_first + _integer + _of_so_many, lambda number, count: _first(Moment(share=number / count)))
    ^ rule(_is_last + _integer + _of_so_many, lambda number, count: _last(Moment(share=number / count)))
    ^ rule(
        match_words(f"(?:{_PARTS_WORD})(?: number| no)?") + _integer + match_words("(?:out )?of") + _integer,
        lambda number, count: _nth(number, Moment(share=1 / count)),
    )
) + _window
_few = constant("seconds|secs", Moment(seconds=NEAR)) | constant("minutes|mins", Moment(seconds=180.0))
"""Units in the plural without a number: "the closing seconds"."""
_edge_part = (
    rule(_is_first + _few, _first)
    | rule(_is_last + _few, _last)
    | rule(match_words(rf"(?:very )?(?:{_FIRST}(?: few)? moments|{_BEGIN})"), lambda: _share_of(0.0, 0.1))
    | rule(match_words(rf"(?:very )?(?:{_LAST}(?: few)? moments|{_FINISH})"), lambda: _share_of(0.9, 1.0))
    | rule(match_words(f"(?:very |exact )?(?:{_MIDDLE})"), lambda: _share_of(0.4, 0.6))
)
_in_unit = rule(
    quantities.unit("s", "m", "h") + optional(match_words("number|no")) + quantities.number(),
    lambda unit, count: TimeRange(Moment(seconds=unit * max(count - 1, 0.0)), Moment(seconds=unit * max(count, 1.0))),
)
_dash = pattern(r"-+>?|~|(?:(?:thr(?:ough|u) )?(?:up )?(?:to|until|till?)|thr(?:ough|u)|and)(?!\w)")


def _two_times(first: Moment, last: Moment) -> TimeRange:
    return TimeRange(first, last, is_unordered=True)


_pair = rule(_explicit + _dash + _explicit, _two_times)


def _chapters(first: float, last: float) -> TimeRange:
    """Return chapters by their numbers, which count from 1, or from the last one: -1, -2 …"""
    return TimeRange(Moment(edges=(((int(first), False), 1.0),)), Moment(edges=(((int(last), True), 1.0),)))


_chapter_number = (
    rule(_is_first, lambda: 1)
    ^ rule(_is_last, lambda: -1)
    ^ rule(_from_last, lambda number: -number)
    ^ quantities.ordinal()
)
_index = element(r"\d{1,6}(?!\w)", lambda match: int(match[0]))
_chapter_word = match_words("chapters?")
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv", "xvi")
_roman = element(rf"(?P<roman>{'|'.join(_ROMAN)})(?![\w'])", lambda match: _ROMAN.index(match["roman"]) + 1)
_one_chapter = (
    pattern(r"(?:chapter|chap|ch)(?![\w'])\.?") + optional(pattern(r"(?:number|no)(?!\w)\.?")) + (_integer | _roman)
    ^ _chapter_number + _chapter_word
    ^ constant("last chapter but one|(?:next|second)[ -]to[ -]last chapter", -2)
    ^ constant("last chapter but two", -3)
)
_chapter_beside = match_words("(?:next )?chapter") + rule(
    constant("(?:right |just )?after|following|that follows", 1) + _the + _one_chapter
    | constant("(?:right |just )?before|preceding|that precedes", -1) + _the + _one_chapter,
    lambda step, number: step + number,
)
_other_chapters = rule(
    match_words(
        "(?:(?:every|each|all|any)(?: of)? (?:the )?(?:other )?chapters?|(?:all|everything))"
        " (?:but|except(?: for)?|save(?: for)?|besides|apart from|aside from|other than|excluding|without)"
    )
    + _the
    + (_one_chapter ^ _chapter_number + optional(match_words("one"))),
    lambda number: _complement(_chapters(number, number)),
)
"""All chapters without one: "every chapter but the first"."""
_chapter = (
    rule(_one_chapter, lambda number: _chapters(number, number))
    ^ rule(_chapter_beside, lambda number: _chapters(number, number))
    ^ element(
        r"chapter g(?P<index>\d+)(?!\w)", lambda match: _chapters(int(match["index"]) + 1, int(match["index"]) + 1)
    )
    ^ rule(
        quantities.ordinal() + _chapter_word + match_words("(?:counted |counting )?from") + silent(_final_edge),
        lambda number: _chapters(-number, -number),
    )
    ^ rule(_is_first + _integer + _chapter_word, lambda count: _chapters(1, count))
    ^ rule(_is_last + _integer + _chapter_word, lambda count: _chapters(-count, -1))
    ^ rule(
        match_words("chapters") + _integer + pattern(r"-+|(?:(?:up )?to|until|till?|through|thru)(?!\w)") + _integer,
        _chapters,
    )
) + optional(_of_movie)
_bounds = _pair ^ _in_unit ^ _chapter
"""An interval that is named by its ends, or by its number: "1:00-2:00", "minute 2", "chapter 2"."""
_SOME_PART = r"(?:part|portion|section|bit|stretch|stages?)"
_third = (
    rule(match_words(f"(?:very )?(?:early|earlier|first|opening|initial) {_SOME_PART}"), lambda: _share_of(0.0, 1 / 3))
    | rule(match_words(f"(?:middle|central|mid) {_SOME_PART}"), lambda: _share_of(1 / 3, 2 / 3))
    | rule(match_words(f"(?:very )?(?:late|later|latter|last|closing|final) {_SOME_PART}"), lambda: _share_of(2 / 3, 1))
)
"""A vague part, which is one only of something: "the early part of the video"."""
_piece = _part ^ _edge_part
_inner = rule(_piece + optional(_of_movie), lambda part: part(TimeRange()))
_part_of_part = (
    _inner
    ^ rule(_third + _of_movie, lambda part: part(TimeRange()))
    ^ rule((_piece ^ _third) + match_words("of|in|within") + _the + (_bounds ^ _inner), _within)
    ^ rule(
        _piece + match_words("of|in|within") + _the + _piece + match_words("of|in|within") + _the + (_bounds ^ _inner),
        lambda part, outer, whole: part(outer(whole)),
    )
    ^ _chapter
)
_part_alone = rule(_part + optional(_of_movie), lambda part: part(TimeRange())) ^ rule(
    _part + match_words("of|in|within") + _the + (_bounds ^ _inner), _within
)


# ---- phrases: what a question is restricted to


def _spanning(first: Moment | TimeRange, last: Moment | TimeRange) -> TimeRange:
    return TimeRange(
        first.start if isinstance(first, TimeRange) else first, last.end if isinstance(last, TimeRange) else last
    )


def _at(moment: Moment) -> TimeRange:
    return TimeRange(moment, moment, is_point=True)


def _after(moment: Moment | TimeRange) -> TimeRange:
    return TimeRange(moment.end if isinstance(moment, TimeRange) else moment, END)


def _before(moment: Moment | TimeRange) -> TimeRange:
    return TimeRange(START, moment.start if isinstance(moment, TimeRange) else moment)


def _overlap(after: TimeRange, before: TimeRange) -> TimeRange:
    return TimeRange(after.start, before.end)


def _right_after(moment: Moment | TimeRange) -> TimeRange:
    start = _after(moment).start
    return TimeRange(start, start + Moment(seconds=NEAR))


def _right_before(moment: Moment | TimeRange) -> TimeRange:
    end = _before(moment).end
    return TimeRange(end - Moment(seconds=NEAR), end)


def _get_parts(ranges: Ranges) -> tuple[TimeRange, ...]:
    """Return the ranges of a restriction that leaves nothing out of them; none of any other."""
    if isinstance(ranges, TimeRange):
        return (ranges,)
    return ranges.parts if isinstance(ranges, TimeRanges) and not ranges.without else ()


def _unite(*restrictions: Ranges) -> Ranges:
    """Return all of several restrictions: one range where each adjoins the one before it."""
    parts = [_get_parts(ranges) for ranges in restrictions]
    if not all(parts):
        return NOT_UNDERSTOOD
    united: list[TimeRange] = []
    for part in (part for some in parts for part in some):
        if united and united[-1].end == part.start and united[-1].start != part.start:
            united[-1] = TimeRange(united[-1].start, part.end)
        else:
            united.append(part)
    return united[0] if len(united) == 1 else TimeRanges(tuple(united))


def _complement(*excluded: Ranges) -> Ranges:
    """Return what is left of the movie without some ranges."""
    parts = _get_parts(_unite(*excluded))
    if not parts or any(part.is_point or not part.complement() for part in parts):
        return NOT_UNDERSTOOD
    remaining: Ranges = TimeRange()
    for part in parts:
        left = part.complement()
        remaining = _intersect(remaining, left[0] if len(left) == 1 else TimeRanges((TimeRange(),), (part,)))
    return remaining


def _intersect(ranges: Ranges, other: Ranges | None = None) -> Ranges:
    """Return what two restrictions have in common: "after 1:00 but not in the last minute"."""
    if other is None or ranges == TimeRange():
        return ranges if other is None else other
    if isinstance(ranges, str) or isinstance(other, str):
        return NOT_UNDERSTOOD
    if isinstance(ranges, TimeRange) and isinstance(other, TimeRange):
        if other.start == START and ranges.end == END:
            return ranges.overlap(other) or NOT_UNDERSTOOD
        if other.end == END and ranges.start == START:
            return other.overlap(ranges) or NOT_UNDERSTOOD
    without = other.complement() if isinstance(other, TimeRange) else other.without
    if isinstance(other, TimeRanges) and other.parts != (TimeRange(),):
        return NOT_UNDERSTOOD
    if isinstance(ranges, TimeRange):
        return TimeRanges((ranges,), without)
    return TimeRanges(ranges.parts, ranges.without + without)


def _list_units(unit: float, *numbers: float) -> Ranges:
    """Return numbered units: "minutes 2 and 3"."""
    return _unite(
        *(
            TimeRange(Moment(seconds=unit * max(number - 1, 0.0)), Moment(seconds=unit * max(number, 1.0)))
            for number in numbers
        )
    )


def _beside(extent: Moment, is_after: bool, moment: Moment | TimeRange) -> TimeRange:
    if is_after:
        return _first(extent)(_after(moment))
    return _last(extent)(_before(moment))


def _beyond(extent: Moment, is_after: bool, moment: Moment | TimeRange) -> TimeRange:
    """Return what is farther from a time than an extent: "more than a minute before the end"."""
    if is_after:
        return TimeRange(_after(moment).start + extent, END)
    return TimeRange(START, _before(moment).end - extent)


def _around(extent: Moment, moment: Moment) -> TimeRange:
    return TimeRange(moment - extent, moment + extent)


_WAY = r"(?:of the way )?(?:through|in(?:to)?)(?: it)?"
_MORE = r"(?:more|longer) than|over|at least|(?:no|not) (?:less|earlier) than"
_LESS = r"(?:less|not more|no more) than|at most|under"
_PASSED = r"(?:has|have|had|is|are) (?:passed|elapsed|gone by|over|reached|up|ended|finished|done)|passes|elapse|ends"
_begins = match_words("begins|starts|(?:has |is )?(?:begun|started|beginning|starting)|opens")
_units = quantities.unit("s", "m", "h")
_ENDING = r"(?:ending|finishing|stopping) (?:at|with|by)"
_joint = pattern(
    rf"(?:-+>?|~|&|(?:,? ?(?:and )?{_ENDING}|and|(?:(?:through|thru|right|on|all the way) )?(?:up )?(?:to|until|till?)"
    r"|through|thru)(?!\w))(?: the(?!\w))?"
)
_to = pattern(r"-+|(?:to|until|till?)(?!\w)")
_number = quantities.number()
_signed_number = rule(_minus + _number, lambda number: -number) | _number
_shared_unit = (
    rule(
        _the + _signed_number + _joint + _signed_number + optional(pattern("-")) + _units,
        lambda a, b, unit: (a * unit, b * unit),
    )
    ^ rule(_the + _units + _number + _joint + _number, lambda unit, a, b: (a * unit, b * unit))
) + optional(_mark)
_inwards = pattern(rf"in(?:to it)?(?!\w){_BREAK}")
_numbers = rule(
    _shared_unit + optional(_of_movie | _inwards),
    lambda pair: _two_times(Moment(seconds=pair[0]), Moment(seconds=pair[1])),
) ^ rule(
    _the + quantities.ordinal() + _joint + quantities.ordinal() + _one_unit + _mark,
    lambda first, last, unit: _two_times(unit.scaled(first), unit.scaled(last)),
)
_percents = rule(
    _number + optional(pattern("%")) + _joint + quantities.fraction() + optional(_of_movie),
    lambda low, high: _two_times(Moment(share=low / 100), Moment(share=high)),
) ^ rule(
    quantities.fraction()
    + _joint
    + quantities.fraction()
    + (_mark | match_words(_WAY) | _of_movie)
    + optional(_of_movie),
    lambda low, high: _two_times(Moment(share=low), Moment(share=high)),
)
_ordinals = rule(
    _the
    + quantities.ordinal()
    + _joint
    + quantities.ordinal()
    + (_one_unit ^ _to_moment(quantities.unit("s", "m", "h")) ^ _share),
    lambda first, last, unit: _spanning(_nth(first, unit)(TimeRange()), _nth(last, unit)(TimeRange())),
)
_from = match_words("(?:in )?between|betw|btw|b/w|(?:starting |beginning )?from|starting at|beginning at")
_onwards = match_words(
    r"on(?: from there)?|onwards?|forwards?|and (?:later|after|onwards?|beyond)|or later|(?:un)?til?l? the end|"
    r"to the end"
)
_after_words = match_words(
    "(?:at|on|from) (?:or|and) after|after or (?:at|on)|as of|after|past|beyond|following|"
    "follows|later than|since|not before|(?:no|not) earlier than|"
    "(?:no|not) sooner than"
)
_before_words = match_words(
    "(?:at|on|by) or before|before or (?:at|on|by)|before|until|till|til|up (?:to|until|till)|upto|prior to|"
    "precedes|preceding|earlier than|(?:no|not) later than|not after|by|ahead of|"
    "(?:ending|finishing|stopping) (?:at|by|before|with)"
)
_up_to = match_words("until|till?|up (?:to|until|till)|upto")
_including = match_words("(?:until|till?|up (?:to|until|till)|upto|through) and including")
_end_of = match_words(f"the (?:very )?(?:{_FINISH}) of") + _the + (_bounds ^ _inner)
_start_of = match_words(f"the (?:very )?(?:{_BEGIN}) of") + _the + (_bounds ^ _inner)
_end_of_part = rule(_end_of, lambda part: part.end)
_start_of_part = rule(_start_of, lambda part: part.start)
_centre_of_part = rule(
    match_words(f"the (?:very |exact )?(?:{_MIDDLE}) of") + _the + (_bounds ^ _inner),
    lambda part: part.part(0.5, 0.5).start,
)
_beginning_part = rule(
    _is_first + _part_extent + _window + optional(_of_movie), lambda extent: _first(extent)(TimeRange())
)
_before_phrase = (
    rule(_before_words + (_end_of_part ^ _start_of_part), _before)
    ^ rule(_including + _the + (_bounds ^ _part_of_part), lambda part: TimeRange(START, part.end))
    ^ rule(match_words("through") + _end_of_part, _before)
    ^ rule(_up_to + _the + _beginning_part, lambda part: part)
    ^ rule(_before_words + _point, _before)
    ^ rule(match_words("through|thru") + _explicit, _before)
    ^ rule(_before_words + _the + _part_of_part, _before)
)
_after_phrase = (
    rule(_after_words + (_end_of_part ^ _start_of_part), _after)
    ^ rule(_after_words + optional(match_words(_MORE)) + _point, _after)
    ^ rule(_after_words + _the + _part_of_part, _after)
)
_in_part = rule(
    (_length ^ _share ^ _halfway) + match_words("(?:of the way )?(?:into|through|in)") + _the + (_bounds ^ _inner),
    lambda extent, part: part.start + part.measure(extent),
) ^ rule(
    _length + constant("after|past|into", 1.0) + (_end_of_part ^ _start_of_part ^ _centre_of_part)
    | _length + constant("before|prior to|from|until", -1.0) + (_end_of_part ^ _start_of_part ^ _centre_of_part),
    lambda extent, sign, moment: moment + extent.scaled(sign),
)
_plus_minus = optional(pattern(",")) + pattern(r"\+ ?/? ?-|±|(?:plus or minus|plus/minus|give or take)(?!\w)")
_sharp = optional(match_words("sharp|exactly|precisely|on the dot"))
_both = optional(pattern(r",? ?(?:but|and|yet|,)(?!\w)"))
_nearly = r"right|just|shortly|immediately|directly|soon|moments|a moment|a (?:little|bit|short (?:time|while))|briefly"
_COURSE = r"(?:in|over|during|throughout|within|for) the (?:whole |entire )?(?:course|duration|length|span|space) of"
_in_words = match_words(
    rf"{_COURSE}|(?:right|just|exactly|only) in|in|during|within|over|throughout|for|inside|through|across|of|from"
)
_at_words = match_words(r"(?:right |just )?(?:at|around|about|near|by|on|towards?|close to|circa)")

_beside_time = (
    constant(
        "(?:(?:that|which) )?(?:(?:comes |right |just )?after|follow(?:s|ing)?"
        "|(?:start|begin)(?:s|ning|ing) (?:at|from|with))|from|past",
        True,
    )
    | constant(
        "(?:(?:that|which) )?(?:(?:comes |right |just )?before|leads? up to|precedes|ends (?:at|with))"
        "|leading up to|preceding|prior to|until",
        False,
    )
) + (
    _explicit
    ^ ((_edge ^ _centre ^ _halfway) + optional(_of_movie))
    ^ _the + _part_of_part
    ^ _end_of_part
    ^ _start_of_part
    ^ _centre_of_part
)
_happens = look(r"(?<=happens )|(?<=happening )|(?<=going on )|(?<=goes on )|(?<=place )|(?<!.)")
"""Is before a "for" that isn't the length of an event: "what happens for a minute after 1:00"."""
_not_lasting = look(r"(?<!\bfor )(?<!\bfor a )")
_gap = (_length ^ _one_unit) + (
    (constant("from|off|short of|away from|to", False) + _final_edge + optional(_of_movie)) | _beside_time
)
"""A distance from a time, and on which side: "a minute from the end"."""

_early = match_words(r"(?:very |quite |fairly )?early(?: on)?")
_late = match_words(r"(?:very |quite |fairly |much )?later?(?: on)?")

_join = pattern(r",? ?(?:(?:and|or|nor|as well as|plus)(?: also)?(?!\w)|&)")
_and_or = pattern(r",? ?(?:(?:and|or)(?!\w)|&)")
_listed_numbers = (
    _at_words + _the + _number + repeated(pattern(",") + _number) + _and_or + _number
    ^ _number + repeated(pattern(",") + _number, 1) + _and_or + _number
    ^ _number + match_words("or") + _number + look(r"(?=-?\w+ (?:in|into|marks?|points?)(?!\w))")
)
"""Numbers that share a unit behind them: "at 30, 60 and 90 seconds", "two or three minutes in"."""
_again = pattern(r",? ?and (?:then )?(?:again|also|then|once more)(?!\w)")
"""Joins two times that are both meant, whatever they are."""
_listed_units = (
    optional(match_words("in|during|within|over|throughout|for|across"))
    + _the
    + rule(
        look(r"(?=(?:minutes|mins|hours|hrs)\b)")
        + quantities.unit("m", "h")
        + _number
        + repeated(pattern(r",(?! ?and(?!\w))") + _number)
        + match_words(",? ?and")
        + _number,
        _list_units,
    )
    + optional(_of_movie)
)


def _shown(which: str) -> Element:
    """Return an element for what is shown first or last: "the last thing shown", "the first picture"."""
    verbs = r"(?:shown|seen|see|visible|happens?|happened|shows|displayed|appears?|on (?:the )?screen)"
    heads = (
        "what happens|what is shown|what is seen|what is visible|what comes|what do we see|what do you see|what appears"
        "|who appears|who do we see"
    )
    behind = "|".join(f"(?<={head} )" for head in heads.split("|"))
    return pattern(
        rf"(?:the (?:very )?{which} (?:thing|image|picture|frame|shot|scene)"
        rf"(?: (?:(?:that|which|is|was|are|can|be|gets|we|you|i|to) )*{verbs})?(?: {_OF_MOVIE})?"
        rf"|(?:{behind}){which}(?: {_OF_MOVIE})?)(?= ?(?:$|[,;:.]))"
    )


_numbers_between = _from + _number + _joint + _number


def _unite_numbers(first: float, last: float, other_first: float, other_last: float, unit: Moment) -> Ranges:
    """Return two ranges that share a unit: "between 10 and 20 or between 40 and 50 seconds"."""
    return _unite(
        _two_times(unit.scaled(first), unit.scaled(last)), _two_times(unit.scaled(other_first), unit.scaled(other_last))
    )


_ASKING = [f"{auxiliary} {who}" for auxiliary in ("can", "could", "may", "will", "would") for who in ("i", "we", "you")]
_INTRODUCING = ("please", "and", "then", "now", "just", "only", "let me", "let us", "let's")
_WISHING = ("want to", "like to", "love to", "need to")
_play = look(
    r"(?<!.)|(?<=[.:;?!,] )"
    + "".join(rf"|(?<=(?<!\w ){asking} )" for asking in _ASKING)
    + "".join(rf"|(?<=(?<!\w){words} )" for words in (*_INTRODUCING, *_WISHING))
) + match_words("(?:show|play|give|watch|see)(?: me| us)?")
"""A verb that asks for a part of the movie: "show me", "let me see", "can you play"; not "what do we see"."""
_phrase = (
    rule(_from + (_first_point ^ _bare_edge) + _joint + (_point ^ _bare_edge), _two_times)
    ^ rule(_from + _point + _joint + _point, _two_times)
    ^ rule(_from + (_short_length ^ _share) + match_words("in") + _joint + _point, _two_times)
    ^ rule(_numbers_between + _join + _numbers_between + _to_moment(_units), _unite_numbers)
    ^ rule(_from + _the + _short_length + _joint + (_marked ^ _inside), _two_times)
    ^ rule(_from + _the + _part_of_part + _joint + _the + (_part_of_part ^ _point), _spanning)
    ^ rule(_from + _first_point + _joint + _the + _part_of_part, _spanning)
    ^ rule(
        _from + _first_point + _joint + _share + optional(match_words(_WAY)) + optional(_of_movie) + look(_BREAK),
        _two_times,
    )
    ^ rule(
        optional(_at_words)
        + repeated(_explicit + pattern(","), 1)
        + _explicit
        + pattern(r",? ?(?:and|or)(?!\w)")
        + optional(_at_words)
        + _explicit,
        lambda *moments: _unite(*map(_at, moments)),
    )
    ^ _listed_units
    ^ rule(
        _listed_numbers + optional(pattern("-")) + _to_moment(_units) + optional(_mark ^ _inwards ^ _of_movie),
        lambda *values: _unite(*(_at(values[-1].scaled(number)) for number in values[:-1])),
    )
    ^ rule(
        (_play | match_words("from|after|starting (?:at|from)|beginning (?:at|from)"))
        + _point
        + match_words("(?:and )?for(?: the next)?")
        + (_length ^ _one_unit),
        lambda moment, extent: _first(extent)(_after(moment)),
    )
    ^ rule(
        _play
        + (_length ^ _one_unit)
        + match_words("from|after|starting (?:at|from)|beginning (?:at|from)")
        + (_explicit ^ (_edge + optional(_of_movie))),
        lambda extent, moment: _first(extent)(_after(moment)),
    )
    ^ rule(
        _play
        + (_length ^ _one_unit)
        + match_words("before|prior to|until|leading up to")
        + (_explicit ^ (_edge + optional(_of_movie))),
        lambda extent, moment: _last(extent)(_before(moment)),
    )
    ^ optional(_from | _in_words) + (_numbers ^ _percents ^ _ordinals)
    ^ optional(_in_words) + _pair
    ^ rule(_at_words + _explicit + _to + _explicit, _two_times)
    ^ rule(
        (match_words("from|since|starting (?:at|from|with)|beginning (?:at|from|with)")) + _point + optional(_onwards),
        _after,
    )
    ^ rule(
        (match_words("from") + _the + _part_of_part + _onwards)
        | (match_words("(?:starting|beginning) (?:at|from|with)") + _the + _part_of_part + optional(_onwards)),
        lambda part: TimeRange(part.start, END),
    )
    ^ rule(optional(_at_words) + _explicit + _onwards, _after)
    ^ rule(optional(_at_words) + _explicit + match_words("(?:or|and) (?:earlier|before|sooner)"), _before)
    ^ rule(match_words("starting|beginning") + (_inside ^ _halfway_in ^ _shifted ^ _from_edge), _after)
    ^ rule(match_words(_MORE) + _inside, _after)
    ^ rule(match_words(_LESS) + _inside, _before)
    ^ rule(
        match_words("once|as soon as|after|when|now that") + (_point ^ _the + _part_of_part) + match_words(_PASSED),
        _after,
    )
    ^ rule(match_words("before|until|till") + _point + match_words(_PASSED), _before)
    ^ rule(
        match_words("before|until|till") + _the + _part_of_part + match_words(_PASSED),
        lambda part: TimeRange(START, part.end),
    )
    ^ rule(_after_phrase + _both + _before_phrase, _overlap)
    ^ rule(_before_phrase + _both + _after_phrase, lambda before, after: _overlap(after, before))
    ^ _after_phrase
    ^ _before_phrase
    ^ rule(
        match_words(f"(?:{_nearly}) (?:after|past|following)") + (_point ^ _the + _part_of_part ^ _end_of_part),
        _right_after,
    )
    ^ rule(
        match_words(f"(?:{_nearly}) (?:before|prior to)") + (_point ^ _the + _part_of_part ^ _start_of_part),
        _right_before,
    )
    ^ match_words("well|long|a (?:good |long )?while|much") + (_after_phrase ^ _before_phrase)
    ^ rule(_at_words + _about + _the + (_explicit ^ _length ^ _halfway) + _sharp, _at)
    ^ rule(pattern("[~@]") + _clock, _at)
    ^ rule(pattern("[>≥]=?") + (_clock ^ _length), _after)
    ^ rule(pattern("[<≤]=?") + (_clock ^ _length), _before)
    ^ rule(match_words(rf"when {_THE_MOVIE} (?:is (?:at|past)|gets to|reaches|hits)") + _point, _at)
    ^ rule(
        optional(match_words("at|around|about"))
        + _about
        + _not_lasting
        + (_inside ^ _halfway_in ^ _shifted ^ _from_edge ^ _in_part)
        + optional(_of_movie)
        + _sharp,
        _at,
    )
    ^ rule(match_words("when|as|while|just as|right when") + _final_edge, lambda _: TimeRange().part(0.9, 1.0))
    ^ rule(match_words("when|as|while|just as|right when") + _initial_edge, lambda _: TimeRange().part(0.0, 0.1))
    ^ rule(
        match_words(
            "(?:go|jump|skip|seek|move|fast[ -]?forward|rewind|scrub|take me|bring me|navigate)"
            "(?: back| ahead| forward)? to"
        )
        + (_point ^ _the + rule(_nth_unit + optional(_of_movie), lambda part: part(TimeRange()).start)),
        _at,
    )
    ^ rule(
        match_words("with|when (?:there (?:is|are)|it has|the (?:movie|video) has)(?: only| just)?")
        + _about
        + (_length ^ _share)
        + match_words("left|remaining|(?:still )?to go"),
        lambda e: _at(END - e),
    )
    ^ rule(
        match_words("with|when there (?:is|are)")
        + (constant(_MORE, False) | constant(_LESS, True))
        + (_length ^ _share)
        + match_words("left|remaining|(?:still )?to go"),
        lambda is_less, extent: TimeRange(END - extent, END) if is_less else TimeRange(START, END - extent),
    )
    ^ rule(
        _play + match_words("the|its") + _edge_part + optional(_of_movie) + look(_BREAK),
        lambda part: part(TimeRange()),
    )
    ^ rule(
        _play + _about + _share + _of_movie + look(_BREAK),
        lambda share: _first(share)(TimeRange()),
    )
    ^ rule(
        match_words("with") + _about + _share + match_words(f"(?:of )?{_THE_MOVIE} (?:left|remaining|to go)"),
        lambda share: _at(END - share),
    )
    ^ rule(
        match_words(f"when {_THE_MOVIE} is") + _about + _share + match_words("over|through|done|gone|finished|in"), _at
    )
    ^ optional(_in_words) + _the + _part_alone
    ^ _in_words + _article + _part_of_part
    ^ _at_words + _the + rule(_nth_unit + optional(_of_movie), lambda part: part(TimeRange()))
    ^ _at_words + _article + rule(_edge_part + optional(_of_movie), lambda part: part(TimeRange()))
    ^ _at_words + _article + rule(_edge_part + match_words("of") + _the + (_bounds ^ _inner), _within)
    ^ _in_words + _the + (_in_unit ^ _chapter) + optional(_of_movie)
    ^ rule(
        match_words("when|as|just as|right when") + _the + (_bounds ^ _part_of_part) + _begins,
        lambda part: _at(part.start),
    )
    ^ rule(
        match_words("after|once|as soon as|from when|since") + _the + (_bounds ^ _part_of_part) + _begins,
        lambda part: TimeRange(part.start, END),
    )
    ^ rule(match_words("before|until|till") + _the + (_bounds ^ _part_of_part) + _begins, _before)
    ^ rule(
        optional(_in_words)
        + match_words("chapters")
        + _integer
        + repeated(pattern(",") + _integer)
        + _join
        + _integer
        + optional(_of_movie),
        lambda *numbers: _unite(*(_chapters(number, number) for number in numbers)),
    )
    ^ rule(
        optional(_in_words)
        + _the
        + _chapter_number
        + repeated(pattern(",") + _the + _chapter_number)
        + _join
        + optional(_in_words)
        + _the
        + _chapter_number
        + _chapter_word
        + optional(_of_movie),
        lambda *numbers: _unite(*(_chapters(number, number) for number in numbers)),
    )
    ^ rule(_shown(_FIRST), lambda: _at(START))
    ^ rule(_shown(_LAST), lambda: _at(END))
    ^ rule(match_words("within") + _length + match_words("of|from|around") + _point, _around)
    ^ rule(
        optional(match_words("in|within")) + _plus_minus + _length + match_words("of|from|around|about|at") + _point,
        _around,
    )
    ^ rule(_length + match_words("(?:on |to )?either side of") + _point, _around)
    ^ rule(
        optional(match_words("in|during|over")) + _the + _length + match_words("around|surrounding") + _explicit,
        lambda extent, moment: _around(extent.scaled(0.5), moment),
    )
    ^ rule(optional(_at_words) + _exact + _plus_minus + _length, lambda moment, extent: _around(extent, moment))
    ^ rule(
        (match_words("in|during|within|over(?= the)|for(?= the)") | _happens + match_words("for") | _not_lasting)
        + _the
        + optional(match_words("first|last|next|following|subsequent|preceding|previous"))
        + (_length ^ _one_unit)
        + optional(match_words("right|immediately|directly|just"))
        + _beside_time,
        _beside,
    )
    ^ rule(match_words(_MORE) + _gap, _beyond)
    ^ rule(match_words(_LESS) + _gap, _beside)
    ^ rule(_early + _of_movie | match_words(r"(?:very |quite |fairly )?early on"), lambda: TimeRange().part(0.0, 1 / 3))
    ^ rule(_late + _of_movie | match_words(r"(?:very |quite |fairly )?late on"), lambda: TimeRange().part(2 / 3, 1.0))
    ^ rule(match_words(r"(?:much |a (?:bit|little) )?later on"), lambda: NOT_UNDERSTOOD)
)
_SCENE = r"(?:scene|shot|segment|clip)"
_half_past = rule(
    optional(_at_words)
    + match_words("half (?:past|to|after)|(?:a )?quarter (?:past|to|after)")
    + _the
    + (_point ^ _part_of_part ^ _bounds),
    lambda _: NOT_UNDERSTOOD,
)
_scene = rule(
    match_words("in|during") + match_words("the") + (_is_first + match_words(_SCENE)), lambda: _at(START)
) | rule(match_words("in|during") + match_words("the") + (_is_last + match_words(_SCENE)), lambda: _at(END))
_bare = rule(_clock ^ _counted_twice ^ _named ^ _unit_clock ^ _halfway, _at) ^ _the + (_in_unit ^ _chapter)
_ALL = r"(?:everything|anything|all|whatever|the part|what)(?: (?:that )?(?:is|was|happens|happened|comes|lies))?"
_LEAVE_OUT = (
    r"skip(?: over| past)?|ignore|exclude|omit|disregard|discount|neglect|discard|overlook"
    r"|leave (?:out|aside|off)|set aside|drop|remove"
    r"|cut off|bypass|pass over|jump over|forget(?: about)?|never mind(?: about)?|avoid"
)
_LEAVING_OUT = (
    r"skipping(?: over| past)?|ignoring|excluding|omitting|disregarding|discounting|neglecting|discarding|overlooking|"
    r"leaving (?:out|aside|off)|setting aside|dropping|removing|cutting(?: out| off)?|bypassing|passing over|"
    r"jumping over|forgetting(?: about)?|avoiding|"
    r"(?:not|without) (?:counting|including|considering|using|watching|looking at|searching|regarding)"
)
_LEFT_OUT = (
    r"(?:skipped|ignored|excluded|excepted|omitted|disregarded|discounted|neglected|discarded|overlooked|"
    r"left (?:out|aside|off)|set aside|"
    r"dropped|removed|cut(?: out| off)?|bypassed|forgotten|(?:not|never) (?:counted|included|considered)|aside|apart)"
)
_leaving_out = match_words(rf"(?:(?:after|when|by|while) )?(?:{_LEAVING_OUT})|(?:after )?having {_LEFT_OUT}")
_excluding = match_words(
    r"(?:(?:but|and) )?(?:not|outside(?: of)?|except(?: for)?|excepting|excluding|barring|without|"
    r"other than|apart from|aside from|besides|rather than|instead of|save(?: for)?|"
    r"with the exception of|but for|else(?:where)? than)"
    r"|(?:anywhere|everywhere|everything|any ?time|all) (?:but|except(?: for)?|outside(?: of)?|save(?: for)?)"
)
_command = look(r"(?:(?<!.)|(?<=please )|(?<=[.;?,] ))(?=\w)")
"""The beginning of a sentence, where a verb is a command: "Skip the first minute", not "when they skip a minute"."""
_skip = _command + match_words(f"(?:{_LEAVE_OUT})") | match_words(
    rf"(?:if|when|once|provided|supposing|assuming)(?: that)? (?:you|we|i|one) (?:{_LEAVE_OUT})"
    r"|(?:do not|don't|never|no need to) (?:count|consider|include|use|search|look at|show(?: me)?|watch)"
)
_named_range = _the + (_bounds ^ _part_of_part)
_listed_parts = (
    rule(
        optional(_in_words)
        + optional(match_words("either|both"))
        + _the
        + _which
        + repeated(pattern(",") + _the + _which)
        + _join
        + optional(_in_words)
        + _the
        + _which
        + (_extent ^ _to_moment(quantities.unit("s", "m", "h")))
        + optional(_of_movie),
        lambda *values: _unite(*(which(values[-1])(TimeRange()) for which in values[:-1])),
    )
    ^ rule(
        optional(_in_words)
        + _the
        + _which
        + _extent
        + _join
        + optional(_in_words)
        + _the
        + _which
        + match_words("one"),
        lambda first, extent, last: _unite(first(extent)(TimeRange()), last(extent)(TimeRange())),
    )
    ^ rule(
        optional(_in_words)
        + _the
        + _which
        + _number
        + _join
        + optional(_in_words)
        + _the
        + _which
        + _number
        + optional(pattern("-"))
        + (
            _to_moment(_units)
            ^ constant("percent|per cent", Moment(share=0.01))
            ^ rule(pattern("%"), lambda: Moment(share=0.01))
        )
        + optional(_of_movie),
        lambda first, count, last, number, unit: _unite(
            first(unit.scaled(count))(TimeRange()), last(unit.scaled(number))(TimeRange())
        ),
    )
    ^ rule(
        optional(match_words("first(?= (?:in|at|during)(?!\\w))"))
        + optional(_in_words)
        + _the
        + _which
        + _extent
        + repeated(pattern(",") + optional(_in_words) + _the + _which + look(r"(?=,|(?:and|or)(?!\w))"))
        + (_again ^ _join)
        + optional(_in_words)
        + _the
        + _which
        + _ends,
        lambda first, extent, *others: _unite(*(which(extent)(TimeRange()) for which in (first, *others))),
    )
)
"""Parts that share their noun: "the first and the last minute", "the first minute and the last one"."""
_named_ranges = _listed_parts ^ rule(
    _named_range + optional(repeated(pattern(",") + _named_range) + _join + _named_range), _unite
)
_next_phrase = rule(_after_phrase ^ _before_phrase, lambda _: NOT_UNDERSTOOD) ^ _phrase ^ rule(_explicit, _at)
_or = pattern(r",? ?or(?: also)?(?!\w)") + (_phrase ^ rule(_explicit, _at))
_either = optional(match_words("either|both"))
_phrases_listed = (
    _listed_parts
    ^ rule(_phrase + _again + (_phrase ^ _the + _part_of_part), _unite)
    ^ rule(
        _either
        + _phrase
        + optional(_or ^ repeated(pattern(",") + _next_phrase) + _join + (_next_phrase ^ _the + _part_of_part)),
        _unite,
    )
)
"""Phrases of which all are meant: "between 0:10 and 0:20 and at the end"."""
_SPAN = r"(?:time(?: ?(?:frame|span))?|period|interval|window|section|segment|part|stretch|range|span|portion|bit)"
_lead = optional(
    match_words(
        r"(?:only|somewhere|anywhere|sometimes?|some ?time|any ?time|at (?:some|any) (?:point|time|moment)(?: in time)?"
        rf"|(?:(?:in|during|within|over|throughout|for) )?the (?:whole |entire )?"
        rf"(?:{_SPAN}|(?:minutes?|seconds|hour)(?= between)|rest|remainder|remaining (?:time|part|{_MOVIE}))"
        rf"(?: of time| of the {_MOVIE})?(?: (?:that|which) (?:is|lies|comes|runs|goes|falls))?)"
        r"(?=,? (?:in|during|within|between|from|before|after|until|up|at|around|near|throughout|\d))"
    )
    + optional(pattern(","))
)
_operand = _lead + _phrases_listed ^ _named_ranges
_excluded = (
    rule((_excluding | _skip) + _operand, _complement)
    ^ rule(_leaving_out + look(r"(?=the\b)") + _operand, _complement)
    ^ rule(
        (_leaving_out | _skip) + (match_words(_ALL) + _operand ^ _named_ranges ^ match_words("from|between") + _bounds),
        _complement,
    )
    ^ rule(match_words("(?:but )?(?:minus|bar|less)(?= the)") + _named_ranges, _complement)
    ^ rule(
        match_words("if|with|when|once|provided")
        + (match_words(_ALL) + _phrase ^ _named_ranges)
        + match_words(rf"(?:(?:is|are|being|gets|has been) )?{_LEFT_OUT}"),
        _complement,
    )
    ^ optional(_in_words) + _other_chapters + optional(_of_movie)
    ^ rule(_named_ranges + match_words(r"(?:left out|excluded|excepted|aside|apart|omitted)"), _complement)
    ^ rule(
        match_words("(?:but )?neither") + (_listed_parts ^ (_phrase ^ _named_range) + _join + (_phrase ^ _named_range)),
        _complement,
    )
)
_start_at = rule(
    _command + match_words("(?:start|begin|resume|continue|play on)(?: playing| watching)? (?:at|from|with)") + _point,
    _after,
)
_limited = _lead + rule(_phrases_listed + optional(optional(pattern(",")) + _excluded), _intersect) ^ rule(
    match_words("in|during|within") + _the + _bounds + (_after_phrase ^ _before_phrase), _intersect
)
_begins_word = look(r"(?<![\w'.:])(?<!(?<![\w)\]])-)(?=[\w~@<>≤≥±+½⅓⅔¼¾⅛])")
"""The beginning of a word or a figure without a sign before it."""
_phrases = _begins_word + (
    rule(_limited ^ _excluded ^ _half_past ^ _start_at ^ _scene, lambda time_range: (time_range, False))
    ^ rule(_bare, lambda time_range: (time_range, True))
)
_NOT_AFTER = re.compile(r"['\w%]|-\w| of\b|:\d")
"""Words that may not follow a phrase: "at the end of the line" is no time."""
_GOES_ON = re.compile(r"\bfor (?:just |only )?$")
_LENGTH_ALONE = re.compile(r"(?:about|around|near|close to|circa)(?!\w)(?! the\b)")
"""A phrase that, behind "for", is the length of an event: "for about a minute"."""
_DISTANCE = re.compile(rf"\b(?:{'|'.join(quantities.UNIT_WORDS.values())})\.? (?:after|before|later|earlier|ago)\b")
"""Words behind a phrase that is the distance from an event: "about ten seconds after a dog barks"."""


@dataclass(frozen=True)
class Phrase:
    """A time range as a question words it.

    Attributes:
        start, end: its characters in the text.
        range: None where its words don't say which time is meant: "later on".
        is_bare: it is a point without a preposition, "2:15", which may be something else: a score, a verse.
    """

    range: Restriction | None
    start: int
    end: int
    is_bare: bool = False


def _scan(grammar: Element, folded: str) -> Iterator[tuple[Values, int, int]]:
    """Yield what a grammar yields, and the characters [start, end) that it matched, without spaces around them."""
    for offset, window in _windows(folded):
        for values, start, end in scan(grammar, window):
            matched = window[start:end]
            yield values, offset + end - len(matched.lstrip()), offset + start + len(matched.rstrip())


def _windows(folded: str) -> list[tuple[int, str]]:
    """Return the parts of a text that are scanned, each with its offset: of a long one, what is around hints at times.

    A scan takes some milliseconds for each ten words.
    """
    if len(folded) <= 2 * SCANNED:
        return [(0, folded)]
    borders: list[tuple[int, int]] = []
    for match in HINT.finditer(folded):
        start, end = max(0, match.start() - SCANNED), min(len(folded), match.end() + SCANNED)
        start = folded.rfind(" ", 0, start) + 1
        end = len(folded) if (blank := folded.find(" ", end)) < 0 else blank
        if borders and start <= borders[-1][1]:
            borders[-1] = (borders[-1][0], end)
        else:
            borders.append((start, end))
    return [(start, folded[start:end]) for start, end in borders]


_QUOTATION = re.compile(
    r"“[^”]+(?:”|$)|(?<!\w)\"[^\"]+(?:\"(?!\w)|$)|«[^»]+(?:»|$)|(?<!\w)‘(?:[^‘’]|(?<=\w)’(?=\w))+’(?!\w)"
    r"|(?<!\w)'(?:[^']|(?<=\w)'(?=\w))+'(?!\w)"
)


def find_quotations(text: str) -> list[tuple[int, int]]:
    """Return what stands between quotation marks in a text: (start, end) characters of each, in order."""
    return [match.span() for match in _QUOTATION.finditer(text)]


def _as_range(yielded: Ranges) -> Restriction | None:
    return None if isinstance(yielded, str) else yielded


def _with_brackets(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the characters of a phrase with the brackets around it: "(between 1:00 and 2:00)"."""
    is_enclosed = start > 0 and text[start - 1 : start] + text[end : end + 1] in ("()", "[]", "{}")
    return (start - 1, end + 1) if is_enclosed else (start, end)


@lru_cache(maxsize=64)  # the same words are read for a part, a range, and what was left unread
def find_phrases(text: str) -> tuple[Phrase, ...]:
    """Return the phrases for time ranges in a text, in order, the longest of those that begin alike."""
    folded = quantities.fold(text)
    quoted = find_quotations(text)
    phrases = (
        Phrase(_as_range(tokens[0][0]), *_with_brackets(folded, start, end), tokens[0][1])
        for tokens, start, end in _scan(_phrases, folded)
        if not _GOES_ON.search(folded, 0, start) or not _LENGTH_ALONE.match(folded, start, end)
    )
    return tuple(
        phrase
        for phrase in phrases
        if not _NOT_AFTER.match(folded, phrase.end)
        and not any(start < phrase.end and phrase.start < end for start, end in quoted)
        and not any(phrase.start < match.start() < phrase.end < match.end() for match in _DISTANCE.finditer(folded))
    )


_limit = match_words(
    "(?:in|within|during|for|over)(?: the)?(?: (?:first|next|last))?|(?:less|no more|not more|no later) than|up to|"
    "at most|under"
)
_least = match_words("(?:more|later|earlier) than|at least|over")
_offset = _begins_word + (
    rule(optional(_from) + _shared_unit, lambda pair: (min(pair), max(pair)))
    ^ rule(
        _from + _short_length + _joint + _length ^ _short_length + _to + _length,
        lambda low, high: (min(low.seconds, high.seconds), max(low.seconds, high.seconds)),
    )
    ^ rule(_about + _length, lambda extent: (extent.seconds, extent.seconds))
    ^ look(r"(?<!\bat )") + rule(quantities.clock_time(), lambda seconds: (seconds, seconds))
    ^ rule(_limit + (_length ^ _one_unit), lambda extent: (0.0, extent.seconds))
    ^ rule(_least + _length, lambda extent: (extent.seconds, math.inf))
)
"""Distance from an event: "10 seconds", "within a minute", before "after" or "before"."""


def find_offset(text: str) -> tuple[int, tuple[float, float] | None]:
    """Return where the distance in time begins that a text ends with, and that distance: (least, most) seconds.

    Where it ends with none: its length, and None.
    """
    for tokens, start, end in _scan(_offset, quantities.fold(text)):
        if not text[end:].strip():
            return start, tokens[0]
    return len(text), None


_UNIT_ALONE = (
    r"(?:at (?:the )?|on the )(?:minute|hour|second)"
    r"|(?:in|during|within|after|before|until|till|since|from|by) (?:the )?(?:minute|hour)|every (?:minute|hour|second)"
)
"""A unit of time without a number, at a question's end."""
_LONG_UNIT = r"(?:day|night|week|month|year)"
_TIME_WORD = r"(?:on|in|of|at|during|by|after|before|until|till|since|from|throughout)(?: the)?"
_ends_or_of = look(r"(?= ?(?:$|[,;:]|of\b))")
_long_unit = silent(
    match_words(_TIME_WORD)
    + (
        (quantities.ordinal() | match_words("last|final")) + match_words(_LONG_UNIT)
        | match_words(_LONG_UNIT) + optional(match_words("number")) + _number
    )
    + _ends_or_of
)
"""Days, weeks and longer, numbered: "on day two", "in the first week"."""
_number_alone = silent(
    (
        match_words("between|from") + _signed_number + _joint + _signed_number
        | match_words("(?:in|during|within|over|for|throughout|after|before) the (?:very )?(?:first|last|final)")
        + _number
    )
    + _ends
)
"""Numbers without a unit, at a question's end: "between 5 and 10", "in the first 20"."""
_quantity = (_begins_word | pattern(r"(?<![^\s(])(?=-\d)")) + (
    _long_unit
    ^ _number_alone
    ^ pattern(rf"(?:{_UNIT_ALONE})(?= ?(?:$|[,;:]))")
    ^ pattern(
        r"(?:0th|zeroth) \w+|an? (?:second|minute|hour) or (?:two|three|more)|half past(?: \w+)?"
        r"|(?:a )?quarter (?:past|to)(?: \w+)?|\d+(?:\.\d+)? (?:mark|timestamp)(?!\w)"
        r"|(?:for )?(?:the |a )(?:\d+(?:st|nd|rd|th)|second|third|fourth|fifth|sixth) time(?= ?(?:$|[,;:.]))"
        r"|\w+ o'clock|at (?:noon|midnight)|(?:noon|midday|midnight)(?= ?(?:$|[,;:]))"
    )
    ^ pattern(r"\d{1,2}(?:[:.]\d{2})? ?[ap]\.?m\b\.?|-?\d+(?::\d+)+|frames? \d+")
    ^ pattern(r"(?:at|around|about|by|until|till|before|after|from|since) \d{1,3}(?:\.\d+)?(?= ?(?:$|,))")
    ^ silent(
        pattern(
            r"(?:in|during|within|over|for|throughout) (?:the )?(?:very )?(?:first|last|final|opening|closing)(?!\w)"
        )
        + _number
        + pattern(r"-?[a-z]+")
    )
    ^ silent(optional(pattern("-")) + quantities.duration())
)


_LASTING = re.compile(
    r"(?<!happens)(?<!happening)(?<!going on)(?<!goes on)(?<!place)(?<=[\w'\"]) for (?:(?:about|around|almost|nearly|"
    r"roughly|approximately|exactly|only|just|another|some|up to|over|under|at least|at most|"
    r"(?:no )?(?:more|less|longer) than) )*$"
)
"""Words before the length of an event."""
_COUNTED = re.compile(r"\b(?:count|number|rat|scor|rang)(?:s|e|es|ed|ing)?(?: \w+)? $")
"""Words before numbers that are no times: "they count from 1 to 10"."""
_INDEFINITE = re.compile(r"\ban? $")
_ATTRIBUTE = re.compile(
    rf"[ -](?!(?:{_SPAN}|mark|point|in|into|after|before|from|later|earlier|ago|long|left|remaining|to|of)\b)[a-z]"
)
"""A noun behind a length that describes it."""


def find_quantities(text: str) -> list[tuple[int, int]]:
    """Return where a text names a time or a duration: (start, end) characters of each, in order.

    "A minute" and "100 m", which mostly mean something else, don't count, nor does the length of an event or a thing:
    "when does a man run for ten seconds", "a 30-second ad".
    """
    folded = quantities.fold(text)
    spans = [(start, end) for _, start, end in _scan(_quantity, folded)]
    quoted = find_quotations(text)
    spans = [(a, b) for a, b in spans if not any(start < b and a < end for start, end in quoted)]
    return [
        (start, end)
        for start, end in spans
        if not re.fullmatch(r"an? \w+|[\d.,]+ ?m", folded[start:end])
        and not _LASTING.search(folded, 0, start)
        and not _COUNTED.search(folded, 0, start)
        and not (_INDEFINITE.search(folded, 0, start) and _ATTRIBUTE.match(folded, end))
    ]
