"""The load's figures: percentiles, errors by status, and memory that grows or stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkv2l.ask import Index
from evaluation.benchmarks import serving
from evaluation.benchmarks.serving import Load
from tests.helpers.fake_vlm import fake_model
from tests.helpers.serving import index_with_movie, make_service, running


def test_questions_are_different() -> None:
    asked = serving.questions()
    assert len(set(asked)) == len(asked) >= 2000


def test_percentiles() -> None:
    load = Load(100, {}, 50.0, tuple(number / 100 for number in range(100, 0, -1)))
    assert (load.percentile(0.5), load.percentile(0.95), load.percentile(0.99)) == (0.51, 0.96, 1.0)
    assert load.throughput == 2.0


def test_growth_is_of_the_last_quarter_over_the_second() -> None:
    flat = [(100 * number, 1000) for number in range(20)]
    assert serving.growth(flat) == 1.0
    warm = [(100 * number, 500 if number < 3 else 1000) for number in range(20)]
    assert serving.growth(warm) == 1.0
    leaking = [(100 * number, 1000 + 100 * number) for number in range(20)]
    assert (serving.growth(leaking) or 0) > 1.5
    assert serving.growth(flat[:5]) is None


def test_clients_are_answered_or_counted(tmp_path: Path) -> None:
    path = index_with_movie(tmp_path)
    with running(make_service(path)) as server, server.client() as client:
        movie_id = client.get("/api/movies").json()[0]["id"]
        load = serving.ask_at_once(server.port, movie_id, iter(serving.questions()), clients=4, seconds=1)
        assert load.errors == {}
        assert load.answered == len(load.latencies) >= 4
        refused = serving.ask_at_once(server.port, "none", iter(serving.questions()), clients=2, seconds=0.2)
        assert refused.answered == 0
        assert set(refused.errors) == {"404"}
    gone = serving.ask_at_once(server.port, movie_id, iter(serving.questions()), clients=1, seconds=0.1)
    assert set(gone.errors) == {"connection"}
    with Index(path, fake_model()) as index:
        count, seconds = serving.ask_in_loop(index, iter(serving.questions()), 0.3)
    assert count >= 1
    assert seconds >= 0.3


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory by /proc")
def test_memory_is_read_at_every_hundredth_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr(serving, "EVERY", 2)
    with running(make_service(index_with_movie(tmp_path))) as server, server.client() as client:
        movie_id = client.get("/api/movies").json()[0]["id"]
        asked = iter(serving.questions())
        marks = serving.watch_memory(server.port, movie_id, os.getpid(), asked, count=5, patience=60)
    assert [number for number, _ in marks] == [0, 2, 4]
    assert all(size > 1 << 20 for _, size in marks)
