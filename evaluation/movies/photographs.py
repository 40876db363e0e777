"""Turn photographs into segments: film them as in training, encode them, keep the codes, and write a movie's index.

Each photograph becomes a clip (pan and zoom from one random box to another), which is encoded as a build encodes a
segment. The index is written by the build's own writer, so that it is asked like any movie's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from chunkv2l.adapter.algebra import concat
from chunkv2l.files import atomic_write
from chunkv2l.hypernet.compose import expand
from chunkv2l.index import tensors as packing
from chunkv2l.index.tensors import key_to_bytes
from chunkv2l.index.writer import NewChapter, NewSegment, Writer
from chunkv2l.indexing.chapter_codes import Pictures
from chunkv2l.indexing.chapters import find_chapters, pool_code, similar_pairs
from chunkv2l.indexing.segments import CLIPS_AT_ONCE, mean_scores, to_jpeg, write_captions
from chunkv2l.indexing.settings import BuildSettings
from chunkv2l.models import Model
from chunkv2l.models.text.decoder import stacked
from chunkv2l.sanitize import canonical_json
from chunkv2l.train.data.images import Motion, decode, film
from chunkv2l.video.clip import Clip
from chunkv2l.video.detectors import Segment

SECONDS = 4.0
"""Seconds that each photograph is shown."""
FPS = 25.0
SIDE = 224
"""Pixels of a filmed frame's side."""
CODES = "fp16"


@dataclass(frozen=True)
class Encoded:
    """The data that a build stores of a clip.

    Attributes:
        code: float16 [L, r, d].
        caption: generated from the clip's own adapter; "" where none was asked for.
        key: the learned key, float32 [K]; None where the model has none.
        mu: mean score over the build's fixed statements, nats; None where the model doesn't use it.
    """

    code: Tensor
    caption: str
    key: Tensor | None
    mu: float | None = None


@dataclass(frozen=True)
class Groups:
    """A movie's chapters, and pairs (a, b, cosine) of similar segments, as a build finds them."""

    chapters: tuple[NewChapter, ...] = ()
    similar: tuple[tuple[int, int, float], ...] = ()


@dataclass(frozen=True)
class Take:
    """One photograph (JPEG bytes), filmed for `seconds`; another `number` is another pan over it."""

    jpeg: bytes
    number: int = 0
    seconds: float = SECONDS


def filmed(take: Take, times: Sequence[float], seed: int = 0) -> Clip:
    """Return a clip with a frame at each of `times` (seconds); it depends on photograph, take and seed alone."""
    digest = hashlib.sha256(f"{seed} {take.number} ".encode() + take.jpeg).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    picture = torch.from_numpy(decode([take.jpeg], SIDE, threads=1)).permute(0, 3, 1, 2)
    frames = film(picture, Motion(mirror=False, keyframes=len(times)), generator)[0]  # [K, 3, H, W]
    pictures = tuple(np.ascontiguousarray(frame) for frame in frames.permute(0, 2, 3, 1).numpy())
    return Clip(pictures, tuple(times), take.seconds, FPS)


def halves(clip: Clip) -> tuple[Clip, Clip]:
    """Return a clip's first and second half; of an odd number of frames the first half has one less."""
    middle, half = len(clip.frames) // 2, clip.duration / 2
    first = Clip(clip.frames[:middle], clip.times[:middle], half, clip.fps)
    return first, Clip(clip.frames[middle:], tuple(t - half for t in clip.times[middle:]), half, clip.fps)


