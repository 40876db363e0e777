"""Measure a server under load: clients that ask at once, against one process that asks in a loop; then its memory.

    python -m evaluation serving --index movie.idx

The loop and the server take turns (half of the loop before the clients, half behind them), ask the same different
questions of the same index, and use the same cores. The clients are threads of this process that mostly wait. The
server is `chunkv2l serve` in a process of its own, whose memory is read after every hundredth question.
"""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from chunkv2l.cli import streams as terminal
from chunkv2l.errors import ChunkV2LError
from evaluation.common import results, table
from evaluation.common.options import device_option, hypernet_option, out_option

if TYPE_CHECKING:
    from chunkv2l.ask import Index

STARTING = 180.0
"""Seconds in which the server must be ready."""
EVERY = 100
"""Questions between looks at the server's memory."""
_SUBJECTS = ("man", "woman", "child", "dog", "cat", "horse", "bird", "car", "bicycle", "boat", "train", "cup", "rocket")
_LOOKS = ("red", "blue", "green", "small", "large", "old", "young", "striped", "wet", "dark", "bright", "fast")
_PLACES = ("near the water", "on the street", "in the snow", "at the table", "in the forest", "on a stage", "in a room")
_FORMS = ("When does a {} {} appear {}?", "What is the {} {} doing {}?")


def questions() -> list[str]:
    """Return 2,184 different questions, half of them for moments and half for text, in turns."""
    triples = itertools.product(_PLACES, _LOOKS, _SUBJECTS)
    return [form.format(look, subject, place) for place, look, subject in triples for form in _FORMS]


@dataclass(frozen=True)
class Load:
    """The result of clients that asked at once.

    Attributes:
        answered: questions with an answer.
        errors: numbers of other answers, by status, and of broken connections.
        seconds: from the first question to the last answer.
        latencies: seconds of each answer.
    """

    answered: int
    errors: dict[str, int]
    seconds: float
    latencies: tuple[float, ...]

    @property
    def throughput(self) -> float:
        """Return answers a second."""
        return self.answered / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Return the latency that this share of answers doesn't exceed, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def ask_in_loop(index: Index, asked: Iterator[str], seconds: float) -> tuple[int, float]:
    """Return how many questions one process answers in a loop, and the seconds that it took."""
    started, count = perf_counter(), 0
    while perf_counter() - started < seconds:
        index.ask(next(asked))
        count += 1
    return count, perf_counter() - started


def ask_at_once(port: int, movie_id: str, asked: Iterator[str], clients: int, seconds: float) -> Load:
    """Let clients ask a server at once, each its next question as soon as it has an answer."""
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    lock = threading.Lock()
    started = perf_counter()

    def run() -> None:
        while perf_counter() - started < seconds:
            with lock:
                question = next(asked)
            begun = perf_counter()
            try:
                status = ask_server(port, movie_id, question)
            except (OSError, http.client.HTTPException):
                status = 0
            with lock:
                if status == 200:
                    latencies.append(perf_counter() - begun)
                else:
                    errors[str(status or "connection")] += 1

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(len(latencies), dict(errors), perf_counter() - started, tuple(latencies))


def ask_server(port: int, movie_id: str, question: str) -> int:
    """Ask a server a question; return the status of its answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=300)) as connection:
        body = json.dumps({"question": question})
        connection.request("POST", f"/api/movies/{movie_id}/ask", body, {"content-type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.status


def watch_memory(
    port: int, movie_id: str, process: int, asked: Iterator[str], count: int, patience: float
) -> list[tuple[int, int]]:
    """Ask so many questions one after the other; return (questions, bytes of the server) at every `EVERY` of them.

    Args:
        patience: seconds after which no further question is asked.
    """
    started, marks = perf_counter(), [(0, resident_memory(process))]
    for number in range(1, count + 1):
        ask_server(port, movie_id, next(asked))
        if number % EVERY == 0:
            marks.append((number, resident_memory(process)))
        if perf_counter() - started > patience:
            break
    return marks


def resident_memory(process: int) -> int:
    """Return the resident memory of a process, in bytes.

    Raises:
        ChunkV2LError: the system doesn't tell.
    """
    try:
        for line in Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    raise ChunkV2LError("This system doesn't tell a process's memory: the command needs Linux.")


def growth(marks: Sequence[tuple[int, int]]) -> float | None:
    """Return the memory of the last quarter over that of the second, medians: 1 is flat; None for too few marks."""
    if len(marks) < 8:
        return None
    quarter = len(marks) // 4
    early, late = marks[quarter : 2 * quarter], marks[-quarter:]
    return statistics.median(size for _, size in late) / statistics.median(size for _, size in early)


@contextmanager
def serving(index: Path, extra: Sequence[str]) -> Iterator[tuple[int, str, int]]:
    """Start a server for an index; yield its port, the movie's id and the process's number, its model loaded.

    Raises:
        ChunkV2LError: it doesn't start in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "chunkv2l", "serve", str(index), "--port", str(port), "--read-only", *extra]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield port, _wait_until_ready(port, process), process.pid
        finally:
            process.terminate()


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> str:
    deadline = perf_counter() + STARTING
    while perf_counter() < deadline and process.poll() is None:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
                connection.request("GET", "/api/movies")
                movies = json.loads(connection.getresponse().read())
            if movies and movies[0]["state"] == "ready":
                movie_id = str(movies[0]["id"])
                if ask_server(port, movie_id, "When does it begin?") == 200:
                    return movie_id
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.5)
    raise ChunkV2LError("The server wasn't ready in time: start it by hand to see why.")


