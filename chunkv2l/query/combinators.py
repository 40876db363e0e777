"""Parser combinators: elements that read a text from a position on and yield values, and combinations of them.

    a + b      a, then b
    a ^ b      the one of both that reads more; a where they read as much
    a | b      a, or b where a can't be read
    ~a         nothing, where a can't be read

Spaces before an element are skipped. An element is read in one way only: "a + b" fails where b can't follow that. What
was read at a position is remembered while a text is scanned, since many combinations begin alike, and each element
knows the patterns that it may begin with, so that a scan jumps to where one of them matches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final, TypeAlias

Values: TypeAlias = tuple[Any, ...]
Reading: TypeAlias = tuple[Values, int] | None
"""The values that an element yields, and where it ends; None where it can't be read."""
Memory: TypeAlias = "dict[tuple[Element, int], Reading]"

_SPACES: Final = re.compile(r"\s*")
_GROUP_NAME: Final = re.compile(r"\(\?P<\w+>")


class Element:
    """A part of a grammar.

    Attributes:
        beginnings: patterns of which one matches where the element begins.
        is_optional: it may read nothing.
    """

    beginnings: frozenset[str] = frozenset()
    is_optional = False

    def _read(self, text: str, start: int, memory: Memory) -> Reading:
        raise NotImplementedError

    def read(self, text: str, start: int, memory: Memory) -> Reading:
        """Return what is read from a position on.

        Args:
            memory: what was read of this text so far, by element and position.
        """
        key = (self, start)
        if key in memory:
            return memory[key]
        memory[key] = reading = self._read(text, start, memory)
        return reading

    def read_whole(self, text: str) -> Values | None:
        """Return the values of a text that is the element and nothing else; else None."""
        reading = self.read(text, 0, {})
        return reading[0] if reading is not None and not text[reading[1] :].strip() else None

    def scan(self, text: str) -> Iterator[tuple[Values, int, int]]:
        """Yield the values and the characters [start, end) of each part of a text that is the element, in order."""
        memory: Memory = {}
        start = 0
        while start <= len(text) and (match := self._beginning.search(text, start)):
            reading = self.read(text, match.start(), memory)
            if reading is None or reading[1] <= match.start():
                start = match.start() + 1
            else:
                start = reading[1]
                yield reading[0], match.start(), start

    @cached_property
    def _beginning(self) -> re.Pattern[str]:
        return re.compile("" if self.is_optional else _GROUP_NAME.sub("(?:", _any_of(self.beginnings)))

    def __add__(self, other: Element) -> Element:
        return _Sequence(self, other)

    def __xor__(self, other: Element) -> Element:
        return _Longest(self, other)

    def __or__(self, other: Element) -> Element:
        return _First(self, other)

    def __invert__(self) -> Element:
        return _Without(self)


def _any_of(patterns: frozenset[str]) -> str:
    return f"(?:{'|'.join(f'(?:{pattern})' for pattern in sorted(patterns))})"


class _Pattern(Element):
    def __init__(self, pattern: str, evaluate: Callable[[re.Match[str]], Any] | None) -> None:
        self._regex, self._evaluate = re.compile(pattern), evaluate
        self.beginnings = frozenset([pattern])

    def _read(self, text: str, start: int, memory: Memory) -> Reading:
        match = self._regex.match(text, _skip_spaces(text, start))
        if match is None:
            return None
        return () if self._evaluate is None else (self._evaluate(match),), match.end()


class _Look(_Pattern):
    """A pattern that looks at what is before and behind a position, and reads nothing."""


class _Combination(Element):
    _parts: tuple[Element, ...]

    def __init__(self, *parts: Element) -> None:
        flat: list[Element] = []
        for part in parts:
            flat += part._parts if isinstance(part, _Combination) and type(part) is type(self) else [part]
        self._parts = tuple(flat)
        self._find_beginnings()

    def _find_beginnings(self) -> None:
        self.beginnings = frozenset[str]().union(*(part.beginnings for part in self._parts))
        self.is_optional = any(part.is_optional for part in self._parts)


