"""Hold the numbers of the router's score that are fitted for each model and stored with its weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
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
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"A calibration's {name} must be a finite number, not {value!r}.")
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
        try:
            values: Any = parse_json(text)
        except ValueError:
            values = None
        if not isinstance(values, Mapping) or not set(values) <= {field.name for field in fields(cls)}:
            raise InputError(f"A calibration is JSON with tau, gamma, beta, mu, key and epsilon, not {text[:80]!r}.")
        return cls(**values)


UNFITTED = Calibration()
"""For models whose scores nobody has fitted: the paper's, and hypernetworks of one's own."""
