"""`mini`'s selector: packed, loaded beside the hypernetwork that it was trained for, and refused beside another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from chunkv2l.errors import InputError
from chunkv2l.models import ModelSpec, SelectorCalibration, load_model
from chunkv2l.models.assets.cache import known_sha256
from chunkv2l.models.mini import pack
from chunkv2l.models.selector_file import SELECTOR, SELECTOR_CALIBRATION, read_selector, write_selector
from tests.helpers import tiny_mini_files
from tests.helpers.selecting import random_selector
from tests.helpers.tiny_mini_files import CONFIG

FITTED = SelectorCalibration(key=2.0, slots=1.5, beta=0.4)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Files of a training run: reader, hypernetwork and a selector for it."""
    tiny_mini_files.reader(tmp_path / "r.safetensors")
    tiny_mini_files.hypernet(tmp_path / "h.safetensors")
    sha256 = known_sha256(tmp_path / "h.safetensors")
    state = {name: t.contiguous() for name, t in random_selector(CONFIG, size=8).state_dict().items()}
    save_file(state, tmp_path / "s.safetensors", {"hypernet": sha256, "size": "8"})
    return tmp_path


def test_a_packed_selector_is_loaded_with_its_calibration(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_mini_files.frozen(monkeypatch, parts / "cache")
    out = parts / "out"
    names = [str(parts / name) for name in ("r.safetensors", "h.safetensors", "out")]
    plain = CliRunner().invoke(pack.main, names)
    assert plain.exit_code == 0 and not (out / SELECTOR).exists()
    without = load_model(ModelSpec(str(out), device="cpu"))
    assert without.selector is None and without.selector_calibration == SelectorCalibration()
    done = CliRunner().invoke(pack.main, [*names, "--selector", str(parts / "s.safetensors")])
    assert done.exit_code == 0 and done.output.count(" MB, largest relative error") == 3, done.output
    with safe_open(out / SELECTOR, framework="pt") as file:
        assert file.metadata()["hypernet"] == known_sha256(out / "hypernet.safetensors")
    assert load_file(out / SELECTOR)["gate_word.weight"].dtype in (torch.int8, torch.float16)
    (out / SELECTOR_CALIBRATION).write_text(FITTED.to_text())
    model = load_model(ModelSpec(str(out), device="cpu"))
    assert model.selector is not None and model.words is not None and model.selector_calibration == FITTED
    assert not any(parameter.requires_grad for parameter in model.selector.parameters()) and not model.selector.training
    # an index depends on none of it
    assert model.identity == load_model(ModelSpec(str(out), device="cpu")).identity
    assert set(model.identity) == set(without.identity)
    for name, given in random_selector(CONFIG, size=8).state_dict().items():
        torch.testing.assert_close(model.selector.state_dict()[name], given, rtol=0.02, atol=0.02)
    # of another hypernetwork's codes it knows nothing
    assert load_model(ModelSpec(str(out), str(parts / "h.safetensors"), device="cpu")).selector is None


def test_packing_beside_packed_files_leaves_them_alone(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_mini_files.frozen(monkeypatch, parts / "cache")
    out = parts / "out"
    pack.pack(parts / "r.safetensors", parts / "h.safetensors", out)
    given = {name: (out / name).read_bytes() for name in ("reader.safetensors", "hypernet.safetensors")}
    sha256 = known_sha256(out / "hypernet.safetensors")
    write_selector(parts / "s2.safetensors", random_selector(CONFIG, size=8), sha256)
    written = pack.pack(
        out / "reader.safetensors", out / "hypernet.safetensors", out, selector=parts / "s2.safetensors"
    )
    assert list(written) == [out / SELECTOR] and {name: (out / name).read_bytes() for name in given} == given
    with pytest.raises(InputError, match="is a selector for other weights"):
        pack.pack(out / "reader.safetensors", out / "hypernet.safetensors", out, selector=parts / "s.safetensors")


def test_a_selector_for_other_weights_is_refused_with_the_model(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_mini_files.frozen(monkeypatch, parts / "cache")
    pack.pack(parts / "r.safetensors", parts / "h.safetensors", parts / "out")
    write_selector(parts / "out" / SELECTOR, random_selector(CONFIG), "ab" * 32)
    with pytest.raises(InputError, match=r'trained for a hypernetwork of SHA-256 "abababababababab…"'):
        load_model(ModelSpec(str(parts / "out"), device="cpu"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"size": "0"}, "can't have the width 0"),
        ({"size": "99999999999999999999"}, "can't have the width"),
        ({"size": "²"}, "can't have the width"),
        ({"size": "9"}, "isn't a selector for this hypernetwork"),
        ({"hypernet": ""}, "is a selector for other weights"),
        ({"tensor": "lost"}, "isn't a selector for this hypernetwork: Missing key"),
        ({"tensor": "more"}, "isn't a selector for this hypernetwork: Unexpected key"),
        ({"tensor": "nan"}, "holds values that aren't finite numbers"),
    ],
)
def test_a_spoilt_selector_is_refused(change: dict[str, str], problem: str, tmp_path: Path) -> None:
    state = {name: t.contiguous() for name, t in random_selector(CONFIG, size=8).state_dict().items()}
    if change.get("tensor") == "lost":
        del state["slot"]
    elif change.get("tensor") == "more":
        state["other"] = torch.zeros(2)
    elif change.get("tensor") == "nan":
        state["slot_bias"] = state["slot_bias"] * torch.nan
    metadata = {"hypernet": "cd" * 32, "size": "8"} | {key: text for key, text in change.items() if key != "tensor"}
    save_file(state, tmp_path / SELECTOR, metadata)
    with pytest.raises(InputError, match=problem):
        read_selector(tmp_path / SELECTOR, CONFIG, "cd" * 32)
