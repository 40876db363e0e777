"""Random numbers that weights begin with, where anything begins with them."""

from __future__ import annotations

import torch
from torch import Tensor


def normal(*shape: int, std: float = 1.0) -> Tensor:
    """`torch.randn(*shape) * std`; on the meta device, where that would import a compiler for a second, `torch.empty`.

    Returns:
        [*shape], on the default device.
    """
    return torch.empty(*shape) if torch.get_default_device().type == "meta" else torch.randn(*shape) * std
