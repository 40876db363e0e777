"""Check a SmolVLM2's folder, which may come from anywhere, before transformers reads it.

Of its JSON files only the settings that a SmolVLM2 has reach transformers: others may name code, kernels or adapters to
load. Its tokenizer is read, and its chat template rendered, in a sandboxed process first (`describe_folder`).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.files import MAX_JSON, check_file, check_safetensors, parse_json, read_json, read_text
from chunkv2l.sandbox.limits import Limits
from chunkv2l.sandbox.parent import run_task
from chunkv2l.sanitize import quoted

MAX_WEIGHTS: Final = 64 << 30
"""Bytes of a file of a VLM's weights."""
MAX_TEMPLATE: Final = 1 << 16
"""Characters of a chat template, and of what it puts before and after a text."""
MAX_ADDED: Final = 4096
"""Tokens that are recognised before a text is split; SmolVLM2's has some hundred."""
MAX_FILES: Final = 10_000
"""Files in a folder."""
REQUIRED: Final = ("<end_of_utterance>", "<image>", "<fake_token_around_image>", "<global-img>")
"""Tokens that SmolVLM2's tokenizer knows."""
LIMITS: Final = Limits(memory=1 << 30, seconds=5)
"""Of the sandboxed process that reads tokenizer and template; a SmolVLM2's take a second."""

_MOST: Final = {
    "num_hidden_layers": 256,
    "hidden_size": 1 << 16,
    "intermediate_size": 1 << 18,
    "num_attention_heads": 1 << 10,
    "num_key_value_heads": 1 << 10,
    "head_dim": 1 << 12,
    "vocab_size": 1 << 21,
    "max_position_embeddings": 1 << 22,
    "image_size": 1 << 12,
    "patch_size": 1 << 10,
    "num_channels": 16,
    "scale_factor": 16,
}
"""The largest sizes of a model's configuration, far above any SmolVLM2's."""
_SHARED: Final = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act")
_TEXT: Final = (
    *_SHARED,
    *("vocab_size", "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta"),
    *("rope_scaling", "rope_parameters", "attention_bias", "mlp_bias", "tie_word_embeddings", "pretraining_tp"),
    *("pad_token_id", "bos_token_id", "eos_token_id"),
)
_VISION: Final = (*_SHARED, "num_channels", "image_size", "patch_size", "layer_norm_eps")
_TOP: Final = ("image_token_id", "scale_factor", "tie_word_embeddings", "pad_token_id", "eos_token_id", "bos_token_id")
_NAMED_TOKENS: Final = ("bos_token", "eos_token", "pad_token", "unk_token")
_PICTURE_TOKENS: Final = ("end_of_utterance_token", "image_token", "fake_image_token", "global_image_token")

_COMPONENTS: Final = {
    "normalizer": {"Sequence", "NFC", "NFD", "NFKC", "NFKD", "Lowercase"},
    "pre_tokenizer": {"Sequence", "ByteLevel", "Digits", "Split", "Whitespace", "WhitespaceSplit", "Punctuation"},
    "post_processor": {"Sequence", "ByteLevel", "TemplateProcessing"},
    "decoder": {"Sequence", "ByteLevel", "ByteFallback", "Fuse"},
    "model": {"BPE", "WordLevel"},
}
"""The parts of a tokenizer that are read: none of them makes a text much longer or takes much longer for it."""
_QUANTIFIERS: Final = frozenset("*+{?(|\\")
_LETTER_CLASS: Final = r"[\s\S]"
_WORDS: Final = ("A dog's 12 red balls.", "Is it \u00e4 / {{ 7 }} <b>?")
"""Texts that a chat template must put into its turn as they are."""


@dataclass(frozen=True)
class Turn:
    """The texts around a user's words: before them, after them, and after them where an answer follows."""

    before: str
    after: str
    opening: str

    def to_template(self) -> str:
        """Return a chat template that puts words between these texts, and does nothing else."""
        before, after, opening = (
            json.dumps(text, ensure_ascii=False) for text in (self.before, self.after, self.opening)
        )
        ending = f"{{% if add_generation_prompt %}}{{{{ {opening} }}}}{{% else %}}{{{{ {after} }}}}{{% endif %}}"
        return f"{{{{ {before} }}}}{{{{ messages[0]['content'][0]['text'] }}}}{ending}"


