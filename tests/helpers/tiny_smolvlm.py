"""The tiny random SmolVLM of tests/fixtures, and the two clips that the reference was run on."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from chunkv2l.models import UNFITTED, Model
from chunkv2l.models.smolvlm.inputs import PixelRule, sample_indices
from chunkv2l.models.smolvlm.load import load_smolvlm
from chunkv2l.models.smolvlm.vlm import SmolVLM
from chunkv2l.video.clip import Clip
from tests.helpers import frames2lora

FPS = 10.0
CHECKPOINT = frames2lora.FOLDER / "checkpoint_tiny.pt"


@cache
def vlm() -> SmolVLM:
    """In float32 on the CPU; frames are shrunk to 24 px instead of 384, as they were for the fixtures."""
    loaded, _, _ = load_smolvlm(str(frames2lora.MODEL), str(CHECKPOINT), "cpu")
    return SmolVLM(loaded.model, loaded.tokenizer, PixelRule(tile=32, longest_edge=24))


@cache
def model() -> Model:
    """A model as `build` and `open` take it, with the fixtures' tiny released checkpoint."""
    _, hypernet, identity = load_smolvlm(str(frames2lora.MODEL), str(CHECKPOINT), "cpu")
    return Model("tiny", vlm(), hypernet.requires_grad_(False), UNFITTED, identity)


@cache
def pictures(seconds: int) -> tuple[NDArray[np.uint8], ...]:
    """All frames of one of the two clips (3 or 5 seconds)."""
    with av.open(str(video(seconds))) as container:
        return tuple(frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))


def video(seconds: int) -> Path:
    return frames2lora.FOLDER / f"video_{seconds}s.mp4"


def clip(seconds: int, told: float | None = None) -> Clip:
    """A clip as the reference samples it; `told` is the length that its prompt says, where that is another one."""
    frames = pictures(seconds)
    chosen = sample_indices(len(frames), FPS)
    times = tuple(index / FPS for index in chosen)
    return Clip(tuple(frames[index] for index in chosen), times, float(seconds if told is None else told), FPS)
