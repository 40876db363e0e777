"""Fit the router's calibration: τ, γ, β, and whether μ and the learned keys are used. Pure functions on tensors.

A case is one statement over one movie: the scores S of the segments that were scored, and the segments that the
statement is true of, or none. The negative log-likelihood of that outcome under

    z_i = (S_i − μ_i) / (τ · T^γ) + κ · T^−ε · key_i
    p_i = e^{z_i} / (N·e^β + Σ_j e^{z_j}),      p(not there) = N·e^β / (the same sum)

(`chunkv2l.routing.probability`) is smooth in log τ, γ, β, κ and ε, and is minimised by L-BFGS in float64, with priors
that keep γ near .5 and ε near 0 where cases say little of them. μ and κ are used only where they raise the likelihood
of held-out cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.models.calibration import UNFITTED, Calibration, SelectorCalibration
from chunkv2l.routing.probability import evidence
from chunkv2l.routing.probability import probabilities as router_probabilities

FOLDS = 5
"""Folds of the cross-validation."""
MIN_STANDARD_ERRORS = 2.0
"""μ or κ is used if it raises the held-out log-likelihood by more than so many standard errors."""

PRIOR_DEVIATION = 0.25
"""Standard deviation of the priors of γ (around .5) and ε (around 0): captions are of much the same length, so that a
few of them hardly determine either."""


@dataclass(frozen=True)
class Case:
    """One statement over one movie.

    Attributes:
        nats: S of the n segments that were scored, without μ: [n].
        tokens: T.
        segments: N, scored or not.
        right: the positions among the n that the statement is true of.
        present: True if the statement is true of any of the N segments; with an empty `right` none of those was scored.
        keys: cosine of each segment's learned key and the statement's, [n]; None where the model has none.
        mu: each segment's μ, [n]; None where it wasn't computed.
    """

    nats: Tensor
    tokens: int
    segments: int
    right: tuple[int, ...]
    present: bool
    keys: Tensor | None = None
    mu: Tensor | None = None

    def __post_init__(self) -> None:
        count = self.nats.shape[0]
        others = [values for values in (self.keys, self.mu) if values is not None]
        if self.nats.dim() != 1 or not 0 < count <= self.segments or any(v.shape != (count,) for v in others):
            raise ValueError("a case has one score, key and μ for each scored segment, and at most N of them")
        if self.right and not (self.present and all(0 <= position < count for position in self.right)):
            raise ValueError("the right segments are some of those scored")


@dataclass(frozen=True)
class Fitted:
    """Hold the result of a fit.

    Attributes:
        calibration: the fitted numbers.
        nll: mean negative log-likelihood of the outcomes, nats, on the cases that were fitted to.
        before: the same under `UNFITTED`.
        held_out: the mean over held-out cases for each variant: "", "mu", "key", "mu key".
        cases: number of cases fitted to.
        left_out: number of cases not used, because no right segment had been scored.
    """

    calibration: Calibration
    nll: float
    before: float
    held_out: dict[str, float]
    cases: int
    left_out: int


def probabilities(case: Case, calibration: Calibration) -> tuple[Tensor, float]:
    """Return p of the scored segments, float64 [n], and p(not there), as the router computes them; they sum to 1.

    Raises:
        InputError: the calibration uses learned keys or μ, and the case has none.
    """
    nats = case.nats - _required(case.mu, "μ") if calibration.mu else case.nats
    keys = dict(enumerate(_required(case.keys, "learned keys").tolist())) if calibration.key else None
    p, absent = router_probabilities(dict(enumerate(nats.tolist())), case.tokens, case.segments, calibration, keys)
    return torch.tensor(list(p.values()), dtype=torch.float64), absent


def mean_nll(cases: Sequence[Case], calibration: Calibration) -> float:
    """Return the mean over cases of −log p(outcome), nats; cases whose right segment wasn't scored don't count."""
    table = _Table.of(cases, calibration.mu, bool(calibration.key))
    return float(table.nll(table.start(calibration)).mean())


def fit(cases: Sequence[Case], seed: int = 0) -> Fitted:
    """Fit τ, γ and β, and use μ and κ where they help on held-out cases.

    Raises:
        InputError: fewer than 20 cases, or none of one outcome (present, absent).
    """
    usable = _usable(cases)
    variants = [
        (mu, key)
        for mu in (False, True)
        for key in (False, True)
        if (not mu or all(case.mu is not None for case in usable))
        and (not key or all(case.keys is not None for case in usable))
    ]
    held_out = {variant: _held_out(usable, *variant, seed=seed) for variant in variants}
    chosen = variants[0]
    for variant in variants[1:]:
        gain = held_out[chosen] - held_out[variant]
        if float(gain.mean()) > MIN_STANDARD_ERRORS * float(gain.std()) / math.sqrt(len(gain)):
            chosen = variant
    table = _Table.of(usable, *chosen)
    return Fitted(
        calibration=_fitted(table),
        nll=float(table.nll(_solve(table)).mean()),
        before=mean_nll(usable, UNFITTED),
        held_out={_name(*variant): float(values.mean()) for variant, values in held_out.items()},
        cases=len(usable),
        left_out=len(cases) - len(usable),
    )


def fit_selector(cases: Sequence[Case]) -> SelectorCalibration:
    """Fit λ, κ, β and ε of a selector's evidence, which stands in the cases for S: γ is 0.

    Raises:
        InputError: fewer than 20 cases, none of one outcome (present, absent), or cases without keys.
    """
    table = _Table.of(_usable(cases), mu=False, key=True)
    log_tau, _, beta, key, epsilon = _solve(table, gamma=0.0).tolist()
    return SelectorCalibration(round(key, 4), round(math.exp(-log_tau), 4), round(beta, 4), round(epsilon, 4))


def _usable(cases: Sequence[Case]) -> list[Case]:
    """Return the cases whose outcome was scored.

    Raises:
        InputError: they are too few, or all of one outcome.
    """
    usable = [case for case in cases if case.right or not case.present]
    if len(usable) < 20 or len({case.present for case in usable}) < 2:
        raise InputError(
            f"{len(usable)} queries, {sum(case.present for case in usable)} of them about something that is there, "
            "are too few to fit a calibration: give 20 or more, of both kinds."
        )
    return usable


@dataclass(frozen=True)
class _Table:
    """Hold Q cases of at most n segments as padded tensors in float64."""

    nats: Tensor  # [Q, n], without μ where it is used
    keys: Tensor  # [Q, n]
    scored: Tensor  # [Q, n] bool
    tokens: Tensor  # [Q], T
    segments: Tensor  # [Q], log N
    outcome: Tensor  # [Q, n + 1] bool: the right positions, n for "not there"
    mu: bool
    key: bool

    @classmethod
    def of(cls, cases: Sequence[Case], mu: bool, key: bool) -> _Table:
        usable = [case for case in cases if case.right or not case.present]
        widest = max(case.nats.shape[0] for case in usable)
        nats, keys = torch.zeros(2, len(usable), widest, dtype=torch.float64)
        scored = torch.zeros(len(usable), widest, dtype=torch.bool)
        outcome = torch.zeros(len(usable), widest + 1, dtype=torch.bool)
        for row, case in enumerate(usable):
            count = case.nats.shape[0]
            nats[row, :count] = case.nats.double() - (_required(case.mu, "μ").double() if mu else 0.0)
            keys[row, :count] = _required(case.keys, "learned keys").double() if key else 0.0
            scored[row, :count] = True
            outcome[row, list(case.right) or [widest]] = True
        return cls(
            nats,
            keys,
            scored,
            torch.tensor([float(case.tokens) for case in usable], dtype=torch.float64),
            torch.tensor([float(case.segments) for case in usable], dtype=torch.float64).log(),
            outcome,
            mu,
            key,
        )

    def part(self, rows: Tensor) -> _Table:
        return _Table(
            self.nats[rows],
            self.keys[rows],
            self.scored[rows],
            self.tokens[rows],
            self.segments[rows],
            self.outcome[rows],
            self.mu,
            self.key,
        )

    def start(self, calibration: Calibration = UNFITTED) -> Tensor:
        """Return the point (log τ, γ, β, κ, ε) of a calibration."""
        tau, others = math.log(calibration.tau), (calibration.gamma, calibration.beta, calibration.key)
        values = (tau, *others, calibration.epsilon)
        return torch.tensor(values, dtype=torch.float64)

    def nll(self, point: Tensor) -> Tensor:
        """Return −log p(outcome) of each case [Q] at (log τ, γ, β, κ, ε)."""
        log_tau, gamma, beta, key, epsilon = point
        z = evidence(self.nats, self.keys, self.tokens[:, None], _Numbers(log_tau.exp(), gamma, key, epsilon))
        z = z.masked_fill(~self.scored, -torch.inf)
        absent = (self.segments + beta)[:, None]
        p = torch.cat([z, absent], dim=1).log_softmax(1)
        return -p.masked_fill(~self.outcome, -torch.inf).logsumexp(1)


@dataclass(frozen=True)
class _Numbers:
    tau: Tensor
    gamma: Tensor
    key: Tensor
    epsilon: Tensor


def _solve(table: _Table, gamma: float | None = None) -> Tensor:
    """Return the (log τ, γ, β, κ, ε) of least mean NLL, under normal priors of γ around .5 and of ε around 0.

    A weak pull of all five towards the start keeps numbers finite that the cases don't determine.

    Args:
        gamma: γ, where it isn't fitted.
    """
    start = table.start()
    free = torch.ones_like(start)
    if gamma is not None:
        start[1], free[1] = gamma, 0.0
    x = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([x], max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        prior = (((x - start)[[1, 4]] / PRIOR_DEVIATION) ** 2).sum() / (2 * len(table.tokens))
        loss = table.nll(x).mean() + prior + 1e-5 * ((x - start) ** 2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        x.grad *= free
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    return x.detach()


def _fitted(table: _Table) -> Calibration:
    tau, *others = _solve(table).tolist()
    gamma, beta, key, epsilon = (round(value, 4) for value in others)
    if not table.key:
        key = epsilon = 0.0
    return Calibration(round(math.exp(tau), 4), gamma, beta, table.mu, key, epsilon)


def _held_out(cases: Sequence[Case], mu: bool, key: bool, seed: int) -> Tensor:
    """Return −log p of each case [Q] under a fit to the other folds."""
    table = _Table.of(cases, mu, key)
    values = torch.zeros(len(cases), dtype=torch.float64)
    for others, fold in _folds(len(cases), seed):
        values[fold] = table.part(fold).nll(_solve(table.part(others)))
    return values


def _folds(count: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the case numbers outside and inside each fold."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    for fold in range(FOLDS):
        is_inside = torch.arange(count) % FOLDS == fold
        yield order[~is_inside], order[is_inside]


def _name(mu: bool, key: bool) -> str:
    return " ".join(name for name, used in (("mu", mu), ("key", key)) if used)


def _required(values: Tensor | None, name: str) -> Tensor:
    if values is None:
        raise InputError(f"The calibration uses {name}, and these scores have none.")
    return values