class Encoder:
    """Encode clips with a model, each once; the results are kept in a folder, by the clip's content.

    Args:
        cache: the folder; made when first needed.
    """

    def __init__(self, model: Model, cache: Path, seed: int = 0) -> None:
        self.model, self.seed = model, seed
        self._folder = cache / hashlib.sha256(canonical_json(model.identity).encode()).hexdigest()[:16]

    def film(self, take: Take) -> Clip:
        """Return a take as a clip with as many frames as the model looks at."""
        return filmed(take, self.model.vlm.sampling.times(take.seconds, FPS), self.seed)

    def encode(self, clips: Sequence[Clip], captions: bool = True) -> list[Encoded]:
        """Return the data that a build would store of each clip."""
        files = [self._file(clip, captions) for clip in clips]
        missing = [i for i, file in enumerate(files) if not _readable(file)]
        missing = list({files[i]: i for i in missing}.values())
        with tqdm(total=len(missing), unit="clip", desc="encoding", disable=None, leave=False) as bar:
            for begin in range(0, len(missing), CLIPS_AT_ONCE):
                batch = missing[begin : begin + CLIPS_AT_ONCE]
                for i, made in zip(batch, self._make([clips[i] for i in batch], captions), strict=True):
                    _write(files[i], made)
                bar.update(len(batch))
        return [_read(file) for file in files]

    def takes(self, takes: Sequence[Take], captions: bool = True) -> list[Encoded]:
        """Film takes and `encode` them; only one batch's frames are in memory at a time."""
        made: list[Encoded] = []
        with tqdm(total=len(takes), unit="clip", desc="filming", disable=None, leave=False) as bar:
            for begin in range(0, len(takes), CLIPS_AT_ONCE):
                batch = takes[begin : begin + CLIPS_AT_ONCE]
                made += self.encode([self.film(take) for take in batch], captions)
                bar.update(len(batch))
        return made

    def groups(self, takes: Sequence[Take], encoded: Sequence[Encoded], folder: Path) -> Groups:
        """Return chapters and similar segments of a movie of these takes, as a build finds them.

        Args:
            encoded: the result of `takes`.
            folder: for temporary frames.
        """
        vectors = np.stack([pool_code(one.code.float().numpy()) for one in encoded])
        chapters = find_chapters(vectors)
        with Pictures(folder) as pictures:
            for i, take in enumerate(takes):
                pictures.add(Segment(i * take.seconds, (i + 1) * take.seconds), self._shrunk(self.film(take)))
            encoded_chapters = self.encode([pictures.clip(first, last) for first, last in chapters], captions=False)
        rows = [
            NewChapter(first, last, packing.to_bytes(chapter.code.float(), CODES))
            for (first, last), chapter in zip(chapters, encoded_chapters, strict=True)
        ]
        return Groups(tuple(rows), tuple(similar_pairs(vectors)))

    def _shrunk(self, clip: Clip) -> Clip:
        return Clip(
            tuple(self.model.vlm.sampling.shrink(frame) for frame in clip.frames), clip.times, clip.duration, clip.fps
        )

    @torch.inference_mode()
    def _make(self, clips: Sequence[Clip], captions: bool) -> Iterator[Encoded]:
        vlm, hypernet = self.model.vlm, self.model.hypernet
        clips = [self._shrunk(clip) for clip in clips]
        features = vlm.look(clips)
        states, mask = vlm.encode(clips, features)
        blobs = [packing.to_bytes(code, CODES) for code in hypernet.encode(states, mask)]
        codes = torch.stack([packing.from_bytes(blob) for blob in blobs])  # as they are stored
        adapters = concat([expand(hypernet, codes)], bias=hypernet.bias)
        texts = write_captions(self.model, adapters) if captions else [""] * len(clips)
        mus: list[float | None] = [None] * len(clips)
        if self.model.calibration.mu:
            mus = mean_scores(self.model, adapters)
        keys = None
        if self.model.keys is not None:
            keys = self.model.keys.of_clips(*stacked(features)).float().cpu()
        for i, text in enumerate(texts):
            yield Encoded(codes[i].half(), text, None if keys is None else keys[i], mus[i])

    def _file(self, clip: Clip, captions: bool) -> Path:
        digest = hashlib.sha256(f"{clip.times} {clip.duration} {clip.fps}".encode())
        for frame in clip.frames:
            digest.update(str(frame.shape).encode() + np.ascontiguousarray(frame).tobytes())
        extras = ("" if captions else "-plain") + ("-mu" if self.model.calibration.mu else "")
        name = digest.hexdigest()[:32]
        return self._folder / name[:2] / f"{name}{extras}.safetensors"


def write_movie(
    path: Path,
    model: Model,
    segments: Sequence[Encoded],
    groups: Groups | None = None,
    *,
    seconds: float = SECONDS,
    keys: bool = True,
) -> Path:
    """Write the index of a movie of these segments, with the build's writer; an existing file is replaced.

    Args:
        groups: chapters and similar segments; none if None.
        seconds: length of each segment.
        keys: store the learned keys, where the model has them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    config = model.hypernet.config
    digest = hashlib.sha256()
    for segment in segments:
        digest.update(segment.code.numpy().tobytes())
    meta: dict[str, Any] = {
        "movie": {
            "name": path.stem,
            "size": 0,
            "sha256": digest.hexdigest(),
            "duration": seconds * len(segments),
            "fps": FPS,
            "width": SIDE,
            "height": SIDE,
        },
        "model": model.name,
        "identity": dict(model.identity),
        "settings": BuildSettings(detector=f"fixed:{seconds:g}", codes=CODES).to_meta(),
        "code_shape": [config.num_layers, config.rank, config.latent_size],
        "own": [],
    }
    rows = [
        NewSegment(
            seconds * i,
            seconds * (i + 1),
            segment.caption,
            packing.to_bytes(segment.code.float(), CODES),
            _THUMBNAIL,
            mu=segment.mu,
            key=None if segment.key is None or not keys else key_to_bytes(segment.key),
        )
        for i, segment in enumerate(segments)
    ]
    with Writer(path) as writer:
        if writer.stored():
            writer.start_over()
        writer.write(meta=meta)
        writer.write(0, rows)
        if groups is not None:
            writer.write_chapters(0, groups.chapters)
        writer.finish(groups.similar if groups is not None else ())
    return path


_THUMBNAIL = to_jpeg(np.zeros((8, 8, 3), dtype=np.uint8))


def _write(file: Path, encoded: Encoded) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"code": encoded.code.contiguous()}
    if encoded.key is not None:
        tensors["key"] = encoded.key.contiguous()
    mu = {} if encoded.mu is None else {"mu": repr(encoded.mu)}
    with atomic_write(file) as part:
        save_file(tensors, part, metadata={"caption": encoded.caption, **mu})


def _read(file: Path) -> Encoded:
    with safe_open(file, framework="pt") as opened:
        # copies, because tensors of an opened file are mapped into memory
        key = opened.get_tensor("key").clone() if "key" in opened.keys() else None  # noqa: SIM118
        metadata = opened.metadata()
        mu = float(metadata["mu"]) if "mu" in metadata else None
        return Encoded(opened.get_tensor("code").clone(), metadata["caption"], key, mu)


def _readable(file: Path) -> bool:
    try:
        with safe_open(file, framework="pt"):
            return True
    except (OSError, SafetensorError):
        return False
