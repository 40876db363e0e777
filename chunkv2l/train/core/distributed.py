"""Train with one process a GPU, averaging gradients explicitly.

`torchrun` starts the processes; without it these functions do nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor


def start() -> tuple[int, int, torch.device]:
    """Join the process group and return rank, number of processes, and this process's device."""
    if "LOCAL_RANK" not in os.environ:
        return 0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu")
    local = int(os.environ["LOCAL_RANK"])
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    # a process may have many more clips to encode than the others
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(hours=12))
    return dist.get_rank(), dist.get_world_size(), device


def is_distributed() -> bool:
    """Return True if there are several processes."""
    return dist.is_initialized() and dist.get_world_size() > 1


@torch.no_grad()
def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace every gradient by its mean over the processes, in one message."""
    if not is_distributed():
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
def broadcast_from_first(tensors: Sequence[Tensor]) -> None:
    """Overwrite the tensors of every process with the first process's."""
    if is_distributed():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def wait() -> None:
    """Wait until all processes have called this."""
    if is_distributed():
        dist.barrier()


def rank() -> int:
    """Return this process's number."""
    return dist.get_rank() if is_distributed() else 0


def count() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if is_distributed() else 1


def gather(x: Tensor) -> Tensor:
    """Return the x [n, …] of all processes, [processes · n, …]; gradients flow to this process's rows, which come
    first.

    Every process must have the same n. Averaging the gradients of a loss over gathered rows divides them by
    the number of processes: multiply the loss by `count()` for the gradient of one big batch.
    """
    if not is_distributed():
        return x
    with torch.no_grad():
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.detach().contiguous())
    rank = dist.get_rank()
    return torch.cat([x, *(part for number, part in enumerate(parts) if number != rank)])


def broadcast_value(value: float) -> float:
    """Return the first process's value in every process; elapsed time, say, which ends a run."""
    if not is_distributed():
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device="cuda" if torch.cuda.is_available() else "cpu")
    dist.broadcast(tensor, 0)
    return float(tensor)
