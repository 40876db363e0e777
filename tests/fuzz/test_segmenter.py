"""`make fuzz` for the segmenter, and once through its cases in the default run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.fuzz_segmenter import Target
from tests.fuzz.harness import fuzz


@pytest.mark.parametrize("seconds", [0.0, pytest.param(60.0, marks=pytest.mark.fuzz)])
def test_any_frames_and_reports_are_cut_as_promised(tmp_path: Path, seconds: float) -> None:
    target = fuzz(Target(tmp_path), seconds)
    assert target.streams > 20 and target.segments > target.streams
