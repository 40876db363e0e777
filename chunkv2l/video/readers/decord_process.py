"""The process in which decord decodes: it may open one file, the movie, and no socket.

decord brings an FFmpeg of 2018, which may take for a list of other files what PyAV's takes for a movie. Requests and
results are JSON and raw bytes, so that what this process sends can do no harm either.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import IO, Any, Final

import numpy as np

from chunkv2l.sandbox.limits import limit_memory
from chunkv2l.video.child import DECODER_MEMORY, end_with_parent, limit_open_files

HEADER: Final = struct.Struct("!cQ")
"""Before each message: its tag and its length in bytes."""
TIMES: Final = b"t"
"""Tag: each frame's start and end by decord's clock, float64 [n, 2]."""
FRAME: Final = b"f"
"""Tag: a picture, uint8 RGB [height, width, 3]."""
FAILURE: Final = b"e"
"""Tag: a sentence; the process ends."""
END: Final = b"x"
"""Tag: there are no more pictures."""


def main() -> None:
    requests, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what decord prints doesn't get between the messages
    request = json.loads(requests.readline())
    end_with_parent(request["parent"])
    try:
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        errors: tuple[type[Exception], ...] = (decord.DECORDError, IndexError, RuntimeError)
    except (ImportError, OSError, RuntimeError) as error:
        _send(out, FAILURE, f"decord is not installed, or does not work here ({error}).".encode())
        return
    try:
        limit_open_files(1)
        limit_memory(DECODER_MEMORY + request["room"])
        cpu = decord.cpu(0)
        video = decord.VideoReader(
            request["path"], cpu, width=request["width"], height=request["height"], num_threads=1
        )
        limit_open_files(0)
        count = len(video)
        times = np.array([video.get_frame_timestamp(number) for number in range(count)], np.float64)
    except errors as error:
        _send(out, FAILURE, f"decord can't open {request['path']} ({_first_line(error)}).".encode())
        return
    _send(out, TIMES, times.reshape(-1, 2).tobytes())
    first = int(requests.readline())
    if 0 < first < count:
        video.seek_accurate(first)
    try:
        for _ in range(first, count):
            _send(out, FRAME, _pixels(video.next()))
    except errors as error:  # it does not recover from a damaged picture
        _send(out, FAILURE, f"decord can't read on ({_first_line(error)}).".encode())
        return
    _send(out, END, b"")


def _send(out: IO[bytes], tag: bytes, payload: Any) -> None:
    data = memoryview(payload).cast("B")
    out.write(HEADER.pack(tag, len(data)))
    out.write(data)
    out.flush()


def _pixels(frame: Any) -> Any:
    """Return RGB [H, W·3]. Where decord pads rows to multiples of the width, it calls the padding a fourth channel."""
    array = frame.asnumpy()
    height, width = array.shape[:2]
    return np.ascontiguousarray(array.reshape(height, -1)[:, : width * 3])


def _first_line(error: Exception) -> str:
    """Return the first line of decord's message, without the positions in its own source."""
    lines = str(error).strip().splitlines()
    return lines[0].rpartition("Check failed: ")[2][:120] if lines else type(error).__name__
