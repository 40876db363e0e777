"""Compose, scale and shrink adapters: pure functions on rank factors.

An adapter adds `scaling · Bᵀ(A x)` to the output of every text block's `down_proj` (docs/algorithm.md, step 13). The
factors of several adapters can be laid side by side along the rank, so composing is concatenation: the effect of the
result is the weighted sum of the effects (step 12; arXiv 2606.04351, section 5.6).

Symbols: L text blocks, r or R rank, I input size of `down_proj` (intermediate), D output size (hidden).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from chunkv2l.adapter import peft
from chunkv2l.errors import InputError


@dataclass(frozen=True, eq=False)
class Adapter:
    """Rank factors for every text block; leading dimensions, if any, count adapters.

    Attributes:
        A: [..., L, r, I].
        B: [..., L, r, D].
        scaling: what Bᵀ(A x) is multiplied by; the reference's is 2·r^1.5 and stays so however many ranks are joined.
        target: the name of the linear module in each block that the adapter belongs to.

    Raises:
        InputError: the factors don't fit each other.
    """

    A: Tensor
    B: Tensor
    scaling: float
    target: str = "down_proj"

    def __post_init__(self) -> None:
        if self.A.ndim < 3 or self.A.shape[:-1] != self.B.shape[:-1]:
            raise InputError(
                f"An adapter needs A [..., L, r, I] and B [..., L, r, D] that agree up to the last dimension, "
                f"not {list(self.A.shape)} and {list(self.B.shape)}."
            )

    @property
    def rank(self) -> int:
        """Return r or R, the ranks of every block."""
        return self.A.shape[-2]

    @property
    def num_layers(self) -> int:
        """Return L, the text blocks."""
        return self.A.shape[-3]

    @property
    def leading(self) -> torch.Size:
        """Return the dimensions before [L, r, ·]: empty for one adapter, [n] for a stack of n."""
        return self.A.shape[:-3]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Adapter:
        """Return the adapter on another device or in another precision; nothing is copied where nothing changes."""
        return replace(self, A=self.A.to(device=device, dtype=dtype), B=self.B.to(device=device, dtype=dtype))

    def detach(self) -> Adapter:
        """Return the adapter without the gradients' history."""
        return replace(self, A=self.A.detach(), B=self.B.detach())

    def __getitem__(self, index: int | slice | Tensor) -> Adapter:
        """Return one or several adapters of a stack, chosen along its first leading dimension."""
        if not self.leading:
            raise InputError("This adapter is a single one, not a stack: there is nothing to choose from.")
        return replace(self, A=self.A[index], B=self.B[index])

    def save_pretrained(self, folder: str | os.PathLike[str], module: str = peft.LLAMA, base_model: str = "") -> None:
        """Write one adapter as a PEFT folder; see `chunkv2l.adapter.peft.save`."""
        peft.save(peft.Factors(self.A, self.B, self.scaling, self.target), folder, module, base_model)

    @staticmethod
    def from_pretrained(folder: str | os.PathLike[str]) -> Adapter:
        """Read an adapter from a PEFT folder; see `chunkv2l.adapter.peft.load`."""
        factors = peft.load(folder)
        return Adapter(factors.A, factors.B, factors.scaling, factors.target)

    def unbind(self) -> list[Adapter]:
        """Return the adapters of a stack, one by one along the first leading dimension (views, no copies)."""
        if not self.leading:
            raise InputError("This adapter is a single one, not a stack: it can't be taken apart.")
        return [replace(self, A=a, B=b) for a, b in zip(self.A.unbind(0), self.B.unbind(0), strict=True)]


def concat(
    adapters: Sequence[Adapter],
    weights: Iterable[float | Tensor] | None = None,
    bias: Adapter | None = None,
    bias_weight: float = 1.0,
) -> Adapter:
    """Return one adapter whose effect is the weighted sum of the effects of several (docs/algorithm.md, step 12).

    Args:
        adapters: any ranks, but the same blocks and sizes; leading dimensions broadcast.
        weights: one for each adapter: a number (zero and negative included), or a tensor of the leading dimensions.
            They multiply A only. A tensor [n, ...] works as well and keeps its gradient.
        bias: the hypernetwork's constant adapter, appended once as the last ranks.
        bias_weight: multiplies the bias's A only, so that the bias's effect scales by it, not by its square.

    Returns:
        A [..., L, Σ ranks, I], B likewise, in the order given, bias last; scaling is the first adapter's (another
        scaling is folded into its adapter's A).

    Raises:
        InputError: nothing to concatenate, or adapters for different models.
    """
    parts = list(adapters)
    factors: list[float | Tensor] = [1.0] * len(parts) if weights is None else list(weights)
    if len(factors) != len(parts):
        raise InputError(f"{len(parts)} adapters need as many weights, not {len(factors)}.")
    if bias is not None:
        parts.append(bias)
        factors.append(bias_weight)
    if not parts:
        raise InputError("There is no adapter to compose: name at least one segment.")
    first = parts[0]
    for part in parts:
        _check_alike(first, part)
    factors = [
        (factor if isinstance(factor, Tensor) else float(factor)) * (part.scaling / first.scaling)
        for factor, part in zip(factors, parts, strict=True)
    ]
    return replace(first, A=_join([part.A for part in parts], factors), B=_join([part.B for part in parts]))


