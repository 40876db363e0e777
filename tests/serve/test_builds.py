"""Builds from the page: watched, cancelled, gone on with, one at a time, and resumable when the server stops."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chunkv2l.errors import ChunkV2LError
from chunkv2l.index.file import IndexFile
from chunkv2l.serve.service import Service
from tests.helpers.fake_vlm import fake_model
from tests.helpers.movies import block_movie
from tests.helpers.serving import Running, make_service, running


@pytest.fixture
def service(tmp_path: Path) -> Service:
    block_movie(tmp_path / "new.mp4", (2.0,) * 40)
    return make_service(tmp_path, model=fake_model(delay=0.02))


@pytest.fixture
def builder(service: Service) -> Iterator[Running]:
    with running(service) as started:
        yield started


def watch(client: httpx2.Client, movie: str) -> list[dict[str, Any]]:
    """All states of a build, to its end."""
    text = client.get(f"/api/builds/{movie}/events").text
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


def new_movie(client: httpx2.Client) -> str:
    (movie,) = client.get("/api/movies").json()
    assert movie["state"] in ("no index", "unfinished")
    return str(movie["id"])


def test_an_index_is_built_and_can_be_asked(builder: Running, tmp_path: Path) -> None:
    with builder.client() as client:
        movie = new_movie(client)
        started = client.post("/api/builds", json={"movie": movie})
        assert (started.status_code, started.json()["name"]) == (202, "new.mp4")
        states = watch(client, movie)
        assert [state["state"] for state in states][-1] == "done"
        segments = [state["progress"]["segments"] for state in states if state["progress"]]
        assert segments == sorted(segments)
        (built,) = client.get("/api/movies").json()
        assert (built["state"], built["id"]) == ("ready", states[-1]["result"])
        answer = client.post(f"/api/movies/{built['id']}/ask", json={"question": "What is on the grass?"})
        assert answer.status_code == 200
        assert [build["state"] for build in client.get("/api/builds").json()] == ["done"]
        assert client.post("/api/builds", json={"movie": built["id"]}).status_code == 409
    assert (tmp_path / "new.idx").exists()
    assert not (tmp_path / "new.idx.part").exists()


def test_a_build_is_cancelled_and_gone_on_with(builder: Running, tmp_path: Path) -> None:
    with builder.client() as client, builder.client() as other:
        movie = new_movie(client)
        client.post("/api/builds", json={"movie": movie})
        cancelled = False
        with client.stream("GET", f"/api/builds/{movie}/events") as events:
            for line in events.iter_lines():
                state = json.loads(line[6:]) if line.startswith("data: ") else {}
                if (state.get("progress") or {}).get("segments") and not cancelled:
                    cancelled = True
                    assert other.post("/api/builds", json={"movie": movie}).status_code == 429
                    assert other.delete(f"/api/builds/{movie}").json()["movie"] == movie
        assert watch(client, movie)[-1]["state"] == "cancelled"
        (listed,) = client.get("/api/movies").json()
        assert listed["state"] == "unfinished"
        client.post("/api/builds", json={"movie": movie})
        last = watch(client, movie)[-1]
        assert last["state"] == "done"
        assert last["progress"]["segments"] >= 32
    with IndexFile(tmp_path / "new.idx") as index:
        assert index.segments[-1].end == pytest.approx(80, abs=0.2)


def test_when_the_server_stops_a_build_stays_resumable(service: Service, tmp_path: Path) -> None:
    begun = threading.Event()
    with running(service) as server, server.client() as client:
        movie = new_movie(client)
        client.post("/api/builds", json={"movie": movie})

        def follow() -> None:
            with server.client() as watcher, watcher.stream("GET", f"/api/builds/{movie}/events") as events:
                for line in events.iter_lines():
                    if line.startswith("data: ") and (json.loads(line[6:])["progress"] or {}).get("segments"):
                        begun.set()

        watching = threading.Thread(target=follow)
        watching.start()
        assert begun.wait(60)
    watching.join(30)
    assert not watching.is_alive()
    assert (tmp_path / "new.idx.part").exists()
    assert service.builds.get(movie).state == "cancelled"


def test_what_cant_be_built_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no movie at all")
    with running(make_service(tmp_path)) as server, server.client() as client:
        movie = new_movie(client)
        client.post("/api/builds", json={"movie": movie})
        last = watch(client, movie)[-1]
        assert last["state"] == "failed"
        assert last["error"].startswith("broken.mp4")
        assert str(tmp_path) not in last["error"]
        assert client.post("/api/builds", json={"movie": "none"}).status_code == 404
        assert client.get("/api/builds/none/events").status_code == 404
        assert client.delete("/api/builds/none").status_code == 404


@pytest.mark.parametrize(("is_outside", "taken"), [(True, None), (False, "auto")])
def test_subtitles_are_taken_from_under_the_paths_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_outside: bool, taken: str | None
) -> None:
    outside = tmp_path / "private.srt"
    outside.write_text("1\n00:00:00,000 --> 00:00:01,000\nprivate words\n")
    folder = tmp_path / "movies"
    folder.mkdir()
    block_movie(folder / "new.mp4", (1.0,))
    if is_outside:
        (folder / "new.srt").symlink_to(outside)
    else:
        outside.rename(folder / "new.srt")
    choices: list[object] = []

    def build(*_: object, subtitles: object, **__: object) -> None:
        choices.append(subtitles)
        raise ChunkV2LError("This is enough.")

    monkeypatch.setattr("chunkv2l.serve.builds.build_index", build)
    with running(make_service(folder)) as server, server.client() as client:
        movie = new_movie(client)
        client.post("/api/builds", json={"movie": movie})
        assert watch(client, movie)[-1]["state"] == "failed"
    assert choices == [taken]


def test_a_server_that_only_reads_builds_nothing(tmp_path: Path) -> None:
    block_movie(tmp_path / "new.mp4", (1.0,))
    with running(make_service(tmp_path, read_only=True)) as server, server.client() as client:
        refused = client.post("/api/builds", json={"movie": new_movie(client)})
        assert refused.status_code == 403
        assert "--read-only" in refused.json()["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["new.mp4"]
