"""The mark of generated answers about what a movie may well not show, as people read it."""

from __future__ import annotations

import pytest

from chunkv2l.answer.answer import Answer, Timing
from chunkv2l.answer.certainty import is_unsure
from chunkv2l.cli.output import show_answer
from chunkv2l.defaults import UNSURE_BELOW


def test_evidence_below_the_threshold_is_unsure_and_none_is_not() -> None:
    assert is_unsure(UNSURE_BELOW - 0.01)
    assert not is_unsure(UNSURE_BELOW)
    assert not is_unsure(None)


@pytest.mark.parametrize(("unsure", "line"), [(True, "Unsure: A candle."), (False, "A candle.")])
def test_the_terminal_says_unsure_in_front(unsure: bool, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    timing = Timing(0.0, 0.1, 0.1, 0.2, 0.3)
    show_answer(Answer("What?", "A candle.", (), 0.7, "route", "mini", timing, unsure=unsure))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == line
    assert lines[1].split() == ["not", "in", "the", "video", "70", "%"]
