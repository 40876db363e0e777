"""A server in this process for tests, on a free port of the loopback interface, with the fake model."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2

from chunkv2l.models import Model
from chunkv2l.serve.server import Server
from chunkv2l.serve.service import Service
from chunkv2l.serve.settings import Limits, ServeSettings
from chunkv2l.video.fingerprint import fingerprint
from tests.helpers import indexes
from tests.helpers.fake_vlm import fake_model
from tests.helpers.media import scene, write
from tests.helpers.movies import block_movie
from tests.helpers.written import random_codes


def accept(path: Path) -> list[str]:
    """Find nothing wrong with an index, without the seconds that a process takes."""
    return []


def playable_movie(path: Path, seconds: Sequence[float]) -> Path:
    """A movie in H.264, which browsers play."""
    frames = [image for number, length in enumerate(seconds) for image in scene(number, round(length * 10), (320, 180))]
    return write(path, frames, fps=10.0, options={"g": "10"})


def index_with_movie(
    folder: Path,
    name: str = "movie",
    segments: int = 6,
    captions: Sequence[str] = (),
    maker: Callable[[Path, Sequence[float]], Path] = block_movie,
    **more: Any,
) -> Path:
    """An index of segments of 2 s with its movie of moving blocks beside it.

    Args:
        more: for `indexes.write_index`.
    """
    movie = maker(folder / f"{name}.mp4", (2.0,) * segments)
    codes = random_codes(segments)
    model = fake_model()
    meta = {
        "movie": {"name": movie.name, **fingerprint(movie), "duration": 2.0 * segments, "fps": 10.0, "width": 96},
        "model": model.name,
        "identity": dict(model.identity),
        "settings": {"detector": "fixed:2", "codes": "fp32", "captions": True},
        "code_shape": list(codes.shape[1:]),
    }
    texts = captions or [f"a dog {number}" for number in range(segments)]
    return indexes.write_index(folder / f"{name}.idx", texts, codes=codes, kind="fp32", meta=meta, seconds=2.0, **more)


def make_service(*paths: Path, model: Model | None = None, limits: Limits | None = None, **choices: Any) -> Service:
    """A service with the fake model loaded, and no sandbox."""
    settings = ServeSettings(tuple(paths), limits=limits or Limits(), **choices)
    return Service(settings, model=model or fake_model(), check=accept)


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Attributes:
        url: its address, without a slash at the end.
    """

    url: str
    port: int
    service: Service
    server: Server

    def stop(self) -> None:
        """Tell it to stop, as a signal does; the end of the `running` block waits for it."""
        self.server.should_exit = True

    def client(self, **options: Any) -> httpx2.Client:
        """A client that knows the address."""
        return httpx2.Client(base_url=self.url, timeout=60, **options)


@contextmanager
def running(service: Service) -> Iterator[Running]:
    """Serve in a thread until the block ends."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    port = listener.getsockname()[1]
    service.settings = replace(service.settings, port=port)
    server = Server(service)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    try:
        yield Running(f"http://127.0.0.1:{port}", port, service, server)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
