"""Small files that stand for large ones are refused within seconds and little memory, and Ctrl+C is heard meanwhile.

Every file is made here, and read in another process, whose CPU time counts: the machine may be busy.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from chunkv2l.channels.cues import ChannelCue
from chunkv2l.index.database import READING_SECONDS
from tests.helpers.bombs import btree_bomb, share_pages
from tests.helpers.indexes import write_index

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and counted resources of POSIX")
MEMORY = 150 << 20
HEARD = 2.0
ROOT = Path(__file__).parents[2]

READ = """
import json, os, resource, sys, time
import chunkv2l.index.database as module
from chunkv2l.errors import InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.verify import verify

def memory(name):
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

for path, budget in json.loads(sys.argv[1]):
    module.READING_SECONDS = budget
    if sys.platform == "linux":
        open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    started, before, said = time.process_time(), memory("VmRSS"), []
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
    print(json.dumps([said, time.process_time() - started, memory("VmHWM") - before]), flush=True)
"""
HEAR = """
import sys, time
from pathlib import Path
import chunkv2l.index.database as module
module.READING_SECONDS = 100.0
path, what = sys.argv[1:]
if what == "search":
    from chunkv2l.index.file import IndexFile  # and torch with it
    index = IndexFile(path)
else:
    database = module.Database(Path(path))
try:
    print("reading", flush=True)
    if what == "search":
        index.search("dog")
    else:
        with database.reading():
            database.execute(what).fetchall()
except KeyboardInterrupt:
    print(time.process_time(), flush=True)
"""


def sound(path: Path, segments: int = 5) -> Path:
    return write_index(path, ["A dog."] * segments, keys=torch.ones(segments, 128), similar=[(0, 1, 0.5)], seconds=4.1)


def count_as(path: Path, rows: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'segments'", (str(rows),))
        connection.commit()


def keys_of_shared_pages(path: Path, rows: int) -> None:
    """Keys of 16 KB in a file of a tenth of their size."""
    write_index(path, ["A dog."] * 2, keys=torch.full((2, 4000), 0.015), seconds=4.1)
    count_as(path, rows)
    share_pages(path, "segments", rows, (1, 2), 4.1)
    assert path.stat().st_size < rows * 16_000 // 10


def texts_of_shared_pages(path: Path, rows: int) -> None:
    """Captions of 60 KB."""
    write_index(path, ["a" * 60_000] * 2, seconds=4.1)
    count_as(path, rows)
    share_pages(path, "segments", rows, (1, 2), 4.1)


def cues_of_shared_pages(path: Path, rows: int) -> None:
    """Cues of 60 KB."""
    cues = [ChannelCue(4.1 * i, 4.1 * (i + 1), "word " * 12_000 + str(i), "given") for i in range(2)]
    write_index(path, ["A dog."] * 5, cues=cues, seconds=4.1)
    share_pages(path, "cues", rows, (1, 2), 4.1)


def vectors_of_shared_pages(path: Path, rows: int) -> None:
    """Vectors of 8 KB."""
    cues = [ChannelCue(4.1 * i, 4.1 * (i + 1), f"A dog says {i}.", "given") for i in range(2)]
    write_index(
        path,
        ["A dog."] * 5,
        cues=cues,
        encoder=lambda sentences: torch.full((len(sentences), 4000), 0.015, dtype=torch.float16),
        seconds=4.1,
    )
    share_pages(path, "sentences", rows, (1, 2), 4.1)


SHARED: dict[Callable[[Path, int], None], tuple[str, ...]] = {
    keys_of_shared_pages: ("too small for that many", "2nd reference"),
    texts_of_shared_pages: ("more text than there can be",),
    cues_of_shared_pages: ("more text than",),
    vectors_of_shared_pages: ("too small for that many sentences' vectors",),
}
TABLES = ("meta", "segments", "chapters", "subtitles", "similar", "cues", "sentences", "tags")
TOWERS = (*TABLES, "words_data", "words_idx", "words_docsize", "words_config")


@dataclass(frozen=True)
class Reading:
    """What reading a file said, in CPU seconds and bytes of memory."""

    said: list[str]
    seconds: float
    memory: int


@dataclass(frozen=True)
class Scale:
    """Sizes of bombs.

    Attributes:
        budget: CPU seconds that one reading of a tower of pages may take.
        rows: rows that share their pages.
        seconds: CPU seconds in which a whole file is refused.
    """

    budget: float
    rows: int
    seconds: float


SCALES = [
    pytest.param(Scale(READING_SECONDS / 10, 4_000, 5.0), id="small"),
    pytest.param(Scale(READING_SECONDS, 20_000, 10.0), id="full", marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=SCALES)
def scale(request: pytest.FixtureRequest) -> Scale:
    chosen: Scale = request.param
    return chosen


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory, scale: Scale) -> dict[str, Reading]:
    """Every bomb, read in one process."""
    folder = tmp_path_factory.mktemp("bombs")
    budgets = {}
    for table in TOWERS:
        for is_empty in (False, True):
            path = sound(folder / f"{table}-{is_empty}.idx", segments=2 if table == "segments" else 5)
            btree_bomb(path, table, depth=8, is_empty=is_empty)
            assert path.stat().st_size < 1 << 20
            budgets[path] = scale.budget
    for make in SHARED:
        path = folder / f"{make.__name__}.idx"
        make(path, scale.rows)
        budgets[path] = READING_SECONDS
    order = json.dumps([(str(path), budget) for path, budget in budgets.items()])
    done = subprocess.run([sys.executable, "-c", READ, order], capture_output=True, text=True, timeout=280, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    return {path.stem: Reading(*json.loads(line)) for path, line in zip(budgets, done.stdout.splitlines(), strict=True)}


@pytest.mark.parametrize("is_empty", [False, True])
@pytest.mark.parametrize("table", TOWERS)
def test_towers_of_pages_in_any_table(readings: dict[str, Reading], scale: Scale, table: str, is_empty: bool) -> None:
    reading = readings[f"{table}-{is_empty}"]
    assert reading.said
    assert reading.memory < MEMORY and reading.seconds < scale.seconds, reading


@pytest.mark.parametrize("make", SHARED)
def test_rows_that_share_their_pages(
    readings: dict[str, Reading], scale: Scale, make: Callable[[Path, int], None]
) -> None:
    reading = readings[make.__name__]
    assert any(words in sentence for sentence in reading.said for words in SHARED[make]), reading.said
    assert reading.memory < MEMORY and reading.seconds < scale.seconds, reading


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
