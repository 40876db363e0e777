"""SmolVLM2 by name, folder and hub id; what is said where something is missing."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.hypernet import load_hypernetwork, save_hypernetwork
from chunkv2l.models.assets import hub
from chunkv2l.models.assets.cache import known_sha256, sha256
from chunkv2l.models.smolvlm import load as smolvlm
from chunkv2l.models.smolvlm.folder import is_complete
from chunkv2l.models.smolvlm.load import load_smolvlm
from tests.helpers import frames2lora, tiny_smolvlm
from tests.helpers.sandboxed import run_here

CHECKPOINT = str(tiny_smolvlm.CHECKPOINT)


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let folders be read in this process; test_folder.py has what their sandbox is for."""
    monkeypatch.setattr("chunkv2l.models.smolvlm.folder.run_task", run_here)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny model's folder that may be spoilt."""
    copy = tmp_path / "my-model"
    shutil.copytree(frames2lora.MODEL, copy)
    for path in copy.iterdir():
        path.chmod(0o644)
    return copy


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a hub and with nothing in its caches."""
    monkeypatch.setenv("CHUNKV2L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "is_reachable", lambda: False)


def test_a_folder(folder: Path) -> None:
    vlm, hypernet, identity = load_smolvlm(str(folder), CHECKPOINT, "cpu")
    assert vlm.name == "my-model"
    assert hypernet.config.num_layers == len(vlm.targets) == 4
    assert not hypernet.training
    assert vlm.pixels.tile == 32
    assert vlm.frame_tokens == 4
    states, mask = vlm.encode([tiny_smolvlm.clip(3)])
    assert hypernet.encode(states, mask).shape == (1, 4, 4, 16)
    assert identity["hypernet"] == sha256(tiny_smolvlm.CHECKPOINT)


def test_identity_knows_weights_not_places(folder: Path) -> None:
    original = load_smolvlm(str(frames2lora.MODEL), CHECKPOINT, "cpu")[2]
    assert load_smolvlm(str(folder), CHECKPOINT, "cpu")[2] == original
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][0, 0] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    changed = load_smolvlm(str(folder), CHECKPOINT, "cpu")[2]
    assert {key for key in original if original[key] != changed[key]} == {"weights"}


def test_a_hypernetwork_for_another_base_of_the_same_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused as the reference does where both are named as on a hub; a folder may hold any model."""
    monkeypatch.setattr(smolvlm, "find", lambda name, hypernet: (folder, Path(hypernet)))
    made = load_hypernetwork(CHECKPOINT)
    for base, allowed in (("someone/base", False), ("someone/model", True), ("tiny-random-smolvlm", True), ("", True)):
        made.config = replace(made.config, base_model=base)
        save_hypernetwork(made, folder / "own.safetensors")
        assert load_smolvlm(str(folder), str(folder / "own.safetensors"), "cpu")[0].name == "my-model"
        if allowed:
            assert load_smolvlm("someone/model", str(folder / "own.safetensors"), "cpu")[0].name == "someone/model"
        else:
            with pytest.raises(InputError, match="is a hypernetwork for someone/base, not for someone/model"):
                load_smolvlm("someone/model", str(folder / "own.safetensors"), "cpu")


def test_a_hypernetwork_of_another_size_is_refused_before_the_weights_are_read(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = 6
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(InputError, match=r"another model than .*my-model .*4 blocks of 160 → 64 against 6 blocks"):
        load_smolvlm(str(folder), CHECKPOINT, "cpu")


def drop_a_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.text_model.layers.2.mlp.down_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def pickle_instead(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def other_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama"}')


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def no_template(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text())
    del values["chat_template"]
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (drop_a_tensor, "isn't a complete SmolVLM2: model.text_model.layers.2.mlp.down_proj.weight is missing"),
        (truncate, "can't be loaded as a SmolVLM2"),
        (pickle_instead, "pickled weights aren't read"),
        (other_kind, "holds a model of type 'llama'"),
        (broken_config, "can't be read as JSON"),
        (no_config, "isn't a model's folder"),
        (no_template, "no chat template"),
    ],
)
def test_a_spoilt_folder_is_an_input_error(folder: Path, spoil: Callable[[Path], None], sentence: str) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=sentence):
        load_smolvlm(str(folder), CHECKPOINT, "cpu")