def is_complete(folder: Path) -> bool:
    """Return whether a model's folder has all of its files (a broken download leaves some out)."""
    if not all((folder / name).is_file() for name in ("config.json", "tokenizer.json")):
        return False
    if not (folder / "model.safetensors.index.json").is_file():
        return (folder / "model.safetensors").is_file()
    try:
        return all((folder / name).is_file() for name in _shards(folder))
    except InputError:
        return False


def read_config(folder: Path) -> dict[str, Any]:
    """Return a model folder's config.json, of which only settings of a SmolVLM2 are kept.

    Raises:
        InputError: there is none, it can't be read, it is another kind of model's, or has sizes that can't be.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{folder} isn't a model's folder: it has no config.json.")
    config = read_json(path)
    if not isinstance(config, dict) or "model_type" not in config:
        raise InputError(f"{path} can't be read as a model's configuration: it has no model_type.")
    if config["model_type"] != "smolvlm" or not isinstance(config.get("text_config"), dict):
        model_type = quoted(repr(config["model_type"]))
        raise InputError(f"{folder} holds a model of type {model_type}; only SmolVLM2 ('smolvlm') can be used.")
    text, vision = _section(config, "text_config"), _section(config, "vision_config")
    for section, values, model_type in (("text_config", text, "llama"), ("vision_config", vision, "smolvlm_vision")):
        if values.get("model_type", model_type) not in (model_type, "idefics3_vision", "idefics3"):
            raise InputError(f"{path}: {section} is of type {quoted(repr(values['model_type']))}, not {model_type!r}.")
        _check_sizes(values, f"{path}: {section}")
    _check_sizes(config, str(path))
    if "quantization_config" in config or "quantization_config" in text:
        raise InputError(
            f"{folder} holds quantised weights, which chunkv2l doesn't read: take those of full precision."
        )
    return {
        "model_type": "smolvlm",
        **_kept(config, _TOP),
        "text_config": {"model_type": "llama", **_kept(text, _TEXT)},
        "vision_config": {"model_type": "smolvlm_vision", **_kept(vision, _VISION)},
    }


def check_folder(folder: Path) -> None:
    """Refuse a folder with files that would fill the memory of whoever reads them, or that load something else.

    Raises:
        InputError: see `files.check_file`; an adapter lies in it; or its list of shards names files elsewhere.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder} can't be read: {error.strerror}.") from None
    if len(names) > MAX_FILES:
        raise InputError(f"{folder} isn't a model's folder: it has {len(names)} files.")
    for path in map(folder.joinpath, names):
        if path.suffix == ".safetensors":
            check_safetensors(path, MAX_WEIGHTS)
        elif path.suffix in (".json", ".txt", ".jinja"):
            check_file(path, MAX_JSON)
    if "adapter_config.json" in names:
        raise InputError(
            f"{folder} has an adapter_config.json, with which transformers would load other weights: remove it."
        )
    if "model.safetensors.index.json" in names:
        _shards(folder)


