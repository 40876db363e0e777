"""What the model makes of a batch of clips: codes as they are stored, and the keys, scores and captions that follow."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from numpy import uint8
from numpy.typing import NDArray
from PIL import Image

from chunkv2l.adapter.algebra import Adapter, concat
from chunkv2l.index import tensors as packing
from chunkv2l.index.tensors import key_to_bytes
from chunkv2l.index.writer import NewSegment, Writer
from chunkv2l.indexing.allocator import give_back
from chunkv2l.indexing.progress import Run
from chunkv2l.indexing.settings import BuildSettings
from chunkv2l.models.text.decoder import stacked
from chunkv2l.sanitize import one_line
from chunkv2l.video.clip import Clip
from chunkv2l.video.detectors import Segment
from chunkv2l.video.subtitles import Speech

if TYPE_CHECKING:
    from chunkv2l.models import Model

AT_ONCE: Final = 8
"""Clips that are read together; see docs/measurements.md#memory-of-clips-that-are-read-together, for all three."""
ON_GPU: Final = 32
"""Clips that a GPU with room for it reads together: launching the kernels for few of them takes longer than computing
them where reading processes keep all cores busy."""
EACH: Final = 1 << 29
"""Bytes of a GPU's memory that must be free for each of them."""
CAPTION_TOKENS: Final = 40
MU_STATEMENTS: Final = (
    "A man is talking.",
    "A woman walks down a street.",
    "Two people play a game.",
    "A dog runs over the grass.",
    "A car drives on a road.",
    "Food lies on a table.",
    "A child holds a toy.",
    "Mountains rise under a blue sky.",
)
"""A segment's μ is its mean score over these: segments that like every statement are told by it."""


@dataclass(frozen=True)
class Encoded:
    """A clip's code and key, as they are stored."""

    code: bytes
    key: bytes | None


@dataclass(frozen=True)
class Made:
    """What an index stores of a clip; see `store.NewSegment`."""

    code: bytes
    caption: str
    mu: float | None
    key: bytes | None


def at_once(device: torch.device) -> int:
    """How many clips to read together on this device: a power of two."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    return next((count for count in (ON_GPU, ON_GPU // 2) if free >= count * EACH), AT_ONCE)


@torch.inference_mode()
def encode(clips: Sequence[Clip], model: Model, settings: BuildSettings, run: Run) -> list[Encoded]:
    """Codes and keys of clips that are read together, `at_once` at most."""
    run.tell("encode")
    with run.clock("encode"):
        seen = model.vlm.look(clips)
        states, mask = model.vlm.encode(clips, seen)
    with run.clock("hypernet"):
        codes = [packing.to_bytes(code, settings.codes) for code in model.hypernet.encode(states, mask)]
        if model.keys is None:
            return [Encoded(code, None) for code in codes]
        keys = model.keys.of_clips(*stacked(seen))
        return [Encoded(code, key_to_bytes(key)) for code, key in zip(codes, keys, strict=True)]


@torch.inference_mode()
def finish(batch: Sequence[Encoded], model: Model, settings: BuildSettings, run: Run) -> list[Made]:
    """All else, of a whole batch: it is made from the codes as they are stored, as asking will see them."""
    with run.clock("hypernet"):
        bias = model.hypernet.bias
        codes = torch.stack([packing.from_bytes(one.code, bias.A.device) for one in batch])  # [n, L, r, d]
        adapters = concat([model.hypernet.expand(codes)], bias=bias)  # A [n, L, 2r, I]
    mus: list[float | None] = [None] * len(batch)
    if model.calibration.mu:
        with run.clock("scores"):
            mus = mean_scores(model, adapters)
    captions = [""] * len(batch)
    if settings.captions:
        run.tell("captions")
        with run.clock("captions"):
            captions = write_captions(model, adapters)
    rows = zip(batch, captions, mus, strict=True)
    return [Made(one.code, caption, mu, one.key) for one, caption, mu in rows]


def write_captions(model: Model, adapters: Adapter) -> list[str]:
    """What each adapter makes the frozen model say about its segment, on one line."""
    questions = [model.vlm.caption_question] * adapters.A.shape[0]
    return [one_line(text) for text in model.vlm.generate(questions, adapters, max_new_tokens=CAPTION_TOKENS)]


def mean_scores(model: Model, adapters: Adapter) -> list[float | None]:
    """μ of each segment, nats: how much its adapter raises the likelihood of `MU_STATEMENTS` over the bias alone."""
    alone = model.vlm.score(MU_STATEMENTS, model.hypernet.bias)  # [1, 8]
    own = model.vlm.score(MU_STATEMENTS, adapters)  # [n, 8]
    return [float(mu) for mu in (own - alone).mean(dim=1)]


class SegmentBatch:
    """Segments on their way into the index: a few at a time are encoded as they come, all are stored at once."""

    def __init__(self, writer: Writer, model: Model, settings: BuildSettings, speech: Speech, run: Run) -> None:
        self._writer, self._model, self._settings, self._speech, self._run = writer, model, settings, speech, run
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
                    speech=self._speech.within(segment),
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
