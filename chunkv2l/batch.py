"""What a build stores at a time: segments on their way from clips to a committed transaction."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from numpy import uint8
from numpy.typing import NDArray
from PIL import Image

from chunkv2l.index.writer import NewSegment, Writer
from chunkv2l.indexing.allocator import give_back
from chunkv2l.indexing.progress import Run
from chunkv2l.indexing.segments import Encoded, at_once, encode, finish
from chunkv2l.indexing.settings import BuildSettings
from chunkv2l.video.clip import Clip
from chunkv2l.video.detectors import Segment
from chunkv2l.video.subtitles import Spoken

if TYPE_CHECKING:
    from chunkv2l.models import Model


class Batch:
    """Segments on their way into the index: a few at a time are encoded as they come, all are stored at once."""

    def __init__(self, writer: Writer, model: Model, settings: BuildSettings, spoken: Spoken, run: Run) -> None:
        self._writer, self._model, self._settings, self._spoken, self._run = writer, model, settings, spoken, run
        self._at_once = at_once(model.vlm.device)
        self._clips: list[Clip] = []  # that aren't encoded yet
        self._encoded: list[Encoded] = []
        self._shown: list[tuple[Segment, NDArray[uint8]]] = []

    def add(self, segment: Segment, clip: Clip, picture: NDArray[uint8]) -> None:
        """The next segment, its clip and a picture, uint8 RGB."""
        self._shown.append((segment, picture))
        self._clips.append(clip)
        if len(self._clips) == self._at_once:
            self._encode()

    def store(self, count: int) -> None:
        """Commit what came since the last time, if anything did, in one transaction: `count` segments in all."""
        if not self._shown:
            return
        self._encode()
        run, shown = self._run, self._shown
        made = finish(self._encoded, self._model, self._settings, run)
        run.tell("write")
        with run.clock("write"):
            rows = [
                NewSegment(
                    segment.start,
                    segment.end,
                    one.caption,
                    one.code,
                    to_jpeg(picture),
                    mu=one.mu,
                    key=one.key,
                    speech=self._spoken.within(segment),
                )
                for (segment, picture), one in zip(shown, made, strict=True)
            ]
            self._writer.write(count - len(rows), rows)
        run.segments, run.done, run.code_bytes = count, shown[-1][0].end, len(made[0].code)
        self._encoded, self._shown = [], []
        run.tell("read")

    def _encode(self) -> None:
        if self._clips:
            self._encoded += encode(self._clips, self._model, self._settings, self._run)
            self._clips = []
            give_back()


def to_jpeg(picture: NDArray[uint8]) -> bytes:
    """An RGB picture uint8 [H, W, 3] as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=80)
    return buffer.getvalue()
