"""Crafted files are refused, or read, within seconds and without much memory; what lies beside an index is ignored.

Every file is made here. What may take memory or time runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch
from PIL import Image

from chunkv2l.errors import InputError
from chunkv2l.index import database as module
from chunkv2l.index.database import Database
from chunkv2l.index.file import IndexFile
from chunkv2l.index.schema import part_path
from chunkv2l.index.verify import verify
from chunkv2l.index.writer import Writer
from tests.helpers.indexes import jpeg, origin, write_index

POSIX = pytest.mark.skipif(os.name != "posix", reason="pipes, holes and signals of POSIX")
MEMORY = 1_500 << 20

READ = """
import json, resource, sys, time
from chunkv2l.errors import InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.verify import verify
resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
for path in sys.argv[1:]:
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = []
    try:
        with IndexFile(path) as index:
            search = lambda: index.search("dog")
            for read in (index.keys, index.codes, index.similar, index.subtitles, index.chapters, search):
                try:
                    read()
                except InputError as error:
                    said.append(str(error))
    except InputError as error:
        said.append(str(error))
    said += verify(path)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(json.dumps([said, time.process_time() - started, peak]))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return what reading each crafted file said, having checked the memory and the time that it took."""
    folder = tmp_path_factory.mktemp("crafted")
    paths = {
        name: write_index(folder / f"{name}.idx", keys=torch.ones(5, 128)) for name in ("holes", "keys", "b2", "b8")
    }
    make_holes(paths["holes"], 12 << 30)
    change(paths["keys"], "UPDATE segments SET key = zeroblob(40000)")
    btree_bomb(paths["b2"], depth=2)
    btree_bomb(paths["b8"], depth=8)
    command = [sys.executable, "-c", READ, *map(str, paths.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-2000:]
    reports = dict(zip(paths, map(json.loads, done.stdout.splitlines()), strict=True))
    for name, (_, seconds, peak) in reports.items():
        assert peak < MEMORY and seconds < 20, (name, seconds, peak)
    return {name: sentences for name, (sentences, *_) in reports.items()}


def make_holes(path: Path, size: int) -> None:
    """Make a file claim so many bytes, of which all new ones are holes."""
    with path.open("r+b") as file:
        file.seek(28)
        file.write((size // 4096).to_bytes(4, "big"))
        file.truncate(size)


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@POSIX
@pytest.mark.parametrize("name", ["a.idx", "a.idx.part"])
def test_pipes_sockets_and_devices_are_refused_at_once(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / name)
    (tmp_path / "device.idx").symlink_to("/dev/zero")
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        monkeypatch.chdir(tmp_path)  # the name of a socket is at most some hundred letters long
        listener.bind("socket.idx")
        for path in (tmp_path / "a.idx", tmp_path / "socket.idx", tmp_path / "device.idx"):
            with pytest.raises(InputError):
                IndexFile(path)
            assert verify(path)
    if name.endswith(".part"):
        with pytest.raises(InputError, match="isn't a regular file"):
            Writer(tmp_path / "a.idx")


@POSIX
@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm"])
def test_pipes_beside_an_unfinished_index_are_refused(tmp_path: Path, ending: str) -> None:
    write_index(tmp_path / "a.idx", finish=False)
    os.mkfifo(tmp_path / f"a.idx.part{ending}")
    with pytest.raises(InputError, match=rf"a.idx.part{ending} isn't a file that chunkv2l build leaves"):
        Writer(tmp_path / "a.idx")
    with pytest.raises(InputError, match="isn't finished"):
        IndexFile(tmp_path / "a.idx")


@POSIX
def test_a_part_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"")
    part_path(tmp_path / "a.idx").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="isn't a regular file"):
        Writer(tmp_path / "a.idx")
    assert (tmp_path / "precious").read_bytes() == b""


def test_a_journal_that_names_a_file_removes_none(tmp_path: Path) -> None:
    precious, part, path = tmp_path / "precious", part_path(tmp_path / "a.idx"), tmp_path / "a.db"
    precious.write_text("precious")
    journal, name = part.with_name(f"{part.name}-journal"), str(precious).encode()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 2")  # so that the journal is on the disk before the end
        connection.execute("CREATE TABLE texts (text)")
        connection.executemany("INSERT INTO texts VALUES (?)", [("x" * 3000,)] * 20)
        connection.execute("BEGIN")
        connection.execute("UPDATE texts SET text = 'y' || text")
        part.write_bytes(path.read_bytes())
        written = (tmp_path / "a.db-journal").read_bytes()
    page = (0x40000000 // 4096 + 1).to_bytes(4, "big")
    record = len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big") + bytes.fromhex("d9d505f920a163d7")
    journal.write_bytes(written + page + name + record)
    for _ in range(2):  # with a .part beside it, and without
        with pytest.raises(InputError, match=r"a\.idx\.part-journal isn't a file that chunkv2l build leaves"):
            Writer(tmp_path / "a.idx")
        with pytest.raises(InputError):
            IndexFile(tmp_path / "a.idx")
        assert precious.read_text() == "precious"
        part.unlink(missing_ok=True)


def test_a_log_beside_an_index_says_nothing_of_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, other = write_index(tmp_path / "a.idx"), write_index(tmp_path / "b.idx")
    with closing(sqlite3.connect(other, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("UPDATE segments SET caption = 'planted'")
        log = (tmp_path / "b.idx-wal").read_bytes()
    assert len(log) > 4096
    (tmp_path / "a.idx-wal").write_bytes(log)
    before = path.read_bytes()
    with IndexFile(path) as index:
        assert "planted" not in [segment.caption for segment in index.segments]
    assert path.read_bytes() == before and "a.idx-wal is no part of the index" in caplog.text
    assert verify(path) == [f"{path}-wal is no part of the index: remove it."]


def test_a_journal_beside_an_index_does_it_no_harm(tmp_path: Path) -> None:
    path = write_index(tmp_path / "a.idx")
    (tmp_path / "a.idx-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + os.urandom(4096))
    with IndexFile(path) as index:
        assert len(index) == 5
    (tmp_path / "a.idx-journal").unlink()
    assert verify(path) == []


@POSIX
def test_files_of_holes_are_refused_without_being_copied(said: dict[str, list[str]]) -> None:
    assert any("holes" in sentence for sentence in said["holes"])


def test_a_small_file_with_large_keys(said: dict[str, list[str]]) -> None:
    assert any("key of segment 0 is missing or too large" in sentence for sentence in said["keys"])


def btree_bomb(path: Path, depth: int) -> None:
    """Make the root of `segments` a tower of pages, each of which names the one below many times."""
    size = 4096
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'segments'").fetchone()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    data = bytearray(path.read_bytes())
    leaf = data[(root - 1) * size : root * size]
    levels = [pages + 1 + level for level in range(depth + 1)]  # the last is the leaf
    cells = 250

    def interior(child: int) -> bytes:
        page = bytearray(size)
        page[0] = 5
        start = size - 5 * cells
        page[3:5], page[5:7] = cells.to_bytes(2, "big"), start.to_bytes(2, "big")
        page[8:12] = child.to_bytes(4, "big")
        for number in range(cells):
            place = start + 5 * number
            page[12 + 2 * number : 14 + 2 * number] = place.to_bytes(2, "big")
            page[place : place + 5] = child.to_bytes(4, "big") + bytes([1])
        return bytes(page)

    for level in range(depth):
        data += interior(levels[level + 1])
    data += leaf
    data[(root - 1) * size : root * size] = interior(levels[0])
    data[28:32] = (len(data) // size).to_bytes(4, "big")
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["b2", "b8"])
def test_btree_bombs_are_refused(said: dict[str, list[str]], name: str) -> None:
    assert said[name] and all(f"{name}.idx" in sentence for sentence in said[name])


def test_a_reading_that_takes_too_long_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_index(tmp_path / "a.idx", ["A dog."] * 400)
    with (
        closing(Database(path)) as database,
        pytest.raises(InputError, match="takes longer than an index of its size can take"),
        database.reading(0.05),
    ):
        database.execute("SELECT count(*) FROM segments a, segments b, segments c, segments d").fetchall()
    monkeypatch.setattr(module, "READING_SECONDS", 0.0)
    with closing(Database(path)) as database, database.reading():  # the next reading has a budget of its own
        assert database.execute("SELECT count(*) FROM segments").fetchone() == (400,)


@POSIX
def test_ctrl_c_is_heard_during_a_query(tmp_path: Path) -> None:
    path = write_index(tmp_path / "a.idx", ["A dog."] * 400)
    query = "SELECT count(*) FROM segments a, segments b, segments c, segments d"
    program = (
        "import sys; from pathlib import Path; from chunkv2l.index.database import Database\n"
        "database = Database(Path(sys.argv[1]))\n"
        "with database.reading(100):\n"
        f"    print('reading', flush=True); database.execute('{query}').fetchall()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "reading\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors and process.returncode != 0


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        ({"size": (1025, 8)}, "1025 × 8 pixels"),
        ({"size": (8, 1025)}, "8 × 1025 pixels"),
        ({"progressive": True}, "isn't a baseline JPEG"),
    ],
)
def test_pictures_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: dict[str, object], words: str
) -> None:
    path, drawn = write_index(tmp_path / "a.idx"), tmp_path / "a.jpg"
    Image.new("RGB", picture.pop("size", (64, 48))).save(drawn, **picture)  # type: ignore[arg-type]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE segments SET thumbnail = ? WHERE id = 1", (drawn.read_bytes(),))
        connection.commit()
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("it was opened"))
    with IndexFile(path) as index, pytest.raises(InputError, match=words):
        index.thumbnail(1)


def test_pictures_of_many_scans_are_refused(tmp_path: Path) -> None:
    path, picture = write_index(tmp_path / "a.idx"), jpeg()
    scan = picture[picture.index(b"\xff\xda") : -2]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "UPDATE segments SET thumbnail = ? WHERE id = 1", (picture[:-2] + scan * 500 + picture[-2:],)
        )
        connection.commit()
    with IndexFile(path) as index, pytest.raises(InputError, match="too many scans"):
        index.thumbnail(1)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("UPDATE segments SET end = 1e308 WHERE id = 4", "has a start or an end that can't be"),
        ("UPDATE segments SET mu = 1e300 WHERE id = 4", "mean score"),
        ("INSERT INTO similar VALUES (0, 1, 1e-320)", "no cosine above 0"),
        ("INSERT INTO subtitles VALUES (0, 0.0, 1e300, 'a')", "subtitle without times"),
    ],
)
def test_numbers_that_no_build_stores_are_named(tmp_path: Path, assignment: str, words: str) -> None:
    path = write_index(tmp_path / "a.idx")
    change(path, assignment)
    assert any(words in finding for finding in verify(path))


@pytest.mark.parametrize("value", [3e38, float("nan"), -1e9])
def test_codes_and_keys_out_of_range_are_named(tmp_path: Path, value: float) -> None:
    codes, keys = torch.full((5, 2, 2, 8), value), torch.full((5, 128), value)
    with IndexFile(write_index(tmp_path / "a.idx", codes=codes, kind="fp32", keys=keys)) as index:
        with pytest.raises(InputError, match="the code of segment 0 has values that aren't numbers"):
            index.codes()
        with pytest.raises(InputError, match="the key of segment 0 has values that aren't numbers"):
            index.keys()


@pytest.mark.parametrize("movie", [{"duration": 1e300}, {"duration": -1.0}, {"fps": "x"}, {"width": -5}])
def test_a_movie_that_cant_be(tmp_path: Path, movie: dict[str, object]) -> None:
    path = write_index(tmp_path / "a.idx")
    value = json.dumps({**origin()["movie"], **movie})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'movie'", (value,))
        connection.commit()
    with pytest.raises(InputError, match="a size or a duration that no movie has"):
        IndexFile(path)


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_of_any_bytes(tmp_path: Path) -> None:
    path = write_index(tmp_path / os.fsdecode(b"lat\xe9in?#%.idx"))
    with IndexFile(path) as index:
        assert len(index) == 5 and index.search("dog")
    assert verify(path) == []


def test_names_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 125 + ".idx")
    write_index(path, finish=False)
    (part,) = tmp_path.iterdir()
    assert part.name.endswith(".part") and part == part_path(path) != part_path(tmp_path / ("ä" * 125 + ".idy"))
    with pytest.raises(InputError, match="5 segments are stored") as caught:
        IndexFile(path)
    assert str(path) in str(caught.value)
    part.unlink()
    with IndexFile(write_index(path)) as index:
        assert len(index) == 5
