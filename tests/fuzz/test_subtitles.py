"""`make fuzz` for subtitles, and once through its cases in the default run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.fuzz_subtitles import Target
from tests.fuzz.harness import fuzz


@pytest.mark.parametrize("seconds", [0.0, pytest.param(60.0, marks=pytest.mark.fuzz)])
def test_text_in_is_text_out(tmp_path: Path, seconds: float) -> None:
    target = fuzz(Target(tmp_path), seconds)
    assert target.files > 50 and target.words > target.files
