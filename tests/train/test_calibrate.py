"""Fitting the calibration: the router's own formula, and known numbers found again from cases drawn by them."""

from __future__ import annotations

import math
import random

import pytest
import torch

from chunkv2l.errors import InputError
from chunkv2l.models.calibration import UNFITTED, Calibration, SelectorCalibration
from chunkv2l.routing import probability
from chunkv2l.train.calibrate import Case, fit, fit_selector, mean_nll, probabilities


def drawn(count: int, truth: Calibration, seed: int = 0, keys: bool = True) -> list[Case]:
    """Cases whose outcomes are drawn by `truth`'s own probabilities: nothing describes them better."""
    generator = torch.Generator().manual_seed(seed)
    rng = random.Random(seed)
    cases = []
    for number in range(count):
        size, tokens = (8, 16, 32, 64)[number % 4], rng.randint(5, 30)
        nats = 4.0 * torch.randn(size, generator=generator) * (tokens / 12) ** truth.gamma
        key = torch.rand(size, generator=generator) * 2 - 1 if keys else None
        mu = torch.randn(size, generator=generator)
        case = Case(nats, tokens, size, (), False, key, mu)
        p, absent = probabilities(case, truth)
        outcome = rng.choices(range(size + 1), [*p.tolist(), absent])[0]
        right = () if outcome == size else (outcome,)
        cases.append(Case(nats, tokens, size, right, bool(right), key, mu))
    return cases


def test_probabilities_are_the_routers() -> None:
    calibration = Calibration(tau=0.7, gamma=0.4, beta=0.3)
    nats = torch.tensor([3.0, -1.0, 0.5])
    p, absent = probabilities(Case(nats, 9, 50, (0,), True), calibration)
    theirs, their_absent = probability.probabilities(dict(enumerate(nats.tolist())), 9, 50, calibration)
    assert p.tolist() == list(theirs.values()) and absent == their_absent


def test_keys_and_mu_count_as_said() -> None:
    case = Case(torch.tensor([1.0, 2.0]), 4, 2, (0,), True, torch.tensor([0.5, -0.5]), torch.tensor([1.0, 0.0]))
    p, absent = probabilities(case, Calibration(1.0, 0.5, 0.0, mu=True, key=2.0))
    z = torch.tensor([(1.0 - 1.0) / 2 + 1.0, 2.0 / 2 - 1.0, 0.6931472])  # the last: log N
    assert [*p.tolist(), absent] == pytest.approx(z.softmax(0).tolist())


def test_the_less_is_said_the_more_a_key_counts() -> None:
    case = Case(torch.zeros(2), 4, 2, (0,), True, torch.tensor([0.5, -0.5]))
    calibration = Calibration(key=3.0, epsilon=0.5)
    p, absent = probabilities(case, calibration)
    z = torch.tensor([0.75, -0.75, 0.6931472])  # 3 / √4 · ± .5, log N
    assert [*p.tolist(), absent] == pytest.approx(z.softmax(0).tolist())
    theirs, _ = probability.probabilities({0: 0.0, 1: 0.0}, 4, 2, calibration, {0: 0.5, 1: -0.5})
    assert list(theirs.values()) == pytest.approx(p.tolist())


def test_where_several_are_right_any_of_them_will_do() -> None:
    nats = torch.tensor([2.0, -1.0, 1.0])
    either, first, last = (Case(nats, 4, 3, right, True) for right in ((0, 2), (0,), (2,)))
    p = probabilities(either, UNFITTED)[0]
    assert mean_nll([either], UNFITTED) == pytest.approx(-float((p[0] + p[2]).log()))
    apart = [mean_nll([one], UNFITTED) for one in (first, last)]
    assert apart == pytest.approx([-float(p[0].log()), -float(p[2].log())])


def test_what_is_fitted_is_the_routers_own_likelihood() -> None:
    calibration = Calibration(tau=0.7, gamma=0.4, beta=-0.5, key=5.0, epsilon=0.3)
    cases = drawn(40, calibration)
    nats = []
    for case in cases:
        p, absent = probabilities(case, calibration)
        nats.append(-math.log(sum(float(p[i]) for i in case.right) if case.right else absent))
    assert mean_nll(cases, calibration) == pytest.approx(sum(nats) / len(nats), rel=1e-12)


