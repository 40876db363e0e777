"""Fuzzing model folders: a model comes out, or an InputError with a sentence; nothing in them is run or fetched.

    python tests/fuzz/fuzz_folders.py --seconds 60

Mutations of a SmolVLM2's folder: values and names anywhere in its JSON files, their bytes, its chat template, the
header of its weights, and files that it shouldn't have. Of `mini`'s: headers and bytes of its two files. The sandboxed
task runs in this process, so that there are many examples, with templates that end by themselves.
"""

from __future__ import annotations

import json
import logging
import shutil
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from hypothesis import strategies as st
from transformers.utils import logging as transformers_logging

from chunkv2l.errors import InputError
from chunkv2l.hypernet import checkpoint
from chunkv2l.indexing.progress import peak_memory
from chunkv2l.models.mini import load as mini
from chunkv2l.models.smolvlm import folder as module
from chunkv2l.models.smolvlm.load import load_smolvlm
from chunkv2l.sandbox.parent import Answer
from tests.fuzz.harness import Case, check_time, main
from tests.helpers import tiny_mini, tiny_mini_files, tiny_smolvlm
from tests.helpers.frames2lora import MODEL

SLOWEST = 8.0
"""Seconds of CPU time that reading a small folder may take, whatever is in it (`harness.check_time`)."""
MEMORY = 1 << 30
"""Bytes that it may take."""

NAMES = (
    *("attn_implementation", "auto_map", "quantization_config", "per_layer_config", "tokenizer_class", "name_or_path"),
    *("vocab_size", "hidden_size", "num_hidden_layers", "image_size", "patch_size", "scale_factor", "image_token_id"),
    *("max_image_size", "image_mean", "image_std", "rescale_factor", "rope_scaling", "rope_theta", "head_dim"),
    *("extra_special_tokens", "eos_token", "added_tokens", "pattern", "normalizer", "truncation", "padding", "type"),
)
TEXT = "messages[0]['content'][0]['text']"
TEMPLATES = (
    *("", "{{ messages }}", "{% for m in messages %}{{ m['content'] }}", "{{ 7 // 0 }}", "{{ 'a' * 99999 }}"),
    *(f"{{{{ {TEXT} }}}}", "{{ cycler.__init__.__globals__ }}", "{{ raise_exception('no') }}"),
    *("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", f"{{{{ {TEXT} }}}}{{{{ strftime_now('%s') }}}}"),
)
EXTRAS = {
    "adapter_config.json": '{"base_model_name_or_path": "someone/other", "peft_type": "LORA"}',
    "model.safetensors.index.json": '{"weight_map": {"lm_head.weight": "../model.safetensors"}}',
    "preprocessor_config.json": '{"max_image_size": {"longest_edge": 32}, "image_mean": [0.5, 0.5, 0.5]}',
    "processor_config.json": '{"image_processor": {"rescale_factor": 1e-3}}',
    "chat_template.json": '{"chat_template": "{{ 1 }}"}',
    "added_tokens.json": '{"<image>": 4000000000}',
    "tokenizer.model": "\x0a\x0b",
    "sub.safetensors": "",
    "modeling_smolvlm.py": "raise SystemExit('run')",
}

