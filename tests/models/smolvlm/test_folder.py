"""A stranger's folder: only a SmolVLM2's settings reach transformers, and its programs run in the sandbox alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from chunkv2l.errors import InputError
from chunkv2l.models.smolvlm import folder as module
from chunkv2l.models.smolvlm.folder import Turn, check_folder, describe_folder, read_config, read_tokenizer, read_turn
from chunkv2l.models.smolvlm.load import load_smolvlm
from chunkv2l.sandbox.limits import Limits
from tests.helpers import frames2lora, tiny_smolvlm
from tests.helpers.sandboxed import run_here

CHECKPOINT = str(tiny_smolvlm.CHECKPOINT)
Values = dict[str, Any]
POSIX = pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny model's folder that may be spoilt."""
    copy = tmp_path / "my-model"
    shutil.copytree(frames2lora.MODEL, copy)
    for path in copy.iterdir():
        path.chmod(0o644)
    return copy


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let folders be read in this process."""
    monkeypatch.setattr(module, "run_task", run_here)


def change(path: Path, edit: Callable[[Values], object]) -> None:
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def with_template(folder: Path, template: str) -> Path:
    (folder / "chat_template.jinja").write_text(template)
    return folder


def test_a_turn_is_the_templates_own(folder: Path) -> None:
    reference: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer = read_tokenizer(folder, read_config(folder))
    tokenizer.chat_template = read_turn(folder).to_template()
    for text in ("", "A dog.", "  {{ 7 }} {% raw %}\n\\ \" ' \u00e4\u2028<image>  ", "<end_of_utterance>\n"):
        turn = [{"role": "user", "content": [{"type": "text", "text": text}]}]
        for answer in (False, True):
            texts = [
                made.apply_chat_template(turn, add_generation_prompt=answer, tokenize=False)
                for made in (tokenizer, reference)
            ]
            assert texts[0] == texts[1]
            assert tokenizer(texts[0])["input_ids"] == reference(texts[1])["input_ids"]
    assert tokenizer.get_vocab() == reference.get_vocab()
    assert tokenizer.eos_token == reference.eos_token
    assert sorted(tokenizer.all_special_tokens) == sorted(reference.all_special_tokens)


def test_a_turn_of_any_letters() -> None:
    turn = Turn('a"\\ {{ x }} {# \n\t', "\U0001f600\u00e9'%}", "\x07 }}")
    tokenizer: Any = tiny_smolvlm.vlm().tokenizer
    tokenizer.chat_template, before = turn.to_template(), tokenizer.chat_template
    try:
        for answer, after in ((False, turn.after), (True, turn.opening)):
            conversation = [{"role": "user", "content": [{"type": "text", "text": "words"}]}]
            rendered = tokenizer.apply_chat_template(conversation, add_generation_prompt=answer, tokenize=False)
            assert rendered == f"{turn.before}words{after}"
    finally:
        tokenizer.chat_template = before


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{{ messages[0]['content'][0]['text'] | upper }}", "doesn't put a user's words between texts"),
        ("{{ messages[0]['content'][0]['text'] * 2 }}", "doesn't put a user's words between texts"),
        ("{% set t = messages[0]['content'][0]['text'] %}{{ t }}{{ t | length }}", "doesn't put a user's words"),
        ("{{ 'x' * 70000 }}{{ messages[0]['content'][0]['text'] }}", "doesn't put a user's words between texts"),
        ("{{ 7 // 0 }}", "its chat template can't be used"),
        ("{% for %}", "its chat template can't be used"),
        ("{{ ''.__class__.__mro__ }}", "its chat template can't be used"),
        ("x" * (1 << 17), "its chat template is too long: 131072 characters"),
    ],
)
def test_templates_that_do_more_are_refused(folder: Path, template: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        describe_folder(with_template(folder, template))


@POSIX
@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "takes longer than it may"),
        ("{{ 'x' * 10 ** 11 }}", "more memory than it may"),
    ],
)
def test_templates_that_take_any_time_or_memory_are_stopped(
    folder: Path, monkeypatch: pytest.MonkeyPatch, template: str, sentence: str
) -> None:
    monkeypatch.setattr(module, "LIMITS", Limits(memory=1 << 30, seconds=1))
    with pytest.raises(InputError, match=sentence):
        load_smolvlm(str(with_template(folder, template)), CHECKPOINT, "cpu")


def test_no_template_runs_in_this_process(folder: Path) -> None:
    """The template would know a question: it isn't asked about one."""
    words = "messages[0]['content'][0]['text']"
    trap = f"{{% if 'zebra' in {words} %}}{{{{ 7 // 0 }}}}{{% endif %}}{{{{ {words} }}}} Assistant:"
    vlm, _, _ = load_smolvlm(str(with_template(folder, trap)), CHECKPOINT, "cpu")
    assert vlm.decode(vlm.prompt_ids("Is there a zebra?")) == "Is there a zebra? Assistant:"


