"""The memory benchmark: the long movie it makes, the marks it takes, and that builds pass it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.video.clip import read_clip
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import read_frames
from evaluation.__main__ import main
from evaluation.benchmarks import memory
from evaluation.movies import looped
from tests.helpers.fake_vlm import fake_model
from tests.helpers.media import at, joined, scene, whole, write
from tests.helpers.movies import block_movie

ROOT = Path(__file__).parents[3]


def test_windows_differ_and_lie_inside() -> None:
    found = [looped.window(number, 270, 480) for number in range(20)]
    assert found[0] == (slice(0, 270), slice(0, 480))
    assert len({(rows.start, columns.start) for rows, columns in found[1:]}) == 19
    for rows, columns in found[1:]:
        assert rows.stop - rows.start == 216 and columns.stop - columns.start == 384
        assert rows.start >= 0 and rows.stop <= 270 and columns.start >= 0 and columns.stop <= 480


def test_a_movie_is_played_again_through_other_windows(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mp4", joined(scene(number, 25, (96, 64)) for number in range(4)))
    looped.write(source, tmp_path / "long.mp4", 10.0)
    info = probe(tmp_path / "long.mp4")
    assert info.duration == pytest.approx(10.0, abs=0.1) and (info.width, info.height) == (96, 64)
    times = [frame.time for frame in read_frames(info)]
    assert np.diff(times) == pytest.approx(0.04, abs=0.002)
    once, again = read_clip(tmp_path / "long.mp4", at(0.5, 4.5), whole).frames
    original = read_clip(source, at(0.5), whole).frames[0].astype(int)
    assert np.abs(once - original).mean() < 6
    assert np.abs(again - looped.show_window(original.astype(np.uint8), 1, 96, 64).astype(int)).mean() < 6
    assert np.abs(again - original).mean() > 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "long.mp4"]


def test_marks_are_taken_on_the_way(tmp_path: Path) -> None:
    movie = block_movie(tmp_path / "a.mp4", [4.0] * 50)  # 200 s
    growth = memory.measure(movie, fake_model(), 1.0, detector="fixed:4")
    assert growth.segments == 50 and growth.minutes == pytest.approx((1.0, 200 / 60))
    assert 0 < growth.begin <= growth.early <= growth.late and len(growth.by_minute) == 3
    assert growth.early == growth.by_minute[0] and growth.ratio == growth.late / growth.early
    with pytest.raises(ChunkV2LError, match=r"3.3 minutes end before the mark at 5"):
        memory.measure(movie, fake_model(), 5.0, detector="fixed:4")


def test_growth_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peak that grows by 1 at every look."""
    looks = iter(range(100, 10_000))
    monkeypatch.setattr(memory, "peak_memory", lambda: next(looks))
    growth = memory.measure(block_movie(tmp_path / "a.mp4", [4.0] * 50), fake_model(), 1.0, detector="fixed:4")
    assert growth.begin < growth.early < growth.by_minute[1] < growth.by_minute[2] < growth.late
    assert growth.ratio > 1


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "peak_memory", lambda: None)
    with pytest.raises(ChunkV2LError, match="doesn't tell"):
        memory.peak()


def test_the_command_refuses_what_is_no_movie(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("words")
    with pytest.raises(InputError, match="is not a movie"):
        looped.write(tmp_path / "a.mp4", tmp_path / "long.mp4", 5.0)
    result = CliRunner().invoke(main, ["memory", "--movie", str(tmp_path / "a.mp4"), "--keep", str(tmp_path / "b.mp4")])
    assert result.exit_code == 2 and "is not a movie" in result.output
    assert not (tmp_path / "b.mp4").exists()


SCRIPT = """
import sys
from pathlib import Path
from evaluation.benchmarks.memory import measure
from tests.helpers.fake_vlm import fake_model
print(measure(Path(sys.argv[1]), fake_model(), 5.0).ratio)
"""


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_memory_is_flat_over_half_an_hour(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mp4", joined(scene(number, 125, (320, 180)) for number in range(24)))
    memory.lengthen(source, tmp_path / "long.mp4", 30.0)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "long.mp4")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert 1 <= float(done.stdout) < 1.05
