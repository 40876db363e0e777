"""Initialise weights; skipped on the meta device."""

from __future__ import annotations

import torch
from torch import Tensor


def normal(*shape: int, std: float = 1.0) -> Tensor:
    """Return `torch.randn(*shape) * std`; on the meta device `torch.empty(*shape)`.

    Returns:
        [*shape], on the default device.
    """
    # docs/measurements.md#weight-initialisation-on-the-meta-device: randn imports a compiler there.
    return torch.empty(*shape) if torch.get_default_device().type == "meta" else torch.randn(*shape) * std
