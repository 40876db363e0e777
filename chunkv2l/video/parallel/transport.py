"""Sends objects with large arrays from one process to another over a Unix socket.

The arrays' bytes go into a file in memory; the other side gets its descriptor and reads it at once. Through a pipe they
would come 64 KB at a time, and a thread that shares its interpreter with a busy one waits for each piece. What is
received is unpickled: the other side must be a process that this one started.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
from typing import Any, Final

import numpy as np

AVAILABLE: Final = hasattr(os, "memfd_create")
_LENGTH: Final = struct.Struct("!Q")


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
        EOFError: the other side has ended.
    """
    start, descriptors, _, _ = socket.recv_fds(connection, _LENGTH.size, 1)
    try:
        start += _read_exactly(connection, _LENGTH.size - len(start))
        head, sizes = pickle.loads(_read_exactly(connection, *_LENGTH.unpack(start)))
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
    return pickle.loads(head, buffers=arrays)


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    chunks = []
    while count:
        chunk = connection.recv(count)
        if not chunk:
            raise EOFError("the other side has ended")
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)
