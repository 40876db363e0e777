"""What a build costs: measured in processes of their own, on the tiny SmolVLM."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import read_frames
from evaluation.benchmarks import build_cost
from evaluation.benchmarks.build_cost import Cost, Line
from tests.helpers import frames2lora
from tests.helpers.media import joined, scene, write

MODEL = ["--model", str(frames2lora.MODEL), "--hypernet", str(frames2lora.FOLDER / "checkpoint_tiny.pt")]


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds, six shots."""
    path = tmp_path_factory.mktemp("movie") / "a.mp4"
    return write(path, joined(scene(n, 50, (96, 64)) for n in range(6)), options={"g": "25"})


def test_a_line_is_fitted() -> None:
    line = build_cost.fit([1, 2, 4], [5.0, 7.0, 11.0])
    assert line.slope == pytest.approx(2.0) and line.start == pytest.approx(3.0)
    assert build_cost.fit([3], [7.0]) == Line(0.0, 7.0)


def test_a_movies_beginning_is_copied_as_it_is(movie: Path, tmp_path: Path) -> None:
    build_cost.head(movie, tmp_path / "head.mp4", 5.0)
    whole = list(read_frames(probe(movie)))
    part = list(read_frames(probe(tmp_path / "head.mp4")))
    assert abs(len(part) - 125) <= 3
    for ours, theirs in zip(part[:100:10], whole[:100:10], strict=True):
        assert ours.time == theirs.time and (ours.picture() == theirs.picture()).all()
    with pytest.raises(InputError, match="less than the 1 asked for"):
        build_cost.head(movie, tmp_path / "more.mp4", 60.0)


def test_the_table_has_a_column_for_each_length_and_the_plot_its_lines() -> None:
    realtime = {"read": 20.0, "encode": 10.0, "write": 1000.0, "total": 6.25}
    costs = [
        Cost(n, 10 * n, 60 * n / 6.25, 90.0 * n, realtime, 10**9, 1_100_000_000, n * 10**6, 61_000) for n in (5, 60)
    ]
    apart = {"decode": {"realtime": 40.0, "cpu_seconds": 2.0}, "detect": {"realtime": 80.0, "cpu_seconds": 1.0}}
    lines = {row[0]: row[1:] for row in build_cost.rows(costs, apart)}
    assert lines["decode, alone"] == ["40.0×", ""]
    assert lines["total"] == ["6.2×", "6.2×"]
    assert lines["CPU seconds a minute"] == ["90.0", "90.0"]
    assert lines["peak memory, MB"] == ["1100", "1100"] and lines["index, MB"] == ["5.0", "60.0"]
    assert "scores" not in lines and not any("GPU" in name for name in lines)
    found = build_cost.slopes(costs)
    assert found["peak_mb"].slope == pytest.approx(0.0, abs=1e-9) and found["index_mb"].slope == pytest.approx(1.0)
    assert found["seconds"].slope == pytest.approx(9.6)
    figure = Figure()
    build_cost.draw(figure, costs, found)
    assert len(figure.axes) == 3


def run_here(task: str, movie: Path, **options: Any) -> Any:
    """Do what `build_cost.in_process` does, without a process, which takes seconds to start."""
    done = asdict(build_cost.measure(movie, **options)) if task == "measure" else build_cost.alone(movie, **options)
    return json.loads(json.dumps(done))


@pytest.mark.parametrize("has_processes", [False, pytest.param(True, marks=pytest.mark.long)])
def test_the_command_measures_and_writes(
    movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_processes: bool
) -> None:
    if not has_processes:
        monkeypatch.setattr(build_cost, "in_process", run_here)
    arguments = [
        "--movie",
        str(movie),
        "--minutes",
        "0.19",
        *MODEL,
        "--device",
        "cpu",
        "--exact",
        "--out",
        str(tmp_path),
    ]
    result = CliRunner().invoke(build_cost.command, arguments)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "build.json").read_text())["figures"]
    (build,) = written["builds"]
    assert build["minutes"] == pytest.approx(0.19, abs=0.01) and build["segments"] >= 4
    assert {"read", "encode", "hypernet", "captions", "write", "total"} <= build["realtime"].keys()
    assert build["peak_bytes"] >= build["begin_bytes"] > 10**8
    assert build["seconds"] * build["realtime"]["total"] == pytest.approx(60 * build["minutes"])
    assert build["cpu_seconds"] > 0 and build["gpu_bytes"] is None and build["index_bytes"] > 10**4
    assert written["alone"]["decode"]["realtime"] > 0
    assert "total" in (tmp_path / "build.md").read_text() and (tmp_path / "build.png").exists()


def test_a_build_that_fails_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ChunkV2LError, match="failed"):
        build_cost.in_process("measure", tmp_path / "none.mp4", model=MODEL[1], hypernet=MODEL[3], device="cpu")
    assert "does not exist" in capfd.readouterr().err
