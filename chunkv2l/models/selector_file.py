"""Read and write a hypernetwork's selector: weights, packed or not, and the calibration beside them.

A selector compares codes, so it is of use with the codes of one hypernetwork alone. Its file says which: the SHA-256 of
the hypernetwork's file. An index doesn't depend on a selector: it may be exchanged without building anything anew.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.files import read_text
from chunkv2l.hypernet.config import HypernetConfig
from chunkv2l.hypernet.selector import SIZE, Selector
from chunkv2l.models.assets import weights
from chunkv2l.models.calibration import SelectorCalibration, naming
from chunkv2l.sanitize import quoted

SELECTOR: Final = "selector.safetensors"
SELECTOR_CALIBRATION: Final = "selector.json"
HYPERNET_SHA256: Final = "hypernet"
"""In a selector's metadata: the SHA-256 of the hypernetwork's file that it was trained for."""
_SIZE: Final = "size"
_MOST_SIZE: Final = 1024


def write_selector(path: str | os.PathLike[str], selector: Selector, hypernet_sha256: str) -> None:
    """Write a selector as training leaves it, packed, atomically.

    Args:
        hypernet_sha256: of the hypernetwork's file whose codes it compares.

    Raises:
        InputError: weights that aren't finite.
        ChunkV2LError: it can't be written.
    """
    weights.write(path, selector.state_dict(), {HYPERNET_SHA256: hypernet_sha256, _SIZE: str(selector.size)})


def read_selector(path: Path, config: HypernetConfig, hypernet_sha256: str) -> Selector:
    """Return a selector on the CPU, frozen.

    Args:
        config: of the hypernetwork.
        hypernet_sha256: of the hypernetwork's file.

    Raises:
        InputError: no such file, it can't be read, or it is for another hypernetwork.
    """
    state, metadata = weights.read(path)
    trained_for = metadata.get(HYPERNET_SHA256, "")
    if trained_for != hypernet_sha256:
        raise InputError(
            f"{path} is a selector for other weights: it was trained for a hypernetwork of SHA-256 "
            f'"{quoted(trained_for[:16])}…", and this one is {hypernet_sha256[:16]}…. Remove it, or train it anew.'
        )
    size = metadata.get(_SIZE, str(SIZE))
    if not (size.isascii() and size.isdigit() and 1 <= int(size[:8]) <= _MOST_SIZE):
        raise InputError(f"{path} is damaged: its selector can't have the width {quoted(size)}.")
    with torch.device("meta"):
        selector = Selector(config, int(size))
    return _fill(selector, state, path)


def read_calibration(folder: Path) -> SelectorCalibration:
    """Return the calibration of a folder's selector; unfitted where the folder has none.

    Raises:
        InputError: a file that isn't one.
    """
    path = folder / SELECTOR_CALIBRATION
    with naming(path):
        return SelectorCalibration.from_text(read_text(path)) if path.is_file() else SelectorCalibration()


def _fill(selector: Selector, state: Mapping[str, Tensor], path: Path) -> Selector:
    """Fill a selector on the meta device with these weights, which aren't copied."""
    try:
        weights.fill(selector, state)
    except InputError as error:
        raise InputError(f"{path} isn't a selector for this hypernetwork: {quoted(error)}") from None
    if (damaged := weights.find_unusable(state)) is not None:
        raise InputError(f"{path} is damaged: {damaged} holds values that aren't finite numbers.")
    return selector.eval().requires_grad_(False)
