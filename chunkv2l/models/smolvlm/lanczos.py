"""Resample 8-bit pictures on any device as Pillow's Lanczos does, to the bit: for frames that a GPU is to look at.

Pillow works with whole numbers (its `Resample.c`: weights times 2**22, rounded; the sum over a row rounded to 8 bits,
then the same over columns), so the same numbers come out wherever sums of them are exact, as they are in float64.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SUPPORT = 3.0
_UNIT = float(1 << 22)


def resize(pictures: Tensor, height: int, width: int) -> Tensor:
    """Resize pictures as `Image.resize((width, height), LANCZOS)` does.

    Args:
        pictures: uint8 [F, H, W, C]. Where the width grows and the height shrinks, Pillow begins with the height, and
            other numbers come out.

    Returns:
        uint8 [F, height, width, C], on the same device.
    """
    x = pictures.permute(0, 3, 1, 2)
    if x.shape[3] != width:
        x = _round(x.double() @ _weights(x.shape[3], width, str(x.device)).T)
    if x.shape[2] != height:
        x = _round(_weights(x.shape[2], height, str(x.device)) @ x.double())
    return x.to(torch.uint8).permute(0, 2, 3, 1)


def _round(sums: Tensor) -> Tensor:
    return torch.floor((sums + _UNIT / 2) / _UNIT).clamp(0, 255)


@lru_cache(maxsize=16)
def _weights(size: int, new: int, device: str) -> Tensor:
    """Return whole numbers, float64 [new, size]: row i makes pixel i of the new side out of the old one."""
    table = np.zeros((new, size))
    step = size / new
    stretch = max(step, 1.0)
    reach = _SUPPORT * stretch
    for i in range(new):
        centre = (i + 0.5) * step
        first = max(int(centre - reach + 0.5), 0)
        last = min(int(centre + reach + 0.5), size)
        row = _lanczos((np.arange(first, last, dtype=np.float64) - centre + 0.5) / stretch)
        row *= 1.0 / row.sum()
        table[i, first:last] = np.trunc(row * _UNIT + np.where(row < 0, -0.5, 0.5))
    return torch.from_numpy(table).to(device)


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where((x >= -_SUPPORT) & (x < _SUPPORT), np.sinc(x) * np.sinc(x / _SUPPORT), 0.0)
