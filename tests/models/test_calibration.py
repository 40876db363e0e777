"""The router's numbers as they are stored with weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkv2l.errors import InputError
from chunkv2l.models import UNFITTED, Calibration, SelectorCalibration
from chunkv2l.models.calibration import naming
from chunkv2l.routing.probability import evidence, probabilities


def test_there_and_back() -> None:
    fitted = Calibration(tau=0.8, gamma=0.6, beta=-1.5, mu=True, key=2.5)
    assert Calibration.from_text(fitted.to_text()) == fitted
    assert Calibration.from_text("{}") == UNFITTED == Calibration(1.0, 0.5, 0.0, False, 0.0)
    assert Calibration.from_text('{"tau": 2}').tau == 2


def test_unfitted_a_statement_that_tells_nothing_is_as_likely_there_as_not() -> None:
    p, absent = probabilities(dict.fromkeys(range(7), 0.0), 5, 7, UNFITTED)
    assert absent == pytest.approx(0.5)
    assert sum(p.values()) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[1, 2]",
        '{"tau": 1, "delta": 2}',
        '{"tau": 0}',
        '{"tau": -1}',
        '{"gamma": "x"}',
        '{"beta": NaN}',
        '{"beta": true}',
        '{"mu": 1}',
        '{"key": null}',
        '{"tau": 1e-300}',
        '{"gamma": -1e3}',
        '{"epsilon": 11}',
        '{"beta": 1e300}',
        '{"key": 1' + "0" * 400 + "}",
    ],
)
def test_bad_ones_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="calibration"):
        Calibration.from_text(text)


def test_a_selectors_calibration_has_the_routers_form() -> None:
    fitted = SelectorCalibration(key=3.0, slots=2.0, beta=-0.5, epsilon=0.2)
    assert SelectorCalibration.from_text(fitted.to_text()) == fitted
    assert SelectorCalibration.from_text('{"slots": 2}') == SelectorCalibration(slots=2)
    expected = 2.0 * 1.5 + 3.0 * 7**-0.2 * 0.4
    assert evidence(1.5, 0.4, 7, fitted.form) == pytest.approx(expected) and fitted.form.beta == -0.5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1]", "JSON with key, slots, beta and epsilon"),
        ('{"tau": 1.0}', "JSON with key, slots, beta and epsilon"),
        ('{"slots": 0}', "slots must be above 0"),
        ('{"key": NaN}', "key must be a finite number"),
        ('{"beta": "1"}', "beta must be a finite number"),
    ],
)
def test_a_selectors_calibration_that_cant_be(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        SelectorCalibration.from_text(text)


def test_the_file_that_a_bad_one_is_from_is_named(tmp_path: Path) -> None:
    says = r"^/.*a\.json has a calibration that can't be used: .*tau must be above 0"
    with pytest.raises(InputError, match=says), naming(tmp_path / "a.json"):
        Calibration.from_text('{"tau": 0}')
