"""The library's cost is measured by questions that are asked once, up to the moments."""

from __future__ import annotations

import pytest

from chunkv2l.answer.answer import Answer, PartialAnswer, Timing
from chunkv2l.query.channels import read_channel
from chunkv2l.query.parse import parse
from evaluation.benchmarks.library import WAYS, as_table, first_result, questions


def test_questions_are_about_what_they_say() -> None:
    listed = questions()
    assert all(read_channel(parse(question)) is None for question in listed["pictures"])
    assert {getattr(read_channel(parse(question)), "channel", None) for question in listed["speech"]} == {"heard"}
    assert all(len(set(each)) == len(each) >= 30 for each in listed.values())


def test_the_first_result_is_the_moments() -> None:
    def ask(question: str, progress: object) -> Answer:
        assert callable(progress)
        progress(PartialAnswer((), 0.5))
        progress(PartialAnswer((), 0.5, question))
        return Answer(question, "", (), None, "", "", Timing(0.0, 0.0, 0.0, 0.0, 0.0))

    assert 0 <= first_result(ask, "When?") < 1


def test_a_row_for_each_way() -> None:
    lines = as_table({"pictures": dict.fromkeys(WAYS, 0.5)}).splitlines()
    assert len(lines) == 2 + len(WAYS) and "0.500" in lines[-1]


@pytest.mark.parametrize("name", WAYS)
def test_ways_are_named_by_what_is_asked(name: str) -> None:
    assert name in as_table({"speech": dict.fromkeys(WAYS, 1.0)})
