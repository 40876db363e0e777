"""Where a model runs."""

from __future__ import annotations

import torch

from chunkv2l.errors import InputError


def choose(device: str) -> torch.device:
    """The device that a name stands for; "auto" is a CUDA GPU where there is one, else the CPU.

    Raises:
        InputError: no such device, or it can't be used.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.zeros(1, device=place).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or ["it can't be used"])[0].rstrip(".")
        raise InputError(f"The device {device!r} can't be used ({reason}): take auto, cpu or cuda.") from None
    return place
