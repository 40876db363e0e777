"""Scans of texts, which read the same as a grammar that is tried at each character."""

from __future__ import annotations

import pytest

from chunkv2l.query.combinators import Element, constant, element, look, match_words, optional, pattern, repeated, rule
from chunkv2l.query.scanning import scan

NUMBER = element(r"\d+", lambda match: int(match[0]))


@pytest.mark.parametrize(
    ("grammar", "expected"),
    [
        (NUMBER, [((1,), 2, 3), ((22,), 6, 8), ((3,), 10, 11)]),
        (look(r"(?<=b )") + NUMBER, [((1,), 2, 3)]),
        (optional(match_words("a")) + NUMBER, [((1,), 2, 3), ((22,), 4, 8), ((3,), 10, 11)]),
        (look(r"(?=\d)") + (NUMBER + pattern(",") ^ NUMBER), [((1,), 2, 3), ((22,), 6, 9), ((3,), 10, 11)]),
        ((look(r"(?<=b )") | look(r"(?<=, )")) + NUMBER, [((1,), 2, 3), ((3,), 10, 11)]),
        (~pattern("22") + NUMBER, [((1,), 2, 3), ((2,), 7, 8), ((3,), 10, 11)]),
        (repeated(NUMBER), [((1,), 2, 3), ((22,), 6, 8), ((3,), 10, 11)]),
        (NUMBER + pattern(",") + NUMBER ^ constant("a", "a") + NUMBER, [(("a", 22), 4, 8)]),
        (optional(NUMBER) + constant("a", "a") | NUMBER, [((1, "a"), 2, 5), ((22,), 6, 8), ((3,), 10, 11)]),
        (rule(NUMBER, lambda number: None), [((None,), 2, 3), ((None,), 6, 8), ((None,), 10, 11)]),
    ],
)
def test_a_text_is_scanned(grammar: Element, expected: list[tuple[tuple[int, ...], int, int]]) -> None:
    assert list(scan(grammar, "b 1 a 22, 3")) == expected
