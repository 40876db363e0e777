"""`chunkv2l build X` for everything that X shouldn't be: a sentence, exit code 2, and no weights fetched or loaded."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import pytest

import chunkv2l
from chunkv2l.cli import main as cli
from chunkv2l.errors import InputError
from tests.helpers.fake_vlm import fake_model
from tests.helpers.media import scene, truncate, write, write_sound
from tests.helpers.movies import block_movie
from tests.helpers.written import random_codes, write_index

ROOT = Path(__file__).parents[2]
WHEN = "When does a dog catch the ball?"


def no_pictures(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height = 64, 48
        container.start_encoding()
    return path


def text(path: Path) -> Path:
    path.write_text("These are words.\n" * 50)
    return path


def closed(path: Path) -> Path:
    write(path, scene(1, 3)).chmod(0)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no video stream.mp4": (no_pictures, "has no video stream"),
    "zero frames.avi": (no_pictures, "without a single picture"),
    "truncated.mp4": (lambda path: truncate(write(path, scene(1, 50)), 0.5), "cut off"),
    "audio only.m4a": (write_sound, "sound but no video stream"),
    "directory.mp4": (folder, "There is no movie in"),
    "missing.mp4": (lambda path: path, "does not exist"),
    "text.mp4": (text, "is not a movie"),
    "unreadable.mp4": (closed, "permission denied"),
    "empty.mp4": (empty, "is empty"),
}
BAD_OPTIONS = {
    "--detector magic": "There is no scene detector 'magic'",
    "--detector fixed:99": "fixed:99 lies outside",
    "--min-length 0": "--min-length",
    "--max-length 1": "--max-length",
    "-o nowhere/out.idx": "no folder",
    "-o out.part": "unfinished index",
}


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with nothing in the cache and no network; its cache is still empty in the end."""
    cache = tmp_path / "cache"
    dead = "http://127.0.0.1:9"  # nobody listens there
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "PIP_INDEX_URL", "HF_ENDPOINT"):
        monkeypatch.setenv(name, dead)
    monkeypatch.setenv("CHUNKV2L_CACHE", str(cache))
    monkeypatch.setenv("HF_HOME", str(cache))
    monkeypatch.chdir(tmp_path)
    yield cache
    assert not cache.exists()


@pytest.fixture
def nobody() -> Iterator[Callable[[], None]]:
    """Called, it makes this process one that may not read everything."""
    root = os.name == "posix" and os.geteuid() == 0

    def become() -> None:
        import_module("chunkv2l.indexing.build")  # while its files may be read
        if root:
            os.seteuid(65534)

    yield become
    if root:
        os.seteuid(0)


def check(code: int, out: str, err: str, name: str, message: str) -> None:
    assert code == 2 and out == "", err
    assert name in err and message in err, err
    assert err.startswith("Error: ") and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize("name", BAD)
def test_bad_movies(
    name: str,
    bare: Path,
    nobody: Callable[[], None],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: pytest.fail("weights were loaded"))
    make, message = BAD[name]
    if make is closed:
        if os.name == "nt":
            pytest.skip("permissions as on Unix")
        make(Path(name))
        Path.cwd().chmod(0o755)
        nobody()
    else:
        make(Path(name))
    code = cli.run(["build", name])
    printed = capsys.readouterr()
    check(code, printed.out, printed.err, name, message)


@pytest.mark.parametrize("options", BAD_OPTIONS)
def test_bad_options(
    options: str, bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: pytest.fail("weights were loaded"))
    write(Path("a.mp4"), scene(1, 25))
    code = cli.run(["build", "a.mp4", *options.split()])
    printed = capsys.readouterr()
    check(code, printed.out, printed.err, "", BAD_OPTIONS[options])
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["a.mp4"]


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "chunkv2l", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | path,
    )


@pytest.mark.long  # each imports everything
@pytest.mark.parametrize("name", [name for name in BAD if name != "unreadable.mp4"])
def test_bad_movies_given_to_the_program(name: str, bare: Path) -> None:
    make, message = BAD[name]
    make(Path(name))
    done = program("build", name)
    check(done.returncode, done.stdout, done.stderr, name, message)


@pytest.mark.long
def test_debugging_shows_where_it_was_found(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHUNKV2L_DEBUG", "1")
    text(Path("text.mp4"))
    done = program("build", "text.mp4")
    assert done.returncode == 2 and "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: text.mp4 is not a movie")


