"""One server for all tests of a module: the fake model, a movie of six segments, and a secret outside of its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.helpers.serving import Running, index_with_movie, make_service, running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a movie and its index; beside it lies a secret."""
    top = tmp_path_factory.mktemp("served")
    (top / "secret.txt").write_text("the secret outside")
    (top / "movies").mkdir()
    index_with_movie(
        top / "movies", subtitles=[(0.5, 1.5, "We begin <here> & now."), (3.0, 4.0, "A dog!")], speech={0: "We begin"}
    )
    return top / "movies"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    with running(make_service(folder)) as started:
        yield started


@pytest.fixture
def client(server: Running) -> Iterator[httpx2.Client]:
    with server.client() as opened:
        yield opened


@pytest.fixture
def movie(client: httpx2.Client) -> str:
    """The address of the movie."""
    (only,) = client.get("/api/movies").json()
    return f"/api/movies/{only['id']}"
