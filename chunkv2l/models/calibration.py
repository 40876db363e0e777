"""Hold the numbers of the router's and the selector's scores that are fitted for each model and stored with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from chunkv2l.errors import InputError
from chunkv2l.files import parse_json


@dataclass(frozen=True)
class Calibration:
    """p_i = e^{z_i} / (N·e^β + Σ_j e^{z_j}) with z_i = (S_i − μ_i) / (τ · T^γ) + κ · T^−ε · key_i; see
    `chunkv2l.routing.probability`.

    The defaults are unfitted. Under them a statement's score counts by √T, and a statement about which all segments say
    nothing (S = 0) is as likely there as not. `chunkv2l.train.calibrate` fits them.

    Attributes:
        tau: τ > 0, nats.
        gamma: γ, how the scale grows with a statement's tokens.
        beta: β; the larger, the more often "not there".
        mu: whether μ is used (each segment's mean score over fixed statements, computed at build) or 0.
        key: κ, what the cosine of a segment's learned key and the statement's counts; 0 where there are no keys.
        epsilon: ε, how that falls with a statement's tokens: the less is said, the smaller is a right key's cosine.

    Raises:
        InputError: a number that isn't finite, or τ not above 0.
    """

    tau: float = 1.0
    gamma: float = 0.5
    beta: float = 0.0
    mu: bool = False
    key: float = 0.0
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        for name in ("tau", "gamma", "beta", "key", "epsilon"):
            _check_finite(name, getattr(self, name))
        if self.tau <= 0:
            raise InputError(f"A calibration's tau must be above 0, not {self.tau!r}.")
        if not isinstance(self.mu, bool):
            raise InputError(f"A calibration's mu is true or false, not {self.mu!r}.")

    def to_text(self) -> str:
        """Return the calibration as one line of JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Calibration:
        """From what `to_text` wrote; what is left out has its default.

        Raises:
            InputError: no such JSON, an unknown name, or a value that can't be.
        """
        return cls(**_values(text, [field.name for field in fields(cls)]))


@dataclass(frozen=True)
class SelectorCalibration:
    """p_i = e^{z_i} / (N·e^β + Σ_j e^{z_j}) with z_i = κ · T^−ε · key_i + λ · evidence_i; see
    `chunkv2l.hypernet.selector`.

    Attributes:
        key: κ, what the cosine of a segment's learned key and the statement's counts.
        slots: λ > 0, what the selector's evidence counts.
        beta: β; the larger, the more often "not there".
        epsilon: ε, how the key's weight falls with a statement's tokens.

    Raises:
        InputError: a number that isn't finite, or λ not above 0.
    """

    key: float = 0.0
    slots: float = 1.0
    beta: float = 0.0
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_finite(field.name, getattr(self, field.name))
        if self.slots <= 0:
            raise InputError(f"A calibration's slots must be above 0, not {self.slots!r}.")

    @property
    def form(self) -> Calibration:
        """Return the same as a `Calibration` whose score is the evidence: τ = 1 / λ, γ = 0."""
        return Calibration(tau=1.0 / self.slots, gamma=0.0, beta=self.beta, key=self.key, epsilon=self.epsilon)

    def to_text(self) -> str:
        """Return the calibration as one line of JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> SelectorCalibration:
        """From what `to_text` wrote; what is left out has its default.

        Raises:
            InputError: no such JSON, an unknown name, or a value that can't be.
        """
        return cls(**_values(text, [field.name for field in fields(cls)]))


def _check_finite(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"A calibration's {name} must be a finite number, not {value!r}.")


def _values(text: str, names: Sequence[str]) -> Mapping[str, Any]:
    """Return the values of a calibration's JSON, with no others than these names."""
    try:
        values: Any = parse_json(text)
    except ValueError:
        values = None
    if not isinstance(values, Mapping) or not set(values) <= set(names):
        raise InputError(f"A calibration is JSON with {', '.join(names[:-1])} and {names[-1]}, not {text[:80]!r}.")
    return values


UNFITTED = Calibration()
"""For models whose scores nobody has fitted: the paper's, and hypernetworks of one's own."""
