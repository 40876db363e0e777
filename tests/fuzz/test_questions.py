"""`make fuzz` for questions with times, and once through its cases in the default run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.fuzz_questions import Target
from tests.fuzz.harness import fuzz


@pytest.mark.parametrize("seconds", [0.0, pytest.param(60.0, marks=pytest.mark.fuzz)])
def test_the_range_that_a_question_is_made_from_is_read(tmp_path: Path, seconds: float) -> None:
    assert fuzz(Target(tmp_path), seconds).read >= 50
