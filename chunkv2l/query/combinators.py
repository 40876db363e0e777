"""Elements of a grammar: pyparsing's, whose regular expressions skip the spaces before them.

    a + b      a, then b
    a ^ b      the one of both that reads more; a where they read as much
    a | b      a, or b where a can't be read
    ~a         nothing, where a can't be read

An element is read in one way only: "a + b" fails where b can't follow that. Texts are scanned by
`chunkv2l.query.scanning`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import pyparsing as pp

Element: TypeAlias = pp.ParserElement

SPACES: Final = r"\s*(?!\s)"
"""Begins each pattern: pyparsing itself would skip spaces before what is missing too, and count them as read."""


class Look(pp.Regex):
    """A pattern that looks at what is before and behind a position, and reads nothing."""


def _read(
    regex: str, evaluate: Callable[[re.Match[str]], list[Any]], regex_class: type[pp.Regex] = pp.Regex
) -> Element:
    expression = regex_class(rf"{SPACES}(?:{regex})", as_match=True).set_name("pattern").leave_whitespace()
    return expression.set_parse_action(lambda _text, _start, tokens: evaluate(tokens[0]))


def pattern(regex: str) -> Element:
    """Return an element that matches a regular expression, and yields nothing."""
    return _read(regex, lambda _: [])


def look(regex: str) -> Element:
    """Return an element that matches a regular expression of no width, and yields nothing."""
    return _read(regex, lambda _: [], Look)


def match_words(regex: str) -> Element:
    """Return an element that matches a regular expression up to the end of a word, and yields nothing."""
    return pattern(rf"(?:{regex})(?![\w'])")


def element(regex: str, evaluate: Callable[[re.Match[str]], Any]) -> Element:
    """Return an element that matches a regular expression, and yields what `evaluate` makes of the match."""
    return _read(regex, lambda match: [evaluate(match)])


def constant(regex: str, value: object) -> Element:
    """Return an element that matches a regular expression up to the end of a word, and yields a value."""
    return element(rf"(?:{regex})(?![\w'])", lambda _: value)


def rule(inner: Element, evaluate: Callable[..., object]) -> Element:
    """Return an element, yielding what `evaluate` makes of the values that it yields."""
    outer = pp.And(inner.exprs if isinstance(inner, pp.And) and not inner.parseAction else [inner])
    return outer.set_parse_action(lambda _text, _start, tokens: [evaluate(*tokens)]).set_name("rule")


def check(inner: Element, is_right: Callable[..., bool]) -> Element:
    """Return a pattern's element that can be read only where its value is right."""
    return inner.copy().add_condition(lambda _text, _start, tokens: is_right(*tokens), call_during_try=True)


def silent(inner: Element) -> Element:
    """Return an element, yielding nothing."""
    return pp.Suppress(inner)


def optional(inner: Element, *default: object) -> Element:
    """Return an element that may be missing, and yields the default value there."""
    return pp.Opt(inner, *default)


def repeated(inner: Element, least: int = 0) -> Element:
    """Return an element that is read as often as it can be, at least so many times."""
    several: Element = inner[least, ...]
    return several
