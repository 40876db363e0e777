"""A process that cuts parts of a movie for another process, which runs its `main` (`coordinator`).

It keeps to one core, so that as many of them as there are cores don't get in each other's way. Over its standard input
come a `Task` and any number of `Part`s; over the socket that is its standard output go its results, one `Message` at a
time (`transport`). Each segment is answered with `GO_ON`, or with anything else to go to the next part.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from math import isfinite
from threading import Lock, Thread
from time import sleep
from typing import IO, Final, Literal, get_args

import cv2
import numpy as np

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.sandbox.limits import has_room, limit_memory
from chunkv2l.video.child import DECODER_MEMORY, end_with_parent
from chunkv2l.video.clip import Clip
from chunkv2l.video.container import LARGE_PICTURE
from chunkv2l.video.detectors import Segment
from chunkv2l.video.frame_sampling import FrameSampling
from chunkv2l.video.notes import Note, Notes
from chunkv2l.video.parallel import transport
from chunkv2l.video.refusals import explain_memory
from chunkv2l.video.segmentation import CutSegment, Part, Resources, cut
from chunkv2l.video.settings import SegmentationSettings

Kind = Literal["segment", "note", "warning", "alive", "done", "input error", "error"]
GO_ON: Final = b"+"
HEARTBEAT: Final = 5.0
"""Seconds between signs of life."""


@dataclass(frozen=True)
class Task:
    """The arguments of `segmentation.cut` that all parts share.

    Attributes:
        core: the CPU to keep to; None for any.
        parent: the number of the process that coordinates.
    """

    path: str
    sampling: FrameSampling
    settings: SegmentationSettings
    resources: Resources
    core: int | None = None
    parent: int = 0


@dataclass(frozen=True)
class Message:
    """A report: a segment, a note, a warning, a sign of life, the end of a part (and of the movie), or a failure."""

    kind: Kind
    segment: CutSegment | None = None
    note: Note | None = None
    has_ended: bool = False
    text: str = ""


def check_message(value: object) -> Message:
    """Return what the other process has sent, if it is a message with fields as declared.

    Raises:
        EOFError: it is something else: the movie has taken that process over.
    """
    try:
        if isinstance(value, Message) and _is_sound(value):
            return value
    except (AttributeError, ValueError):  # a field is missing
        pass
    raise EOFError("the other side has sent something else")


def _is_sound(message: Message) -> bool:
    note, segment = message.note, message.segment
    return (
        all(type(text) is str for text in (message.kind, message.text))
        and message.kind in get_args(Kind)
        and type(message.has_ended) is bool
        and (note is None or (type(note) is Note and type(note.kind) is str and type(note.text) is str))
        and (segment is None or (type(segment) is CutSegment and _is_cut(segment)))
    )


def _is_cut(item: CutSegment) -> bool:
    segment, clip, thumbnail = item
    if not (
        type(segment) is Segment
        and type(clip) is Clip
        and isinstance(clip.frames, tuple)
        and isinstance(clip.times, tuple)
    ):
        return False
    numbers = (segment.start, segment.end, clip.duration, clip.fps, *clip.times)
    return (
        all(isinstance(number, (int, float)) and isfinite(number) for number in numbers)
        and len(clip.frames) == len(clip.times)
        and all(_is_picture(image) for image in (thumbnail, *clip.frames))
    )


def _is_picture(image: object) -> bool:
    return type(image) is np.ndarray and image.dtype == np.uint8 and image.ndim == 3


class Outbox:
    """Sends messages, from any thread."""

    def __init__(self, out: socket.socket) -> None:
        self._out, self._lock = out, Lock()

    def send(self, message: Message) -> None:
        with self._lock:
            transport.send(self._out, message)


class _WarningSender(logging.Handler):
    """Sends what is logged in this process to the other one."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(logging.WARNING)
        self._outbox = outbox

    def emit(self, record: logging.LogRecord) -> None:
        self._outbox.send(Message("warning", text=record.getMessage()))


def serve(requests: IO[bytes], outbox: Outbox) -> None:
    """Cut the task's parts until there are no more requests."""
    task: Task = pickle.load(requests)
    end_with_parent(task.parent)
    Thread(target=_send_heartbeats, args=(outbox,), daemon=True).start()
    if task.resources.gpu is None:
        limit_memory(DECODER_MEMORY + task.resources.room)
    if task.core is not None:
        os.sched_setaffinity(0, {task.core})
    cv2.setNumThreads(0)
    while True:
        try:
            part: Part = pickle.load(requests)
        except EOFError:
            return
        notes = Notes(lambda note: outbox.send(Message("note", note=note)))
        segments = cut(task.path, task.sampling, task.settings, part=part, resources=task.resources, notes=notes)
        with closing(segments):
            outbox.send(send_segments(task.path, segments, requests, outbox))


def _send_heartbeats(outbox: Outbox) -> None:
    with suppress(OSError):  # the other process is gone
        while True:
            outbox.send(Message("alive"))
            sleep(HEARTBEAT)


def send_segments(
    path: str, segments: Generator[CutSegment, None, bool], requests: IO[bytes], outbox: Outbox
) -> Message:
    """Send one part's segments; return the message that says how the part ended."""
    try:
        while True:
            try:
                segment = next(segments)
            except StopIteration as end:
                return Message("done", has_ended=bool(end.value))
            outbox.send(Message("segment", segment))
            if requests.read(1) != GO_ON:
                return Message("done")
    except InputError as error:
        return Message("input error", text=str(error))
    except ChunkV2LError as error:
        return Message("error", text=str(error))
    except Exception as error:
        if isinstance(error, (MemoryError, BlockingIOError)) or not has_room(LARGE_PICTURE):  # no thread, no memory
            return Message("input error", text=explain_memory(path))
        return Message("error", text=f"Reading failed with {type(error).__name__}: {error}.")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process acts on Ctrl+C
    out = socket.socket(fileno=os.dup(1))
    os.dup2(2, 1)  # nothing that is printed gets between the messages
    logger = logging.getLogger("chunkv2l")
    logger.propagate = False
    outbox = Outbox(out)
    logger.addHandler(_WarningSender(outbox))
    try:
        serve(sys.stdin.buffer, outbox)
    except BrokenPipeError:  # the other process is gone
        return
