"""The JSON API says what the command line says, and refuses with sentences."""

from __future__ import annotations

import io
import json
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import httpx2
import pytest

from chunkv2l.adapter.inject import exclusive
from chunkv2l.ask import Index
from chunkv2l.channels.cues import ChannelCue
from chunkv2l.cli import main as cli
from chunkv2l.errors import InputError
from chunkv2l.serve.answering import Answering
from chunkv2l.serve.api import write_vtt
from chunkv2l.serve.service import Service
from chunkv2l.serve.settings import Limits
from tests.helpers.fake_vlm import fake_model
from tests.helpers.serving import Running, index_with_movie, make_service, running

WHEN = "When does a dog catch the ball?"
WHAT = "What is on the grass?"


def events(text: str) -> list[tuple[str, Any]]:
    """The events of a stream: name and data of each."""
    blocks = [block.splitlines() for block in text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def untimed(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what differs from run to run."""
    values = {key: value for key, value in answer.items() if key != "timing"}
    if "route" in values:
        values["route"] = {key: value for key, value in values["route"].items() if key != "seconds"}
    return values


def test_movies_are_listed_once_they_were_looked_at(client: httpx2.Client) -> None:
    (movie,) = client.get("/api/movies").json()
    assert movie["state"] == "ready"
    assert movie["name"] == "movie.idx"
    assert (movie["segments"], movie["channels"], movie["has_movie"]) == (6, ["seen", "heard"], True)


def test_a_movie_is_shown_as_the_command_line_shows_it(
    client: httpx2.Client, movie: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert cli.run(["show", "movie.idx", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    served = client.get(movie).json()
    assert served.pop("id") == movie.split("/")[-1]
    assert served == shown
    assert client.get(f"{movie}/segments").json() == shown["segments"]


@pytest.mark.parametrize("question", [WHEN, WHAT, "How long is the video?"])
def test_an_answer_is_the_command_lines(client: httpx2.Client, movie: str, folder: Path, question: str) -> None:
    with Index(folder / "movie.idx", fake_model()) as index:
        expected = index.ask(question).to_json(explain=True)
    answer = client.post(f"{movie}/ask", json={"question": question, "explain": True}).json()
    assert untimed(answer) == untimed(json.loads(json.dumps(expected)))
    assert answer["timing"].keys() == expected["timing"].keys()
    assert "route" not in client.post(f"{movie}/ask", json={"question": question}).json()


def test_policy_and_top_k_are_the_command_lines(client: httpx2.Client, movie: str, folder: Path) -> None:
    with Index(folder / "movie.idx", fake_model()) as index:
        expected = index.ask(WHAT, "window", 2).to_json()
    answer = client.post(f"{movie}/ask", json={"question": WHAT, "policy": "window", "top_k": 2}).json()
    assert untimed(answer) == untimed(expected)


def test_an_answer_is_told_while_it_is_made(client: httpx2.Client, movie: str) -> None:
    whole = client.post(f"{movie}/ask", json={"question": WHAT}).json()
    told = client.post(f"{movie}/ask", json={"question": WHAT}, headers={"accept": "text/event-stream"})
    assert told.headers["content-type"].startswith("text/event-stream")
    names = [name for name, _ in events(told.text)]
    assert (names[0], names[-1]) == ("moments", "answer")
    assert set(names[1:-1]) == {"text"}
    by_name = dict(events(told.text))
    assert by_name["moments"] == {"spans": whole["spans"], "not_there": whole["not_there"], "within": None, "parts": []}
    assert by_name["text"] == {"text": whole["answer"]}
    assert untimed(by_name["answer"]) == untimed(whole)


def test_a_follow_up_asks_the_same_moments(client: httpx2.Client, movie: str) -> None:
    first = client.post(f"{movie}/ask", json={"question": WHAT, "explain": True}).json()
    weights = first["route"]["weights"]
    again = client.post(f"{movie}/ask", json={"question": WHAT, "weights": weights}).json()
    assert (again["answer"], again["policy"]) == (first["answer"], "follow-up")
    refused = client.post(f"{movie}/ask", json={"question": WHAT, "weights": [{"node": 99, "weight": 1.0}]})
    assert refused.status_code == 400
    assert "99" in refused.json()["error"]


def test_a_follow_up_takes_weights_of_rank_slots(client: httpx2.Client, movie: str) -> None:
    number = [{"node": 1, "weight": 0.5}]
    slots = [{"node": 1, "weight": 0.7, "slots": [[0.5, 0.5], [0.5, 0.5]]}]  # the slots are the weight
    answers = [client.post(f"{movie}/ask", json={"question": WHAT, "weights": w}).json() for w in (number, slots)]
    assert answers[0]["answer"] == answers[1]["answer"] != ""


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"question": ""}, 400, "The question is empty"),
        ({"question": "When?"}, 400, "names nothing to look for"),
        ({"question": "x" * 2001}, 422, "at most 2000"),
        ({}, 422, "question: Field required"),
        ({"question": WHAT, "budget": 1}, 422, "budget"),
        ({"question": WHAT, "policy": "mine.py:policy"}, 400, 'no policy "mine.py:policy"'),
        ({"question": WHAT, "policy": "route\ud800"}, 422, "policy"),
        ({"question": WHAT, "top_k": 0}, 422, "top_k"),
        ({"question": WHAT, "weights": []}, 400, "chose no segment"),
        ({"question": WHAT, "weights": [{"node": 0, "weight": "NaN"}]}, 422, "weight"),
        ({"question": WHAT, "weights": [{"node": 0, "weight": 1, "slots": [[1.0], [1.0, 2.0]]}]}, 422, "every layer"),
        ({"question": WHAT, "weights": [{"node": 0, "weight": 1, "slots": [[1.0] * 300]}]}, 422, "at most 256"),
        ({"question": WHAT, "weights": [{"node": 0, "weight": 1, "slots": [[1.0]]}]}, 400, "rank slots of this index"),
        ([WHAT], 422, "valid"),
    ],
)
def test_bad_questions_are_sentences(client: httpx2.Client, movie: str, body: Any, status: int, words: str) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post(f"{movie}/ask", content=json.dumps(body).encode(), headers=headers)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_pictures_and_subtitles(client: httpx2.Client, movie: str) -> None:
    picture = client.get(f"{movie}/thumbnail/5")
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.content.startswith(b"\xff\xd8")
    missing = client.get(f"{movie}/thumbnail/6")
    assert missing.status_code == 404
    assert missing.json()["error"] == "movie.idx has segments 0 to 5, not 6."
    subtitles = client.get(f"{movie}/subtitles.vtt")
    assert subtitles.headers["content-type"] == "text/vtt; charset=utf-8"
    assert "00:00:00.500 --> 00:00:01.500\nWe begin &lt;here&gt; &amp; now." in subtitles.text


def test_vtt_has_no_markup_and_no_empty_times() -> None:
    text = write_vtt([ChannelCue(3661.5, 3661.5, "a --> b", "given")])
    assert text == "WEBVTT\n\n01:01:01.500 --> 01:01:01.501\na --&gt; b\n"


def test_the_movie_is_sent_in_ranges(client: httpx2.Client, movie: str, folder: Path) -> None:
    whole = (folder / "movie.mp4").read_bytes()
    assert client.get(f"{movie}/movie").content == whole
    part = client.get(f"{movie}/movie", headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    assert client.get(f"{movie}/movie", headers={"range": "bytes=-5"}).content == whole[-5:]
    head = client.head(f"{movie}/movie")
    assert (head.headers["accept-ranges"], head.headers["content-length"]) == ("bytes", str(len(whole)))
    assert head.headers["content-type"] == "video/mp4"


def test_a_clip_is_cut_and_nothing_is_left(client: httpx2.Client, movie: str, server: Running, folder: Path) -> None:
    clip = client.get(f"{movie}/clip", params={"start": 2, "end": 4, "reencode": True})
    assert clip.headers["content-type"] == "video/mp4"
    assert clip.headers["content-disposition"] == 'attachment; filename="movie.2.0-4.0.mp4"'
    with av.open(io.BytesIO(clip.content)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 20
    assert sorted(path.name for path in folder.iterdir()) == ["movie.idx", "movie.mp4"]
    assert client.get(f"{movie}/thumbnail/0").status_code == 200  # the clip's response has ended
    for start, end, words in ((4, 2, "begins before it ends"), (0, 1000, "may last 600 s"), (50, 60, "nothing of")):
        refused = client.get(f"{movie}/clip", params={"start": start, "end": end})
        assert refused.status_code == 400
        assert words in refused.json()["error"]
        assert str(folder) not in refused.json()["error"]


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=x", "parts=0-1"])
def test_a_clip_whose_range_is_refused_is_removed(
    client: httpx2.Client, movie: str, server: Running, asked: str
) -> None:
    """Each of them stayed until the server's end."""
    clips = server.service.clips
    answer = client.get(f"{movie}/clip", params={"start": 2, "end": 4}, headers={"range": asked})
    assert answer.status_code in (400, 416)
    assert client.get(f"{movie}/clip", params={"start": 50, "end": 60}).status_code == 400
    for _ in range(50):
        if not list(clips.iterdir()):
            return
        time.sleep(0.02)
    assert list(clips.iterdir()) == []


def test_no_error_names_the_servers_folders(
    client: httpx2.Client, movie: str, server: Running, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise InputError(f"{folder / 'movie.idx'} and {folder.resolve() / 'movie.idx.part'} are damaged.")

    monkeypatch.setattr(Service, "thumbnail", fail)
    monkeypatch.setattr(Answering, "_answer", fail)
    said = [client.get(f"{movie}/thumbnail/0").json()["error"]]
    said.append(client.post(f"{movie}/ask", json={"question": "When?"}).json()["error"])
    said.append(client.post(f"{movie}/ask", json={"question": "When?"}, headers={"accept": "text/event-stream"}).text)
    chat = {"model": movie.rpartition("/")[2], "messages": [{"role": "user", "content": "When?"}]}
    said.append(client.post("/v1/chat/completions", json=chat).text)
    said.append(client.post("/v1/chat/completions", json={**chat, "stream": True}).text)
    for text in said:
        assert "movie.idx and movie.idx.part are damaged." in text and str(folder) not in text


def test_what_isnt_there_is_404(client: httpx2.Client, movie: str) -> None:
    for path in ("/api/movies/none", "/api/movies/none/ask", "/nothing", "/static/none.js", f"{movie}/nothing"):
        answer = client.get(path)
        assert answer.status_code in (404, 405)
        assert answer.json()["error"].endswith(".")


def test_openapi_documents_every_route(client: httpx2.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {
        "/api/movies",
        "/api/movies/{movie_id}",
        "/api/movies/{movie_id}/ask",
        "/api/movies/{movie_id}/segments",
        "/api/movies/{movie_id}/thumbnail/{number}",
        "/api/movies/{movie_id}/clip",
    } <= set(paths)
    assert all(operation["summary"] for path in paths.values() for operation in path.values())


# ---- clients that go, and a server that stops


@contextmanager
def stalled(service: Service) -> Iterator[None]:
    """Keep the model from answering anything until the block ends."""
    model = service.answering.load_by_name()
    with exclusive(model.vlm.targets):
        yield


def send_question(server: Running, movie: str) -> socket.socket:
    """Ask, and don't wait for the answer."""
    body = json.dumps({"question": f"What is {time.monotonic_ns()}?"}).encode()
    kind = "Content-Type: application/json"
    head = f"POST {movie}/ask HTTP/1.1\r\nHost: 127.0.0.1\r\n{kind}\r\nContent-Length: {len(body)}"
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(head.encode() + b"\r\n\r\n" + body)
    return connection


def wait_for_waiting(server: Running, count: int) -> None:
    deadline = time.monotonic() + 30
    while server.service.answering.waiting != count:
        assert time.monotonic() < deadline, server.service.answering.waiting
        time.sleep(0.01)


def test_a_client_that_goes_frees_its_place(tmp_path: Path) -> None:
    service = make_service(index_with_movie(tmp_path), limits=Limits(waiting=2))
    with running(service) as server, server.client() as client:
        movie = f"/api/movies/{client.get('/api/movies').json()[0]['id']}"
        with stalled(server.service):
            asked = [send_question(server, movie)]
            wait_for_waiting(server, 1)
            asked += [send_question(server, movie) for _ in range(2)]
            wait_for_waiting(server, 3)
            busy = client.post(f"{movie}/ask", json={"question": WHAT})
            assert (busy.status_code, busy.headers["retry-after"]) == (429, "1")
            told = client.post(f"{movie}/ask", json={"question": WHAT}, headers={"accept": "text/event-stream"})
            assert told.status_code == 429
            asked[2].close()
            wait_for_waiting(server, 2)
            asked.append(send_question(server, movie))
            wait_for_waiting(server, 3)
        for connection in (asked[0], asked[1], asked[3]):
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
            connection.close()


def test_what_runs_is_answered_when_the_server_stops(tmp_path: Path) -> None:
    with running(make_service(index_with_movie(tmp_path))) as server, server.client() as client:
        movie = f"/api/movies/{client.get('/api/movies').json()[0]['id']}"
        with stalled(server.service):
            first = send_question(server, movie)
            wait_for_waiting(server, 1)
            second = send_question(server, movie)
            wait_for_waiting(server, 2)
            server.stop()
            assert second.recv(1 << 16).startswith(b"HTTP/1.1 503")
        assert first.recv(1 << 16).startswith(b"HTTP/1.1 200")
        first.close()
        second.close()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory by /proc")
@pytest.mark.long
def test_memory_stays_over_two_thousand_questions(tmp_path: Path) -> None:
    with running(make_service(index_with_movie(tmp_path))) as server, server.client() as client:
        movie = f"/api/movies/{client.get('/api/movies').json()[0]['id']}"
        sizes = []
        for number in range(2000):
            assert client.post(f"{movie}/ask", json={"question": f"What is {number}?"}).status_code == 200
            if number % 100 == 99:
                sizes.append(int(Path("/proc/self/statm").read_text().split()[1]))
    assert statistics.median(sizes[-5:]) < 1.02 * statistics.median(sizes[5:10])
