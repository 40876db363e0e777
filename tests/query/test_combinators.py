"""Elements of a grammar: the longest of two, the first, sequences, and what may be missing."""

from __future__ import annotations

import pyparsing as pp
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
SMALL = check(NUMBER, lambda number: number < 60)
SHORT, LONG = constant("a", "short"), constant("a b", "long")


def read_whole(grammar: Element, text: str) -> tuple[object, ...] | None:
    """Return the values of a text that is the element and nothing else; else None."""
    try:
        return tuple(grammar.parse_string(text, parse_all=True))
    except pp.ParseException:
        return None


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
        (SMALL, "59", (59,)),
        (SMALL, "60", None),
        ((SMALL ^ element("6", lambda _: "six")) + pattern("0"), "60", ("six",)),  # the longer one isn't right
        (SHORT + optional(LONG) ^ constant("a", "as long"), "a ", ("short",)),
        (constant("a", "first") ^ SHORT + optional(LONG), "a ", ("first",)),  # the space isn't read
        (rule(SHORT, str.upper) ^ SHORT, "a", ("SHORT",)),
        (SHORT ^ rule(SHORT, str.upper), "a", ("short",)),  # a rule leaves its element as it is
        (look("(?<!.)") + NUMBER, "7", (7,)),
    ],
)
def test_a_text_is_read(grammar: Element, text: str, values: tuple[object, ...] | None) -> None:
    assert read_whole(grammar, text) == values
