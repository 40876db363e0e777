"""All movies of a server are asked as one library: what was looked at and is sound, as it is now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkv2l.ask import Index
from chunkv2l.library import keys_file, text_file
from chunkv2l.library.library import Library
from chunkv2l.models import Model
from chunkv2l.serve.all_movies import AllMovies
from chunkv2l.serve.catalogue import Catalogue, OpenedMovie
from chunkv2l.serve.refusals import NotReady
from tests.helpers.fake_vlm import fake_model
from tests.helpers.serving import Running, make_service, running
from tests.helpers.written import random_codes, write_index

WHEN = "When does a dog run?"
FILES = {keys_file.NAME, text_file.NAME}


@pytest.fixture(scope="module")
def model() -> Model:
    return fake_model()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "movies").mkdir()
    for i, name in enumerate("ab"):
        write_index(tmp_path / "movies" / f"{name}.idx", random_codes(4 + i, i))
    return tmp_path / "movies"


def check(path: Path) -> list[str]:
    return [f"{path} is damaged"] if "broken" in path.name else []


def open_all(folders: list[Path], model: Model, is_writable: bool = True) -> tuple[AllMovies, Library]:
    together = AllMovies(Catalogue(folders, check=check), is_writable)
    together.inspect(60.0)
    return together, together.open(lambda _: model)


def test_a_folders_own_files_are_used_and_kept(folder: Path, model: Model) -> None:
    (folder / "deep").mkdir()
    write_index(folder / "deep" / "c.idx", random_codes(3))
    with Library(folder, model, recursive=True) as library:
        expected = library.ask(WHEN)
    before = {name: (folder / name).stat().st_mtime_ns for name in FILES}
    together, library = open_all([folder], model)
    assert library.ask(WHEN).spans == expected.spans and len(library) == 3
    assert before == {name: (folder / name).stat().st_mtime_ns for name in FILES}
    together.close()


@pytest.mark.parametrize("is_single", [True, False])
def test_a_server_that_only_reads_writes_nothing_beside_them(folder: Path, model: Model, is_single: bool) -> None:
    paths = [folder] if is_single else [folder, write_index(folder.parent / "c.idx", random_codes(3))]
    together, library = open_all(paths, model, is_writable=False)
    assert len(library) == (2 if is_single else 3) and library.ask(WHEN).spans
    assert not FILES & {path.name for path in folder.iterdir()}
    together.close()


def test_what_changes_is_asked_once_it_was_looked_at(folder: Path, model: Model) -> None:
    together, library = open_all([folder], model)
    assert together.open(lambda _: model) is library
    (folder / "broken.idx").write_bytes(b"no index")
    write_index(folder / "a.idx", random_codes(9))
    together.inspect(60.0)  # the listing is two seconds old at most
    library = together.open(lambda _: model)
    assert sorted(record.segments for record in library.movies) == [5, 9]
    together.close()


def test_what_nobody_has_looked_at_is_named_and_stays_in_the_files(folder: Path, model: Model) -> None:
    with Library(folder, model):
        pass
    catalogue = Catalogue([folder], check=check)
    together = AllMovies(catalogue, is_writable=True)
    with pytest.raises(NotReady, match="2 of the indexes haven't been looked at yet"):
        together.open(lambda _: model)
    catalogue.inspect(catalogue.entries()[0])
    library = together.open(lambda _: model)
    assert len(library) == 1 and "1 of the indexes haven't" in " ".join(library.notes)
    assert len(keys_file.read_keys(folder / keys_file.NAME)[0]) == 2
    catalogue.inspect(catalogue.entries()[1])
    assert len(together.open(lambda _: model)) == 2
    together.close()


def test_damaged_indexes_are_named(folder: Path, model: Model) -> None:
    (folder / "broken.idx").write_bytes(b"no index")

    def load(movie: OpenedMovie) -> Model:
        assert movie.entry.name == "a.idx"
        return model

    together = AllMovies(Catalogue([folder], check=check), is_writable=True)
    together.inspect(60.0)
    assert any("broken.idx can't be used" in note for note in together.open(load).ask(WHEN).notes)
    together.close()


# ---- over HTTP


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    for i, name in enumerate(("dogs", "cats")):
        write_index(folder / f"{name}.idx", random_codes(4 + i, i))
    with running(make_service(folder)) as started:
        yield started


def test_the_api_answers_over_all_movies(server: Running) -> None:
    with server.client() as client:
        answer = client.post("/api/ask", json={"question": WHEN, "explain": True}).json()
        ids = {movie["id"] for movie in client.get("/api/movies").json()}
        assert {span["id"] for span in answer["spans"]} == ids and len(ids) == 2
        assert {span["movie"] for span in answer["spans"]} == {"dogs.idx", "cats.idx"}  # both call their movie alike
        assert answer["route"]["looks"][0]["segments"] == 9
        streamed = client.post("/api/ask", json={"question": WHEN}, headers={"accept": "text/event-stream"}).text
        moments, *_, last = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: ")]
        assert moments["spans"] == last["spans"] == answer["spans"]
        refused = client.post("/api/ask", json={"question": "How long is the video?"})
        assert refused.status_code == 400 and "question about one movie" in refused.json()["error"]
        assert client.post("/api/ask", json={"question": WHEN, "weights": []}).status_code == 422


def test_an_answer_of_one_movie_has_no_ids(server: Running) -> None:
    with server.client() as client:
        movie = client.get("/api/movies").json()[0]["id"]
        answer = client.post(f"/api/movies/{movie}/ask", json={"question": WHEN}).json()
    assert all("id" not in span for span in answer["spans"])


def test_an_index_that_breaks_is_named_without_its_folder(tmp_path: Path) -> None:
    for name in ("dogs", "cats"):
        write_index(tmp_path / f"{name}.idx", random_codes(4))
    service = make_service(tmp_path)
    with running(service) as started, started.client() as client:
        assert client.post("/api/ask", json={"question": "When does a cat sleep?", "policy": "mean"}).status_code == 200
        (tmp_path / "cats.idx").write_bytes(b"no index")  # its size differs, so it is looked at anew
        answer = client.post("/api/ask", json={"question": WHEN}).json()
    assert any("cats.idx" in note for note in answer["notes"]) and str(tmp_path) not in json.dumps(answer)


def test_all_movies_without_any_say_so(tmp_path: Path) -> None:
    with running(make_service(tmp_path)) as started, started.client() as client:
        answer = client.post("/api/ask", json={"question": WHEN})
    assert answer.status_code == 409 and "no movie here that can be asked" in answer.json()["error"]


def test_the_answers_times_are_the_movies(server: Running, model: Model) -> None:
    with server.client() as client:
        first = client.post("/api/ask", json={"question": WHEN}).json()["spans"][0]
    with Index(server.service.catalogue.roots[0] / first["movie"], model) as index:
        assert first["end"] == index.segments[first["segments"][-1]].end
