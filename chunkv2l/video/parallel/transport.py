"""Sends objects with large arrays from one process to another over a Unix socket.

The arrays' bytes go into a file in memory; the other side gets its descriptor and reads it at once. Through a pipe they
would come 64 KB at a time, and a thread that shares its interpreter with a busy one waits for each piece. What is
received is unpickled, and the other side may be taken over by the movie that it reads. So nothing is called but the
types of arrays and of the dataclasses and named tuples in `chunkv2l.video`, and sizes are bounded. The fields of these
may hold anything made of such values, though: whoever receives an object checks it (`worker.check_message`).
"""

from __future__ import annotations

import io
import os
import pickle
import socket
import struct
from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import Any, Final

import numpy as np

AVAILABLE: Final = hasattr(os, "memfd_create")
_LENGTH: Final = struct.Struct("!Q")
_MOST: Final = 64 << 20  # bytes of a message without its arrays
_MOST_ARRAYS: Final = 2 << 30  # bytes of its arrays: a clip's frames, whole ones of 8K at the most
_OF_NUMPY: Final = frozenset(
    (
        *(("numpy", name) for name in ("dtype", "ndarray")),
        *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
        *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    )
)
"""The names in pickled arrays and numbers; NumPy 2 has renamed its core."""


class _Values(pickle.Unpickler):
    """Refuses every name but those of arrays, and of dataclasses and named tuples that reading a movie makes."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _OF_NUMPY:
            return super().find_class(module, name)
        if module.startswith("chunkv2l.video.") and "." not in name:
            value = super().find_class(module, name)
            if isinstance(value, type) and (is_dataclass(value) or hasattr(value, "_fields")):
                return value
        raise pickle.UnpicklingError(f"{module}.{name} is no value")


def send(connection: socket.socket, message: object) -> None:
    """Send one object; `receive` returns it on the other side.

    Raises:
        BrokenPipeError: the other side has ended.
    """
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    arrays = [buffer.raw() for buffer in buffers]
    body = pickle.dumps((head, [array.nbytes for array in arrays]))
    with open(os.memfd_create("chunkv2l"), "wb+", buffering=0) as file:
        for array in arrays:
            while array:
                array = array[file.write(array) :]
        file.seek(0)
        socket.send_fds(connection, [_LENGTH.pack(len(body))], [file.fileno()])
    connection.sendall(body)


def receive(connection: socket.socket) -> Any:
    """Return the next object; its arrays share one writable buffer.

    Raises:
        EOFError: the other side has ended, or sent something else than values, or too much.
    """
    start, descriptors, _, _ = socket.recv_fds(connection, _LENGTH.size, 1)
    try:
        start += _read_exactly(connection, _LENGTH.size - len(start))
        (length,) = _LENGTH.unpack(start)
        if length > _MOST or not descriptors:
            raise EOFError("the other side has sent something else")
        head, sizes = _check_sizes(_load(_read_exactly(connection, length)))
        buffer = np.empty(sum(sizes), np.uint8).data
        with open(descriptors.pop(), "rb", buffering=0) as file:
            if buffer and file.readinto(buffer) != len(buffer):
                raise EOFError("an array has come in part")
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    arrays, offset = [], 0
    for size in sizes:
        arrays.append(buffer[offset : offset + size])
        offset += size
    return _load(head, arrays)


def _check_sizes(body: object) -> tuple[bytes, list[int]]:
    """Return a message's pickle and its arrays' sizes, which the other side has sent as a pair."""
    if isinstance(body, tuple) and len(body) == 2:
        head, sizes = body
        is_list = type(head) is bytes and type(sizes) is list and all(type(size) is int and size >= 0 for size in sizes)
        if is_list and sum(sizes) <= _MOST_ARRAYS:
            return head, sizes
    raise EOFError("the other side has sent something else")


def _load(data: bytes, arrays: Iterable[memoryview] = ()) -> Any:
    try:
        return _Values(io.BytesIO(data), buffers=arrays).load()
    except Exception as error:  # what a forged pickle makes the unpickler, or an array, raise
        raise EOFError(f"the other side has sent something else: {error}") from error


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    chunks = []
    while count:
        chunk = connection.recv(count)
        if not chunk:
            raise EOFError("the other side has ended")
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)
