"""A statement read once: what it scores, and the states that a learned key is compared with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chunkv2l.adapter import Adapter
from chunkv2l.errors import InputError
from chunkv2l.models.smolvlm import load_smolvlm
from tests import tiny_mini
from tests.fake_vlm import fake_model
from tests.frames2lora import MODEL, hypernet_file

STATEMENTS = ["A dog runs.", "Two men sit on the grass, in the sun."]


@pytest.mark.parametrize("adapter", [None, tiny_mini.adapter()])
def test_one_pass_gives_what_two_do(adapter: Adapter | None) -> None:
    vlm = tiny_mini.tiny().vlm
    states = vlm.statement_states(STATEMENTS, adapter)
    scores = vlm.score(STATEMENTS, adapter)[0]
    for statement, expected, state in zip(STATEMENTS, scores.tolist(), states, strict=True):
        alone, mean = vlm.read(statement, adapter)
        assert alone == pytest.approx(expected, abs=1e-4)
        torch.testing.assert_close(mean, state, atol=1e-5, rtol=1e-4)


def test_smolvlm_too(tmp_path: Path) -> None:
    vlm, hypernet, _ = load_smolvlm(str(MODEL), str(hypernet_file(tmp_path)), device="cpu")
    alone, mean = vlm.read(STATEMENTS[0], hypernet.bias)
    assert alone == pytest.approx(float(vlm.score(STATEMENTS[:1], hypernet.bias)[0, 0]), abs=1e-3)
    torch.testing.assert_close(mean, vlm.statement_states(STATEMENTS[:1], hypernet.bias)[0], atol=1e-4, rtol=1e-3)


def test_the_fake_does_as_they_do() -> None:
    model = fake_model()
    alone, mean = model.vlm.read(STATEMENTS[0], model.hypernet.bias)
    assert alone == pytest.approx(float(model.vlm.score(STATEMENTS[:1], model.hypernet.bias)[0, 0]), abs=1e-5)
    assert mean.shape == (16,)


def test_nothing_to_read() -> None:
    for vlm in (tiny_mini.tiny().vlm, fake_model().vlm):
        with pytest.raises(InputError, match="without a word"):
            vlm.read(" ")
