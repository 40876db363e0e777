"""Hold the numbers of the router's and the selector's scores that are fitted for each model and stored with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from chunkv2l.errors import InputError
from chunkv2l.files import parse_json
from chunkv2l.sanitize import is_finite, quoted

T = TypeVar("T")
MAX_NUMBER: Final = 1e4
"""Size of a calibration's numbers, at most: with far larger ones, what is computed with them is no longer finite."""
MIN_SCALE: Final = 1e-4
"""The least τ and λ."""
MAX_EXPONENT: Final = 10.0
"""Size of γ and ε, at most."""


def key_evidence(cosine: Any, tokens: Any, key: Any, epsilon: Any) -> Any:
    """Return κ · T^−ε · key_i: what a key's cosine adds to z; of numbers, or of tensors that broadcast.

    Args:
        cosine: key_i.
        tokens: T.
        key, epsilon: κ and ε of a calibration.
    """
    return key * tokens**-epsilon * cosine


class _Numbers:
    """Fields of a calibration as a line of JSON."""

    def to_text(self) -> str:
        """Return the calibration as one line of JSON, keys sorted."""
        return json.dumps(vars(self), sort_keys=True)

    @classmethod
    def from_text(cls: type[T], text: str) -> T:
        """From what `to_text` wrote; what is left out has its default.

        Raises:
            InputError: no such JSON, an unknown name, or a value that can't be.
        """
        try:
            values: Any = parse_json(text)
        except ValueError:
            values = None
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        if not isinstance(values, Mapping) or not set(values) <= set(names):
            raise InputError(f"A calibration is JSON with {', '.join(names[:-1])} and {names[-1]}, not {text[:80]!r}.")
        return cls(**values)


@dataclass(frozen=True)
class Calibration(_Numbers):
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
        InputError: a number that isn't finite or too large, or τ not above 0.
    """

    tau: float = 1.0
    gamma: float = 0.5
    beta: float = 0.0
    mu: bool = False
    key: float = 0.0
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        for name in ("tau", "gamma", "beta", "key", "epsilon"):
            _check_number(name, getattr(self, name))
        _check_scale("tau", self.tau)
        if not isinstance(self.mu, bool):
            raise InputError(f"A calibration's mu is true or false, not {self.mu!r}.")


@dataclass(frozen=True)
class SelectorCalibration(_Numbers):
    """p_i = e^{z_i} / (N·e^β + Σ_j e^{z_j}) with z_i = κ · T^−ε · key_i + λ · evidence_i; see
    `chunkv2l.hypernet.selector`.

    Attributes:
        key: κ, what the cosine of a segment's learned key and the statement's counts.
        slots: λ > 0, what the selector's evidence counts.
        beta: β; the larger, the more often "not there".
        epsilon: ε, how the key's weight falls with a statement's tokens.

    Raises:
        InputError: a number that isn't finite or too large, or λ not above 0.
    """

    key: float = 0.0
    slots: float = 1.0
    beta: float = 0.0
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_number(field.name, getattr(self, field.name))
        _check_scale("slots", self.slots)

    @property
    def form(self) -> Calibration:
        """Return the same as a `Calibration` whose score is the evidence: τ = 1 / λ, γ = 0."""
        return Calibration(tau=1.0 / self.slots, gamma=0.0, beta=self.beta, key=self.key, epsilon=self.epsilon)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file that a calibration is from in what is said against it.

    Raises:
        InputError: what the block raises, with the file's name.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{path} has a calibration that can't be used: {quoted(error)}") from None


def _check_number(name: str, value: Any) -> None:
    if not is_finite(value):
        raise InputError(f"A calibration's {name} must be a finite number, not {quoted(repr(value))}.")
    most = MAX_EXPONENT if name in ("gamma", "epsilon") else MAX_NUMBER
    if abs(value) > most:
        raise InputError(f"A calibration's {name} must be between {-most:g} and {most:g}, not {quoted(repr(value))}.")


def _check_scale(name: str, value: float) -> None:
    if value <= 0:
        raise InputError(f"A calibration's {name} must be above 0, not {value!r}.")
    if value < MIN_SCALE:
        raise InputError(f"A calibration's {name} must be {MIN_SCALE:g} at least, not {value!r}.")


UNFITTED = Calibration()
"""For models whose scores nobody has fitted: the paper's, and hypernetworks of one's own."""
