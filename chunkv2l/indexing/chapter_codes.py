"""Run the last pass of a build: chapters with codes of their own, and pairs of similar segments.

Both come from what is stored, so that a build that was interrupted ends in the same rows. A chapter's own code is one
call of the hypernetwork on at most `FRAMES` frames spread over it. The frames are gone by the time the chapters are
known; a few of each segment are therefore kept, losslessly, in a file without a name beside the index. It is gone with
the process, whatever ends it. A resumed build reads the movie again for its cuts anyway, and fills it again.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from chunkv2l.errors import ChunkV2LError
from chunkv2l.graph import pick_evenly
from chunkv2l.index import tensors as packing
from chunkv2l.index.writer import NewChapter, Writer
from chunkv2l.indexing.chapters import find_chapters, pool_code, similar_pairs
from chunkv2l.indexing.progress import Run
from chunkv2l.indexing.segments import CLIPS_AT_ONCE, clips_at_once
from chunkv2l.video.clip import Clip
from chunkv2l.video.detectors import Segment
from chunkv2l.video.sampling import count_cores

if TYPE_CHECKING:
    from chunkv2l.models import Model

FRAMES: Final = 8
"""Frames that a chapter's code is made from, at most."""
KEPT: Final = 2
"""Frames kept of each segment: the shortest chapters have four segments."""
BATCH: Final = 4
"""Chapters that are encoded together and stored in one transaction; on a GPU with room for it, more."""


class Pictures:
    """Frames of a movie's segments, in a file that has no name. Close it, or use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: where the file is made; docs/measurements.md#frames-kept-for-chapters says how large it gets.

        Raises:
            ChunkV2LError: it can't be written to.
        """
        self._folder = folder
        self._frames: list[tuple[int, int, float]] = []  # offset and bytes in the file, seconds of the movie
        self._segments: list[tuple[int, float, float]] = []  # its first frame, start, end
        self._fps = 0.0
        self._pool = ThreadPoolExecutor(count_cores(), thread_name_prefix="chunkv2l-pictures")
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # `close` does
        except OSError as error:
            raise self._explain(error) from error

    def add(self, segment: Segment, clip: Clip) -> None:
        """Keep some of the next segment's frames.

        Raises:
            ChunkV2LError: the disk is full or fails.
        """
        self._segments.append((len(self._frames), segment.start, segment.end))
        self._fps = clip.fps
        for i in pick_evenly(range(len(clip.frames)), KEPT):
            done, png = cv2.imencode(".png", np.ascontiguousarray(clip.frames[i]), [cv2.IMWRITE_PNG_COMPRESSION, 1])
            assert done  # uint8 [H, W, 3]
            offset = self._frames[-1][0] + self._frames[-1][1] if self._frames else 0
            try:
                self._file.seek(offset)
                self._file.write(png.tobytes())
                self._file.flush()
            except OSError as error:
                raise self._explain(error) from error
            self._frames.append((offset, len(png), segment.start + clip.times[i]))

    def clip(self, first: int, last: int) -> Clip:
        """Return a clip of at most `FRAMES` frames spread over the segments from `first` to `last`, both included."""
        begin, start, _ = self._segments[first]
        behind = self._segments[last + 1][0] if last + 1 < len(self._segments) else len(self._frames)
        chosen = pick_evenly(self._frames[begin:behind], FRAMES)
        times = tuple(round(time - start, 6) for _, _, time in chosen)
        coded = [self._read(offset, size) for offset, size, _ in chosen]
        return Clip(
            tuple(self._pool.map(_decode, coded)),
            times,
            round(self._segments[last][2] - start, 6),
            self._fps,
        )

    def _read(self, offset: int, size: int) -> bytes:
        try:
            self._file.seek(offset)
            return self._file.read(size)
        except OSError as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> ChunkV2LError:
        if error.errno == errno.ENOSPC:
            return ChunkV2LError(
                f"The disk is full: there is no room in {self._folder} for the frames that chapters are made from. "
                "Free some space and run the same command to go on."
            )
        return ChunkV2LError(f"Can't keep frames in {self._folder} ({error.strerror}): choose another place with -o.")

    def close(self) -> None:
        """Close the file, which removes it."""
        self._pool.shutdown(cancel_futures=True)
        self._file.close()

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _decode(png: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None  # it was coded here
    return np.asarray(picture, dtype=np.uint8)


def store_chapters(
    writer: Writer, pictures: Pictures, model: Model, dtype: str, run: Run
) -> list[tuple[int, int, float]]:
    """Find the chapters of a movie whose segments are all stored, and store those that aren't yet.

    Args:
        pictures: of all segments.
        dtype: format in which codes are packed.

    Returns:
        Pairs of similar segments, for `Writer.finish`.
    """
    with run.clock("chapters"):
        vectors = np.stack([pool_code(packing.from_bytes(blob).numpy()) for blob in writer.codes()])
        chapters = find_chapters(vectors)
        similar = similar_pairs(vectors)
        stored = writer.stored_chapters()
        done = len(stored) if stored == chapters[: len(stored)] else 0  # 0: found with other libraries' rounding
    step = BATCH * clips_at_once(model.vlm.device) // CLIPS_AT_ONCE
    for begin in range(done, len(chapters), step):
        run.tell("chapters")
        with run.clock("chapters"):
            _store(writer, begin, chapters[begin : begin + step], pictures, model, dtype)
    return similar


def _store(
    writer: Writer, begin: int, chapters: Sequence[tuple[int, int]], pictures: Pictures, model: Model, dtype: str
) -> None:
    """Encode one batch of chapters from their frames, and store it in one transaction."""
    with torch.inference_mode():
        states, mask = model.vlm.encode([pictures.clip(first, last) for first, last in chapters])
        blobs = [packing.to_bytes(code, dtype) for code in model.hypernet.encode(states, mask)]
    rows = [NewChapter(first, last, blob) for (first, last), blob in zip(chapters, blobs, strict=True)]
    writer.write_chapters(begin, rows)
