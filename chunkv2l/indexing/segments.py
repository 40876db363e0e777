"""Encode a batch of clips: codes as they are stored, and the keys, scores and captions that follow from them."""

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
from chunkv2l.index.thumbnail import MAX_THUMBNAIL
from chunkv2l.index.writer import NewSegment, Writer
from chunkv2l.indexing.allocator import trim_heap
from chunkv2l.indexing.progress import Run
from chunkv2l.indexing.settings import BuildSettings
from chunkv2l.models.text.decoder import stacked
from chunkv2l.sanitize import one_line
from chunkv2l.video.clip import Clip
from chunkv2l.video.detectors import Segment
from chunkv2l.video.subtitles import Speech

if TYPE_CHECKING:
    from chunkv2l.models import Model
    from chunkv2l.models.base import Tag

CLIPS_AT_ONCE: Final = 8
"""Clips that are read together; see docs/measurements.md#memory-of-clips-that-are-read-together, for all three."""
CLIPS_ON_GPU: Final = 32
"""Clips that a GPU with room for it reads together: launching the kernels for few of them takes longer than computing
them where reading processes keep all cores busy."""
GPU_BYTES_PER_CLIP: Final = 1 << 29
"""Bytes of a GPU's memory that must be free for each clip."""
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
"""A segment's μ is its mean score over these; it is high for segments that raise every statement."""


@dataclass(frozen=True)
class EncodedClip:
    """A clip's code, key and tags, as they are stored."""

    code: bytes
    key: bytes | None
    tags: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class EncodedSegment:
    """A clip's code, caption, μ, key and tags, as an index stores them; see `NewSegment`."""

    code: bytes
    caption: str
    mu: float | None
    key: bytes | None
    tags: tuple[tuple[str, float], ...]


def clips_at_once(device: torch.device) -> int:
    """Return how many clips the model reads together on this device: a power of two."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    return next(
        (count for count in (CLIPS_ON_GPU, CLIPS_ON_GPU // 2) if free >= count * GPU_BYTES_PER_CLIP), CLIPS_AT_ONCE
    )


@torch.inference_mode()
def encode(clips: Sequence[Clip], model: Model, settings: BuildSettings, run: Run) -> list[EncodedClip]:
    """Return codes, keys and tags of clips that are read together, `clips_at_once` at most."""
    run.tell("encode")
    with run.clock("encode"):
        features = model.vlm.look(clips)
        states, mask = model.vlm.encode(clips, features)
        tags = [store_tags(of_clip) for of_clip in model.vlm.classify(features)]
    with run.clock("hypernet"):
        codes = [packing.to_bytes(code, settings.codes) for code in model.hypernet.encode(states, mask)]
        keys: list[bytes | None] = [None] * len(codes)
        if model.keys is not None:
            keys = [key_to_bytes(key) for key in model.keys.of_clips(*stacked(features))]
        return [EncodedClip(*row) for row in zip(codes, keys, tags, strict=True)]


def store_tags(tags: Sequence[Tag]) -> tuple[tuple[str, float], ...]:
    """Return tags as an index stores them, their probabilities to four digits."""
    return tuple((tag.name, round(tag.p, 4)) for tag in tags)


@torch.inference_mode()
def caption_and_score(
    batch: Sequence[EncodedClip], model: Model, settings: BuildSettings, run: Run
) -> list[EncodedSegment]:
    """Add captions and mean scores to a whole batch, from the codes as they are stored, which asking will read."""
    with run.clock("hypernet"):
        bias = model.hypernet.bias
        codes = torch.stack([packing.from_bytes(clip.code, bias.A.device) for clip in batch])  # [n, L, r, d]
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
    return [EncodedSegment(clip.code, caption, mu, clip.key, clip.tags) for clip, caption, mu in rows]


def write_captions(model: Model, adapters: Adapter) -> list[str]:
    """Return the frozen model's caption under each adapter, on one line."""
    questions = [model.vlm.caption_question] * adapters.A.shape[0]
    return [one_line(text) for text in model.vlm.generate(questions, adapters, max_new_tokens=CAPTION_TOKENS)]


def mean_scores(model: Model, adapters: Adapter) -> list[float | None]:
    """Return μ of each segment, nats: how much its adapter raises the likelihood of `MU_STATEMENTS` over the bias."""
    under_bias = model.vlm.score(MU_STATEMENTS, model.hypernet.bias)  # [1, 8]
    under_adapters = model.vlm.score(MU_STATEMENTS, adapters)  # [n, 8]
    return [float(mu) for mu in (under_adapters - under_bias).mean(dim=1)]


class SegmentBatch:
    """Collects segments for the index: a few at a time are encoded as they come, all are stored at once."""

    def __init__(self, writer: Writer, model: Model, settings: BuildSettings, speech: Speech, run: Run) -> None:
        self._writer, self._model, self._settings, self._speech, self._run = writer, model, settings, speech, run
        self._clips_at_once = clips_at_once(model.vlm.device)
        self._clips: list[Clip] = []  # that aren't encoded yet
        self._encoded: list[EncodedClip] = []
        self._shown: list[tuple[Segment, NDArray[uint8]]] = []

    def add(self, segment: Segment, clip: Clip, picture: NDArray[uint8]) -> None:
        """Add the next segment, its clip and a picture, uint8 RGB [H, W, 3]."""
        self._shown.append((segment, picture))
        self._clips.append(clip)
        if len(self._clips) == self._clips_at_once:
            self._encode()

    def store(self, count: int) -> None:
        """Commit what came since the last time, if anything did, in one transaction: `count` segments in all."""
        if not self._shown:
            return
        self._encode()
        run, shown = self._run, self._shown
        made = caption_and_score(self._encoded, self._model, self._settings, run)
        run.tell("write")
        with run.clock("write"):
            rows = [
                NewSegment(
                    segment.start,
                    segment.end,
                    encoded.caption,
                    encoded.code,
                    to_jpeg(picture),
                    mu=encoded.mu,
                    key=encoded.key,
                    speech=self._speech.within(segment),
                    tags=encoded.tags,
                )
                for (segment, picture), encoded in zip(shown, made, strict=True)
            ]
            self._writer.write(count - len(rows), rows)
        run.segments, run.done, run.code_bytes = count, shown[-1][0].end, len(made[0].code)
        self._encoded, self._shown = [], []
        run.tell("read")

    def _encode(self) -> None:
        if self._clips:
            self._encoded += encode(self._clips, self._model, self._settings, self._run)
            self._clips = []
            trim_heap()


def to_jpeg(picture: NDArray[uint8]) -> bytes:
    """Return an RGB picture, uint8 [H, W, 3], as a baseline JPEG that an index takes."""
    for quality in (80, 50, 20):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="JPEG", quality=quality)
        if buffer.tell() <= MAX_THUMBNAIL:  # pure noise of 256 × 256 pixels takes less, too
            break
    return buffer.getvalue()
