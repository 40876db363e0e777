"""`make fuzz` for resumed builds, and a few of them in the default run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.fuzz_parts import Target
from tests.fuzz.harness import fuzz
from tests.helpers.killed_builds import batches_of_eight


@pytest.mark.parametrize("seconds", [0.0, pytest.param(60.0, marks=pytest.mark.fuzz)])
def test_mutated_parts_end_in_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    batches_of_eight(monkeypatch)
    target = fuzz(Target(tmp_path), seconds)
    assert target.finished > 5