def read_tokenizer(folder: Path, config: dict[str, Any]) -> Any:
    """Return transformers' tokenizer around a folder's tokenizer.json, without a chat template.

    Args:
        config: of `read_config`.

    Raises:
        InputError: it can't be read, has parts that SmolVLM2's hasn't, lacks its tokens, or knows more tokens than the
            model.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    path = folder / "tokenizer.json"
    text = read_text(path)
    try:
        values = parse_json(text)
    except ValueError as error:
        raise InputError(f"{path} can't be read as JSON ({quoted(error)}).") from None
    _check_components(values, path)
    settings = _tokenizer_settings(folder)
    make: Any = PreTrainedTokenizerFast
    try:
        tokenizer = make(
            tokenizer_object=Tokenizer.from_str(text),
            clean_up_tokenization_spaces=settings.get("clean_up_tokenization_spaces") is True,
            extra_special_tokens=_tokens(settings, _PICTURE_TOKENS),
            **_tokens(settings, _NAMED_TOKENS),
        )
        vocabulary: dict[str, int] = tokenizer.get_vocab()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # damaged files fail in any way inside both libraries; tokenizers' panics, too
        raise InputError(f"{path} can't be read as a tokenizer ({quoted(_first_line(error))}).") from None
    if absent := [token for token in REQUIRED if token not in vocabulary]:
        raise InputError(f"{folder}: its tokenizer doesn't know {', '.join(absent)}, as SmolVLM2's does.")
    size = config["text_config"].get("vocab_size", _MOST["vocab_size"])
    if (highest := max(vocabulary.values())) >= size:
        raise InputError(f"{folder}: its tokenizer has a token {highest}, and its model {size} tokens.")
    return tokenizer


def read_turn(folder: Path) -> Turn:
    """Return the texts that a folder's chat template puts around a user's words, rendered in a sandboxed process.

    Raises:
        InputError: it has no chat template, or one that does more; its tokenizer can't be read; or reading them takes
            more time or memory than it may.
        ChunkV2LError: the process can't be started.
    """
    return _read_turn(folder.resolve(), folder, _stamp(folder))


@cache
def _read_turn(folder: Path, named: Path, stamp: tuple[object, ...]) -> Turn:
    """As `read_turn`; remembered for as long as the files have these sizes and times."""
    result = run_task(f"{__name__}:describe_folder", folder, LIMITS).result
    values = result if isinstance(result, dict) else {}
    before, after, opening = (str(values.get(name)) for name in ("before", "after", "opening"))
    if len(values) != 3 or max(map(len, (before, after, opening))) > MAX_TEMPLATE:
        raise ChunkV2LError(f"{named} can't be read: the process that read it gave no chat template.")
    return Turn(before, after, opening)


def describe_folder(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the fields of the `Turn` that a folder's chat template makes; for the sandbox alone.

    The template is a program of its author's: it may take any time and memory.

    Raises:
        InputError: as `read_turn`.
    """
    folder = Path(path)
    check_folder(folder)
    tokenizer = read_tokenizer(folder, read_config(folder))
    template = _read_template(folder)
    if not template:
        raise InputError(f"{folder}: its tokenizer has no chat template, as SmolVLM2-Instruct's does.")
    if len(template) > MAX_TEMPLATE:
        raise InputError(
            f"{folder}: its chat template is too long: {len(template)} characters, {MAX_TEMPLATE} at most."
        )
    tokenizer.chat_template = template
    after = _around(tokenizer, folder, answer=False)
    opening = _around(tokenizer, folder, answer=True)
    if after[0] != opening[0]:
        raise _not_plain(folder)
    for words in _WORDS:
        try:
            tokenizer(after[0] + words + opening[1], add_special_tokens=False)  # within the limits of this process
        except MemoryError:
            raise
        except Exception as error:
            raise InputError(f"{folder}: its tokenizer can't read a text ({quoted(_first_line(error))}).") from None
    return {"before": after[0], "after": after[1], "opening": opening[1]}


def _around(tokenizer: Any, folder: Path, answer: bool) -> tuple[str, str]:
    """Return what a chat template puts before and after a user's words, which must be the same for all words."""
    pairs = set()
    for words in _WORDS:
        turn = [{"role": "user", "content": [{"type": "text", "text": words}]}]
        try:
            rendered = str(tokenizer.apply_chat_template(turn, add_generation_prompt=answer, tokenize=False))
        except MemoryError:
            raise
        except Exception as error:  # a template fails in any way
            raise InputError(f"{folder}: its chat template can't be used ({quoted(_first_line(error))}).") from None
        if len(rendered) > MAX_TEMPLATE or rendered.count(words) != 1:
            raise _not_plain(folder)
        before, _, after = rendered.partition(words)
        pairs.add((before, after))
    if len(pairs) != 1:
        raise _not_plain(folder)
    return pairs.pop()


def _not_plain(folder: Path) -> InputError:
    return InputError(
        f"{folder}: its chat template doesn't put a user's words between texts of at most {MAX_TEMPLATE} characters, "
        "as SmolVLM2-Instruct's does."
    )


def _read_template(folder: Path) -> str | None:
    """Return a folder's chat template from where transformers and its processors have kept it; None if it has none."""
    alone = folder / "chat_template.jinja"
    if alone.is_file():
        return read_text(alone)
    template = _tokenizer_settings(folder).get("chat_template")
    if not template and (folder / "chat_template.json").is_file():
        values = read_json(folder / "chat_template.json")
        template = values.get("chat_template") if isinstance(values, dict) else None
    return template if isinstance(template, str) else None


