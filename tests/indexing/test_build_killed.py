"""A build that dies at any moment and is started again ends in the same rows as one that ran through."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chunkv2l.errors import InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.verify import verify
from chunkv2l.indexing import chapter_codes as grouping
from chunkv2l.indexing.build import build
from tests.helpers.fake_vlm import fake_model
from tests.helpers.indexes import rows_of
from tests.helpers.killed_builds import DELAY, DETECTOR, batches_of_eight, build_with, install_channels
from tests.helpers.movies import block_movie
from tests.helpers.speech import write_talk

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
Deaths = list[tuple[Path, dict[str, Any]]]
"""Indexes, and how a build of each is to die: see `killed_builds`."""
SEGMENTS = 28  # three whole batches and a half; each scene has four, so that there are seven chapters, in two batches


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        batches_of_eight(patch)
        yield


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return block_movie(tmp_path_factory.mktemp("movie") / "blocks.mp4", [8.0] * (SEGMENTS // 4))


@pytest.fixture(scope="module")
def undisturbed(movie: Path) -> tuple[dict[str, Any], float]:
    """The rows of a build that nothing happened to, and its seconds."""
    started = time.perf_counter()
    report = build(movie, movie.with_name("whole.idx"), model=fake_model(delay=DELAY), detector=DETECTOR)
    return rows_of(report.index), time.perf_counter() - started


def killed(movie: Path, deaths: Deaths, channels: Path | None = None) -> list[str]:
    """Builds that die; what became of each."""
    task = {
        "movie": str(movie),
        "channels": channels and str(channels),
        "deaths": [(str(out), death) for out, death in deaths],
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.killed_builds"],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=1000,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def finish(movie: Path, out: Path, wanted: dict[str, Any]) -> int:
    """Build to the end and compare; returns how many segments were there already."""
    report = build(movie, out, model=fake_model(), detector=DETECTOR)
    assert report.segments == SEGMENTS and report.resumed % 8 in (0, SEGMENTS % 8)
    assert rows_of(out) == wanted
    assert verify(out) == []
    assert [p.name for p in out.parent.iterdir()] == [out.name]
    return report.resumed


def folders(folder: Path, count: int) -> list[Path]:
    """Indexes in folders of their own."""
    outs = [folder / str(i) / "a.idx" for i in range(count)]
    for out in outs:
        out.parent.mkdir()
    return outs


BORDERS: list[tuple[dict[str, Any], int]] = [
    ({"stage": "read", "count": 1}, 0),
    ({"stage": "captions", "count": 2}, 8),
    ({"stage": "write", "count": 3}, 16),
    ({"stage": "read", "count": 4}, 24),
    ({"stage": "read", "count": 5}, 28),
    ({"stage": "chapters", "count": 1}, 28),
    ({"stage": "chapters", "count": 2}, 28),
    ({"call": "replace"}, 28),
]


def at_random(folder: Path, rounds: int, seed: int, seconds: float) -> Deaths:
    """Each round kills a build one to three times, at random fractions of the time that it takes undisturbed."""
    rng = random.Random(seed)
    return [
        (out, {"after": rng.random() * seconds})
        for out in folders(folder, rounds)
        for _ in range(rng.choice([1, 1, 2, 3]))
    ]


def check_random(movie: Path, deaths: Deaths, fates: list[str], rows: dict[str, Any]) -> None:
    outs = list(dict.fromkeys(out for out, _ in deaths))
    assert fates.count("killed") >= len(outs) // 2
    for out in outs:
        if not out.exists():
            finish(movie, out, rows)
        assert rows_of(out) == rows


def test_killed_builds_go_on(movie: Path, tmp_path: Path, undisturbed: tuple[dict[str, Any], float]) -> None:
    """At every kind of border, and twice at random; one process, as starting one takes seconds."""
    rows, seconds = undisturbed
    assert len(rows["chapters"]) == 7 > grouping.BATCH and len(rows["similar"]) > 20
    outs = folders(tmp_path, len(BORDERS))
    borders = [(out, death) for out, (death, _) in zip(outs, BORDERS, strict=True)]
    (tmp_path / "random").mkdir()
    randoms = at_random(tmp_path / "random", 2, 0, seconds)
    fates = killed(movie, borders + randoms)
    assert fates[: len(borders)] == ["killed"] * len(borders)
    for out, (death, resumed) in zip(outs, BORDERS, strict=True):
        assert not out.exists()
        with pytest.raises(InputError, match=f"isn't finished: {resumed} segments are stored"):
            IndexFile(out)
        assert finish(movie, out, rows) == resumed, death
    check_random(movie, randoms, fates[len(borders) :], rows)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_killed_fifty_times_at_random(movie: Path, tmp_path: Path, undisturbed: tuple[dict[str, Any], float]) -> None:
    rows, seconds = undisturbed
    deaths = at_random(tmp_path, 50, 1, seconds)
    check_random(movie, deaths, killed(movie, deaths), rows)


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_killed_a_hundred_times_with_all_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captions, subtitles, speech, tags, chapters: whatever was stored when the process died, the rows are the same."""
    channels = tmp_path / "channels"
    install_channels(monkeypatch, channels)
    movie = write_talk(tmp_path / "talk.mkv", [(float(second), second + 1.0) for second in range(1, 55, 3)], 56.0)
    started = time.perf_counter()
    rows = rows_of(build_with(movie, tmp_path / "whole.idx", channels, DELAY).index)
    seconds = time.perf_counter() - started
    assert all(rows[table] for table in ("segments", "chapters", "cues", "sentences", "tags"))
    assert {row[4] for row in rows["cues"]} == {"given", "heard"}
    deaths: Deaths = []
    fates: list[str] = []
    for batch in range(8):  # a build that is faster than the first is over before it is killed
        if fates.count("killed") < 100:
            (tmp_path / str(batch)).mkdir()
            more = at_random(tmp_path / str(batch), 25, batch, 0.8 * seconds)
            fates += killed(movie, more, channels)
            deaths += more
    assert fates.count("killed") >= 100
    unfinished = 0
    for out in dict.fromkeys(out for out, _ in deaths):
        if not out.exists():
            unfinished += 1
            build_with(movie, out, channels, 0.0)
        assert rows_of(out) == rows and verify(out) == []
        assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert unfinished > 20
