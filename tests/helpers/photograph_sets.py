"""A set of little photographs with captions, in the layout that evaluation and training read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from chunkv2l.train.data.nouns import with_article
from tests.helpers.indexes import jpeg

THINGS = ("dog", "cat", "horse", "boat", "man", "woman")
"""Things with a scene each in `SCENES`; photograph i shows thing i mod 6."""
SCENES = ("snow", "grass", "sand", "lake", "street", "stage", "kitchen", "bridge", "tent", "tunnel", "park", "bed")
RARE = ("kayak", "guitar", "flag")
"""Things that six photographs each show, and nothing else."""


def captions(number: int, count: int) -> list[str]:
    """Two captions of photograph `number` of `count`: the last 18 show `RARE` things."""
    if number >= count - 6 * len(RARE):
        thing = RARE[number % len(RARE)]
        return [f"{with_article(thing).capitalize()}.", f"There is {with_article(thing)}."]
    thing, scene = THINGS[number % len(THINGS)], SCENES[number // len(THINGS) % len(SCENES)]
    return [f"A {thing} and {with_article(scene)}.", f"A {thing} runs near {with_article(scene)}."]


def write_set(folder: Path, count: int = 90) -> Path:
    """STEM of `count` photographs, each of a colour of its own."""
    random = np.random.default_rng(0)
    jpegs = [jpeg(tuple(int(v) for v in random.integers(0, 256, 3)), (16, 16)) for _ in range(count)]  # type: ignore[arg-type]
    offsets = np.cumsum([0, *map(len, jpegs)]).astype(np.int64)
    stem = folder / "photographs"
    np.savez(stem.with_suffix(".npz"), jpeg=np.frombuffer(b"".join(jpegs), dtype=np.uint8), offsets=offsets)
    rows = [{"file": f"{number}.jpg", "captions": captions(number, count)} for number in range(count)]
    stem.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return stem
