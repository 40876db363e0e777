"""Elements of a grammar: the longest of two, the first, sequences, what may be missing, and scans of a text."""

from __future__ import annotations

import pytest

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

NUMBER = element(r"\d+", lambda match: int(match[0]))
SHORT, LONG = constant("a", "short"), constant("a b", "long")


@pytest.mark.parametrize(
    ("grammar", "text", "values"),
    [
        (NUMBER + NUMBER, "1 2", (1, 2)),
        (NUMBER + NUMBER, "1", None),
        (SHORT ^ LONG, "a b", ("long",)),
        (SHORT | LONG, "a b", None),  # the first is taken, and " b" is left
        (SHORT ^ constant("a", "as long"), "a", ("short",)),
        (~SHORT + constant("[abc]", 1), "a", None),
        (~SHORT + constant("[abc]", 1), "c", (1,)),
        (NUMBER + optional(match_words("or so"), "exactly"), "5", (5, "exactly")),
        (NUMBER + optional(match_words("or so"), "exactly"), "5 or so", (5,)),
        (NUMBER + match_words("or"), "5 orange", None),
        (repeated(NUMBER), "1 2 3", (1, 2, 3)),
        (repeated(NUMBER), "", ()),
        (repeated(NUMBER, 2), "1", None),
        (silent(NUMBER) + NUMBER, "1 2", (2,)),
        (rule(NUMBER + pattern("-") + NUMBER, lambda low, high: high - low), "1 - 5", (4,)),
        (check(NUMBER, lambda number: number < 60), "60", None),
        (look("(?<!.)") + NUMBER, "7", (7,)),
    ],
)
def test_a_text_is_read(grammar: Element, text: str, values: tuple[object, ...] | None) -> None:
    assert grammar.read_whole(text) == values


@pytest.mark.parametrize(
    ("grammar", "expected"),
    [
        (NUMBER, [((1,), 2, 3), ((22,), 6, 8), ((3,), 10, 11)]),
        (look(r"(?<=b )") + NUMBER, [((1,), 2, 3)]),
        (optional(match_words("a")) + NUMBER, [((1,), 2, 3), ((22,), 4, 8), ((3,), 10, 11)]),
        (look(r"(?=\d)") + (NUMBER + pattern(",") ^ NUMBER), [((1,), 2, 3), ((22,), 6, 9), ((3,), 10, 11)]),
    ],
)
def test_a_text_is_scanned(grammar: Element, expected: list[tuple[tuple[int, ...], int, int]]) -> None:
    assert list(grammar.scan("b 1 a 22, 3")) == expected
