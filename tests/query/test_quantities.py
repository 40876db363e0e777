"""Numbers, durations and clock times in English text."""

from __future__ import annotations

import pyparsing as pp
import pytest

from chunkv2l.query import quantities


def evaluate(element: pp.ParserElement, text: str) -> float:
    return float(element.parse_string(quantities.fold(text), parse_all=True)[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", 12),
        ("1.5", 1.5),
        ("1,5", 1.5),
        ("1,000", 1000),
        ("1 1/2", 1.5),
        ("2½", 2.5),
        ("zero", 0),
        ("Seventeen", 17),
        ("twenty-five", 25),
        ("twenty five", 25),
        ("a hundred and twenty", 120),
        ("three hundred five", 305),
        ("nine hundred and ninety-nine", 999),
        ("two and a half", 2.5),
        ("one point five", 1.5),
        ("a couple of", 2),
        ("a few", 3),
        ("a dozen", 12),
    ],
)
def test_numbers(text: str, expected: float) -> None:
    assert evaluate(quantities.number(), text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("first", 1), ("2nd", 2), ("third", 3), ("twenty-first", 21), ("100th", 100)]
)
def test_ordinals(text: str, expected: int) -> None:
    assert evaluate(quantities.ordinal(), text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("half", 1 / 2),
        ("two thirds", 2 / 3),
        ("a quarter", 1 / 4),
        ("3/4", 3 / 4),
        ("12.5 %", 0.125),
        ("ten per cent", 0.1),
    ],
)
def test_fractions(text: str, expected: float) -> None:
    assert evaluate(quantities.fraction(), text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ten minutes", 600),
        ("10 min", 600),
        ("10min.", 600),
        ("90s", 90),
        ("500 ms", 0.5),
        ("1.5 hours", 5400),
        ("half an hour", 1800),
        ("half a minute", 30),
        ("half-minute", 30),
        ("a quarter of an hour", 900),
        ("three quarters of an hour", 2700),
        ("two thirds of a minute", 40),
        ("an hour and a half", 5400),
        ("a minute and a quarter", 75),
        ("one and a half minutes", 90),
        ("two minutes and a half", 150),
        ("a couple of minutes", 120),
        ("forty-five seconds", 45),
        ("ninety five seconds", 95),
        ("1h02m", 3720),
        ("1h 2m 3s", 3723),
        ("2m30", 150),
        ("1m30s", 90),
        ("5'30\"", 330),
        ("2 minutes and 30 seconds", 150),
        ("an hour, two minutes and 3 seconds", 3723),
        ("ten-second", 10),
    ],
)
def test_durations(text: str, expected: float) -> None:
    assert evaluate(quantities.duration(), text) == pytest.approx(expected)


def test_and_may_lead_to_another_duration() -> None:
    assert quantities.duration(joined_by_and=False).parse_string("one minute and 30 seconds")[0] == 60
    with pytest.raises(pp.ParseException):
        evaluate(quantities.duration(joined_by_and=False), "one minute and 30 seconds")


@pytest.mark.parametrize(
    "text", ["", "soon", "five", "ten metres", "1950s", "a second man", "minute", "30 seconds 2 minutes"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(pp.ParseException):
        evaluate(quantities.duration(), text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2:15", 135),
        ("12:30", 750),
        ("1:02:03", 3723),
        ("01:02:03.5", 3723.5),
        ("00:01:30,500", 90.5),
        ("1:30 minutes", 90),
        ("1:30 hours", 5400),
    ],
)
def test_clock_times(text: str, expected: float) -> None:
    assert evaluate(quantities.clock_time(), text) == expected


@pytest.mark.parametrize("text", ["2:75", "1:2", "12:30 pm", "1:02:03:04", "3:5", "1:75:00"])
def test_what_is_no_clock_time(text: str) -> None:
    with pytest.raises(pp.ParseException):
        evaluate(quantities.clock_time(), text)


@pytest.mark.parametrize("text", ["İstanbul – 2:15’s", "½ MINUTE", ""])
def test_folding_keeps_offsets(text: str) -> None:
    assert len(quantities.fold(text)) == len(text)
