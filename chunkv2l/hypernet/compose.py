"""Compose weights and codes into one adapter: ranks side by side while they are few, folded beyond.

All ranks of a block are combinations of the d rows of its head, so a sum over any number of segments fits into d ranks
(docs/algorithm.md, step 14). The folded form is used where it is the smaller one; its size doesn't grow with the movie
(docs/measurements.md#composing-in-rank-space).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter, compress, concat
from chunkv2l.errors import InputError
from chunkv2l.graph import Node

if TYPE_CHECKING:
    from chunkv2l.hypernet import Hypernetwork

CODES_AT_ONCE: Final = 64
"""Codes read and added up at a time."""
N = TypeVar("N", bound=Node)


def expand(hypernet: Hypernetwork, codes: Tensor, precision: torch.dtype = torch.float32) -> Adapter:
    """Return the adapters of stored codes [n, L, r, d], on the hypernetwork's device, without the bias: A [n, L, r, I].

    Args:
        precision: float32, or a lower one that the factors are computed and returned in.
    """
    device = hypernet.head.weight.device
    with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
        return hypernet.expand(codes.to(device))


@torch.no_grad()
def compose(
    hypernet: Hypernetwork,
    codes: Callable[[Sequence[N]], Tensor],
    weights: Mapping[N, float],
    bias: bool = True,
) -> Adapter:
    """Return one adapter whose effect is the weighted sum of the nodes' effects, and the bias's once.

    Args:
        codes: nodes -> their codes [n, L, r, d], as `IndexFile.codes`: a group composes with its chapter's own code,
            which takes no more ranks than one segment. Called with a bounded number of nodes.
        weights: segment or group -> weight, of any sign.
        bias: whether the hypernetwork's bias is appended.

    Returns:
        A [L, R, I], B [L, R, D]: the n · r ranks of the nodes in the order given, or d where those would be more
        (equal within rounding); then the bias's r.

    Raises:
        InputError: no node.
    """
    nodes = list(weights)
    if not nodes:
        raise InputError("Nothing to compose: no segment has a weight.")
    config = hypernet.config
    last = hypernet.bias if bias else None
    if len(nodes) * config.rank <= config.latent_size:
        parts = expand(hypernet, codes(nodes)).unbind()
        return concat(parts, list(weights.values()), bias=last)
    device = hypernet.head.weight.device
    total = torch.zeros(config.num_layers, config.latent_size, config.latent_size, device=device)
    for first in range(0, len(nodes), CODES_AT_ONCE):
        batch = nodes[first : first + CODES_AT_ONCE]
        factors = torch.tensor([weights[node] for node in batch], dtype=torch.float32, device=device)
        total += hypernet.gram(codes(batch).to(device), factors)
    return concat([hypernet.expand_gram(total)], bias=last)


@torch.no_grad()
def compressed(
    hypernet: Hypernetwork,
    codes: Callable[[Sequence[N]], Tensor],
    weights: Mapping[N, float],
    rank: int | None = None,
) -> tuple[Adapter, Tensor]:
    """Compress the composition of some nodes to the ranks of one segment: an alternative to a chapter's own code.

    Args:
        codes, weights: as in `compose`; 1/m for each of m members gives their mean.
        rank: ranks of the result; the hypernetwork's r if not given.

    Returns:
        `adapter.compress` of the composition without the bias: A [L, rank, I], B [L, rank, D], to which the bias may be
        appended; and the relative error of that (Frobenius, over all blocks), float32 [].

    Raises:
        InputError: no node, or a rank that isn't positive.
    """
    whole = compose(hypernet, codes, weights, bias=False)
    return compress(whole, hypernet.config.rank if rank is None else rank)
