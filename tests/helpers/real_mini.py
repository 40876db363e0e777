"""The default model itself, and clips of four photographs. Its frozen parts are fetched once (180 MB) and kept."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from chunkv2l.models import Model, ModelSpec, load_model
from chunkv2l.video.clip import Clip

PHOTOGRAPHS = Path(__file__).parents[1] / "fixtures" / "photographs"
TRUE_OF = {
    "cat": "A cat looks at the camera.",
    "coffee": "A cup of coffee stands on a table.",
    "rocket": "A rocket stands on its launch pad.",
    "astronaut": "A woman in an orange suit is smiling.",
}
"""A statement about each photograph."""


@cache
def model() -> Model:
    return load_model(ModelSpec("mini", device="cpu"))


@cache
def clips() -> tuple[Clip, ...]:
    """Two seconds of each photograph, in TRUE_OF's order: as a whole, then a little nearer."""
    out = []
    for name in TRUE_OF:
        picture = np.asarray(Image.open(PHOTOGRAPHS / f"{name}.jpg").convert("RGB"))
        y, x = (side // 10 for side in picture.shape[:2])
        out.append(Clip((picture, picture[y:-y, x:-x]), (0.5, 1.5), 2.0, 25.0))
    return tuple(out)
