"""Turn scores into probabilities (docs/algorithm.md, steps 22 to 26). Pure functions; no torch here.

For a statement of T tokens and segment i of N, with score S_i (nats) and key similarity key_i:

    z_i = (S_i − μ_i) / (τ · T^γ) + κ · T^−ε · key_i
    p_i = e^{z_i} / (N·e^β + Σ_j e^{z_j}),      p(not there) = N·e^β / (the same sum)

The sums run over the segments that were scored. Those that weren't have p = 0 and still count in N: they are taken to
say nothing about the statement. κ is 0 where keys don't help. ε lets the key's weight fall with the statement's
length, since a bare name has lower cosines with its segments' keys than a sentence.

Where a selector compares segments, its evidence stands for S − μ, in a calibration of its own (`SelectorCalibration`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, overload

from chunkv2l.graph import Node
from chunkv2l.models.calibration import key_evidence

if TYPE_CHECKING:
    from torch import Tensor

    from chunkv2l.models import Calibration

AnyNode = TypeVar("AnyNode", bound=Node)

EXCLUDED_ODDS: Final = 3.0
"""Log-odds by which a thing that a question excludes is likelier than any: it is named because it goes with what is
looked for (docs/measurements.md#excluded-things)."""


def probabilities(
    nats: Mapping[AnyNode, float],
    tokens: int,
    segments: int,
    calibration: Calibration,
    key_similarity: Mapping[AnyNode, float] | None = None,
) -> tuple[dict[AnyNode, float], float]:
    """Return p of each scored segment, and p(not there).

    Args:
        nats: S_i − μ_i of each scored segment.
        tokens: T.
        segments: N, scored or not.
        key_similarity: key_i of each scored segment; None where there are no keys.
    """
    return share_out(evidences(nats, tokens, calibration, key_similarity), segments, calibration.beta)


def share_out(z: Mapping[AnyNode, float], segments: int, beta: float) -> tuple[dict[AnyNode, float], float]:
    """Return p of each segment with a z, and p(not there).

    Args:
        segments: N, whether they have a z or not.
        beta: β.
    """
    absent = math.log(segments) + beta
    top = max([absent, *z.values()])
    e = {node: math.exp(value - top) for node, value in z.items()}
    total = math.exp(absent - top) + sum(e.values())
    return {node: value / total for node, value in e.items()}, math.exp(absent - top) / total


def evidences(
    nats: Mapping[AnyNode, float],
    tokens: int,
    calibration: Calibration,
    key_similarity: Mapping[AnyNode, float] | None = None,
) -> dict[AnyNode, float]:
    """Return z of each scored segment; arguments as for `probabilities`."""
    return {
        node: evidence(score, key_similarity[node] if key_similarity else 0.0, tokens, calibration)
        for node, score in nats.items()
    }


def pool_evidence(selected: float, selector_beta: float, scored: float, router_beta: float) -> float:
    """Return the z, in the selector's scale, of a segment that the router has scored, too.

    z − β is a segment's log-odds against "not there", so both are on one scale; their mean is the logarithmic pool of
    both opinions with equal weights. Keys count in both, and so once.

    Args:
        selected: z by the selector, whose β is `selector_beta`.
        scored: z by the router, whose β is `router_beta`.
    """
    return selector_beta + (selected - selector_beta + scored - router_beta) / 2


def log_not_shown(z: float, beta: float) -> float:
    """Return log(1 − σ(z − β + EXCLUDED_ODDS)) ≤ 0, by which z falls where a segment may show what is excluded."""
    odds = z - beta + EXCLUDED_ODDS
    return -max(odds, 0.0) - math.log1p(math.exp(-abs(odds)))


class TensorCalibration(Protocol):
    """The numbers of a `Calibration` as tensors, through which gradients flow while they are fitted."""

    @property
    def tau(self) -> Tensor: ...
    @property
    def gamma(self) -> Tensor: ...
    @property
    def key(self) -> Tensor: ...
    @property
    def epsilon(self) -> Tensor: ...


@overload
def evidence(nats: float, key: float, tokens: int, calibration: Calibration) -> float: ...
@overload
def evidence(
    nats: Tensor, key: Tensor | float, tokens: Tensor | int, calibration: Calibration | TensorCalibration
) -> Tensor: ...
def evidence(
    nats: float | Tensor,
    key: float | Tensor,
    tokens: int | Tensor,
    calibration: Calibration | TensorCalibration,
) -> float | Tensor:
    """Return z = nats / (τ · T^γ) + κ · T^−ε · key, of one segment or of tensors of them.

    This is the only place where the formula is written: the router, the fit of its calibration and the evaluation call
    it.

    Args:
        nats: S − μ.
        key: the segment's key similarity; 0 where there are no keys.
        tokens: T.
    """
    scale = calibration.tau * tokens**calibration.gamma
    z: float | Tensor = nats / scale + key_evidence(key, tokens, calibration.key, calibration.epsilon)
    return z


def relative_maxima(
    nats: Mapping[AnyNode, float],
    unscored: Iterable[AnyNode],
    tokens: int,
    segments: int,
    calibration: Calibration,
    key_similarity: Mapping[AnyNode, float],
) -> dict[AnyNode, float]:
    """Return how probable segments that weren't scored could become, relative to the likeliest so far.

    Each is given the best S of those that were scored, and its own key. "Not there" counts among the likeliest.

    Args:
        nats, tokens, segments, calibration: as in `probabilities`; at least one segment was scored.
        key_similarity: key_i of each segment, scored or not.
    """
    scored = evidences(nats, tokens, calibration, key_similarity)
    top = max(math.log(segments) + calibration.beta, *scored.values())
    best = max(nats.values())
    z = evidences(dict.fromkeys(unscored, best), tokens, calibration, key_similarity)
    return {node: math.exp(min(0.0, value - top)) for node, value in z.items()}