def test_a_chat_template_in_a_file_of_its_own(folder: Path) -> None:
    template = json.loads((folder / "tokenizer_config.json").read_text())["chat_template"]
    no_template(folder)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    vlm = load_smolvlm(str(folder), CHECKPOINT, "cpu")[0]
    assert vlm.prompt_ids("Who?") == tiny_smolvlm.vlm().prompt_ids("Who?")


def test_code_in_a_folder_is_never_run(folder: Path, tmp_path: Path) -> None:
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text())
    values |= {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}, "tokenizer_class": "Own"}
    path.write_text(json.dumps(values))
    marker = tmp_path / "was-run"
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Own: pass\n")
    vlm = load_smolvlm(str(folder), CHECKPOINT, "cpu")[0]
    assert vlm.prompt_ids("Who?") == tiny_smolvlm.vlm().prompt_ids("Who?")
    assert not marker.exists()


def test_tied_embeddings_lack_nothing(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lm_head\.weight is missing"):
        load_smolvlm(str(folder), CHECKPOINT, "cpu")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    model = load_smolvlm(str(folder), CHECKPOINT, "cpu")[0].model
    assert torch.equal(model.lm_head.weight, model.model.text_model.embed_tokens.weight)


def test_names_that_stand_for_nothing(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no model called 'smolvlm9'.*smolvlm2-500m"):
        load_smolvlm("smolvlm9", CHECKPOINT)
    with pytest.raises(InputError, match="--hypernet FILE"):
        load_smolvlm(str(folder))
    with pytest.raises(InputError, match="--hypernet FILE"):
        load_smolvlm("someone/some-smolvlm")
    with pytest.raises(InputError, match="no hypernetwork file"):
        load_smolvlm(str(folder), str(folder / "nothing.pt"))


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", ["smolvlm2-500m", "HuggingFaceTB/SmolVLM2-2.2B-Instruct"])
def test_without_a_hub_a_sentence_says_what_to_put_where(name: str, tmp_path: Path) -> None:
    size = "2.2b" if "2.2B" in name else "500m"
    with pytest.raises(InputError) as caught:
        load_smolvlm(name)
    text = str(caught.value)
    assert smolvlm.PUBLISHED[f"smolvlm2-{size}"].repository in text
    assert f"frames2lora-smolvlm2-{size}-best-ce.pt of MananSuri27/Frames2LoRA-SmolVLM-ckpts" in text
    assert str(tmp_path / "cache" / f"smolvlm2-{size}") in text


@pytest.mark.usefixtures("no_hub")
def test_without_a_hub_another_repository_is_named() -> None:
    with pytest.raises(InputError, match="someone/some-smolvlm isn't on this machine"):
        load_smolvlm("someone/some-smolvlm", CHECKPOINT)


@pytest.mark.usefixtures("no_hub")
def test_files_put_there_by_hand_are_found(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "cache" / "smolvlm2-500m"
    place.parent.mkdir()
    folder.rename(place)
    with pytest.raises(InputError, match="best-ce"):
        smolvlm.find("smolvlm2-500m")
    checkpoint = place / "frames2lora-smolvlm2-500m-best-ce.pt"
    shutil.copyfile(CHECKPOINT, checkpoint)
    assert smolvlm.find("smolvlm2-500m") == (place, checkpoint)
    assert load_smolvlm("smolvlm2-500m", device="cpu")[0].name == "smolvlm2-500m"


def test_a_broken_download_is_not_complete(folder: Path) -> None:
    assert is_complete(folder)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    assert not is_complete(folder)
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert not is_complete(folder)
    (folder / names["b"]).write_bytes(b"")
    assert is_complete(folder)
    (folder / "tokenizer.json").unlink()
    assert not is_complete(folder)


# --- the hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A hub that answers every question with 404."""

    class Refuse(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(404)

        do_GET = do_HEAD

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Refuse)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(hub, "endpoint", lambda: address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield address
    server.shutdown()
    server.server_close()


def test_a_hub_that_answers_is_reachable(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.is_reachable()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not hub.is_reachable()


@pytest.mark.usefixtures("endpoint")
def test_a_hub_without_the_files_is_a_failure_not_a_missing_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ChunkV2LError, match="Fetching someone/something failed") as caught:
        hub.folder("someone/something", ["*.json"], is_complete)
    assert not isinstance(caught.value, InputError)
    with pytest.raises(ChunkV2LError, match="Fetching second/one failed"):
        hub.file(["first/one", "second/one"], "weights.pt")


def test_a_hub_that_never_answers_doesnt_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(hub, "_PROBE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(hub, "endpoint", lambda: f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        assert not hub.is_reachable()
        assert time.monotonic() - started < 3


def test_a_blob_of_the_hubs_cache_is_known_by_its_name(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    name = "ab" * 32
    (blobs / name).write_bytes(b"large")
    link = tmp_path / "model.safetensors"
    link.symlink_to(blobs / name)
    assert known_sha256(link) == name
    assert sha256(link) != name


def test_a_published_name_never_means_a_folder_in_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHUNKV2L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "is_reachable", lambda: False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smolvlm2-500m").mkdir()
    checkpoint = tmp_path / "hypernet.pt"
    checkpoint.write_bytes(b"")
    with pytest.raises(InputError, match="isn't on this machine"):
        smolvlm.find("smolvlm2-500m", str(checkpoint))
    assert smolvlm.find("./smolvlm2-500m", str(checkpoint))[0] == Path("smolvlm2-500m")


def changed(path: Path, section: str, name: str, value: object) -> None:
    """Change a value of a JSON file's section; "" is the whole file."""
    content = json.loads(path.read_text())
    (content[section] if section else content)[name] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("text_config", "vocab_size", 10**12),
        ("text_config", "num_attention_heads", -1),
        ("text_config", "max_position_embeddings", "many"),
        ("vision_config", "hidden_size", 10**9),
        ("vision_config", "num_hidden_layers", 10**9),
        ("vision_config", "patch_size", 0),
        ("vision_config", "image_size", True),
    ],
)
def test_sizes_that_cant_be_are_refused_before_a_model_is_built(
    section: str, name: str, value: object, folder: Path
) -> None:
    changed(folder / "config.json", section, name, value)
    with pytest.raises(InputError, match=f"{section} has a {name} that can't be"):
        load_smolvlm(str(folder), CHECKPOINT, "cpu")


@pytest.mark.parametrize(
    "processor",
    [
        {"max_image_size": {"longest_edge": 10**9}},
        {"max_image_size": 7},
        {"max_image_size": {"longest_edge": 1e400}},
        {"image_std": 0},
        {"image_mean": [0.5]},
        {"image_mean": {"a": 1}},
        {"rescale_factor": "x"},
        {"image_processor": 5},
        [],
    ],
)
def test_a_processor_that_cant_be_is_refused(processor: object, folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(InputError, match="processor's configuration"):
        load_smolvlm(str(folder), CHECKPOINT, "cpu")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer_config.json"])
def test_json_nested_without_end_is_a_sentence(name: str, folder: Path) -> None:
    (folder / name).write_text('{"a":' * 100_000)
    with pytest.raises(InputError, match=r"can't be (read as JSON|loaded)"):
        load_smolvlm(str(folder), CHECKPOINT, "cpu")


def test_weights_that_are_a_hole_are_refused(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(8 << 30)
    if (folder / "model.safetensors").stat().st_blocks * 512 > 1 << 30:
        pytest.skip("this file system has no holes")
    with pytest.raises(InputError, match="are a hole"):
        load_smolvlm(str(folder), CHECKPOINT, "cpu")


@pytest.mark.parametrize("name", smolvlm.PUBLISHED)
def test_a_published_model_is_fetched_at_its_commit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str | None, bool]] = []

    def snapshot_download(repository: str, *, revision: str | None, local_files_only: bool = False, **_: object) -> str:
        asked.append((revision, local_files_only))
        if local_files_only:
            raise OSError("not here")
        return str(tmp_path)

    monkeypatch.setenv("CHUNKV2L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(hub, "is_reachable", lambda: True)
    (tmp_path / "hypernet.pt").write_bytes(b"")
    commit = smolvlm.PUBLISHED[name].revision
    assert smolvlm.find(name, str(tmp_path / "hypernet.pt"))[0] == tmp_path
    assert len(commit) == 40 and asked == [(commit, True), (commit, False)]
