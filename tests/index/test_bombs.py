"""Small files that stand for large ones are refused within seconds and little memory, and Ctrl+C is heard meanwhile.

Every file is made here, and read in a process of its own, whose CPU time counts: the machine may be busy.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch

from chunkv2l.channels.cues import ChannelCue
from tests.helpers.bombs import btree_bomb, share_pages
from tests.helpers.indexes import write_index

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and counted resources of POSIX")
MEMORY = 1_500 << 20
SECONDS = 10.0
HEARD = 2.0
ROWS = 20_000
ROOT = Path(__file__).parents[2]

READ = """
import json, resource, sys, time
from chunkv2l.errors import InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.verify import verify
for path in sys.argv[1:]:
    started, before, said = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    try:
        with IndexFile(path) as index:
            for name in "codes keys chapters chapter_codes similar cues sentences sentence_vectors tags".split():
                try:
                    getattr(index, name)()
                except InputError as error:
                    said.append(str(error))
            try:
                index.search("dog")
            except InputError as error:
                said.append(str(error))
    except InputError as error:
        said.append(str(error))
    said += verify(path)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(json.dumps([said, time.process_time() - started, peak]), flush=True)
"""
HEAR = """
import resource, sys, time
from pathlib import Path
from chunkv2l.index.database import Database
from chunkv2l.index.file import IndexFile
import chunkv2l.index.database as module
module.READING_SECONDS = module.CHECK_SECONDS = 100.0
path, what = sys.argv[1:]
index = IndexFile(path)
try:
    print("reading", flush=True)
    if what == "search":
        index.search("dog")
    else:
        database = Database(Path(path))
        with database.reading(100.0):
            database.execute(what).fetchall()
except KeyboardInterrupt:
    print(time.process_time(), flush=True)
"""


def read(*paths: Path) -> dict[str, list[str]]:
    """Return what reading each file said, having checked the memory and the CPU time that it took."""
    command = [sys.executable, "-c", READ, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    said = {}
    for path, line in zip(paths, done.stdout.splitlines(), strict=True):
        said[path.stem], seconds, peak = json.loads(line)
        assert peak < MEMORY and seconds < SECONDS, (path.stem, seconds, peak)
    return said


def sound(path: Path, segments: int = 5) -> Path:
    return write_index(path, ["A dog."] * segments, keys=torch.ones(segments, 128), similar=[(0, 1, 0.5)], seconds=4.1)


def count_as(path: Path, rows: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'segments'", (str(rows),))
        connection.commit()


@pytest.mark.parametrize("is_empty", [False, True])
def test_towers_of_pages_in_any_table(tmp_path: Path, is_empty: bool) -> None:
    tables = ("meta", "segments", "chapters", "subtitles", "similar", "cues", "sentences", "tags")
    paths = []
    for table in (*tables, "words_data", "words_idx", "words_docsize", "words_config"):
        paths.append(sound(tmp_path / f"{table}.idx", segments=2 if table == "segments" else 5))
        btree_bomb(paths[-1], table, depth=8, is_empty=is_empty)
        assert paths[-1].stat().st_size < 1 << 20
    said = read(*paths)
    assert all(said.values()), said


def test_rows_that_share_their_keys_pages(tmp_path: Path) -> None:
    """20,000 keys of 16 KB in a file of some megabytes."""
    path = write_index(tmp_path / "a.idx", ["A dog."] * 2, keys=torch.full((2, 4000), 0.015), seconds=4.1)
    count_as(path, ROWS)
    share_pages(path, "segments", ROWS, (1, 2), 4.1)
    assert path.stat().st_size < ROWS * 16_000 // 10
    said = read(path)["a"]
    assert any("too small for that many" in sentence or "2nd reference" in sentence for sentence in said), said


def test_rows_that_share_their_texts_pages(tmp_path: Path) -> None:
    path = write_index(tmp_path / "a.idx", ["a" * 60_000] * 2, seconds=4.1)
    count_as(path, ROWS)
    share_pages(path, "segments", ROWS, (1, 2), 4.1)
    said = read(path)["a"]
    assert any("more text than there can be" in sentence for sentence in said), said


def test_cues_that_share_their_pages(tmp_path: Path) -> None:
    cues = [ChannelCue(4.1 * i, 4.1 * (i + 1), "word " * 12_000 + str(i), "given") for i in range(2)]
    path = write_index(tmp_path / "a.idx", ["A dog."] * 5, cues=cues, seconds=4.1)
    share_pages(path, "cues", ROWS, (1, 2), 4.1)
    said = read(path)["a"]
    assert any("more text than" in sentence for sentence in said), said


def test_vectors_that_share_their_pages(tmp_path: Path) -> None:
    cues = [ChannelCue(4.1 * i, 4.1 * (i + 1), f"A dog says {i}.", "given") for i in range(2)]
    path = write_index(
        tmp_path / "a.idx",
        ["A dog."] * 5,
        cues=cues,
        encoder=lambda sentences: torch.full((len(sentences), 4000), 0.015, dtype=torch.float16),
        seconds=4.1,
    )
    share_pages(path, "sentences", ROWS, (1, 2), 4.1)
    said = read(path)["a"]
    assert any("too small for that many sentences' vectors" in sentence for sentence in said), said


@pytest.mark.parametrize(
    ("table", "what"),
    [("words_config", "search"), ("similar", "SELECT count(a) FROM similar"), ("cues", "SELECT max(text) FROM cues")],
)
def test_ctrl_c_is_heard(tmp_path: Path, table: str, what: str) -> None:
    cues = [ChannelCue(0.0, 1.0, "A dog.", "given")]
    path = write_index(tmp_path / "a.idx", similar=[(0, 2, 0.5)], cues=cues)
    btree_bomb(path, table, depth=8)
    process = subprocess.Popen(
        [sys.executable, "-c", HEAR, str(path), what],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "reading\n"
        time.sleep(0.3)
        spent = cpu_seconds(process.pid)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=100)
    finally:
        process.kill()
        process.wait()
    assert out and "Traceback" not in errors, errors
    if spent is not None:
        assert float(out) - spent < HEARD


def cpu_seconds(pid: int) -> float | None:
    """Return the CPU time of another process; None where the system doesn't tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
