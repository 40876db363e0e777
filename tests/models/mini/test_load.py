"""Loading `mini` from its files, at a tiny size: the very model that training had, and sentences about bad files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from chunkv2l.adapter.algebra import concat
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.hypernet import Hypernetwork, save_hypernetwork
from chunkv2l.hypernet.keys import Keys
from chunkv2l.index.file import IndexFile
from chunkv2l.models import UNFITTED, Available, Calibration, ModelSpec, load_model
from chunkv2l.models.assets import weights
from chunkv2l.models.mini import classifier, pack
from chunkv2l.models.mini import frozen as mini_frozen
from chunkv2l.models.mini import load as mini_model
from chunkv2l.models.sentence import minilm
from chunkv2l.models.text.decoder import stacked
from chunkv2l.train.core.decoder import from_llama
from tests.helpers import frames2lora, tiny_mini, tiny_mini_files
from tests.helpers.indexes import origin, write_index
from tests.helpers.tiny_mini_files import CONFIG

State = dict[str, Tensor]
FITTED = Calibration(tau=0.7, gamma=0.4, beta=-1.0, mu=True)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the tiny frozen parts are; anything else of a test's goes beside it."""
    return tiny_mini_files.frozen(monkeypatch, tmp_path / "cache")


@pytest.fixture
def folder(cache: Path, tmp_path: Path) -> Path:
    """`mini`'s trained parts, packed."""
    tiny_mini_files.reader(tmp_path / "reader.safetensors")
    tiny_mini_files.hypernet(tmp_path / "hypernet.safetensors")
    pack.pack(tmp_path / "reader.safetensors", tmp_path / "hypernet.safetensors", tmp_path / "tiny", FITTED)
    return tmp_path / "tiny"


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0.0)


# --- the reader ------------------------------------------------------------------------------------------------------


def test_the_lora_is_merged_as_training_applies_it() -> None:
    parts = tiny_mini.untrained()
    expected = parts.lora.apply_to(parts.decoder)
    mini_model.merge(parts.language.state_dict(), parts.lora.state_dict())
    for found, wanted, before in zip(
        from_llama(parts.language, torch.float32).blocks, expected.blocks, parts.decoder.blocks, strict=True
    ):
        for one, other in zip(found, wanted, strict=True):
            close(one, other, 1e-6)
        assert not torch.allclose(found.qkv, before.qkv)
        assert not torch.allclose(found.gate_up, before.gate_up)


def test_the_loaded_model_is_the_trained_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_model, "reading_precision", lambda device: torch.float32)  # whatever this CPU is good at
    save_file(load_file(folder.parent / "reader.safetensors"), folder / "reader.safetensors")  # unpacked: exact
    model = load_model(ModelSpec(str(folder), device="cpu"))
    assert model.name == "tiny"
    assert model.calibration == FITTED
    clips = [tiny_mini.clip(2), tiny_mini.clip(4)]
    states, mask = model.vlm.encode(clips)
    close(states, tiny_mini.tiny().vlm.encode(clips)[0], 1e-4)
    codes = model.hypernet.encode(states, mask)
    adapters = concat([model.hypernet.expand(codes)], bias=model.hypernet.bias)
    close(model.vlm.score(["A dog."], adapters), tiny_mini.tiny().vlm.score(["A dog."], adapters), 1e-3)
    assert model.keys is not None
    keys = model.keys.of_clips(*stacked(model.vlm.look(clips)))
    assert keys.shape == (2, 16) and model.sentences is not None
    assert not any(p.requires_grad for p in (*model.hypernet.parameters(), *model.keys.parameters()))
    assert not model.hypernet.training


def test_packed_parts_make_nearly_the_same_states(folder: Path) -> None:
    states, _ = load_model(ModelSpec(str(folder), device="cpu")).vlm.encode([tiny_mini.clip(3)])
    expected, _ = tiny_mini.tiny().vlm.encode([tiny_mini.clip(3)])
    assert torch.cosine_similarity(states.flatten(), expected.flatten(), dim=0) > 0.999


def test_identity_knows_the_files_not_the_place(folder: Path, tmp_path: Path) -> None:
    original = load_model(ModelSpec(str(folder), device="cpu")).identity
    (tmp_path / "elsewhere").mkdir()
    for file in folder.iterdir():
        (tmp_path / "elsewhere" / file.name).write_bytes(file.read_bytes())
    assert load_model(ModelSpec(str(tmp_path / "elsewhere"), device="cpu")).identity == original
    assert json.loads(json.dumps(original)) == original
    other = load_model(ModelSpec(str(folder), str(tmp_path / "hypernet.safetensors"), "cpu")).identity
    assert {name for name in original if original[name] != other[name]} == {"hypernet"}
    read = load_file(tmp_path / "reader.safetensors")
    read["connector.up.bias"] += 1
    weights.write(folder / "reader.safetensors", read, {})
    other = load_model(ModelSpec(str(folder), device="cpu")).identity
    assert {name for name in original if original[name] != other[name]} == {"reader"}


