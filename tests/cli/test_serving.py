"""`chunkv2l serve` as people start it: what it says, what it needs, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from chunkv2l.cli import main as cli
from chunkv2l.cli import serving
from tests.helpers.indexes import write_index

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_without_the_extra_a_sentence_names_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(serving, "PACKAGES", ("fastapi", "no_such_package"))
    assert cli.run(["serve", str(tmp_path)]) == 2
    assert "chunkv2l serve needs no_such_package" in (said := capsys.readouterr().err)
    assert "pip install 'chunkv2l[serve]'" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none"], "There is nothing at none"),
        ([".", "--token", "short"], "at least 16 characters"),
        ([".", "--port", "0"], "range"),
        ([".", "--host", "256.1.1.1"], "There is no address 256.1.1.1"),
        ([], "PATH"),
    ],
)
def test_bad_input_is_a_sentence(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["serve", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_port_that_is_taken_is_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert cli.run(["serve", str(tmp_path), "--port", port]) == 2
    assert f"Port {port} of 127.0.0.1 can't be listened to" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM of POSIX")
def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    write_index(tmp_path / "m.idx")
    port = free_port()
    command = [sys.executable, "-m", "chunkv2l", "serve", str(tmp_path), "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == f"Serving 1 movie at http://127.0.0.1:{port}/ (Ctrl+C ends it).\n"
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                (movie,) = client.get("/api/movies").json()
                assert movie["name"] == "m.idx"
                deadline = time.monotonic() + 60
                while client.get("/api/movies").json()[0]["state"] != "ready":  # looked at in the background
                    assert time.monotonic() < deadline
                    time.sleep(0.2)
                shown = client.get(f"/api/movies/{movie['id']}").json()
                assert len(shown["segments"]) == 5
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) in (0, -signal.SIGTERM)
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()
