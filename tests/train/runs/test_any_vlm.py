"""A hypernetwork for the tiny random SmolVLM, from photographs and videos to an index."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.hypernet.keys import Keys
from chunkv2l.index.file import IndexFile
from chunkv2l.indexing.build import build
from chunkv2l.models import ModelSpec, load_model
from chunkv2l.models.mini import load as mini_model
from chunkv2l.models.registry import find_loader
from chunkv2l.models.smolvlm.load import LOADER
from chunkv2l.train.__main__ import main
from chunkv2l.train.clips import encoded
from chunkv2l.train.clips.prompts import FamilyPrompts
from chunkv2l.train.clips.shots import shots_of
from chunkv2l.train.core.trainer import Schedule, Trainer
from chunkv2l.train.data.batches import Batch
from chunkv2l.train.runs import any_vlm
from chunkv2l.train.runs.any_vlm import load
from chunkv2l.train.runs.config import RunConfig, read_config
from tests.helpers import frames2lora, media, tiny_mini, tiny_mini_files, tiny_smolvlm
from tests.helpers.keyed import by_words
from tests.helpers.photograph_sets import write_set

SIZES = {"latent_size": 32, "rank": 2, "num_blocks": 1, "num_heads": 2, "num_kv_heads": 1, "head_dim": 16}


def videos(folder: Path) -> Path:
    """A folder of one movie with two intervals."""
    folder.mkdir()
    media.write(folder / "two.mp4", media.joined([media.scene(1, 50), media.scene(2, 50)]))
    rows: list[dict[str, Any]] = [
        {"file": "two.mp4", "captions": ["A cat on a bed."], "end": 2},
        {"file": "two.mp4", "captions": ["A dog runs."], "start": 2.0, "end": 4.0},
    ]
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def configured(folder: Path, **changes: Any) -> Path:
    """A run's JSON in a folder with eight photographs and a folder of videos."""
    if not (folder / "photographs.npz").exists():
        write_set(folder, 20)
        videos(folder / "videos")
    values: dict[str, Any] = {
        "model": str(frames2lora.MODEL),
        "data": str(folder),
        "out": str(folder / "run"),
        "sources": [
            {"stem": "photographs", "takes": 2, "motion": {"least": 0.7}},
            {"stem": "videos", "takes": 2},
        ],
        "limit": 6,
        "dev": "photographs",
        "dev_images": 8,
        "hypernet": SIZES,
        "schedule": {"steps": 3, "rate": 5e-3, "warmup": 2, "average": 0.0},
        "mix": {
            "kinds": {"internalise": 0.4, "compose": 0.3, "find": 0.3},
            "clips": {"internalise": 4, "compose": 4, "find": 4},
            "frames": [1, 2],
            "parts": [2],
        },
        "weights": {"hard": 3, "kept": [0.5, 1.0]},
        "compile": False,
        "workers": 0,
        **changes,
    }
    path = folder / "run.json"
    path.write_text(json.dumps(values))
    return path


@pytest.fixture(autouse=True)
def _sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_vlm, "sentence_encoder", lambda device: by_words)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return read_config(configured(tmp_path_factory.mktemp("any")))


def test_the_loss_falls_and_the_file_builds_an_index(config: RunConfig, tmp_path: Path) -> None:
    run = any_vlm.prepare(config)
    stage = run.stage(run.clips)
    source = run.material.batches(run.prompts)
    fixed = [source.make(number) for number in range(6)]
    assert {batch.objective for batch in fixed} == {"internalise", "compose", "find"}

    def total() -> float:
        stage.generator.manual_seed(4)
        with torch.no_grad():
            return sum(float(stage.loss(batch, 0.0)[0]) for batch in fixed)

    before = total()
    schedule = Schedule(steps=24, rate=5e-3, warmup=2, average=0.0)
    trainer: Trainer[Batch] = Trainer(run.loaded.trained, stage.loss, schedule, tmp_path, "hypernet")
    trainer.run(iter(fixed * 4))
    assert total() < 0.95 * before

    path = tmp_path / "hypernet.safetensors"
    any_vlm.save(run.loaded, path)
    model = load_model(ModelSpec(str(frames2lora.MODEL), hypernet=str(path), device="cpu"))
    assert model.hypernet.config.rank == 2 and model.hypernet.config.latent_size == 32
    assert torch.equal(model.hypernet.bias.B, run.loaded.trained.hypernet.bias.B)
    out = tmp_path / "five.idx"
    build(tiny_smolvlm.video(5), out, model=model, detector="fixed:2.5", captions=False)
    with IndexFile(out) as index:
        assert len(index) == 2