@click.command("serving", short_help="A server under load, and its memory.")
@click.option("--index", type=click.Path(exists=True, path_type=Path), required=True, help="The index to ask.")
@click.option("--clients", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True, help="Of load.")
@click.option("--loop-seconds", type=click.FloatRange(min=1), default=60.0, show_default=True, help="Of the loop.")
@click.option("--count", type=click.IntRange(min=0), default=2000, show_default=True, help="Questions for the memory.")
@click.option("--patience", default=1500.0, show_default=True, help="Seconds for those questions.")
@click.option("--model", metavar="NAME|FOLDER", help="Where the index doesn't know.")
@hypernet_option
@device_option
@out_option
def command(
    index: Path, clients: int, seconds: float, loop_seconds: float, count: int, patience: float,
    model: str | None, hypernet: str | None, device: str, out: Path,
) -> None:  # fmt: skip
    """Measure answers a second and their latency under load, and whether the server's memory stays."""
    from chunkv2l.ask import open_index

    extra = [*(("--model", model) if model else ()), *(("--hypernet", hypernet) if hypernet else ())]
    extra += ["--device", device]
    asked = questions()
    with open_index(index, model, hypernet=hypernet, device=device) as opened:
        opened.ask(asked[-1])
        first = ask_in_loop(opened, iter(asked), loop_seconds / 2)
    with serving(index, extra) as (port, movie_id, _):
        load = ask_at_once(port, movie_id, iter(asked), clients, seconds)
    with open_index(index, model, hypernet=hypernet, device=device) as opened:
        opened.ask(asked[-1])
        second = ask_in_loop(opened, iter(asked), loop_seconds / 2)
    loop = (first[0] + second[0]) / (first[1] + second[1])
    marks: list[tuple[int, int]] = []
    if count:
        with serving(index, extra) as (port, movie_id, process):
            marks = watch_memory(port, movie_id, process, itertools.cycle(asked), count, patience)
    figures: dict[str, Any] = {
        "clients": clients,
        "answered": load.answered,
        "errors": load.errors,
        "seconds": load.seconds,
        "p50_s": load.percentile(0.5),
        "p95_s": load.percentile(0.95),
        "p99_s": load.percentile(0.99),
        "throughput": load.throughput,
        "loop": {"throughput": loop, "halves": [asdict(_Half(*half)) for half in (first, second)]},
        "ratio": load.throughput / loop if loop else None,
        "memory": marks,
        "growth": growth(marks),
    }
    results.write("serving", figures, text := _describe(load, loop, marks), out=out)
    terminal.emit(text)


@dataclass(frozen=True)
class _Half:
    """One half of the loop: questions answered, and seconds."""

    answered: int
    seconds: float


def _describe(load: Load, loop: float, marks: Sequence[tuple[int, int]]) -> str:
    rows = [
        ["answers, errors", f"{load.answered}, {sum(load.errors.values())}"],
        ["p50, p95, p99", ", ".join(f"{load.percentile(share):.2f} s" for share in (0.5, 0.95, 0.99))],
        ["answers a second", f"{load.throughput:.2f}"],
        ["the same in a loop", f"{loop:.2f}"],
        ["ratio", f"{load.throughput / loop:.2f}" if loop else "–"],
    ]
    if len(marks) > 1:
        grown = growth(marks)
        rows.append([f"memory after {marks[1][0]} questions", f"{marks[1][1] / 1e6:.0f} MB"])
        rows.append([f"memory after {marks[-1][0]} questions", f"{marks[-1][1] / 1e6:.0f} MB"])
        rows.append(["last quarter over second", "–" if grown is None else f"{grown:.3f}"])
    return table.markdown(["server", "value"], rows)
