"""The router's numbers as they are stored with weights."""

from __future__ import annotations

import pytest

from chunkv2l.errors import InputError
from chunkv2l.models import UNFITTED, Calibration
from chunkv2l.routing.probability import probabilities


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
    ],
)
def test_bad_ones_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="calibration"):
        Calibration.from_text(text)