def stack(adapters: Sequence[Adapter]) -> Adapter:
    """Return several adapters of one rank as a batch: a new first dimension.

    Raises:
        InputError: none given, different ranks, or adapters for different models.
    """
    if not adapters:
        raise InputError("There is no adapter to stack.")
    first = adapters[0]
    for other in adapters:
        _check_alike(first, other)
        if other.A.shape != first.A.shape:
            raise InputError(
                f"Adapters must have one rank to be stacked, not {first.rank} and {other.rank}: "
                "truncate or compress them to the same rank first."
            )
    folded = [_times(other.A, other.scaling / first.scaling) for other in adapters]
    return replace(first, A=torch.stack(folded), B=torch.stack([other.B for other in adapters]))


def scale(adapter: Adapter, weight: float | Tensor) -> Adapter:
    """Return an adapter with its effect multiplied: A only, so that B and the scaling stay.

    Args:
        weight: a number, zero and negative included, or a tensor that broadcasts to the adapter's leading dimensions.
    """
    return replace(adapter, A=_times(adapter.A, weight))


def truncate(adapter: Adapter, rank: int) -> Adapter:
    """Keep the ranks with the largest ‖a‖·‖b‖ of every block, in their order; nothing is recomputed.

    Raises:
        InputError: a rank that isn't positive.
    """
    slots = largest(adapter, rank)[..., None]
    a, b = (x.gather(-2, slots.expand(*slots.shape[:-1], x.shape[-1])) for x in (adapter.A, adapter.B))
    return replace(adapter, A=a, B=b)


def largest(adapter: Adapter, rank: int) -> Tensor:
    """Return the ranks that `truncate` keeps, ascending: int64 [..., L, min(rank, r)].

    Raises:
        InputError: a rank that isn't positive.
    """
    if rank < 1:
        raise InputError(f"An adapter needs at least one rank, not {rank}.")
    size = torch.linalg.vector_norm(adapter.A.detach().float(), dim=-1) * torch.linalg.vector_norm(
        adapter.B.detach().float(), dim=-1
    )
    kept: Tensor = size.topk(min(rank, adapter.rank), dim=-1).indices
    return kept.sort(dim=-1).values


def compress(adapter: Adapter, rank: int) -> tuple[Adapter, Tensor]:
    """Return the best approximation of every block's Bᵀ A by so many ranks.

    Through QR of both factors and the SVD of a small matrix; no D × I matrix is made.

    Args:
        adapter: any leading dimensions.
        rank: at most as many ranks as the result gets; it has fewer where the adapter has fewer.

    Returns:
        The adapter, and the relative error ‖B'ᵀA' − BᵀA‖ / ‖BᵀA‖ (Frobenius, over all blocks), float32 [...].

    Raises:
        InputError: a rank that isn't positive.
    """
    if rank < 1:
        raise InputError(f"An adapter needs at least one rank, not {rank}.")
    qa, ra = torch.linalg.qr(adapter.A.float().mT)  # [..., L, I, k], [..., L, k, R], k = min(I, R)
    qb, rb = torch.linalg.qr(adapter.B.float().mT)  # [..., L, D, m], [..., L, m, R]
    u, s, vh = torch.linalg.svd(rb @ ra.mT, full_matrices=False)  # Bᵀ A = qb (u s vh) qaᵀ
    root = s[..., :rank].sqrt()
    a = root[..., None] * (vh[..., :rank, :] @ qa.mT)
    b = root[..., None] * (qb @ u[..., :rank]).mT
    lost, total = s[..., rank:].square().sum((-2, -1)), s.square().sum((-2, -1))
    error = (lost / total.clamp(min=torch.finfo(s.dtype).tiny)).sqrt()
    return replace(adapter, A=a.to(adapter.A.dtype), B=b.to(adapter.B.dtype)), error


def _times(a: Tensor, factor: float | Tensor) -> Tensor:
    """Multiply factors [..., L, r, ·] by a number, or by a tensor of the leading dimensions."""
    if isinstance(factor, Tensor):
        return a * factor.to(device=a.device, dtype=a.dtype)[..., None, None, None]
    return a if factor == 1.0 else a * factor


def _join(parts: Sequence[Tensor], factors: Sequence[float | Tensor] | None = None) -> Tensor:
    """Lay rank factors [..., L, r, ·], times numbers, side by side along the rank; leading dimensions broadcast."""
    factors = [1.0] * len(parts) if factors is None else factors
    shapes = {part.shape[:-3] for part in parts}
    if len(shapes) > 1:
        leading = np.broadcast_shapes(*shapes)  # torch's imports a compiler, which takes half a second
        parts = [part.expand(*leading, *part.shape[-3:]) for part in parts]
    numbers = not any(isinstance(factor, Tensor) for factor in factors)
    tracked = torch.is_grad_enabled() and any(part.requires_grad for part in parts)
    mixed = len({(part.dtype, part.device) for part in parts}) > 1
    if not numbers or tracked or mixed or all(factor == 1.0 for factor in factors):
        return torch.cat([_times(part, factor) for part, factor in zip(parts, factors, strict=True)], dim=-2)
    ranks = [part.shape[-2] for part in parts]
    out = parts[0].new_empty(*parts[0].shape[:-2], sum(ranks), parts[0].shape[-1])
    for part, factor, block in zip(parts, factors, out.split_with_sizes(ranks, dim=-2), strict=True):
        torch.mul(part, factor, out=block)  # in one pass: scaling first and joining then would take two
    return out


def _check_alike(first: Adapter, other: Adapter) -> None:
    """Raise InputError if two adapters have other blocks, sizes or targets."""
    sizes = [(x.num_layers, x.A.shape[-1], x.B.shape[-1], x.target) for x in (first, other)]
    if sizes[0] != sizes[1]:
        raise InputError(
            "These adapters are for different models: "
            + " against ".join(f"{layers} blocks of {target} {i} → {d}" for layers, i, d, target in sizes)
            + "."
        )