def test_states_and_teacher_are_the_vlms_own(config: RunConfig) -> None:
    run = any_vlm.prepare(config)
    vlm = run.loaded.vlm
    shots = shots_of(run.material)
    photograph, video = 1, 7
    watched = run.clips.clips(torch.tensor([photograph, video]), 1)
    assert watched.mask is not None and len(set(watched.mask.sum(1).tolist())) == 2  # frames of other numbers
    alone, mask = run.clips.features(torch.tensor([photograph, video]), 1)
    assert mask is not None and watched.features_mask is not None
    assert torch.equal(alone, watched.features) and torch.equal(mask, watched.features_mask)
    assert watched.teacher is not None
    ids = torch.tensor([run.prompts.behind_frames("What is it?") + run.prompts.answer("A dog.")] * 2)
    hidden = watched.teacher(torch.tensor([1, 0]), ids)
    for row, number in enumerate((photograph, video)):
        clip = shots[number].clip(vlm, 0, shots[number].length(0, [1, 2]))
        states, _ = vlm.encode([clip])
        own = watched.states[row][:, watched.mask[row].bool()]
        torch.testing.assert_close(own, states[0], rtol=0.02, atol=0.02)  # bfloat16 on disk
        assert watched.features_mask is not None
        seen = watched.features[row][watched.features_mask[row].bool()]
        torch.testing.assert_close(seen, vlm.look([clip])[0], rtol=0.01, atol=0.01)
        prompt = vlm.embed_with_frames([clip], "What is it?")[0]
        answer = run.prompts.answer("A dog.")
        embeds = torch.cat([prompt, vlm.decoder.embed(answer)])[None]
        expected = vlm.decoder.run(embeds, torch.ones(1, embeds.shape[1], dtype=torch.long)).last_hidden_state[0]
        got = hidden[1 - row, -len(answer) :]
        torch.testing.assert_close(got, expected[-len(answer) :], rtol=0.05, atol=0.05)


