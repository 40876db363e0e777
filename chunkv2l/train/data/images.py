"""Read photographs, and film them: panning and zooming over a photograph makes a clip.

A set is two files. `STEM.npz`: `jpeg`, all JPEG bytes one after the other (uint8), and `offsets` (int64): image i is
`jpeg[offsets[i]:offsets[i + 1]]`. `STEM.jsonl`: row i describes image i, `{"file": …, "captions": […]}` or
`{"file": …, "labels": […]}` or neither. Nothing is unpickled.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from chunkv2l.errors import InputError
from chunkv2l.train.data.notes import Notes, read_notes
from chunkv2l.train.data.questions import Described, clean

_NAME = r"[a-z_ ]{3,24}"


@dataclass(frozen=True)
class ImageSet:
    """Photographs as JPEG bytes, and the texts of each."""

    name: str
    jpegs: tuple[bytes, ...]
    described: tuple[Described, ...]

    def __len__(self) -> int:
        return len(self.jpegs)


def load_images(
    stem: Path, limit: int | None = None, notes: Sequence[Path] = (), shares: Sequence[float] = (1.0,)
) -> ImageSet:
    """Read a set, whose two files the module's docstring describes.

    Args:
        notes: files of further knowledge about the same photographs; see `notes.read_notes`.
        shares: how often each label of a photograph counts; further labels don't.

    Raises:
        InputError: a file is missing, or the two don't describe the same images.
    """
    arrays, rows = stem.with_suffix(".npz"), stem.with_suffix(".jsonl")
    if not arrays.exists() or not rows.exists():
        raise InputError(f"No image set at {stem}: both {arrays.name} and {rows.name} are needed.")
    with np.load(arrays, allow_pickle=False) as file:
        data, offsets = file["jpeg"], file["offsets"]
    further = read_notes(notes)
    described = [describe(json.loads(line), shares, further) for line in rows.read_text().splitlines() if line.strip()]
    if len(described) != len(offsets) - 1:
        raise InputError(f"{rows.name} has {len(described)} rows, but {arrays.name} has {len(offsets) - 1} images.")
    count = min(len(described), limit or len(described))
    jpegs = tuple(data[offsets[i] : offsets[i + 1]].tobytes() for i in range(count))
    return ImageSet(stem.name, jpegs, tuple(described[:count]))


def describe(
    row: Mapping[str, object], shares: Sequence[float] = (1.0,), notes: Mapping[str, Notes] | None = None
) -> Described:
    """Return what one row of a `.jsonl` and notes say of an image; as many labels count as there are shares."""
    captions, labels, pairs = row.get("captions") or [], row.get("labels") or [], row.get("qa") or []
    assert isinstance(captions, list) and isinstance(labels, list) and isinstance(pairs, list)
    known = (notes or {}).get(str(row.get("file")), Notes())
    answers = tuple((str(pair["question"]), str(pair["answer"])) for pair in pairs)
    return Described(
        tuple(text for c in (*captions, *known.captions) if (text := clean(str(c)))),
        tuple(str(x) for x in labels[: len(shares)]),
        shares=tuple(shares),
        counts=(*known.counts.items(), *((name, 1) for name in named_in_answers(answers))),
        maybe=frozenset(known.maybe),
        true=tuple(clean(text) for text in known.true),
        false=tuple(clean(text) for text in known.false),
        actions=tuple(known.actions),
        answers=answers,
    )


def named_in_answers(answers: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return the things that answers to "What is …" name; colours, numbers and lists of several aren't among them."""
    names = [
        answer.replace("_", " ")
        for question, answer in answers
        if question.startswith("what") and not re.search(r"colou?r|how many", question) and re.fullmatch(_NAME, answer)
    ]
    return tuple(dict.fromkeys(names))


def decode(jpegs: Sequence[bytes], size: int, threads: int = 16) -> NDArray[np.uint8]:
    """Return RGB pixels, resized to [N, size, size, 3] whatever their proportions."""

    def decode_one(jpeg: bytes) -> NDArray[np.uint8]:
        image = Image.open(io.BytesIO(jpeg)).convert("RGB")
        return np.asarray(image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BICUBIC))

    with ThreadPoolExecutor(threads) as pool:
        return np.stack(list(pool.map(decode_one, jpegs)))


@dataclass(frozen=True)
class Motion:
    """The way a photograph is filmed: crops of at least `least` of its side, perhaps mirrored, at `keyframes`
    moments."""

    least: float = 0.6
    mirror: bool = True
    keyframes: int = 4
    still: float = 0.15
    """share of clips without motion"""


STILL = Motion(least=0.85, mirror=False)
"""Of images that a run is measured on: little motion, never mirrored."""


def film(images: Tensor, motion: Motion, generator: torch.Generator) -> Tensor:
    """Pan and zoom over photographs: from one random box to another, uint8 [N, 3, H, W] → uint8 [N, K, 3, H, W].

    Boxes keep the proportions within ± 15 %, because frames of other formats are resized to squares too.
    """
    count, keyframes, device = images.shape[0], motion.keyframes, images.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    def box() -> Tensor:
        side = motion.least + (1 - motion.least) * uniform(count, 1)
        sides = (side * (1 + 0.3 * (uniform(count, 2) - 0.5))).clamp(max=1.0)
        return torch.cat([sides, (2 * uniform(count, 2) - 1) * (1 - sides)], dim=1)  # width, height, x, y in [-1, 1]

    start, end = box(), box()
    end = torch.where(uniform(count, 1) < motion.still, start, end)
    moment = torch.linspace(0, 1, keyframes, device=device)[None, :, None]
    boxes = start[:, None] * (1 - moment) + end[:, None] * moment  # [N, K, 4]
    theta = boxes.new_zeros(count, keyframes, 2, 3)
    flip = torch.where(uniform(count, 1) < 0.5, -1.0, 1.0) if motion.mirror else boxes.new_ones(count, 1)
    theta[..., 0, 0], theta[..., 0, 2] = boxes[..., 0] * flip, boxes[..., 2]
    theta[..., 1, 1], theta[..., 1, 2] = boxes[..., 1], boxes[..., 3]
    shape = (count * keyframes, 3, *images.shape[-2:])
    grid = F.affine_grid(theta.flatten(0, 1), list(shape), align_corners=False)
    source = images.float().repeat_interleave(keyframes, 0)
    frames = F.grid_sample(source, grid, padding_mode="reflection", align_corners=False)
    return frames.round().clamp(0, 255).to(torch.uint8).view(count, keyframes, *frames.shape[1:])
