"""`make bench` at its smallest: that both sides compute the same is part of the command."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from chunkv2l.errors import ChunkV2LError
from evaluation.benchmarks import bench


def test_bench_compares_and_times() -> None:
    arguments = ["--layers", "1", "--adapters", "3", "--rows", "2", "--tokens", "3", "--repeat", "1", "--json"]
    result = CliRunner().invoke(bench.command, arguments, catch_exceptions=False)
    numbers = json.loads(result.stdout)
    assert (numbers["compose"]["adapters"], numbers["rows"]["rows"], numbers["layers"]) == (3, 2, 1)
    times = [value for part in ("compose", "rows") for key, value in numbers[part].items() if key.endswith("_s")]
    assert len(times) == 12  # six ways, on the wall and on CPUs
    assert all(time > 0 for time in times)
    ratios = [key for part in ("compose", "rows") for key in numbers[part] if key.endswith("_over_ours")]
    assert ratios == ["peft_over_ours", "peft_over_ours", "single_over_ours", "bare_over_ours"]


def test_times_of_different_results_are_refused() -> None:
    bare, theirs = torch.zeros(4), torch.ones(4)
    bench._check("a mixed batch", theirs + 1e-6, theirs, bare)
    with pytest.raises(ChunkV2LError, match="differ on a mixed batch"):
        bench._check("a mixed batch", theirs + 0.01, theirs, bare)
    with pytest.raises(ChunkV2LError, match="differ"):
        bench._check("an adapter that does nothing", bare, theirs, theirs)