@pytest.mark.usefixtures("no_process")
def test_settings_that_name_code_dont_reach_transformers(folder: Path) -> None:
    def name_code(config: Values) -> None:
        for section in (config, config["text_config"], config["vision_config"]):
            section.update(
                attn_implementation="someone/kernels",
                _attn_implementation="someone/kernels",
                experts_implementation="someone/kernels",
                auto_map={"AutoConfig": "evil.Config", "AutoModel": "someone/other--evil.Model"},
                per_layer_config={"0": {}},
                name_or_path="someone/other",
            )

    change(folder / "config.json", name_code)
    change(folder / "tokenizer_config.json", lambda values: values.update(tokenizer_class="Evil", auto_map={"a": "b"}))
    (folder / "evil.py").write_text("raise SystemExit('run')")
    vlm, _, _ = load_smolvlm(str(folder), CHECKPOINT, "cpu")
    assert vlm.model.config._attn_implementation == "sdpa"


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda c: c.update(scale_factor=0), "scale_factor that can't be: 0"),
        (lambda c: c.update(scale_factor=True), "scale_factor that can't be: True"),
        (
            lambda c: c["text_config"].update(vocab_size=1 << 21),
            r"has \d+ numbers, its weights \d+ bytes",
        ),
        (lambda c: c["text_config"].update(vocab_size=50), "its tokenizer has a token 102, and its model 50 tokens"),
        (lambda c: c["text_config"].update(model_type="mamba"), "text_config is of type 'mamba'"),
        (lambda c: c["text_config"].update(hidden_size=1e3), "hidden_size that can't be: 1000.0"),
        (lambda c: c["text_config"].update(num_key_value_heads=10**30), "num_key_value_heads that can't be"),
        (lambda c: c["vision_config"].update(model_type="clip"), "vision_config is of type 'clip'"),
        (lambda c: c["vision_config"].update(image_size=4096), "512 × 512 patches: 2 to 64 are needed"),
        (lambda c: c["vision_config"].update(patch_size=17), "1 × 1 patches: 2 to 64 are needed"),
        (lambda c: c.update(quantization_config={"quant_method": "bitsandbytes"}), "quantised weights"),
        (lambda c: c["text_config"].update(hidden_act="evil"), "can't be loaded as a SmolVLM2"),
        (lambda c: c["text_config"].update(rms_norm_eps="1"), "can't be loaded as a SmolVLM2"),
    ],
)
def test_configurations_that_cant_be(folder: Path, edit: Callable[[Values], object], sentence: str) -> None:
    change(folder / "config.json", edit)
    with pytest.raises(InputError, match=sentence):
        load_smolvlm(str(folder), CHECKPOINT, "cpu")


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda t: t["pre_tokenizer"].update(pattern={"Regex": "(a+)+$"}), "splits texts at a pattern of its own"),
        (lambda t: t["pre_tokenizer"].update(pattern={"Regex": r"(.)\1"}), "splits texts at a pattern of its own"),
        (lambda t: t["pre_tokenizer"].update(pattern={"Regex": ["a"]}), "splits texts at a pattern of its own"),
        (
            lambda t: t.update(normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}),
            "normalizer of type 'Replace'",
        ),
        (
            lambda t: t.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Metaspace"}]}),
            "pre_tokenizer of type 'Metaspace'",
        ),
        (lambda t: t["model"].update(type="Unigram"), "model of type 'Unigram'"),
        (lambda t: t["model"].update(vocab=7), "can't be read as a tokenizer"),
        (lambda t: t.update(added_tokens=t["added_tokens"] * 1000), "has 7000 added tokens, 4096 at most"),
        (lambda t: t["added_tokens"].pop(), "doesn't know <end_of_utterance>"),
        (lambda values: values["model"].update(unk_token=None), "can't be read as a tokenizer"),
        (lambda values: values["model"].pop("unk_token"), "can't be read as a tokenizer"),
        (lambda values: values["model"].update(unk_token={}), "its token for what it doesn't know"),
        (lambda values: values["model"].update(unk_token="<?>"), "its token for what it doesn't know, '<\\?>'"),
        (lambda values: values["model"]["vocab"].pop("<unk>"), "its token for what it doesn't know, '<unk>'"),
        (
            lambda values: values.update(model={"type": "BPE", "vocab": {}, "merges": [], "unk_token": "<?>"}),
            "its token for what it doesn't know",
        ),
    ],
)
def test_tokenizers_that_smolvlm2_hasnt(folder: Path, edit: Callable[[Values], object], sentence: str) -> None:
    change(folder / "tokenizer.json", edit)
    change(folder / "tokenizer_config.json", dict.clear)
    if "doesn't know" in sentence:
        change(folder / "tokenizer.json", lambda values: values["model"]["vocab"].pop("<end_of_utterance>", None))
    with pytest.raises(InputError, match=sentence):
        describe_folder(folder)


@pytest.mark.parametrize("name", ["vocab_size", "num_hidden_layers", "head_dim"])
def test_sizes_of_null_are_the_usual_ones(folder: Path, name: str) -> None:
    """Found by fuzzing: None was compared with a number."""
    change(folder / "config.json", lambda config: config["text_config"].update({name: None}))
    assert name not in read_config(folder)["text_config"]
    describe_folder(folder)


def test_an_adapter_in_the_folder_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/other", "peft_type": "LORA"}')
    with pytest.raises(InputError, match=r"adapter_config\.json, with which transformers would load other weights"):
        load_smolvlm(str(folder), CHECKPOINT, "cpu")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/a.safetensors", "..\\a.safetensors", "a.bin", 7])
def test_shards_elsewhere_are_refused(folder: Path, name: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": name}}))
    with pytest.raises(InputError, match="isn't a file of weights in its folder"):
        check_folder(folder)


@POSIX
@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "chat_template.jinja", "model.safetensors"])
def test_pipes_and_devices_in_a_folder_are_refused(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    if name == "tokenizer.json":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"isn't a regular file|has no config\.json"):
        load_smolvlm(str(folder), CHECKPOINT, "cpu")
