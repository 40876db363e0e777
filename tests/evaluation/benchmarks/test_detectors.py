"""The detectors' benchmark: ceilings as counted by hand, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from chunkv2l.video.detectors import DETECTORS
from evaluation.__main__ import main
from evaluation.benchmarks.detectors import try_detector
from tests.helpers.media import joined, scene, write


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes of 3 s."""
    return write(tmp_path_factory.mktemp("movie") / "a.mp4", joined(scene(number, 75) for number in range(4)))


def queries(folder: Path, *windows: tuple[float, float], vid: str = "a") -> Path:
    path = folder / "queries.jsonl"
    rows = [{"qid": n, "vid": vid, "query": "It is so.", "relevant_windows": [w]} for n, w in enumerate(windows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_ceilings_are_those_counted_by_hand(movie: Path) -> None:
    truths = [[(0.0, 3.0)], [(3.0, 6.0)], [(0.0, 12.0)], [(3.0, 6.0)]]
    content = try_detector("content", movie, truths)
    assert (content.ceiling, content.segments) == (0.75, 4) and content.ratio == pytest.approx(4 / 3)
    # one of 12 s: IoU 1 with the third, 1/4 with the others
    whole = try_detector("fixed:12", movie, truths)
    assert (whole.ceiling, whole.segments, whole.ratio) == pytest.approx((0.25, 1, 1 / 3))
    # 0–2, 2–4, …: IoU 2/3 with 0–3, 2/4 or less with 3–6 (2–4: 1/4, 4–6: 2/3)
    assert try_detector("fixed:2", movie, truths).ceiling == 0.75
    assert try_detector("content", movie, truths, (4.0, 16.0)).segments < 4
    # 3–9 is met by two segments together (IoU 1), by one alone just so (3 / 6); 0–12 by three (9 / 12)
    pairs = try_detector("content", movie, [[(3.0, 9.0)], [(0.0, 12.0)], [(1.0, 2.0)]])
    assert (pairs.ceiling, pairs.spans) == pytest.approx((1 / 3, 2 / 3))


def test_the_command_tries_all_and_prints_json(movie: Path, tmp_path: Path) -> None:
    asked = ["detectors", "--movie", str(movie), "--queries", str(queries(tmp_path, (0, 3), (6, 9)))]
    result = CliRunner().invoke(main, [*asked, "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.output)
    assert [row["detector"] for row in rows] == list(DETECTORS)
    assert list(rows[0]) == ["detector", "ceiling", "segments", "ratio", "seconds", "spans"]
    assert rows[0]["ceiling"] == rows[0]["spans"] == 1.0
    text = CliRunner().invoke(main, [*asked, "--detector", "mixed", "--detector", "fixed:3"]).output
    assert "mixed           1.00     1.00        4      2.0" in text and "(the default)" in text and "fixed:3" in text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--detector", "magic"], "There is no scene detector 'magic'"),
        (["--min-length", "0"], "--min-length"),
        (["--movie", "nowhere.mp4"], "nowhere"),
    ],
)
def test_bad_input(movie: Path, tmp_path: Path, change: list[str], sentence: str) -> None:
    asked = ["detectors", "--movie", str(movie), "--queries", str(queries(tmp_path, (0, 3))), *change]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 2 and sentence in result.output and "Traceback" not in result.output


def test_queries_about_another_movie(movie: Path, tmp_path: Path) -> None:
    path = queries(tmp_path, (0, 3), vid="b")
    result = CliRunner().invoke(main, ["detectors", "--movie", str(movie), "--queries", str(path)])
    assert result.exit_code == 2 and 'no query whose "vid" is a' in result.output
