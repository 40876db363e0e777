"""Fuzzing questions with times: the time range that a question was made from is the one that is read.

    python tests/fuzz/fuzz_questions.py --seconds 60

Questions are generated from a grammar of their own, in figures and in words, with the range in front, in the middle and
at the end; any other text is parsed without an error.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hypothesis import strategies as st
from num2words import num2words

from chunkv2l.errors import InputError
from chunkv2l.query.parse import clean_question, parse
from tests.fuzz.harness import Case, main

LENGTH = 7200.0
Timed: TypeAlias = tuple[str, float]
"""Words and the seconds that they mean."""
Ranged: TypeAlias = tuple[str, float, float]


def clock(seconds: int, padded: bool) -> Timed:
    hours, minutes = divmod(seconds // 60, 60)
    second = seconds % 60
    if hours or padded:
        return f"{hours:0{2 if padded else 1}}:{minutes:02}:{second:02}", float(seconds)
    return f"{minutes}:{second:02}", float(seconds)


def count(number: int, spelled: bool) -> str:
    return str(num2words(number)) if spelled else str(number)


def amount(number: int, unit: str, spelled: bool, short: bool) -> Timed:
    seconds = number * {"second": 1.0, "minute": 60.0, "hour": 3600.0}[unit]
    if short and not spelled:
        return f"{number}{unit[0] if number % 2 else ' ' + unit[:3]}".replace("hou", "hr"), seconds
    return f"{count(number, spelled)} {unit}{'' if number == 1 else 's'}", seconds


units = st.sampled_from(["second", "minute"])
durations = st.one_of(
    st.builds(amount, st.integers(1, 59), units, st.booleans(), st.booleans()),
    st.builds(lambda m, s: (f"{m}m{s:02}s", 60.0 * m + s), st.integers(1, 59), st.integers(0, 59)),
    st.builds(lambda m, s: (f"{m} minutes {s} seconds", 60.0 * m + s), st.integers(2, 59), st.integers(2, 59)),
    st.builds(lambda n: (f"{count(n, True)} and a half minutes", 60.0 * n + 30), st.integers(1, 20)),
    st.sampled_from([("half a minute", 30.0), ("a minute and a half", 90.0), ("half an hour", 1800.0)]),
)
explicit = st.one_of(
    st.builds(clock, st.integers(0, 7199), st.booleans()),
    st.builds(lambda n, spelled: (f"minute {count(n, spelled)}", 60.0 * n), st.integers(1, 110), st.booleans()),
    st.builds(lambda n, spelled: (f"the {count(n, spelled)}-minute mark", 60.0 * n), st.integers(1, 99), st.booleans()),
    st.builds(lambda n: (f"the {n} second mark", float(n)), st.integers(2, 500)),
)
points = st.one_of(explicit, durations)


def nth(number: int) -> str:
    return str(num2words(number, to="ordinal" if number % 2 else "ordinal_num"))


ranges: st.SearchStrategy[Ranged] = st.one_of(
    st.builds(
        lambda words, a, b: (words.format(a=a[0], b=b[0]), min(a[1], b[1]), max(a[1], b[1])),
        st.sampled_from(["between {a} and {b}", "from {a} to {b}", "from {a} until {b}", "between {a} - {b}"]),
        points,
        points,
    ),
    st.builds(
        lambda a, b: (f"{a[0]}-{b[0]}", min(a[1], b[1]), max(a[1], b[1])),
        st.builds(clock, st.integers(0, 7199), st.just(False)),
        st.builds(clock, st.integers(0, 7199), st.just(False)),
    ),
    st.builds(
        lambda words, p: (f"{words} {p[0]}", p[1], LENGTH), st.sampled_from(["after", "past", "starting at"]), points
    ),
    st.builds(lambda p: (f"from {p[0]} onwards", p[1], LENGTH), points),
    st.builds(lambda words, p: (f"{words} {p[0]}", 0.0, p[1]), st.sampled_from(["before", "until", "up to"]), points),
    st.builds(lambda words, p: (f"{words} {p[0]}", p[1], p[1]), st.sampled_from(["at", "around", "near"]), points),
    st.builds(lambda d: (f"in the first {d[0]}", 0.0, d[1]), durations),
    st.builds(lambda d: (f"during the final {d[0]} of the video", LENGTH - d[1], LENGTH), durations),
    st.builds(lambda d: (f"{d[0]} before the end", LENGTH - d[1], LENGTH - d[1]), durations),
    st.builds(lambda d: (f"{d[0]} into the movie", d[1], d[1]), durations),
    st.builds(lambda d, p: (f"within {d[0]} of {p[0]}", p[1] - d[1], p[1] + d[1]), durations, explicit),
    st.builds(lambda d, p: (f"{d[0]} either side of {p[0]}", p[1] - d[1], p[1] + d[1]), durations, explicit),
    st.builds(lambda p: (f"at {p[0]} or later", p[1], LENGTH), explicit),
    st.builds(lambda a, b: (f"from -{a} to {b} seconds", 0.0, float(b)), st.integers(1, 59), st.integers(2, 59)),
    st.builds(lambda n: (f"in the {nth(n)} minute", 60.0 * (n - 1), 60.0 * n), st.integers(2, 99)),
    st.builds(lambda n: (f"in minute {n}", 60.0 * (n - 1), 60.0 * n), st.integers(1, 120)),
    st.builds(
        lambda n, k: (f"in the first {k} seconds of the {nth(n)} minute", 60.0 * (n - 1), 60.0 * (n - 1) + k),
        st.integers(2, 99),
        st.integers(2, 59),
    ),
    st.builds(lambda n: (f"in the first {n}%", 0.0, n / 100 * LENGTH), st.integers(1, 99)),
    st.builds(
        lambda words, low, high: (f"in the {words}", low * LENGTH, high * LENGTH),
        *[st.just(value) for value in ("second half", 0.5, 1.0)],
    ),
    st.integers(2, 12).flatmap(
        lambda parts: st.builds(
            lambda n: (f"in the {nth(n)} of {parts} parts", (n - 1) / parts * LENGTH, n / parts * LENGTH),
            st.integers(1, parts),
        )
    ),
    st.builds(
        lambda m, s: (f"at {count(m, True)} {count(s, True)}", 60.0 * m + s, 60.0 * m + s),
        st.integers(1, 59),
        st.integers(10, 59),
    ),
    st.sampled_from([("in the middle third", 2400.0, 4800.0), ("in the last quarter", 5400.0, LENGTH)]),
)
questions = st.sampled_from(
    [
        ("What happens {}?", ""),
        ("When does a dog bark {}?", "A dog bark."),
        ("{}, who sings?", "Sings."),
        ("{}, when is it that there is a dog?", "A dog."),
        ("When {} is a dog seen?", "A dog."),
        ("How many times does a dog bark {}?", "A dog bark."),
    ]
)


class Target:
    """Questions that are read, and how many there were."""

    def __init__(self, folder: Path) -> None:
        self.read = 0

    def cases(self) -> list[Case]:
        return [
            Case(self.question, (ranges, questions, st.booleans()), 60),
            Case(self.text, (st.text(max_size=300),), 20),
            Case(self.text, (st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join),), 20),
        ]

    def question(self, ranged: Ranged, question: tuple[str, str], loud: bool) -> None:
        phrase, start, end = ranged
        frame, statement = question
        if frame.startswith("When {}") and not any(char.isdigit() for char in phrase):
            return  # in the middle, a range in words alone may be something else
        text = frame.format(phrase)
        parsed = parse(text.upper() if loud else text)
        assert parsed.relation is not None and parsed.relation.time_range is not None, text
        low, high = parsed.relation.time_range.resolve(LENGTH)
        expected = min(max(start, 0.0), LENGTH), min(max(end, 0.0), LENGTH)
        assert abs(low - expected[0]) < 0.01 and abs(high - expected[1]) < 0.01, (text, low, high, expected)
        assert parsed.statement.lower() == statement.lower() and not parsed.unread, (text, parsed)
        self.read += 1

    def text(self, text: str) -> None:
        try:
            cleaned = clean_question(text)
        except InputError:
            return
        parsed = parse(cleaned)
        assert all(time.strip() for time in parsed.unread)
        if parsed.relation is not None and parsed.relation.time_range is not None:
            low, high = parsed.relation.time_range.resolve(LENGTH)
            assert 0.0 <= low <= high <= LENGTH
        self.read += 1

    def __str__(self) -> str:
        return f"{self.read} questions read"


WORDS = re.findall(
    r"\S+",
    """in at the first last second minute minutes 2:15 1m30s between and from to of half after before end start video
    10% 3 five , - mark what happens a with left within until hour""",
)


if __name__ == "__main__":
    main(__doc__, "questions", Target)