class _Sequence(_Combination):
    def _find_beginnings(self) -> None:
        beginnings: set[str] = set()
        looks = ""
        for part in self._parts:
            if isinstance(part, _Look):
                looks += _any_of(part.beginnings)
                continue
            beginnings |= part.beginnings
            if not part.is_optional:
                break
        else:
            self.is_optional = True
        self.beginnings = frozenset([looks + _any_of(frozenset(beginnings))] if looks else beginnings)

    def _read(self, text: str, start: int, memory: Memory) -> Reading:
        values: Values = ()
        for part in self._parts:
            reading = part.read(text, start, memory)
            if reading is None:
                return None
            values, start = values + reading[0], reading[1]
        return values, start


class _Longest(_Combination):
    def _read(self, text: str, start: int, memory: Memory) -> Reading:
        longest: Reading = None
        for part in self._parts:
            reading = part.read(text, start, memory)
            if reading is not None and (longest is None or reading[1] > longest[1]):
                longest = reading
        return longest


class _First(_Combination):
    def _read(self, text: str, start: int, memory: Memory) -> Reading:
        for part in self._parts:
            if (reading := part.read(text, start, memory)) is not None:
                return reading
        return None


class _Wrapped(Element):
    def __init__(self, inner: Element) -> None:
        self._inner = inner
        self.beginnings, self.is_optional = inner.beginnings, inner.is_optional


class _Evaluated(_Wrapped):
    def __init__(self, inner: Element, evaluate: Callable[..., Values | None]) -> None:
        super().__init__(inner)
        self._evaluate = evaluate

    def _read(self, text: str, start: int, memory: Memory) -> Reading:
        reading = self._inner.read(text, start, memory)
        values = None if reading is None else self._evaluate(*reading[0])
        return None if reading is None or values is None else (values, reading[1])


class _Repeated(_Wrapped):
    def __init__(self, inner: Element, least: int, most: int | None, default: Values) -> None:
        super().__init__(inner)
        self._least, self._most, self._default = least, most, default
        self.is_optional = inner.is_optional or not least

    def _read(self, text: str, start: int, memory: Memory) -> Reading:
        values: Values = ()
        count, end = 0, start
        while count != self._most:
            reading = self._inner.read(text, end, memory)
            if reading is None or reading[1] == end:
                break
            values, end, count = values + reading[0], reading[1], count + 1
        if count < self._least:
            return None
        return values if count else self._default, end


class _Without(_Wrapped):
    def __init__(self, inner: Element) -> None:
        super().__init__(inner)
        self.beginnings, self.is_optional = frozenset(), True

    def _read(self, text: str, start: int, memory: Memory) -> Reading:
        return ((), start) if self._inner.read(text, start, memory) is None else None


def _skip_spaces(text: str, start: int) -> int:
    match = _SPACES.match(text, start)
    return match.end() if match else start


def pattern(regex: str) -> Element:
    """Return an element that matches a regular expression, and yields nothing."""
    return _Pattern(regex, None)


def look(regex: str) -> Element:
    """Return an element that matches a regular expression of no width, and yields nothing."""
    return _Look(regex, None)


def match_words(regex: str) -> Element:
    """Return an element that matches a regular expression up to the end of a word, and yields nothing."""
    return _Pattern(rf"(?:{regex})(?![\w'])", None)


def element(regex: str, evaluate: Callable[[re.Match[str]], Any]) -> Element:
    """Return an element that matches a regular expression, and yields what `evaluate` makes of the match."""
    return _Pattern(regex, evaluate)


def constant(regex: str, value: object) -> Element:
    """Return an element that matches a regular expression up to the end of a word, and yields a value."""
    return _Pattern(rf"(?:{regex})(?![\w'])", lambda _: value)


def rule(inner: Element, evaluate: Callable[..., object]) -> Element:
    """Return an element, yielding what `evaluate` makes of the values that it yields."""
    return _Evaluated(inner, lambda *values: (evaluate(*values),))


def check(inner: Element, is_right: Callable[..., bool]) -> Element:
    """Return an element that can be read only where its values are right."""
    return _Evaluated(inner, lambda *values: values if is_right(*values) else None)


def silent(inner: Element) -> Element:
    """Return an element, yielding nothing."""
    return _Evaluated(inner, lambda *_: ())


def optional(inner: Element, *default: object) -> Element:
    """Return an element that may be missing, and yields the default values there."""
    return _Repeated(inner, 0, 1, default)


def repeated(inner: Element, least: int = 0) -> Element:
    """Return an element that is read as often as it can be, at least so many times."""
    return _Repeated(inner, least, None, ())
