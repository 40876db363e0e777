"""Processes that read movies: nothing of the current folder is run, no more files are opened, none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from chunkv2l.errors import ChunkV2LError
from chunkv2l.models.smolvlm import inputs
from chunkv2l.video.child import python_command
from chunkv2l.video.frame_sampling import FrameSampling
from chunkv2l.video.parallel import coordinator
from chunkv2l.video.parallel.coordinator import cut_in_parallel
from chunkv2l.video.parallel.worker import Task
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import read_frames
from chunkv2l.video.readers.base import ReaderError
from chunkv2l.video.readers.decord import DecordReader, decord_installed
from chunkv2l.video.segmentation import Resources
from chunkv2l.video.settings import SegmentationSettings
from tests.helpers.media import joined, scene, write

SAMPLING = FrameSampling(partial(inputs.sample_times, max_frames=2), partial(inputs.shrink, longest_edge=24))
needs_decord = pytest.mark.skipif(not decord_installed(), reason="decord has no wheel here")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="works by means that Linux has")


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    return write(tmp_path / "a.mkv", joined(scene(n, 50) for n in range(6)))


@pytest.fixture
def traps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, full of modules that leave a mark when they are run."""
    folder = tmp_path / "current"
    folder.mkdir()
    for name in ("cv2", "numpy", "av", "pickle", "decord", "json", "scenedetect", "sitecustomize", "chunkv2l"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w').write({name!r})\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", ["", str(folder), *sys.path])
    return tmp_path / "sprung"


@linux
def test_workers_run_nothing_of_the_current_folder(movie: Path, traps: Path) -> None:
    task = Task(str(movie), SAMPLING, SegmentationSettings(), Resources())
    assert list(cut_in_parallel(task, 2, length=6.0, warm=3.0, tail=6.0))
    assert not traps.exists()


@needs_decord
def test_decord_runs_nothing_of_the_current_folder(movie: Path, traps: Path) -> None:
    assert len(list(read_frames(probe(movie), "decord"))) == 300
    assert not traps.exists()


def test_a_child_imports_this_very_package() -> None:
    command = python_command("chunkv2l.cli.main")
    package = Path(sys.modules["chunkv2l"].__file__ or "").resolve().parent
    done = subprocess.run([*command[:4], str(package), "chunkv2l.errors"], capture_output=True, text=True, check=False)
    assert "has no attribute 'main'" in done.stderr


@linux
def test_no_more_files_or_sockets_than_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    code = """
import socket, sys
from chunkv2l.video.child import limit_open_files
limit_open_files(1)
first = open(sys.argv[1])
for attempt in (lambda: open(sys.argv[1]), socket.socket):
    try:
        attempt()
        print("opened")
    except OSError as error:
        print(error.errno)
limit_open_files(0)
first.close()
try:
    open(sys.argv[1])
    print("opened")
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["24", "24", "opened"]  # within the limit, what was closed may be opened again


@needs_decord
@pytest.mark.parametrize(
    "text", [b"#EXTM3U\n#EXTINF:3,\n", b"ffconcat version 1.0\nfile ", b"[playlist]\nFile1=", b"<?xml?><MPD xmlns="]
)
def test_decord_reads_nothing_that_it_may_take_for_a_list(tmp_path: Path, text: bytes) -> None:
    info = probe(write(tmp_path / "a.ts", scene(1, 50)))
    secret = write(tmp_path / "secret.ts", scene(2, 50))
    content = text + str(secret).encode() + b"\n"
    info.path.write_bytes(content.ljust(376, b"\n") + info.path.read_bytes())
    with pytest.raises(ReaderError, match="list of other files"):
        DecordReader(info)


@needs_decord
@pytest.mark.parametrize("name", ["a%d.png", "a%03d.jpg", "a%*.bmp"])
def test_decord_reads_no_series_of_pictures(tmp_path: Path, name: str) -> None:
    """Of such a movie FFmpeg 4 reads other files alone."""
    info = probe(write(tmp_path / "a.mkv", scene(1, 5)))
    with pytest.raises(ReaderError, match="pattern of other files' names"):
        DecordReader(replace(info, path=info.path.rename(tmp_path / name)))


def wait_until_gone(number: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


PARENT = """
import sys
from tests.video.test_child import SAMPLING
from chunkv2l.video.parallel import coordinator
from chunkv2l.video.parallel.worker import Task
from chunkv2l.video.segmentation import Resources
from chunkv2l.video.settings import SegmentationSettings
import subprocess

start = subprocess.Popen
class Telling(start):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        print(self.pid, flush=True)
coordinator.subprocess.Popen = Telling
task = Task(sys.argv[1], SAMPLING, SegmentationSettings(), Resources())
for item in coordinator.cut_in_parallel(task, 1, length=300.0):
    print("segment", flush=True)
    sys.stdin.read()
"""


@linux
def test_a_stopped_worker_ends_with_its_parent(tmp_path: Path) -> None:
    movie = write(tmp_path / "long.mkv", joined(scene(n % 4, 50) for n in range(100)))  # takes seconds to read
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(movie)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert parent.stdout.readline() == "segment\n"
    os.kill(worker, signal.SIGSTOP)
    parent.kill()
    parent.communicate()
    assert wait_until_gone(worker)


@linux
def test_a_stopped_worker_is_given_up(movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    class Stopping(subprocess.Popen[bytes]):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)  # type: ignore[call-overload]
            started.append(self.pid)
            os.kill(self.pid, signal.SIGSTOP)

    monkeypatch.setattr(coordinator, "SILENCE", 1)
    monkeypatch.setattr(subprocess, "Popen", Stopping)
    task = Task(str(movie), SAMPLING, SegmentationSettings(), Resources())
    with pytest.raises(ChunkV2LError, match="it has said nothing for 1 s"):
        list(cut_in_parallel(task, 1, length=30.0))
    assert all(wait_until_gone(number) for number in started)