json_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-1, 4096),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["<image>", "<end_of_utterance>", "someone/kernels", "float8_e4m3fn", "linear", "Replace", "BPE"]),
    st.lists(st.floats(), max_size=3),
    st.dictionaries(st.sampled_from(NAMES), st.integers(-1, 99), max_size=3),
)
in_json = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "set", "add", "drop"]), st.floats(0, 1), st.sampled_from(NAMES), json_values
    ),
    min_size=1,
    max_size=3,
)
in_bytes = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=2)
in_header = st.lists(
    st.tuples(st.sampled_from(["dtype", "shape", "data_offsets", "rename", "drop"]), st.floats(0, 1), json_values),
    max_size=2,
)
files = st.sampled_from(["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])


class Target:
    """Sound folders, and what happens to mutations of them."""

    def __init__(self, folder: Path) -> None:
        transformers_logging.set_verbosity(logging.CRITICAL)
        self.folder, self.path = folder / "mutated", folder / "mutated.safetensors"
        self.reader, self.hypernet = folder / "reader.safetensors", folder / "hypernet.safetensors"
        tiny_mini_files.reader(self.reader)
        tiny_mini_files.hypernet(self.hypernet, calibration='{"tau": 2.0}')
        self.language = {name: t.to("meta") for name, t in tiny_mini.untrained().language.state_dict().items()}
        self.refused = self.read = 0

    def cases(self) -> list[Case]:
        extras = st.lists(st.sampled_from(sorted(EXTRAS)), max_size=1)
        templates = st.one_of(st.none(), st.none(), st.sampled_from(TEMPLATES), st.text(max_size=40))
        return [
            Case(self.smolvlm, (files, in_json, in_bytes, in_header, templates, extras), 20),
            Case(self.mini, (st.booleans(), in_header, in_bytes), 40),
        ]

    def smolvlm(
        self, file: str, changes: list[Any], scribbles: list[Any], header: list[Any], template: str | None, extras: Any
    ) -> None:
        """A SmolVLM2's folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(MODEL, self.folder)
        path = self.folder / file
        values = json.loads(path.read_text())
        for how, where, name, value in changes:
            _change(values, how, where, name, value)
        _write(path, _scribbled(json.dumps(values).encode(), scribbles))
        if template is not None:
            (self.folder / "chat_template.jinja").write_text(template.encode(errors="replace").decode())
        for name in extras:
            (self.folder / name).write_text(EXTRAS[name])
        weights = self.folder / "model.safetensors"
        _write(weights, _with_header(weights.read_bytes(), header))
        self.check(self.folder, lambda: self._load(self.folder), lambda: self._load(MODEL))

    def mini(self, is_reader: bool, header: list[Any], scribbles: list[Any]) -> None:
        """One of the two files of `mini`'s folder."""
        sound = self.reader if is_reader else self.hypernet
        read = self._read_reader if is_reader else self._read_hypernet
        _write(self.path, _scribbled(_with_header(sound.read_bytes(), header), scribbles))
        self.check(self.path, lambda: read(self.path), lambda: read(sound))

    def check(self, path: Path, read: Callable[[], object], sound: Callable[[], object]) -> None:
        """Only a model or an InputError with a sentence may come of it."""
        started, memory = time.process_time(), peak_memory() or 0
        try:
            read()
        except InputError as error:
            assert path.name in str(error) and str(error).isprintable(), str(error)
            self.refused += 1
        else:
            self.read += 1
        check_time(time.process_time() - started, SLOWEST, read, sound)
        assert (peak_memory() or 0) - memory < MEMORY

    def _load(self, folder: Path) -> None:
        with patch.object(module, "run_task", _in_this_process), patch.object(checkpoint, "run_task", _no_task):
            vlm, network, _ = load_smolvlm(str(folder), str(tiny_smolvlm.CHECKPOINT), "cpu")
        assert 1 <= vlm.frame_tokens <= 4096 and len(vlm.targets) == network.config.num_layers
        ids = vlm.prompt_ids("A dog {{ 7 }} <image>?")
        assert ids and max(ids) < vlm.model.config.text_config.vocab_size
        assert vlm.model.config._attn_implementation in ("sdpa", "eager")

    def _read_reader(self, path: Path) -> None:
        mini.reads_tags(path)
        mini.adapt(self.language, path)

    def _read_hypernet(self, path: Path) -> None:
        with patch.object(mini, "SIZES", (tiny_mini.LAYERS, tiny_mini.HIDDEN, tiny_mini.INTERMEDIATE)):
            network, keys, _ = mini.read_hypernet(path)
            mini.check_keys(keys, tiny_mini.CHANNELS, path)
        assert all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())

    def __str__(self) -> str:
        return f"{self.refused + self.read} folders and files: {self.refused} refused, {self.read} read"


def _in_this_process(_: str, path: Path, *__: object) -> Answer:
    return Answer(module.describe_folder(path), True)


def _no_task(*_: object) -> Answer:
    return Answer({}, True)


def _change(values: Any, how: str, where: float, name: str, value: Any) -> None:
    """Change a value somewhere in a JSON value, or add or drop one."""
    places = list(_places(values))
    if not places:
        return
    holder, key = places[int(where * (len(places) - 1))]
    if how == "drop":
        del holder[key]
    elif how == "set":
        holder[key] = value
    elif isinstance(holder, dict):
        holder[name] = value


def _places(value: Any) -> Any:
    """Yield (dict or list, key) of everything in a JSON value."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def _scribbled(data: bytes, scribbles: list[Any]) -> bytes:
    changed = bytearray(data)
    for where, what in scribbles:
        place = int(where * len(changed))
        changed[place : place + len(what)] = what
    return bytes(changed)


def _with_header(data: bytes, changes: list[Any]) -> bytes:
    """Return a safetensors file with changes of what its header says."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    for how, where, what in changes:
        names = sorted(header)
        name = names[int(where * (len(names) - 1))]
        if how == "drop":
            del header[name]
        elif how == "rename":
            header[str(what)] = header.pop(name)
        else:
            header[name][how] = what if name != "__metadata__" else str(what)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def _write(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # the copies keep the originals' permissions
    path.write_bytes(data)


if __name__ == "__main__":
    main(__doc__, "folders", Target)
