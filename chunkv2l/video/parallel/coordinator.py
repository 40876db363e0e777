"""Cuts a movie in several processes at once, for models that are faster than one reader.

One process can spread little of decoding and detection over cores, so a model on a GPU would wait for it
(docs/measurements.md#reading-in-several-processes). The movie is therefore read in parts of at most `LENGTH` seconds,
on all cores but one, each from `WARM` seconds before the part to `TAIL` seconds behind its end. Where two neighbours
have found the same segment, cut by cut, their detectors are in the same state, and one goes on where the other stops:
the segments are those of a single reader. Where neighbours don't agree, a single process reads the rest.
"""

from __future__ import annotations

import logging
import os
import pickle
import select
import socket
import subprocess
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from math import ceil, inf
from threading import Condition, Thread
from typing import Final

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.video.child import python_command
from chunkv2l.video.container import LARGE_PICTURE
from chunkv2l.video.notes import Notes
from chunkv2l.video.parallel import transport
from chunkv2l.video.parallel.worker import GO_ON, Message, Task, check_message
from chunkv2l.video.probe import MovieInfo, probe
from chunkv2l.video.sampling import count_cores
from chunkv2l.video.segmentation import CutSegment, Part

logger = logging.getLogger("chunkv2l")

LENGTH: Final = 120.0
"""Seconds of the longest part."""
SHORT: Final = 12.0
"""Seconds of the shortest part, where parts grow."""
WARM: Final = 16.0
"""Seconds that are read before a part."""
TAIL: Final = 32.0
"""Seconds that are read behind it."""
ROOM: Final = 640 << 20
"""Bytes of whole frames that a process holds at most. With fewer it shrinks many frames that no clip uses
(docs/measurements.md#frames-held-whole)."""
LIMITED_ROOM: Final = 128 << 20
"""Bytes of whole frames that a process holds at most where pictures are large."""
MAX_FPS: Final = 40.0
"""Of faster movies detection skips frames, and which ones depends on where it began."""
SILENCE: Final = 30
"""Seconds without a word after which a process counts as stopped. It reports that it lives every few seconds."""


def is_worthwhile(info: MovieInfo, device: str, workers: int, length: float = LENGTH) -> bool:
    """Return whether a movie should be cut in parallel for a model on this type of device."""
    return device != "cpu" and workers > 1 and info.fps <= MAX_FPS and info.duration > 2 * length


def needs_limits(info: MovieInfo) -> bool:
    """Return whether a decoder may need so much memory for a movie that a process with limits should read it."""
    return transport.AVAILABLE and info.picture_bytes > LARGE_PICTURE


def count_workers() -> int:
    """Return how many processes may read: all cores but one, which is the model's; 1 where the system lacks a means."""
    return max(1, count_cores() - 1) if transport.AVAILABLE and hasattr(os, "sched_setaffinity") else 1


def cut_in_parallel(
    task: Task,
    workers: int,
    *,
    notes: Notes | None = None,
    length: float | None = None,
    warm: float = WARM,
    tail: float = TAIL,
) -> Generator[CutSegment, None, None]:
    """Yield what `segmentation.cut` yields, by `workers` processes.

    Args:
        notes: as in `cut`.
        length: seconds of each part; None for parts that grow to `LENGTH` and shrink again.
        warm, tail: seconds that are read before each part and behind it.

    Raises:
        InputError, ChunkV2LError: as `cut`.
    """
    notes = Notes() if notes is None else notes
    info = probe(task.path, task.settings.stream)
    borders = (
        plan_borders(info.duration, workers)
        if length is None
        else _even_borders(length, max(1, ceil(info.duration / length)))
    )
    stops = [*(border + tail for border in borders[1:]), inf]
    parts = [Part(max(0.0, border - warm), stop) for border, stop in zip(borders, stops, strict=True)]
    part_number, position = 0, 0
    with _run_workers(task, parts, workers, notes) as results:
        while True:
            current = results[part_number]
            item = current.take(position)
            if item is None:
                if current.has_ended:
                    return
                break  # no segment joins this part and the next
            following = results[part_number + 1] if part_number + 1 < len(results) else None
            joint = None if following is None or item.segment.start < following.part.start else following.find(item)
            if joint is not None:
                current.abandon()
                part_number, position = part_number + 1, joint
                continue
            yield item
            position += 1
    with _run_workers(task, [Part(parts[part_number].start, inf)], 1, notes) as (single,):
        while (item := single.take(position)) is not None:
            yield item
            position += 1


