"""The reference's numbers, read from tests/fixtures/frames2lora (see the README there)."""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import load as load_bytes
from safetensors.torch import load_file
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "fixtures" / "frames2lora"
MODEL = FOLDER / "model"


def load(name: str) -> dict[str, Tensor]:
    """The tensors of one fixture, by its name without ending."""
    packed = FOLDER / f"{name}.safetensors.xz"
    if packed.exists():
        return load_bytes(lzma.decompress(packed.read_bytes()))
    return load_file(FOLDER / f"{name}.safetensors")


@cache
def info(name: str = "info") -> dict[str, Any]:
    """One of the JSON files."""
    values: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return values


def hypernet_file(folder: Path) -> Path:
    """The tiny hypernetwork as a bare `.safetensors`, unpacked into a folder."""
    packed = FOLDER / "hypernet_state.safetensors.xz"
    path = folder / packed.stem
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    return path
