"""`make fuzz` for the checkpoint reader, and once through its cases in the default run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.fuzz_checkpoint import Target
from tests.fuzz.harness import fuzz


@pytest.mark.parametrize("seconds", [0.0, pytest.param(60.0, marks=pytest.mark.fuzz)])
def test_any_checkpoint_is_refused_or_read_and_never_executed(tmp_path: Path, seconds: float) -> None:
    target = fuzz(Target(tmp_path), seconds)
    assert target.refused > 20 and target.read > 0
