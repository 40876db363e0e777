"""What is sent arrives, arrays and all; who ends is noticed."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from chunkv2l.video.clip import Clip
from chunkv2l.video.detectors import Segment
from chunkv2l.video.notes import Note
from chunkv2l.video.parallel import transport as parcels
from chunkv2l.video.parallel.worker import Message, check_message
from chunkv2l.video.segmentation import CutSegment

pytestmark = pytest.mark.skipif(not parcels.AVAILABLE, reason="no files in memory here")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def sent(ends: tuple[socket.socket, socket.socket], *what: object) -> list[object]:
    """Each of them, sent from a thread and received here."""

    def send() -> None:
        for one in what:
            parcels.send(ends[0], one)

    thread = Thread(target=send)
    thread.start()
    got = [parcels.receive(ends[1]) for _ in what]
    thread.join()
    return got


def test_objects_and_arrays_arrive_in_order(ends: tuple[socket.socket, socket.socket]) -> None:
    rng = np.random.default_rng(0)
    big, small = rng.integers(0, 256, (700, 900, 3), dtype=np.uint8), np.arange(5.0)
    text = "x" * 300_000  # more than a socket holds
    first, second, third = sent(ends, ("a", big, [small, big[:0]]), {"text": text}, big[::2, ::3])
    assert isinstance(first, tuple) and first[0] == "a" and isinstance(third, np.ndarray)
    assert np.array_equal(first[1], big) and np.array_equal(first[2][0], small) and first[2][1].shape == (0, 900, 3)
    assert first[1].flags.writeable and first[1].dtype == np.uint8
    assert second == {"text": text} and np.array_equal(third, big[::2, ::3])


def test_no_descriptor_is_left(ends: tuple[socket.socket, socket.socket]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    sent(ends, *[np.zeros(10)] * 5)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_other_side_ends(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].sendall(b"\0" * 3)  # it dies within a message
    ends[0].close()
    with pytest.raises(EOFError):
        parcels.receive(ends[1])
    with pytest.raises(EOFError):
        parcels.receive(ends[1])


class Call:
    """Pickled as a call of something."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize(
    "call",
    [
        Call(os.mkdir, "planted"),
        Call(eval, "open('planted', 'w')"),
        Call(np.load, "planted", None, True),
        Call(pickle.loads, pickle.dumps(Call(os.mkdir, "planted"))),
        Call(parcels.send, None, None),
    ],
)
def test_nothing_that_is_received_is_called(
    ends: tuple[socket.socket, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EOFError, match="something else"):
        sent(ends, [call])
    assert list(tmp_path.iterdir()) == []


def test_values_of_movies_arrive(ends: tuple[socket.socket, socket.socket]) -> None:
    clip = Clip((np.zeros((2, 3, 3), np.uint8),), (0.0,), 1.5, 25.0)
    segment = CutSegment(Segment(0.0, 1.5), clip, np.ones((4, 5, 3), np.uint8)[:, ::2])
    message = Message("segment", segment, Note("cut", "A flash."))
    (again,) = sent(ends, message)
    assert isinstance(again, Message) and again.segment is not None and again.note == message.note
    assert again.segment.segment == segment.segment and np.array_equal(again.segment.clip.frames[0], clip.frames[0])
    assert np.array_equal(again.segment.thumbnail, segment.thumbnail)


PICTURE = np.zeros((2, 3, 3), np.uint8)
CLIP = Clip((PICTURE,), (0.0,), 1.5, 25.0)
CUT = CutSegment(Segment(0.0, 1.5), CLIP, PICTURE)


def in_itself() -> list[Any]:
    values: list[Any] = []
    values.append([values])
    return values


def forged(value: Any, **fields: Any) -> Any:
    return replace(value, **fields)


@pytest.mark.parametrize(
    "value",
    [
        "alive",
        CUT,
        object.__new__(Message),
        forged(Message("alive"), kind=in_itself()),
        forged(Message("alive"), kind="open"),
        forged(Message("error"), text=in_itself()),
        forged(Message("done"), has_ended=np.zeros(3)),
        Message("note", note=forged(Note("cut", ""), text=b"")),
        forged(Message("segment"), segment=CLIP),
        Message("segment", segment=CUT._replace(segment=Segment(0.0, float("nan")))),
        Message("segment", segment=CUT._replace(clip=forged(CLIP, times=("0",)))),
        Message("segment", segment=CUT._replace(clip=forged(CLIP, times=()))),
        Message("segment", segment=CUT._replace(clip=forged(CLIP, frames=[PICTURE]))),
        Message("segment", segment=CUT._replace(thumbnail=np.array([["a"]], object))),
        Message("segment", segment=CUT._replace(thumbnail=PICTURE[0])),
    ],
)
def test_a_message_with_other_fields_is_refused(value: Any) -> None:
    check_message(Message("segment", CUT, Note("cut", "A flash.")))
    with pytest.raises(EOFError, match="something else"):
        check_message(value)


@pytest.mark.parametrize("body", [0, (b"", -1), (b"", [-1]), (b"", [1 << 40]), ([], []), (b"", [True])])
def test_sizes_that_cant_be_are_refused(ends: tuple[socket.socket, socket.socket], body: object) -> None:
    data = pickle.dumps(body)
    with open(os.memfd_create("a"), "rb") as file:
        socket.send_fds(ends[0], [len(data).to_bytes(8, "big") + data], [file.fileno()])
    with pytest.raises(EOFError, match="something else"):
        parcels.receive(ends[1])


def test_a_message_without_end_is_refused(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].sendall((1 << 40).to_bytes(8, "big"))
    with pytest.raises(EOFError, match="something else"):
        parcels.receive(ends[1])
