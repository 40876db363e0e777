"""Building and asking on a GPU, rehearsed on a CPU; movies put together without decoding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from chunkv2l.video.parallel import coordinator
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import read_frames
from evaluation.benchmarks import gpu
from evaluation.movies import gpu_movie
from tests.helpers.media import joined, scene, write


def times(path: Path) -> list[float]:
    return [frame.time for frame in read_frames(probe(path))]


def test_movies_are_joined_again_and_again(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{n}.mp4", scene(n, 20 + 10 * n, (96, 64))) for n in range(2)]
    gpu_movie.join(files, tmp_path / "a.mp4", 2.4)
    found = times(tmp_path / "a.mp4")
    assert [len(times(file)) for file in files] == [20, 30]
    assert len(found) == pytest.approx(60, abs=3), "2 s aren't enough: the first one comes again"
    assert np.allclose(np.diff(found[:-3]), 0.04, atol=1e-3), "only where it is cut off may one be missing"
    pictures = [frame.picture() for frame in read_frames(probe(tmp_path / "a.mp4"))]
    assert all(np.array_equal(pictures[i], pictures[i + 50]) for i in range(7))
    assert not (tmp_path / "a.part.mp4").exists()


@pytest.mark.long
def test_the_command_builds_asks_and_writes(tmp_path: Path) -> None:
    movie = write(tmp_path / "m.mp4", joined(scene(n, 50, (96, 64)) for n in range(4)))
    options = [
        "--work",
        tmp_path / "work",
        "--movie",
        movie,
        "--minutes",
        0.13,
        "--before-minutes",
        0.1,
        "--shape",
        "tiny",
    ]
    options += ["--segments", 7, "--questions", 2, "--budget", 4, "--device", "cpu", "--out", tmp_path]
    result = CliRunner().invoke(gpu.command, [str(option) for option in options])
    assert result.exit_code == 0, result.output
    figures: Any = json.loads((tmp_path / "gpu.json").read_text())["figures"]
    before, after = figures["builds"]
    assert before["minutes"] < after["minutes"] == pytest.approx(8 / 60, abs=0.01)
    assert all(one["realtime"]["total"] > 0 and one["stages"]["captions"] > 0 for one in (before, after))
    assert figures["segments"] >= 7 > after["segments"], "an index of equal segments was asked instead"
    assert all(0 < one["steps"]["score"] < one["first_token_s"] <= one["slowest_s"] for one in figures["asked"])
    assert figures["asked"][1]["nats_apart"] < 1e-3
    assert "first token" in (tmp_path / "gpu.md").read_text() and figures["device"] == "cpu"


def test_before_is_without_graphs_and_ends() -> None:
    from tests.helpers import tiny_smolvlm

    model = tiny_smolvlm.model()
    vlm: Any = model.vlm
    kept = vlm.decoder
    with gpu.as_before(model):
        assert vlm.decoder is not kept and vlm.decoder.graphs is None
        assert coordinator.count_workers() == 1
    assert vlm.decoder is kept
