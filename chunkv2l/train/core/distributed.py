"""One process a GPU: gradients are averaged by hand, which is all that these small models need.

Started by `torchrun`, whose environment says who is who; without it everything here is a no-op.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor


def start() -> tuple[int, int, torch.device]:
    """Join the group: (rank, how many, this process's device)."""
    if "LOCAL_RANK" not in os.environ:
        return 0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu")
    local = int(os.environ["LOCAL_RANK"])
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    # one may have much more to encode than the others
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(hours=12))
    return dist.get_rank(), dist.get_world_size(), device


def together() -> bool:
    return dist.is_initialized() and dist.get_world_size() > 1


@torch.no_grad()
def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace every gradient by its mean over the processes, in one message."""
    if not together():
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


@torch.no_grad()
def same(tensors: Sequence[Tensor]) -> None:
    """Give every process the first one's values."""
    if together():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def wait() -> None:
    """Go on when all processes have come here."""
    if together():
        dist.barrier()


def count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if together() else 1


def gathered(x: Tensor) -> Tensor:
    """x [n, …] of all processes, [processes · n, …]; gradients flow to this process's own rows, which stand first.

    Every process must have the same n. A loss over what is gathered counts each process's rows once when gradients are
    averaged: multiply it by `count()` for the gradient of one big batch.
    """
    if not together():
        return x
    with torch.no_grad():
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.detach().contiguous())
    own = dist.get_rank()
    return torch.cat([x, *(part for rank, part in enumerate(parts) if rank != own)])


def agree(value: float) -> float:
    """The first process's value, everywhere (elapsed time decides when a run ends)."""
    if not together():
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device="cuda" if torch.cuda.is_available() else "cpu")
    dist.broadcast(tensor, 0)
    return float(tensor)
