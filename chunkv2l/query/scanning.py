"""Scans of texts for what a grammar reads, which jump to where that may begin.

pyparsing tries a grammar at each character, and each alternative of a choice there. Most can't begin there, which their
first patterns say at once; what was read at a position is remembered besides, since many alternatives begin alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, TypeAlias

import pyparsing as pp

from chunkv2l.query.combinators import SPACES, Element, Look

pp.ParserElement.enable_packrat(cache_size_limit=None)

Values: TypeAlias = tuple[Any, ...]
Patterns: TypeAlias = frozenset[re.Pattern[str]]

_GROUP_NAME: Final = re.compile(r"\(\?P<\w+>")


def scan(grammar: Element, text: str) -> Iterator[tuple[Values, int, int]]:
    """Yield the values and the characters [start, end) of each part of a text that is the element, in order."""
    whole, beginning = _prepare(grammar)
    pp.ParserElement.reset_cache()
    start = 0
    while match := beginning.search(text, start):
        start = match.start()
        try:
            end, tokens = whole.parseImpl(text, start)
        except pp.ParseException:
            end = start
        if end > start:
            yield tuple(tokens), start, end
        start = max(end, start + 1)


@cache
def _prepare(grammar: Element) -> tuple[Element, re.Pattern[str]]:
    """Return an element whose choices are narrowed, and the pattern that matches where it may begin."""
    _narrow(grammar.streamline())
    return pp.And([grammar]), _join(_find_beginnings(grammar))


@cache
def _narrow(grammar: Element) -> None:
    """Make each choice in a grammar try only the alternatives that may begin where it is tried."""
    for part in grammar.recurse():
        _narrow(part)
    if not isinstance(grammar, (pp.Or, pp.MatchFirst)):
        return
    alternatives = [(part, part.mayReturnEmpty, _find_beginnings(part)) for part in grammar.exprs]
    every = _find_beginnings(grammar)

    def parse(instring: str, loc: int, do_actions: bool = True) -> tuple[int, Any]:
        matching = {beginning for beginning in every if beginning.match(instring, loc)}
        parts = [part for part, is_optional, begins in alternatives if is_optional or not begins.isdisjoint(matching)]
        if not parts:
            raise pp.ParseException(instring, loc, "", grammar)
        return type(grammar)(parts).parseImpl(instring, loc, do_actions)

    grammar.parseImpl = parse  # type: ignore[method-assign]


@cache
def _find_beginnings(grammar: Element) -> Patterns:
    """Return the patterns of which one matches where an element begins that reads something."""
    if isinstance(grammar, pp.Regex):
        return frozenset([grammar.re])
    if isinstance(grammar, pp.NotAny):
        return frozenset()
    if not isinstance(grammar, pp.And):
        return Patterns().union(*map(_find_beginnings, grammar.recurse()))
    beginnings: Patterns = frozenset()
    looks = ""
    for part in grammar.exprs:
        if isinstance(part, Look):
            looks += _strip(part.re)
            continue
        beginnings |= _find_beginnings(part)
        if not part.mayReturnEmpty:
            break
    return frozenset([_join(beginnings, SPACES + looks)]) if looks else beginnings


def _join(patterns: Patterns, before: str = "") -> re.Pattern[str]:
    return re.compile(f"{before}(?:{'|'.join(sorted(map(_strip, patterns)))})")


def _strip(regex: re.Pattern[str]) -> str:
    """Return a pattern without the spaces before it and the names of its groups."""
    return _GROUP_NAME.sub("(?:", regex.pattern.removeprefix(SPACES))