SLOW = """
import sys
import chunkv2l.models
import chunkv2l
from chunkv2l.cli import main as cli
from chunkv2l.errors import InputError
from tests.helpers.fake_vlm import fake_model
chunkv2l.models.load_model = lambda *_, **__: fake_model(delay=0.05)
cli.main(sys.argv[1:])
"""


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_ctrl_c_during_a_build_is_130_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: fake_model())
    movie, out = block_movie(tmp_path / "blocks.mp4", [2.0] * 20), tmp_path / "out.idx"
    arguments = ["build", str(movie), "-o", str(out), "--detector", "fixed:2", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    until = time.monotonic() + 60
    while not stored(out) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out_text, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert out_text == "" and errors.splitlines()[-1].startswith("Interrupted") and "Traceback" not in errors
    assert not out.exists() and stored(out)
    assert cli.run(arguments) == 0
    printed = capsys.readouterr()
    assert '"segments": 20' in printed.out and "Going on after the" in printed.err and out.exists()


def stored(out: Path) -> int:
    """How many segments a .part holds."""
    import sqlite3
    from contextlib import closing

    part = out.with_name(out.name + ".part")
    if not part.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{part.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM segments").fetchone()[0])
    except sqlite3.Error:
        return 0


ADDRESSES = {
    "https://example.com/a.mp4": "download it first",
    "HTTP://example.com/watch?v=x": "download it first",
    "rtsp://camera/1": "record it first",
    "s3://bucket/a.mp4": "download it first",
    "file:///movies/a.mp4": "give the path alone, /movies/a.mp4",
    "-": "can't be read from standard input",
    "": "empty",
}


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize("command", [("build",), ("ask", WHEN), ("show",)])
def test_what_is_no_file_is_named_as_what_it_is(
    name: str, command: tuple[str, ...], bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([command[0], name, *command[1:]]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and ADDRESSES[name] in printed.err and "fault of chunkv2l" not in printed.err


@pytest.mark.parametrize("name", ADDRESSES)
def test_the_library_says_so_too(name: str, bare: Path) -> None:
    for use in (chunkv2l.build, chunkv2l.open):
        with pytest.raises(InputError, match=re.escape(ADDRESSES[name])):
            use(name)
        if name:
            with pytest.raises(InputError, match=re.escape(ADDRESSES[name])):
                use(Path(name))


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_folders_without_movies(name: str, bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["build", name]) == 2
    assert "There is no movie in" in capsys.readouterr().err


def test_an_index_is_no_movie(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_index(Path("a.idx"), random_codes(2))
    assert cli.run(["build", "a.idx"]) == 2
    assert "a.idx is an index, not a movie" in capsys.readouterr().err


EMPTY = [
    ("build", "a.mp4", "-o", ""),
    ("build", "a.mp4", "--model", ""),
    ("build", "a.mp4", "--subtitles", ""),
    ("ask", "a.idx", WHEN, "--plot", ""),
    ("ask", "a.idx", WHEN, "--policy", ""),
    ("export", "a.idx", "-o", ""),
    ("verify", ""),
    ("models", "fetch", ""),
    ("doctor", "--model", ""),
]


@pytest.mark.parametrize("arguments", EMPTY)
def test_an_empty_value_is_refused(arguments: tuple[str, ...], bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_index(Path("a.idx"), random_codes(2))
    assert cli.run(arguments) == 2
    printed = capsys.readouterr()
    assert "it is empty: give a value, or leave it out" in printed.err and printed.out == ""
    assert [path.name for path in Path.cwd().iterdir()] == ["a.idx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ask", WHEN, "a.idx"), f"The index comes first: chunkv2l ask a.idx '{WHEN}'"),
        (("ask", "a.idx", "a", "dog", "barks"), "Put the question into quotes: chunkv2l ask a.idx 'a dog barks'"),
        (("ask", "a.idx", WHEN, "--top-k", "9" * 5000), "--top-k"),
        (("ask", "a.idx", WHEN, "--budget", "9" * 5000), "neither a number"),
        (("ask", "a.idx", WHEN, "--budget", "²"), "neither a number"),
        (("export", "a.idx", "-o", "out", "--segments", "9" * 5000), "names no segments"),
        (("export", "a.idx", "-o", "out", "--segments", "1-" + "9" * 5000), "names no segments"),
        (("export", "a.idx", "-o", "out", "--max-rank", "9" * 5000), "--max-rank"),
    ],
)
def test_arguments_in_the_wrong_order_or_too_long(
    arguments: tuple[str, ...], message: str, bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_index(Path("a.idx"), random_codes(2))
    assert cli.run(arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err and len(printed.err) < 1000 and printed.out == ""