def lose_a_factor(state: State) -> None:
    del state["lora.up.qkv"]


def add_a_tensor(state: State) -> None:
    state["extra"] = torch.zeros(3)


def other_layers(state: State) -> None:
    for name in list(state):
        if name.startswith("lora."):
            state[name] = state[name][:2].contiguous()


def no_connector(state: State) -> None:
    for name in list(state):
        if name.startswith("connector."):
            del state[name]


def half_a_connector(state: State) -> None:
    del state["connector.norm.weight"]


def other_width(state: State) -> None:
    state["connector.down.weight"] = torch.zeros(tiny_mini.HIDDEN + 1, 20)


def not_finite(state: State) -> None:
    state["connector.position"][0, 0, 0] = float("nan")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lose_a_factor, "its LoRA has .* instead of"),
        (add_a_tensor, "it has extra"),
        (other_layers, r"its LoRA's \w+ is .*for another model"),
        (no_connector, "it has no connector"),
        (half_a_connector, "norm.weight"),
        (other_width, "down.weight"),
        (not_finite, "position holds values that aren't finite"),
    ],
)
def test_a_spoilt_reader_is_refused(
    folder: Path, tmp_path: Path, spoil: Callable[[State], None], sentence: str
) -> None:
    state = load_file(tmp_path / "reader.safetensors")
    spoil(state)
    save_file(state, folder / "reader.safetensors")
    with pytest.raises(InputError, match=f"reader.safetensors isn't a reader of mini's: .*{sentence}"):
        load_model(ModelSpec(str(folder), device="cpu"))


def test_a_lora_that_does_not_fit_changes_nothing() -> None:
    parts = tiny_mini.untrained()
    before = {name: tensor.clone() for name, tensor in parts.language.state_dict().items()}
    lora = dict(parts.lora.state_dict())
    lora["up.down"] = lora["up.down"][:, 1:]
    with pytest.raises(InputError, match="its LoRA's down is"):
        mini_model.merge(parts.language.state_dict(), lora)
    assert all(torch.equal(tensor, before[name]) for name, tensor in parts.language.state_dict().items())


# --- the hypernetwork ------------------------------------------------------------------------------------------------


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_model, "SIZES", (CONFIG.num_layers, CONFIG.hidden_size, CONFIG.intermediate_size))