def plan_borders(duration: float, workers: int) -> list[float]:
    """Return where the parts begin, in seconds.

    The first `workers` parts grow up to `LENGTH`, as what comes first is used first. The last ones shrink again, so
    that all processes end at about the same time (docs/measurements.md#reading-in-several-processes). A movie too short
    for parts that grow is shared equally.
    """
    growing = [max(LENGTH * number / workers, SHORT) for number in range(1, workers + 1)]
    if duration <= sum(growing):
        return _even_borders(duration / workers, workers)
    between = max(0, round((duration - 2 * sum(growing)) / LENGTH))
    lengths = [*growing, *[LENGTH] * between, *reversed(growing)]
    scale = duration / sum(lengths)
    return [scale * end for end in accumulate(lengths[:-1], initial=0.0)]


def _even_borders(length: float, count: int) -> list[float]:
    return [length * number for number in range(count)]


class _PartResult:
    """The segments of one part, as they come from its process.

    Attributes:
        has_ended: the movie ends within this part.
        is_abandoned: nobody needs more of it.
    """

    def __init__(self, part: Part, change: Condition) -> None:
        self.part = part
        self.has_ended = False
        self.is_abandoned = False
        self._items: list[CutSegment | None] = []
        self._positions: dict[tuple[float, float], int] = {}  # by start and end
        self._is_done = False
        self._error: ChunkV2LError | None = None
        self._change = change

    def add(self, message: Message) -> bool:
        """Add what a message brings; return whether it was the part's last one."""
        with self._change:
            if message.segment is not None:
                self._positions[_interval(message.segment)] = len(self._items)
                self._items.append(message.segment)
            elif message.kind == "done":
                self._is_done, self.has_ended = True, message.has_ended
            elif message.kind in ("input error", "error"):
                self._error = (InputError if message.kind == "input error" else ChunkV2LError)(message.text)
                self._is_done = True
            self._change.notify_all()
            return self._is_done

    def fail(self, error: ChunkV2LError) -> None:
        """End the part with an error, unless it is done."""
        with self._change:
            if not self._is_done:
                self._error, self._is_done = error, True
            self._change.notify_all()

    def take(self, position: int) -> CutSegment | None:
        """Wait for the segment at a position and return it, once; None where the part ends before it."""
        with self._change:
            self._change.wait_for(lambda: len(self._items) > position or self._is_done)
            if len(self._items) <= position:
                if self._error is not None:
                    raise self._error
                return None
            item, self._items[position] = self._items[position], None
            return item

    def find(self, item: CutSegment) -> int | None:
        """Return the position of the same segment, once it is known; None for none, and for a part's first segment,
        whose start is where reading began."""
        interval = _interval(item)
        with self._change:
            self._change.wait_for(
                lambda: self._is_done or (bool(self._positions) and max(self._positions)[0] >= interval[0])
            )
            return self._positions.get(interval) or None

    def shares_segment_with(self, following: _PartResult) -> bool:
        """Return whether both parts have a segment already at which the following one can go on."""
        with self._change:
            return any(following._positions.get(interval) for interval in self._positions)

    def abandon(self) -> None:
        """Release the segments: nobody needs more of them."""
        with self._change:
            self.is_abandoned = True
            self._items = []


def _interval(item: CutSegment) -> tuple[float, float]:
    return round(item.segment.start, 6), round(item.segment.end, 6)