def test_known_numbers_are_found_again() -> None:
    truth = Calibration(tau=0.6, gamma=0.7, beta=-1.0, key=6.0, epsilon=0.3)
    fitted = fit(drawn(800, truth))
    found = fitted.calibration
    assert found.tau == pytest.approx(truth.tau, rel=0.3)
    assert found.gamma == pytest.approx(truth.gamma, abs=0.2)
    assert found.beta == pytest.approx(truth.beta, abs=0.3)
    assert found.epsilon == pytest.approx(truth.epsilon, abs=0.15)
    assert found.key * 12**-found.epsilon == pytest.approx(truth.key * 12**-truth.epsilon, rel=0.15)
    assert not found.mu
    assert fitted.cases == 800 and fitted.left_out == 0
    assert fitted.nll < fitted.before and fitted.held_out["key"] < fitted.held_out[""]
    assert fitted.nll <= mean_nll(drawn(800, truth), truth) + 1e-4  # on its own cases a fit is at least as good


def test_a_selectors_numbers_are_found_again() -> None:
    truth = SelectorCalibration(key=6.0, slots=0.5, beta=1.0, epsilon=0.2)
    fitted = fit_selector(drawn(800, truth.form))
    assert fitted.slots == pytest.approx(truth.slots, rel=0.15)
    assert fitted.beta == pytest.approx(truth.beta, abs=0.3)
    assert fitted.key * 12**-fitted.epsilon == pytest.approx(truth.key * 12**-truth.epsilon, rel=0.15)
    assert mean_nll(drawn(800, truth.form), fitted.form) <= mean_nll(drawn(800, truth.form), truth.form) + 1e-3


def test_a_key_that_says_nothing_is_not_used() -> None:
    fitted = fit(drawn(240, Calibration(tau=0.8, gamma=0.5, beta=-0.5, key=0.0), seed=3))
    assert fitted.calibration.key == 0.0 and not fitted.calibration.mu
    assert set(fitted.held_out) == {"", "key", "mu", "mu key"}


def test_mu_is_used_where_segments_like_every_statement() -> None:
    cases = []
    for case in drawn(240, Calibration(tau=0.8, beta=-0.5), seed=4):
        assert case.mu is not None
        mu = 6 * case.mu
        cases.append(Case(case.nats + mu, case.tokens, case.segments, case.right, case.present, case.keys, mu))
    assert fit(cases).calibration.mu


def test_the_fit_is_the_same_twice() -> None:
    cases = drawn(80, Calibration(beta=-0.5))
    assert fit(cases, seed=1) == fit(cases, seed=1)


def test_those_not_scored_are_left_out() -> None:
    cases = drawn(60, Calibration(beta=-0.5), keys=False)
    missed = [Case(case.nats, case.tokens, 200, (), True) for case in cases[:10]]
    fitted = fit([*cases, *missed])
    assert (fitted.cases, fitted.left_out) == (60, 10)
    assert mean_nll([*cases, *missed], UNFITTED) == pytest.approx(mean_nll(cases, UNFITTED))
    assert "key" not in fitted.held_out


def test_too_few_or_too_alike_cases_are_refused() -> None:
    cases = drawn(60, Calibration(beta=-0.5))
    for some in (cases[:19], [case for case in cases if case.present]):
        with pytest.raises(InputError, match="too few"):
            fit(some)


def test_a_calibration_needs_what_it_uses() -> None:
    with pytest.raises(InputError, match="learned keys"):
        probabilities(Case(torch.zeros(2), 3, 2, (0,), True), Calibration(key=1.0))
    for wrong in (
        {"nats": torch.zeros(3), "segments": 2},
        {"right": (0, 5)},
        {"present": False},
        {"keys": torch.zeros(3)},
    ):
        given = {"nats": torch.zeros(2), "tokens": 3, "segments": 2, "right": (0,), "present": True, **wrong}
        with pytest.raises(ValueError):
            Case(**given)  # type: ignore[arg-type]