def test_clips_are_encoded_once(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    any_vlm.prepare(config)
    files = sorted((config.out / "clips").rglob("*.safetensors"))
    assert len(files) == 6 * 2 + 2 * 2 + 8
    files[0].write_bytes(files[0].read_bytes()[:-8])  # cut short
    save_file({"states": load_file(files[3])["states"]}, files[3])  # as earlier versions wrote it
    before = {path: path.stat().st_mtime_ns for path in files}
    any_vlm.prepare(config)
    assert [path for path in files if path.stat().st_mtime_ns != before[path]] == [files[0], files[3]]
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    for path in files:
        path.unlink()
    monkeypatch.setattr(encoded, "_AT_ONCE", 1)
    with pytest.raises(ChunkV2LError, match=r"GB are free: name another \"cache\""):
        any_vlm.prepare(config)


def test_keys_of_any_vlm_have_no_teachers(config: RunConfig) -> None:
    with pytest.raises(InputError, match="Only mini's own keys can have teachers"):
        any_vlm.prepare(replace(config, teachers=(Path("h.safetensors"),)))


def test_a_run_from_the_command_line(tmp_path: Path) -> None:
    path = configured(tmp_path, mix={**json.loads(configured(tmp_path).read_text())["mix"], "cut": 0.3}, tokens=40)
    result = CliRunner().invoke(main, ["hypernet", "--config", str(path)], catch_exceptions=False)
    assert result.exit_code == 0 and "8 images, 8 cuts" in result.output
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {"nll_context", "nll_adapter", "yesno_adapter", "R@1/8"} <= set(rows[-1])
    written = [load_file(file) for file in (tmp_path / "run" / "clips").rglob("*.safetensors")]
    states = [one["states"] for one in written]
    each = tiny_smolvlm.vlm().frame_tokens
    assert all(one["features"].dtype == torch.bfloat16 and one["features"].shape[0] % each == 0 for one in written)
    assert {one["features"].shape[1] for one in written} == {64}  # the tokens of all frames, whatever `tokens` says
    assert {tuple(one.shape) for one in states} == {(4, 40, 64)} and states[0].dtype == torch.bfloat16
    start = tmp_path / "run" / "hypernet.safetensors"
    (tmp_path / "run" / "hypernet.pt").unlink(missing_ok=True)
    again = read_config(configured(tmp_path, start=str(start), hypernet={}))
    loaded = load(again, torch.device("cpu"))
    assert loaded.trained.hypernet.config.latent_size == 32
    with pytest.raises(InputError, match="another rank"):
        load(read_config(configured(tmp_path, start=str(start), hypernet={"rank": 4})), torch.device("cpu"))


def test_words_of_both_families_are_their_own() -> None:
    for vlm in (tiny_smolvlm.vlm(), tiny_mini.tiny().vlm):
        words = FamilyPrompts(vlm)
        assert words.ask("What?") == vlm.prompt_ids("What?") and words.ask("") == vlm.prompt_ids("")
        assert words.answer("A dog.")[:-1] == vlm.statement_ids("A dog.")
        assert words.answer("A dog.")[-1] in vlm.decoder.end_ids
        assert words.text(words.answer("A dog.")) == "A dog."
    clip = tiny_smolvlm.clip(3)
    smol = tiny_smolvlm.vlm()
    for question in ("", "Is there a dog?"):
        tail = FamilyPrompts(smol).behind_frames(question)
        ids = smol.clip_ids(clip, question or "Describe the video.", True)
        assert ids[-len(tail) :] == tail and smol._image_id in ids[: -len(tail)] and smol._image_id not in tail


def test_sizes_are_the_vlms() -> None:
    sizes_of = LOADER.hypernet_config
    config = sizes_of(str(frames2lora.MODEL))
    assert (config.num_layers, config.hidden_size, config.intermediate_size) == (4, 64, 160)
    assert sizes_of("smolvlm2-500m").base_model == "HuggingFaceTB/SmolVLM2-500M-Video-Instruct"
    with pytest.raises(InputError, match="no model called"):
        find_loader("nothing-of-that-name")


def test_a_hypernetwork_for_mini_keeps_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_mini_files.frozen(monkeypatch, tmp_path / "cache")
    folder = tmp_path / "mine"
    folder.mkdir()
    tiny_mini_files.reader(folder / "reader.safetensors")
    earlier = tiny_mini_files.hypernet(folder / "hypernet.safetensors")
    own = asdict(tiny_mini_files.CONFIG)
    sizes = {name: size for name, size in own.items() if type(size) is int}
    config = read_config(configured(tmp_path, model=str(folder), hypernet=sizes))
    loaded = load(config, torch.device("cpu"))
    assert loaded.has_keys and loaded.trained.hypernet.config == tiny_mini_files.CONFIG
    again = load(replace(config, start=earlier, hypernet={}), torch.device("cpu"))
    assert loaded.trained.keys.channels == tiny_mini.CHANNELS
    bias = tiny_mini_files.trained()["hypernet.bias_B.down_proj"]
    assert torch.equal(again.trained.hypernet.bias.B, bias) and again.identity == loaded.identity
    state = tiny_mini_files.trained()
    state |= {f"keys.{name}": t.detach() for name, t in Keys(64).state_dict().items()}  # of states, as they once were
    older = tiny_mini_files.hypernet(tmp_path / "older.safetensors", state)
    anew = load(replace(config, start=older, hypernet={}), torch.device("cpu"))
    assert torch.equal(anew.trained.hypernet.bias.B, bias) and anew.trained.keys.channels == tiny_mini.CHANNELS
    path = tmp_path / "hypernet.safetensors"
    any_vlm.save(loaded, path)
    model = mini_model.load(folder, hypernet=str(path))
    assert model.keys is not None and torch.equal(model.keys.key.weight, loaded.trained.keys.key.weight)
