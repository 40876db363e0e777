"""A sandboxed task answers as the function does, and can't use more than it may."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.sandbox.limits import Limits
from chunkv2l.sandbox.parent import run_task
from tests.helpers.indexes import CAPTIONS, write_index

ROOT = Path(__file__).parents[2]
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")


def run_limited(program: str, limits: Limits) -> subprocess.CompletedProcess[str]:
    """Run a program in a process that has set the limits."""
    lines = (
        "import sys; from chunkv2l.sandbox.confinement import leave_network\n"
        "from chunkv2l.sandbox.limits import Limits, set_limits\n"
        f"is_offline = leave_network(); set_limits({limits!r})\n{program}"
    )
    return subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, timeout=100)


def test_the_answer_is_the_functions_own(tmp_path: Path) -> None:
    path = write_index(tmp_path / "a.idx")
    told = run_task("describe index", path).result
    assert [segment["caption"] for segment in told["segments"]] == list(CAPTIONS)
    path.write_bytes(path.read_bytes()[:5000])
    assert "damaged" in run_task("verify index", path).result[0]


def test_subtitles_and_their_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.srt").write_text("1\n00:00:01,000 --> 00:00:03,000\nHello there!\n")
    (tmp_path / "json.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)  # nothing in the current folder is run
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (cue,) = run_task("read subtitles", "a.srt").result["cues"]
    assert cue["text"] == "Hello there!"
    with pytest.raises(InputError, match=r"There is no .*b\.srt"):
        run_task("read subtitles", "b.srt")
    with pytest.raises(InputError, match="takes more than 20 bytes to say"):
        run_task("read subtitles", "a.srt", Limits(answer=20))
    with pytest.raises(ChunkV2LError, match="ended with code"):
        run_task("no such task", "a.srt")


@LINUX
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("b = bytearray(200 << 20)", "MemoryError"),
        ("open('/dev/shm/written', 'w').write('x' * 100000)", "File too large"),
        ("files = [open('/dev/null') for _ in range(100)]", "Too many open files"),
    ],
)
def test_what_a_task_may_not(program: str, words: str) -> None:
    done = run_limited(program, Limits(memory=100 << 20))
    assert done.returncode != 0 and words in done.stderr
    assert run_limited("b = bytearray(50 << 20)", Limits(memory=100 << 20)).returncode == 0


@LINUX
def test_a_task_that_doesnt_end_is_ended() -> None:
    done = run_limited("while True: pass", Limits(seconds=1))
    assert done.returncode < 0


@LINUX
def test_without_a_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = (
            f"import json, socket; print(json.dumps([is_offline, socket.socket().connect_ex(('127.0.0.1', {port}))]))"
        )
        is_offline, error = json.loads(run_limited(program, Limits()).stdout)
    if not is_offline:
        pytest.skip("this system lets only root leave the network")
    assert error != 0


@LINUX
def test_nothing_else_is_read_and_nothing_changed_or_run(tmp_path: Path) -> None:
    victim, readable, folder = tmp_path / "victim", tmp_path / "readable", tmp_path / "folder"
    for file in (victim, readable):
        file.write_text("precious")
    folder.mkdir()
    (folder / "link").symlink_to(readable)  # as in the cache of a hub
    before = victim.stat()
    allowed = (
        "open(path + '/link').read()",
        "open(path + '/../readable').read()",
        "os.listdir(path)",
        "import_lazily()",
    )
    attempts = (
        *allowed,
        "open(victim).read()",
        "open('/etc/passwd').read()",
        "os.listdir('/')",
        "open(victim, 'w')",
        "os.truncate(victim, 0)",
        "os.unlink(victim)",
        "os.rename(victim, victim + '2')",
        "os.symlink('/', victim + '3')",
        "os.chmod(victim, 0)",
        "os.chown(victim, os.getuid(), os.getgid())",
        "os.utime(victim)",
        "os.setxattr(victim, 'user.a', b'a')",
        "os.execv('/bin/true', ['true'])",
    )
    program = (
        "import json, os\nfrom chunkv2l.sandbox.confinement import confine\n"
        f"path, readable, victim = {str(folder)!r}, {str(readable)!r}, {str(victim)!r}\n"
        "done, is_safe = [], confine(path)\n"
        "import_lazily = lambda: __import__('wave')\n"
        f"for attempt in {attempts!r}:\n"
        "    try: done.append(attempt) if is_safe and eval(attempt) != 0 else None\n"
        "    except OSError: pass\n"
        "print(json.dumps([is_safe, done]))"
    )
    is_safe, done = json.loads(run_limited(program, Limits()).stdout)
    if not is_safe:
        pytest.skip("this system has no Landlock")
    assert done == list(allowed)
    after = victim.stat()
    assert victim.read_text() == "precious"
    assert (after.st_mode, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_mode,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


@LINUX
def test_a_process_that_is_left_behind_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nsleep 4 &\nexit 0\n")  # the other one keeps the output open
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr("chunkv2l.sandbox.parent.STARTING_SECONDS", 0.2)
    begin = time.monotonic()
    with pytest.raises(ChunkV2LError, match="can't be read"):
        run_task("verify index", tmp_path / "a.idx", Limits(seconds=0))
    assert time.monotonic() - begin < 3


@LINUX
def test_the_child_ends_with_its_parent() -> None:
    program = (
        "import os, subprocess, sys, time\n"
        "lines = 'from chunkv2l.sandbox.confinement import leave_network; leave_network(); print(1, flush=True); '\n"
        "child = subprocess.Popen([sys.executable, '-c', lines + 'import time; time.sleep(100)'], stdout=-1)\n"
        "child.stdout.readline(); print(child.pid, flush=True); os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=100)
    pid = int(done.stdout)
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        os.sched_yield()
        subprocess.run(["sleep", "0.05"], check=True)
    pytest.fail("it is still there")
