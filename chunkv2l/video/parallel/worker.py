"""A process that cuts stretches of a movie for another one, which runs its `main` (`side_by_side`).

It keeps to one core, so that as many of them as there are cores don't get in each other's way. Over its standard input
come a `Task` and any number of `Part`s, over the socket that is its standard output goes what it finds, one message at
a time (`parcels`); each segment is answered with `GO_ON` or anything else to go to the next part.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from threading import Lock
from typing import IO, Final, Literal

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.video.clip import Clip
from chunkv2l.video.detectors import Segment
from chunkv2l.video.frame_sampling import SampleTimes, Shrink
from chunkv2l.video.parallel import transport as parcels
from chunkv2l.video.readers.base import Image

GO_ON: Final = b"+"
Cut = tuple[Segment, Clip, Image]


@dataclass(frozen=True)
class Task:
    """What all parts have in common; see `cutting.cut`.

    Attributes:
        gpu: the number of one that is to decode; None: the CPU does.
        core: the CPU to keep to; None for any.
    """

    path: str
    sample_times: SampleTimes
    shrink: Shrink
    detector: str
    reader: str
    min_length: float
    max_length: float
    exact: bool
    room: int
    gpu: int | None = None
    core: int | None = None


@dataclass(frozen=True)
class Part:
    """A stretch to cut, seconds."""

    start: float
    stop: float


@dataclass(frozen=True)
class Message:
    """What the process says: a segment, that a part is done (and whether the movie is), a warning, or a failure."""

    kind: Literal["cut", "done", "warning", "input error", "error"]
    cut: Cut | None = None
    ended: bool = False
    text: str = ""


class Said:
    """Where messages go, from any thread."""

    def __init__(self, out: socket.socket) -> None:
        self._out, self._lock = out, Lock()

    def __call__(self, message: Message) -> None:
        with self._lock:
            parcels.send(self._out, message)


class _Warnings(logging.Handler):
    def __init__(self, say: Said) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(Message("warning", text=record.getMessage()))


def serve(given: IO[bytes], say: Said) -> None:
    """Do the task's parts until there are no more."""
    task: Task = pickle.load(given)
    if task.core is not None:
        os.sched_setaffinity(0, {task.core})

    import cv2

    from chunkv2l.video.segmentation import cut

    cv2.setNumThreads(0)
    while True:
        try:
            part: Part = pickle.load(given)
        except EOFError:
            return
        found: Generator[Cut, None, bool] = cut(
            task.path,
            task.sample_times,
            task.shrink,
            task.detector,
            task.reader,
            task.min_length,
            task.max_length,
            task.exact,
            start=part.start,
            stop=part.stop,
            room=task.room,
            gpu=task.gpu,
        )
        with closing(found):
            say(_one(found, given, say))


def _one(found: Generator[Cut, None, bool], given: IO[bytes], say: Said) -> Message:
    """One part; returns how it ended."""
    try:
        while True:
            try:
                say(Message("cut", next(found)))
            except StopIteration as end:
                return Message("done", ended=bool(end.value))
            if given.read(1) != GO_ON:
                return Message("done")
    except InputError as error:
        return Message("input error", text=str(error))
    except ChunkV2LError as error:
        return Message("error", text=str(error))
    except Exception as error:
        return Message("error", text=f"Reading failed with {type(error).__name__}: {error}.")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the other process's to act on
    out = socket.socket(fileno=os.dup(1))
    os.dup2(2, 1)  # nothing that is printed gets between the messages
    logger = logging.getLogger("chunkv2l")
    logger.propagate = False
    say = Said(out)
    logger.addHandler(_Warnings(say))
    try:
        serve(sys.stdin.buffer, say)
    except BrokenPipeError:  # the other process is gone
        os._exit(0)