@pytest.mark.usefixtures("sizes")
def test_a_training_runs_file_and_its_packed_form(tmp_path: Path) -> None:
    network, keys, calibration = mini_model.read_hypernet(tiny_mini_files.hypernet(tmp_path / "run.safetensors"))
    state = tiny_mini_files.trained()
    assert network.config == CONFIG
    assert all(torch.equal(t, state[f"hypernet.{name}"]) for name, t in network.state_dict().items())
    assert keys is not None
    assert all(torch.equal(t, state[f"keys.{name}"]) for name, t in keys.state_dict().items())
    assert calibration == UNFITTED

    with safe_open(tmp_path / "run.safetensors", framework="pt") as file:
        told = {**file.metadata(), "calibration": FITTED.to_text()}
    weights.write(tmp_path / "packed.safetensors", state, told)
    packed, packed_keys, calibration = mini_model.read_hypernet(tmp_path / "packed.safetensors")
    assert calibration == FITTED
    assert packed_keys is not None
    features = torch.randn(2, CONFIG.num_layers, 9, CONFIG.hidden_size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        codes, expected = packed.encode(features), network.encode(features)
        assert float((codes - expected).norm() / expected.norm()) < 0.03
        seen = torch.randn(2, 9, tiny_mini.CHANNELS, generator=torch.Generator().manual_seed(4))
        assert torch.cosine_similarity(packed_keys.of_clips(seen), keys.of_clips(seen)).min() > 0.99


@pytest.mark.usefixtures("sizes")
def test_a_bare_hypernetwork_has_no_keys_and_no_calibration(tmp_path: Path) -> None:
    save_hypernetwork(Hypernetwork(CONFIG), tmp_path / "own.safetensors")
    network, keys, calibration = mini_model.read_hypernet(tmp_path / "own.safetensors")
    assert network.config == CONFIG
    assert keys is None
    assert calibration == UNFITTED
    without = {name: t for name, t in tiny_mini_files.trained().items() if not name.startswith("keys.")}
    assert mini_model.read_hypernet(tiny_mini_files.hypernet(tmp_path / "run.safetensors", without))[1] is None


@pytest.mark.usefixtures("sizes")
def test_an_exact_scaling_changes_no_adapter(tmp_path: Path) -> None:
    path = tiny_mini_files.hypernet(tmp_path / "run.safetensors")
    given, exact = mini_model.read_hypernet(path)[0], mini_model.with_exact_scaling(mini_model.read_hypernet(path)[0])
    assert given.scaling == pytest.approx(2 * 2**1.5)
    assert exact.scaling == 8.0
    codes = torch.nn.functional.normalize(torch.randn(CONFIG.num_layers, CONFIG.rank, CONFIG.latent_size), dim=-1)
    with torch.no_grad():
        for one, other in ((given.expand(codes), exact.expand(codes)), (given.bias, exact.bias)):
            close(one.A, other.A, 0.0)
            torch.testing.assert_close(one.B * one.scaling, other.B * other.scaling, rtol=1e-6, atol=1e-6)


def lose_a_tensor(state: State) -> None:
    del state["hypernet.bias_A.down_proj"]


def lose_a_key(state: State) -> None:
    del state["keys.norm.weight"]


def other_key(state: State) -> None:
    state["keys.query.weight"] = torch.zeros(16, 3)


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize(
    ("spoil", "metadata", "sentence"),
    [
        (lose_a_tensor, {}, "isn't a complete hypernetwork: bias_A.down_proj missing"),
        (lose_a_key, {}, "keys that can't be used: .*norm.weight"),
        (other_key, {}, "keys that can't be used: .*query.weight"),
        (dict.clear, {}, "isn't a hypernetwork's checkpoint"),
        (lambda _: None, {"config": ""}, "its configuration can't be read"),
        (lambda _: None, {"config": "[1]"}, "its configuration can't be read"),
        (lambda _: None, {"config": '{"layers": 3}'}, "no setting called layers"),
        (lambda _: None, {"calibration": "tau"}, "A calibration is JSON"),
    ],
)
def test_a_spoilt_hypernetwork_is_refused(
    tmp_path: Path, spoil: Callable[[State], None], metadata: dict[str, str], sentence: str
) -> None:
    state = tiny_mini_files.trained()
    spoil(state)
    with pytest.raises(InputError, match=sentence):
        mini_model.read_hypernet(tiny_mini_files.hypernet(tmp_path / "run.safetensors", state, **metadata))


@pytest.mark.usefixtures("cache")
def test_keys_that_pool_states_are_to_be_trained_anew(folder: Path, tmp_path: Path) -> None:
    state = tiny_mini_files.trained()
    old = Keys(2 * tiny_mini.HIDDEN, size=16, value=24, heads=3, inner=20)
    state |= {f"keys.{name}": t.detach() for name, t in old.state_dict().items()}
    path = tiny_mini_files.hypernet(tmp_path / "old.safetensors", state)
    sentence = r"old.safetensors has keys .* pool 64 numbers .* sees has 48\..*train them anew.*recipes/train_mini/keys"
    with pytest.raises(InputError, match=sentence):
        load_model(ModelSpec(str(folder), str(path), "cpu"))
    with pytest.raises(InputError, match=sentence):
        pack.pack(tmp_path / "reader.safetensors", path, tmp_path / "out")
    network, keys, _ = mini_model.read_hypernet(path)  # training goes on from it
    assert network.config == CONFIG and keys is not None and keys.channels == 64


def test_hypernetworks_that_are_not_there_or_for_another_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no hypernetwork file"):
        mini_model.read_hypernet(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match=r"another model than mini \(3 blocks of 48 → 32 against 30 of 1536 → 576\)"):
        mini_model.read_hypernet(tiny_mini_files.hypernet(tmp_path / "run.safetensors"))
    with pytest.raises(InputError, match=r"another model than mini \(4 blocks"):
        mini_model.read_hypernet(frames2lora.FOLDER / "checkpoint_tiny.pt")


# --- packing and names -----------------------------------------------------------------------------------------------


def test_packing_from_the_command_line(cache: Path, tmp_path: Path) -> None:
    tiny_mini_files.reader(tmp_path / "r.safetensors")
    tiny_mini_files.hypernet(tmp_path / "h.safetensors")
    (tmp_path / "fitted.json").write_text(FITTED.to_text())
    files = [str(tmp_path / name) for name in ("r.safetensors", "h.safetensors", "out")]
    done = CliRunner().invoke(pack.main, [*files, "--calibration", str(tmp_path / "fitted.json")])
    assert done.exit_code == 0, done.output
    assert done.output.count(" MB, largest relative error") == 2
    packed = load_file(tmp_path / "out" / "hypernet.safetensors")
    assert "log_temperature" not in packed
    assert packed["hypernet.head.weight"].dtype == torch.int8
    model = load_model(ModelSpec(str(tmp_path / "out"), device="cpu"))
    assert model.calibration == FITTED
    again = pack.pack(
        tmp_path / "out" / "reader.safetensors", tmp_path / "out" / "hypernet.safetensors", tmp_path / "b"
    )
    assert max(again.values()) < 5e-4
    assert load_model(ModelSpec(str(tmp_path / "b"), device="cpu")).calibration == FITTED


@pytest.mark.usefixtures("cache")
def test_packing_refuses_what_cannot_be_loaded(tmp_path: Path) -> None:
    state = tiny_mini_files.reader(tmp_path / "r.safetensors")
    save_hypernetwork(Hypernetwork(CONFIG), tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match="isn't what training wrote"):
        pack.pack(tmp_path / "r.safetensors", tmp_path / "bare.safetensors", tmp_path / "out")
    other_layers(state)
    save_file(state, tmp_path / "r.safetensors")
    with pytest.raises(InputError, match="isn't a reader of mini's"):
        pack.pack(tmp_path / "r.safetensors", tiny_mini_files.hypernet(tmp_path / "h.safetensors"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_mini_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_model, "SHIPPED", folder)
    assert mini_model.LOADER.find("mini") == Available("mini", True, f"Its frozen parts are in {mini_frozen.folder()}.")
    model = load_model(ModelSpec(device="cpu"))
    assert model.name == model.vlm.name == "mini"


def test_a_calibration_beside_the_weights_counts_first(folder: Path) -> None:
    assert mini_model.load(folder).calibration == FITTED
    (folder / mini_model.CALIBRATION).write_text('{"tau": 2.0, "beta": 0.5}')
    assert mini_model.load(folder).calibration == Calibration(tau=2.0, beta=0.5)
    own = str(folder / mini_model.HYPERNET)
    assert mini_model.load(folder, hypernet=own).calibration == FITTED  # a file of one's own brings its own


def test_an_installation_without_weights(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_model, "SHIPPED", tmp_path / "none")
    assert not mini_model.LOADER.find("mini").here
    with pytest.raises(ChunkV2LError, match="lacks mini's trained weights"):
        load_model(ModelSpec(device="cpu"))
    with pytest.raises(InputError, match="isn't a folder of mini's"):
        mini_model.load(cache)


def test_the_packages_weights_stay_small() -> None:
    """A wheel of them has to be fetched by everybody."""
    sizes = {path.name: path.stat().st_size for path in mini_model.SHIPPED.iterdir() if path.suffix != ".py"}
    assert sum(sizes.values()) <= 45_000_000, sizes


def test_tagged_weights_are_here_with_their_classifier_only(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mini_model, "SHIPPED", folder)
    monkeypatch.setattr(mini_model, "reads_tags", lambda path: True)
    monkeypatch.setattr(classifier, "folder", lambda: tmp_path / "classifier")
    assert not mini_model.LOADER.find("mini").here
    (tmp_path / "classifier").mkdir()
    assert mini_model.LOADER.find("mini").here


@pytest.mark.parametrize("part", ["reader", "hypernet", "classifier"])
def test_an_index_of_other_weights_must_be_rebuilt(folder: Path, tmp_path: Path, part: str) -> None:
    """New weights, or a classifier that earlier ones had not: the sentence has the command."""
    identity = dict(mini_model.load(folder).identity)
    other = {**identity, part: "0" * 64}
    meta = {**origin("fp16"), "model": "mini", "identity": identity}
    with IndexFile(write_index(tmp_path / "a.idx", meta=meta)) as index:
        index.require_identity(identity)
        with pytest.raises(InputError, match=rf"differs in {part}\).*Rebuild it: chunkv2l build 'my movie.mp4'"):
            index.require_identity(other)


def test_who_looks_at_the_models_sees_that_mini_is_for_research() -> None:
    terms = mini_model.LOADER.find("mini").terms
    assert "research" in terms
    for file in re.findall(r"[A-Z_-]+\.md", terms):
        assert "research" in (mini_model.SHIPPED / file).read_text(encoding="utf-8")


def test_every_fetched_wheel_has_its_licence_told() -> None:
    """The licence file names the very wheels and versions that are fetched."""
    text = (mini_model.SHIPPED / "LICENSE-WEIGHTS.md").read_text(encoding="utf-8")
    for wheel in (mini_frozen.LANGUAGE, mini_frozen.VISION, minilm.WHEEL, classifier.WHEEL):
        assert f"`{wheel.name}` {wheel.version}" in text