class _WorkerPool:
    """Threads, each with a process, that take parts in order."""

    def __init__(self, task: Task, parts: Sequence[Part], workers: int, notes: Notes) -> None:
        self._task, self._notes = task, notes
        self._change = Condition()
        self.results = [_PartResult(part, self._change) for part in parts]
        self._next = 0
        self._is_closed = False
        self._processes: list[subprocess.Popen[bytes]] = []
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._threads = []
        for number in range(min(workers, len(parts))):
            core = cores[-1 - number % len(cores)] if cores and workers > 1 else None
            self._threads.append(Thread(target=self._work, args=(core,), name="chunkv2l-parts", daemon=True))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Kill the processes and end the threads."""
        with self._change:
            self._is_closed = True
            running = list(self._processes)
            self._change.notify_all()
        for process in running:
            process.kill()
        for thread in self._threads:
            thread.join(timeout=10.0)

    def _work(self, core: int | None) -> None:
        """Run one process, from its start to its end."""
        process = None
        ours, theirs = socket.socketpair()
        try:
            process = self._start(core, theirs)
            theirs.close()
            while (assignment := self._next_part()) is not None:
                self._read_part(process, ours, *assignment)
        except Exception as error:  # whatever it is, those who wait for a part must learn of it
            if not self._is_closed:
                why = f"A process that reads {self._task.path} has ended ({type(error).__name__}: {error})."
                for result in self.results:
                    result.fail(ChunkV2LError(why))
        finally:
            for end in (ours, theirs):
                end.close()
            if process is not None:
                process.kill()
                process.communicate()

    def _start(self, core: int | None, out: socket.socket) -> subprocess.Popen[bytes]:
        with self._change:
            if self._is_closed:
                raise EOFError("closed")
            process = subprocess.Popen(
                python_command("chunkv2l.video.parallel.worker"), stdin=subprocess.PIPE, stdout=out.fileno()
            )
            self._processes.append(process)
        _send(process, replace(self._task, core=core, parent=os.getpid()))
        return process

    def _next_part(self) -> tuple[_PartResult, _PartResult | None] | None:
        """Return the next part and the one behind it, not too far ahead of use, as clips wait in memory."""
        with self._change:
            ahead = 2 * len(self._threads)
            self._change.wait_for(
                lambda: self._is_closed or sum(not result.is_abandoned for result in self.results[: self._next]) < ahead
            )
            if self._is_closed or self._next == len(self.results):
                return None
            self._next += 1
            following = self.results[self._next] if self._next < len(self.results) else None
            return self.results[self._next - 1], following

    def _read_part(
        self,
        process: subprocess.Popen[bytes],
        connection: socket.socket,
        result: _PartResult,
        following: _PartResult | None,
    ) -> None:
        """Have a process read one part, and collect what it reports."""
        _send(process, result.part)
        assert process.stdin is not None
        while True:
            message = _receive(connection)
            if message.note is not None:
                self._notes.add(message.note.kind, message.note.text)  # neighbours note the same damage
            elif message.kind == "warning":
                logger.warning("%s", message.text)
            if result.add(message):
                return
            if message.segment is not None:
                is_enough = result.is_abandoned or (following is not None and result.shares_segment_with(following))
                process.stdin.write(b"-" if is_enough else GO_ON)
                process.stdin.flush()


@contextmanager
def _run_workers(task: Task, parts: Sequence[Part], workers: int, notes: Notes) -> Iterator[list[_PartResult]]:
    pool = _WorkerPool(task, parts, workers, notes)
    try:
        yield pool.results
    finally:
        pool.close()


def _receive(connection: socket.socket) -> Message:
    """Wait for a process's next message.

    Raises:
        TimeoutError: it has said nothing for `SILENCE` seconds of this process's own running time: if both were
            stopped, as by Ctrl+Z, that doesn't count.
    """
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    for _ in range(SILENCE):
        if poll.poll(1000):
            connection.settimeout(SILENCE)
            return check_message(transport.receive(connection))
    raise TimeoutError(f"it has said nothing for {SILENCE} s")


def _send(process: subprocess.Popen[bytes], request: Task | Part) -> None:
    assert process.stdin is not None
    process.stdin.write(pickle.dumps(request, protocol=5))
    process.stdin.flush()
