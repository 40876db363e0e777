"""Compose weights and codes into one adapter: ranks side by side while they are few, folded beyond.

All ranks of a block are combinations of the d rows of its head, so a sum over any number of segments fits into d ranks
(docs/algorithm.md, step 14). The folded form is used where it is the smaller one; its size doesn't grow with the movie
(docs/measurements.md#composing-in-rank-space).

Where nodes have a weight for each rank slot, the slots of largest weight are kept, so many a layer, of whichever nodes
(step 30): neither the adapter nor the memory that it takes to compose it grows with the number of nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter, compress, concat
from chunkv2l.errors import InputError
from chunkv2l.graph import Node, Weight

if TYPE_CHECKING:
    from chunkv2l.hypernet import Hypernetwork

CODES_AT_ONCE: Final = 64
"""Codes read and added up at a time."""
SLOTS_KEPT: Final = 64
"""Rank slots a layer that a composition by slots keeps."""
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
    weights: Mapping[N, Weight],
    bias: bool = True,
    slots_kept: int = SLOTS_KEPT,
) -> Adapter:
    """Return one adapter whose effect is the weighted sum of the nodes' effects, and the bias's once.

    Args:
        codes: nodes -> their codes [n, L, r, d], as `IndexFile.codes`: a group composes with its chapter's own code,
            which takes no more ranks than one segment. Called with a bounded number of nodes.
        weights: segment or group -> weight, of any sign; a number, or one for each of its rank slots, [L, r].
        bias: whether the hypernetwork's bias is appended.
        slots_kept: rank slots a layer that are kept, those of largest weight, where any node has weights of slots.

    Returns:
        A [L, R, I], B [L, R, D]: the n · r ranks of the nodes in the order given, or d where those would be more
        (equal within rounding), or the rank slots that are kept, in that order; then the bias's r.

    Raises:
        InputError: no node.
    """
    nodes = list(weights)
    if not nodes:
        raise InputError("Nothing to compose: no segment has a weight.")
    config = hypernet.config
    last = hypernet.bias if bias else None
    if any(isinstance(weight, np.ndarray) for weight in weights.values()):
        return concat([_compose_slots(hypernet, codes, weights, slots_kept)], bias=last)
    numbers = {node: float(weight) for node, weight in weights.items()}
    if len(nodes) * config.rank <= config.latent_size:
        parts = expand(hypernet, codes(nodes)).unbind()
        return concat(parts, list(numbers.values()), bias=last)
    device = hypernet.head.weight.device
    total = torch.zeros(config.num_layers, config.latent_size, config.latent_size, device=device)
    for first in range(0, len(nodes), CODES_AT_ONCE):
        batch = nodes[first : first + CODES_AT_ONCE]
        factors = torch.tensor([numbers[node] for node in batch], dtype=torch.float32, device=device)
        total += hypernet.gram(codes(batch).to(device), factors)
    return concat([hypernet.expand_gram(total)], bias=last)


class _Kept(NamedTuple):
    """Rank slots, [L, R] each, in the order of nodes and slots.

    Attributes:
        position: number of the node, times r, plus number of the slot.
        weight: of the slot.
    """

    position: Tensor
    weight: Tensor


def count_kept(
    shape: tuple[int, int], weights: Mapping[N, Weight], slots_kept: int = SLOTS_KEPT
) -> dict[N, tuple[int, ...]]:
    """Return how many rank slots of each node a composition keeps, in each of the L layers.

    Args:
        shape: (L, r) of a code.
    """
    kept, rank = _keep_largest(shape, list(weights.values()), slots_kept), shape[1]
    node_of = torch.div(kept.position, rank, rounding_mode="floor")  # [L, R]
    counts = torch.zeros(shape[0], len(weights), dtype=torch.long).scatter_add_(1, node_of, torch.ones_like(node_of))
    return {node: tuple(column) for node, column in zip(weights, counts.T.tolist(), strict=True)}


def _keep_largest(shape: tuple[int, int], weights: Sequence[Weight], count: int) -> _Kept:
    """Return the `count` slots a layer of largest weight, whatever their sign; of equals, the earlier."""
    layers, rank = shape
    position, kept = torch.zeros(layers, 0, dtype=torch.long), torch.zeros(layers, 0)
    for first in range(0, len(weights), CODES_AT_ONCE):
        batch = [np.broadcast_to(weight, shape) for weight in weights[first : first + CODES_AT_ONCE]]
        new = torch.from_numpy(np.stack(batch, axis=1)).float().flatten(1)  # [L, batch · r]
        numbers = torch.arange(first * rank, first * rank + new.shape[1]).expand(layers, -1)
        position, kept = torch.cat([position, numbers], dim=1), torch.cat([kept, new], dim=1)
        best = kept.abs().sort(dim=1, descending=True, stable=True).indices[:, :count].sort(dim=1).values
        position, kept = position.gather(1, best), kept.gather(1, best)
    return _Kept(position, kept)


def _compose_slots(
    hypernet: Hypernetwork, codes: Callable[[Sequence[N]], Tensor], weights: Mapping[N, Weight], count: int
) -> Adapter:
    """Return the adapter of the `count` rank slots a layer of largest weight, without the bias.

    Only codes of nodes with a slot among them are read, `CODES_AT_ONCE` at a time.
    """
    config, device = hypernet.config, hypernet.head.weight.device
    nodes = list(weights)
    position, kept = _keep_largest((config.num_layers, config.rank), list(weights.values()), count)
    number, slot = torch.div(position, config.rank, rounding_mode="floor"), position % config.rank
    vectors = torch.zeros(*position.shape, config.latent_size, device=device)
    needed = sorted(set(number.flatten().tolist()))
    for first in range(0, len(needed), CODES_AT_ONCE):
        batch = needed[first : first + CODES_AT_ONCE]
        read = codes([nodes[i] for i in batch]).to(device)
        for row, i in enumerate(batch):
            layer, column = (number == i).nonzero(as_tuple=True)
            vectors[layer, column] = read[row, layer, slot[layer, column]].float()
    adapter = hypernet.expand(vectors, slot)
    return replace(adapter, A=adapter.A * kept[..., None].to(device))


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