def _tokenizer_settings(folder: Path) -> dict[str, Any]:
    """Return a folder's tokenizer_config.json, empty where there is none."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    values = read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path} can't be read as a tokenizer's configuration.")
    return values


def _tokens(settings: dict[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    """Return the tokens that a tokenizer's configuration names: texts, or {"content": text}."""
    extra = settings.get("extra_special_tokens")
    values = {**(extra if isinstance(extra, dict) else {}), **settings}
    tokens = {}
    for name in names:
        token = values.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and token:
            tokens[name] = token
    return tokens


def _check_components(values: object, path: Path) -> None:
    """Refuse parts of a tokenizer that SmolVLM2's hasn't, and patterns that may take any time."""
    if not isinstance(values, dict):
        raise InputError(f"{path} can't be read as a tokenizer.")
    added = values.get("added_tokens")
    if isinstance(added, list) and len(added) > MAX_ADDED:
        raise InputError(f"{path} has {len(added)} added tokens, {MAX_ADDED} at most.")
    for role, allowed in _COMPONENTS.items():
        for component in _components(values.get(role)):
            name = component.get("type", "BPE" if role == "model" else None)
            if not isinstance(name, str) or name not in allowed:
                raise InputError(f"{path} has a {role} of type {quoted(repr(name))}, which SmolVLM2's hasn't.")
            pattern = component.get("pattern")
            regex = pattern.get("Regex", "") if isinstance(pattern, dict) else ""
            if not isinstance(regex, str) or (regex != _LETTER_CLASS and _QUANTIFIERS & set(regex)):
                raise InputError(f"{path} splits texts at a pattern of its own, which SmolVLM2's doesn't.")
    _check_unknown(_section(values, "model"), path)


def _check_unknown(model: dict[str, Any], path: Path) -> None:
    """Refuse a tokenizer that fails at the first letter which it doesn't know."""
    unknown = model.get("unk_token", "<unk>" if model.get("type") == "WordLevel" else None)
    vocabulary = model.get("vocab")
    if unknown is None or not isinstance(vocabulary, dict):  # which tokenizers reads, or refuses
        return
    if not isinstance(unknown, str) or unknown not in vocabulary:
        raise InputError(f"{path}: its token for what it doesn't know, {quoted(repr(unknown))}, isn't one of its own.")


def _components(value: object) -> list[dict[str, Any]]:
    """Return a part of a tokenizer and the parts of which it is made."""
    waiting, components = [value], []
    while waiting:
        component = waiting.pop()
        if not isinstance(component, dict):
            continue
        components.append(component)
        for name in ("normalizers", "pretokenizers", "processors", "decoders"):
            inner = component.get(name)
            waiting += inner if isinstance(inner, list) else []
    return components


def _shards(folder: Path) -> set[str]:
    """Return the names of the files of weights that a folder's list names.

    Raises:
        InputError: it can't be read, or names something else than a file of the folder.
    """
    path = folder / "model.safetensors.index.json"
    names = set()
    for name in _section(read_json(path), "weight_map").values():
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise InputError(f"{path} names {quoted(repr(name))}, which isn't a file of weights in its folder.")
        names.add(name)
    return names


def _section(values: object, name: str) -> dict[str, Any]:
    """Return a part of a JSON object, empty where it has none."""
    section = values.get(name) if isinstance(values, dict) else None
    return section if isinstance(section, dict) else {}


def _kept(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings of these names; a size of null is the usual one."""
    return {name: values[name] for name in names if name in values and (values[name] is not None or name not in _MOST)}


def _check_sizes(section: dict[str, Any], where: str) -> None:
    """Refuse sizes of which no model could be built, before transformers tries to."""
    for name, most in _MOST.items():
        size = section.get(name)
        if size is not None and (type(size) is not int or not 1 <= size <= most):
            raise InputError(f"{where} has a {name} that can't be: {quoted(repr(size))} (1 to {most}).")


def _stamp(folder: Path) -> tuple[object, ...]:
    """Return the sizes and times of the files that decide a turn."""
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json")
    stamp: list[object] = []
    for name in names:
        try:
            status = (folder / name).stat()
        except OSError:
            continue
        stamp.append((name, status.st_size, status.st_mtime_ns))
    return tuple(stamp)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
