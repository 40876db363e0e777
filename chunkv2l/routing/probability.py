"""Turn scores into probabilities (docs/algorithm.md, steps 22 and 23). Pure functions; no torch here.

For statement t (T tokens), segment i of N, S_i its score in nats and key_i the cosine of its learned key and the
statement's:

    z_i = (S_i − μ_i) / (τ · T^γ) + κ · T^−ε · key_i
    p_i = e^{z_i} / (N·e^β + Σ_j e^{z_j}),      p(not there) = N·e^β / (the same sum)

The sums run over the segments that were scored; those that weren't have p = 0, while N counts them: what was left out
is taken to say nothing of the statement. κ is 0 where keys don't help. ε is our own: a bare name's key is less near to
the right segments' than a whole sentence's, and without it most of what is asked for in a word or two would be said not
to be there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar, overload

from chunkv2l.graph import Node

if TYPE_CHECKING:
    from torch import Tensor

    from chunkv2l.models import Calibration

AnyNode = TypeVar("AnyNode", bound=Node)


def probabilities(
    nats: Mapping[AnyNode, float],
    tokens: int,
    segments: int,
    calibration: Calibration,
    likeness: Mapping[AnyNode, float] | None = None,
) -> tuple[dict[AnyNode, float], float]:
    """p of each scored segment, and p(not there).

    Args:
        nats: S_i − μ_i of each scored segment.
        tokens: T.
        segments: N, scored or not.
        likeness: key_i of each scored segment; None where there are no keys.
    """
    z = strengths(nats, tokens, calibration, likeness)
    absent = math.log(segments) + calibration.beta
    top = max([absent, *z.values()])
    e = {i: math.exp(value - top) for i, value in z.items()}
    total = math.exp(absent - top) + sum(e.values())
    return {i: value / total for i, value in e.items()}, math.exp(absent - top) / total


def strengths(
    nats: Mapping[AnyNode, float],
    tokens: int,
    calibration: Calibration,
    likeness: Mapping[AnyNode, float] | None = None,
) -> dict[AnyNode, float]:
    """Return z of each scored segment; see `probabilities`."""
    return {i: strength(s, likeness[i] if likeness else 0.0, tokens, calibration) for i, s in nats.items()}


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
def strength(nats: float, key: float, tokens: int, calibration: Calibration) -> float: ...
@overload
def strength(
    nats: Tensor, key: Tensor | float, tokens: Tensor | int, calibration: Calibration | TensorCalibration
) -> Tensor: ...
def strength(
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
        key: cosine of the segment's learned key and the statement's; 0 where there are no keys.
        tokens: T.
    """
    scale = calibration.tau * tokens**calibration.gamma
    return nats / scale + calibration.key * tokens**-calibration.epsilon * key


def ceilings(
    nats: Mapping[AnyNode, float],
    unscored: Iterable[AnyNode],
    tokens: int,
    segments: int,
    calibration: Calibration,
    likeness: Mapping[AnyNode, float],
) -> dict[AnyNode, float]:
    """How probable segments that weren't scored could be, relative to what is likeliest so far ("not there" included):
    each with the best S of those that were scored, and its own key.

    Args:
        nats, tokens, segments, calibration: as in `probabilities`; at least one segment was scored.
        likeness: key_i of each segment, scored or not.
    """
    known = strengths(nats, tokens, calibration, likeness)
    top = max(math.log(segments) + calibration.beta, *known.values())
    best = max(nats.values())
    z = strengths(dict.fromkeys(unscored, best), tokens, calibration, likeness)
    return {i: math.exp(min(0.0, value - top)) for i, value in z.items()}
