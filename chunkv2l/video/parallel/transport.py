"""Objects with large arrays, from one process to another over a Unix socket.

Their arrays' bytes go into a file in memory, of which the other side gets the descriptor and reads all at once: through
a pipe they would come 64 KB at a time, and a thread that shares its interpreter with a busy one waits for each piece.
What is received is unpickled: the other side must be a process of one's own.
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


def send(way: socket.socket, what: object) -> None:
    """Send one object; what `receive` gives on the other side.

    Raises:
        BrokenPipeError: nobody is there any more.
    """
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(what, protocol=5, buffer_callback=buffers.append)
    arrays = [buffer.raw() for buffer in buffers]
    body = pickle.dumps((head, [array.nbytes for array in arrays]))
    with open(os.memfd_create("chunkv2l"), "wb+", buffering=0) as file:
        for array in arrays:
            while array:
                array = array[file.write(array) :]
        file.seek(0)
        socket.send_fds(way, [_LENGTH.pack(len(body))], [file.fileno()])
    way.sendall(body)


def receive(way: socket.socket) -> Any:
    """The next object; its arrays share one writable buffer.

    Raises:
        EOFError: the other side has ended.
    """
    start, files, _, _ = socket.recv_fds(way, _LENGTH.size, 1)
    try:
        start += _exactly(way, _LENGTH.size - len(start))
        head, sizes = pickle.loads(_exactly(way, *_LENGTH.unpack(start)))
        together = np.empty(sum(sizes), np.uint8).data
        with open(files.pop(), "rb", buffering=0) as file:
            if together and file.readinto(together) != len(together):
                raise EOFError("an array has come in part")
    finally:
        for left in files:
            os.close(left)
    arrays, place = [], 0
    for size in sizes:
        arrays.append(together[place : place + size])
        place += size
    return pickle.loads(head, buffers=arrays)


def _exactly(way: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = way.recv(count)
        if not part:
            raise EOFError("the other side has ended")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
