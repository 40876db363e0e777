"""Cut a movie in several processes at once, for models that are faster than one reader.

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
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from math import ceil, inf
from pathlib import Path
from threading import Condition, Thread
from typing import Final

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.video.parallel import transport as parcels
from chunkv2l.video.parallel.worker import GO_ON, Cut, Message, Part, Task
from chunkv2l.video.probe import MovieInfo, probe
from chunkv2l.video.sampling import cores

logger = logging.getLogger("chunkv2l")

LENGTH: Final = 120.0
SHORT: Final = 12.0
WARM: Final = 16.0
TAIL: Final = 32.0
ROOM: Final = 640 << 20
"""Bytes of whole frames that a process holds at most. With fewer it shrinks many frames that no clip uses
(docs/measurements.md#frames-held-whole)."""
MOST_FPS: Final = 40.0
"""Of faster movies detection skips frames, and which ones depends on where it began."""


def pays(info: MovieInfo, device: str, processes: int, length: float = LENGTH) -> bool:
    """Whether a movie should be read so, for a model on this type of device."""
    return device != "cpu" and processes > 1 and info.fps <= MOST_FPS and info.duration > 2 * length


def processes() -> int:
    """How many may read: one a core, and one core for the model; 1 where a process can't be kept to a core."""
    return max(1, cores() - 1) if parcels.AVAILABLE and hasattr(os, "sched_setaffinity") else 1


def cut_side_by_side(
    task: Task, count: int, length: float | None = None, warm: float = WARM, tail: float = TAIL
) -> Generator[Cut, None, None]:
    """What `cutting.cut` gives, by `count` processes.

    Args:
        length: seconds of a stretch; None: `LENGTH` at most, the first ones less.
        warm, tail: seconds that are read before it and behind it.

    Raises:
        InputError, ChunkV2LError: as `cut`.
    """
    info = probe(task.path)
    borders = _borders(info.duration, count) if length is None else _even(length, max(1, ceil(info.duration / length)))
    stops = [*(border + tail for border in borders[1:]), inf]
    parts = [Part(max(0.0, border - warm), stop) for border, stop in zip(borders, stops, strict=True)]
    number, place = 0, 0
    with _running(task, parts, count) as stretches:
        while True:
            here = stretches[number]
            item = here.at(place)
            if item is None:
                if here.ended:
                    return
                break  # no segment joins this stretch and the next
            following = stretches[number + 1] if number + 1 < len(stretches) else None
            joint = None if following is None or item[0].start < following.part.start else following.find(item)
            if joint is not None:
                here.leave()
                number, place = number + 1, joint
                continue
            yield item
            place += 1
    with _running(task, [Part(parts[number].start, inf)], 1) as (alone,):
        while (item := alone.at(place)) is not None:
            yield item
            place += 1


def _borders(duration: float, count: int) -> list[float]:
    """Return where the parts begin, in seconds.

    The first `count` parts grow up to `LENGTH`, as what comes first is used first. The last ones shrink again, so that
    all processes end at about the same time (docs/measurements.md#reading-in-several-processes). A movie too short for
    parts that grow is shared equally.
    """
    growing = [max(LENGTH * number / count, SHORT) for number in range(1, count + 1)]
    if duration <= sum(growing):
        return _even(duration / count, count)
    between = max(0, round((duration - 2 * sum(growing)) / LENGTH))
    lengths = [*growing, *[LENGTH] * between, *reversed(growing)]
    scale = duration / sum(lengths)
    return [scale * end for end in accumulate(lengths[:-1], initial=0.0)]


def _even(length: float, count: int) -> list[float]:
    return [length * number for number in range(count)]


class _Stretch:
    """What has been found in one part so far."""

    def __init__(self, part: Part, change: Condition) -> None:
        self.part = part
        self.ended = False
        self.left = False  # nobody needs more of it
        self._items: list[Cut | None] = []
        self._places: dict[tuple[float, float], int] = {}
        self._done = False
        self._error: ChunkV2LError | None = None
        self._change = change

    def take(self, message: Message) -> bool:
        """One message; whether that was the last one."""
        with self._change:
            if message.cut is not None:
                segment = message.cut[0]
                self._places[(round(segment.start, 6), round(segment.end, 6))] = len(self._items)
                self._items.append(message.cut)
            elif message.kind == "done":
                self._done, self.ended = True, message.ended
            elif message.kind != "warning":
                self._error = (InputError if message.kind == "input error" else ChunkV2LError)(message.text)
                self._done = True
            self._change.notify_all()
            return self._done

    def fail(self, error: ChunkV2LError) -> None:
        with self._change:
            if not self._done:
                self._error, self._done = error, True
            self._change.notify_all()

    def at(self, place: int) -> Cut | None:
        """The segment at that place, waited for, and given once; None where the part ends before it."""
        with self._change:
            self._change.wait_for(lambda: len(self._items) > place or self._done)
            if len(self._items) <= place:
                if self._error is not None:
                    raise self._error
                return None
            item, self._items[place] = self._items[place], None
            return item

    def find(self, item: Cut) -> int | None:
        """The place of the same segment, unless it is the first, whose start nobody found. Waits until it is known."""
        start, end = round(item[0].start, 6), round(item[0].end, 6)
        with self._change:
            self._change.wait_for(lambda: self._done or (bool(self._places) and max(self._places)[0] >= start))
            place = self._places.get((start, end))
            return place if place else None

    def meets(self, following: _Stretch) -> bool:
        """Whether it is known by now where that one goes on."""
        with self._change:
            return any(following._places.get(segment) for segment in self._places)

    def leave(self) -> None:
        with self._change:
            self.left = True
            self._items = []


class _Team:
    """Threads, each with a process, that take parts in order."""

    def __init__(self, task: Task, parts: Sequence[Part], count: int) -> None:
        self._task = task
        self.change = Condition()
        self.stretches = [_Stretch(part, self.change) for part in parts]
        self._next = 0
        self._closed = False
        self._told: set[str] = set()
        self._processes: list[subprocess.Popen[bytes]] = []
        usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._threads = []
        for number in range(min(count, len(parts))):
            core = usable[-1 - number % len(usable)] if usable and count > 1 else None
            self._threads.append(Thread(target=self._work, args=(core,), name="chunkv2l-stretches", daemon=True))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        with self.change:
            self._closed = True
            running = list(self._processes)
            self.change.notify_all()
        for process in running:
            process.kill()
        for thread in self._threads:
            thread.join(timeout=10.0)

    def _work(self, core: int | None) -> None:
        """One process, from its start to its end."""
        process = None
        ours, theirs = socket.socketpair()
        try:
            process = self._start(core, theirs)
            theirs.close()
            while (taken := self._take()) is not None:
                stretch, following = taken
                self._one(process, ours, stretch, following)
        except Exception as error:  # whatever it is, who waits must see it
            if not self._closed:
                why = f"A process that reads {self._task.path} has ended ({type(error).__name__}: {error})."
                for one in self.stretches:
                    one.fail(ChunkV2LError(why))
        finally:
            for end in (ours, theirs):
                end.close()
            if process is not None:
                process.kill()
                process.communicate()

    def _start(self, core: int | None, out: socket.socket) -> subprocess.Popen[bytes]:
        paths = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
        with self.change:
            if self._closed:
                raise EOFError("closed")
            process = subprocess.Popen(
                [sys.executable, "-c", "from chunkv2l.video.parallel.worker import main; main()"],
                stdin=subprocess.PIPE,
                stdout=out.fileno(),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
            self._processes.append(process)
        _send(process, replace(self._task, core=core))
        return process

    def _take(self) -> tuple[_Stretch, _Stretch | None] | None:
        """The next part and the one behind it; not too far ahead of what is used, as clips wait in memory."""
        with self.change:
            ahead = 2 * len(self._threads)
            self.change.wait_for(
                lambda: self._closed or sum(not one.left for one in self.stretches[: self._next]) < ahead
            )
            if self._closed or self._next == len(self.stretches):
                return None
            self._next += 1
            following = self.stretches[self._next] if self._next < len(self.stretches) else None
            return self.stretches[self._next - 1], following

    def _one(
        self, process: subprocess.Popen[bytes], said: socket.socket, stretch: _Stretch, following: _Stretch | None
    ) -> None:
        _send(process, stretch.part)
        assert process.stdin is not None
        while True:
            message: Message = parcels.receive(said)
            if message.kind == "warning" and message.text not in self._told:  # neighbours see the same damage
                self._told.add(message.text)
                logger.warning("%s", message.text)
            if stretch.take(message):
                return
            if message.cut is not None:
                enough = stretch.left or (following is not None and stretch.meets(following))
                process.stdin.write(b"-" if enough else GO_ON)
                process.stdin.flush()


@contextmanager
def _running(task: Task, parts: Sequence[Part], count: int) -> Iterator[list[_Stretch]]:
    team = _Team(task, parts, count)
    try:
        yield team.stretches
    finally:
        team.close()


def _send(process: subprocess.Popen[bytes], what: Task | Part) -> None:
    assert process.stdin is not None
    process.stdin.write(pickle.dumps(what, protocol=5))
    process.stdin.flush()
