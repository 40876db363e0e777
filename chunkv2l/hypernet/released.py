"""Read the released `.pt` checkpoints without executing anything (docs/algorithm.md, "Released checkpoints").

They are `torch.save`d dicts: the tensors, and three pickled entries that name classes of the reference and of PEFT. The
restricted unpickler gets empty stand-ins for exactly those names; any other name in the file is refused.
"""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.files import check_file
from chunkv2l.hypernet.pickled import MAX_BYTES, check_pickle
from chunkv2l.sanitize import quoted

MAX_FILE: Final = 4 << 30
"""Bytes; the larger of the released files has 0.9 GB."""
MAX_ENTRIES: Final = 10_000
"""Files in the archive: one a tensor; the released ones have a few hundred."""
_ENTRY: Final = 256  # bytes of an entry in the list, many more than PyTorch's names need
_END: Final = struct.Struct(
    "<4s4H2LH"
)  # the end of an archive, as APPNOTE.TXT 4.3.16 lays it out; 4.3.14 is the wide one
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = 20  # bytes between the two
EXTRA = ("base_model_name_or_path", "hypernet_config", "ctx_encoder_args")
COMPILED = "_orig_mod."  # what torch.compile puts into names

SWITCHES: dict[str, object] = {
    "use_light_weight_lora": False,
    "per_rank_gen": True,
    "use_per_rank_bias": False,
    "use_bias": True,
    "per_layer_processing": False,
    "use_token_mixing": False,
    "num_pre_head_layers": 1,
    "extra_modules": None,
}
AGGREGATOR_SWITCHES: dict[str, object] = {
    "aggregator_type": "perceiver",
    "num_modules": 1,
    "num_extra_modules": 0,
    "num_self_attn_per_block": 0,
    "shared_weights": False,
    "layer_to_layer_ctx_encoder": True,
}


class StandIn:
    """An empty object in the place of a class that the file names: keeps what is put into it, does nothing."""

    def __init__(self, *values: object) -> None:
        self.values = values


NAMES = (
    "ctx_to_lora.modeling.hypernet.HypernetConfig",
    "ctx_to_lora.modeling.aggregator.AggregatorConfig",
    "ctx_to_lora.configs.CtxEncoderArguments",
    "peft.tuners.lora.config.LoraConfig",
    "peft.tuners.lora.config.LoraRuntimeConfig",
    "peft.utils.peft_types.PeftType",
)


def read_released(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a released checkpoint and the name of its base model ("" if it has none).

    The lora_alpha in it is ignored, as the reference does: the scaling is 2·r^1.5.

    Raises:
        InputError: not such a file, damaged, anything in it but tensors and the three known entries, or a variant of
            the hypernetwork that the released checkpoints don't use.
    """
    entries = _load(path)
    extra = {name: entries.pop(name) for name in EXTRA if name in entries}
    tensors: dict[str, Tensor] = {}
    for key, value in entries.items():
        if not isinstance(key, str) or not _is_plain_tensor(value):
            raise InputError(f"{path} isn't a Frames2LoRA checkpoint: its entry '{quoted(key)}' isn't a plain tensor.")
        name = key.replace(COMPILED, "")
        if name in tensors:
            raise InputError(f"{path} is damaged: it has {quoted(name)} twice.")
        tensors[name] = value
    if sum(tensor.nbytes for tensor in tensors.values()) > path.stat().st_size:
        raise InputError(f"{path} is damaged: its tensors share their numbers.")
    base = extra.get("base_model_name_or_path", "")
    if not isinstance(base, str):
        raise InputError(f"{path} is damaged: the name of its base model isn't text.")
    if "hypernet_config" in extra:
        values = _fields(extra["hypernet_config"], path)
        _check_switches(values, SWITCHES, path)
        if "aggregator_config" in values:
            _check_switches(_fields(values["aggregator_config"], path), AGGREGATOR_SWITCHES, path)
    return tensors, base


def _load(path: Path) -> dict[Any, Any]:
    check_file(path, MAX_FILE)
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path} is neither a safetensors file nor a complete PyTorch checkpoint (cut short?): fetch it again."
        )
    _check_archive(path)
    stand_ins: list[Any] = [(type(name.rsplit(".", 1)[1], (StandIn,), {}), name) for name in NAMES]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
            warnings.simplefilter("ignore")
            entries = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()
        named = next((line.strip() for line in reason if "GLOBAL" in line), reason[0] if reason else "")
        raise InputError(
            f"{path} is refused, nothing in it was executed: it holds more than a Frames2LoRA checkpoint does "
            f"({quoted(named)})."
        ) from None
    except Exception as error:  # a damaged archive can fail in any way inside torch
        reason = (str(error).strip() or type(error).__name__).splitlines()
        raise InputError(
            f"{path} can't be read as a checkpoint, it is damaged ({quoted(reason[0])}): fetch it again."
        ) from None
    if not isinstance(entries, dict):
        raise InputError(f"{path} isn't a Frames2LoRA checkpoint: it holds a {type(entries).__name__}.")
    return entries


def _check_archive(path: Path) -> None:
    """Refuse an archive that would fill the memory, and pickles in it that would, before torch reads it.

    Raises:
        InputError: it is damaged, compressed, or holds more than a checkpoint does.
    """
    try:
        _check_end(path)
        with zipfile.ZipFile(path) as archive:
            items = archive.infolist()
            if sum(item.file_size for item in items) > path.stat().st_size:
                raise InputError(
                    f"{path} isn't a Frames2LoRA checkpoint: it is compressed, which PyTorch's files never are."
                )
            if any(item.filename != item.orig_filename for item in items):
                raise InputError(f"{path} is damaged: it has an entry of two names.")
            if len({item.filename.lower() for item in items}) < len(items):  # torch ignores the case
                raise InputError(f"{path} is damaged: it has an entry twice.")
            for item in items:
                if item.filename.lower().endswith(".pkl"):
                    if item.file_size > MAX_BYTES:
                        raise ValueError(f"its pickle has {item.file_size} bytes")
                    check_pickle(archive.read(item))
    except InputError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, ValueError, UnicodeError, OSError) as error:
        raise InputError(
            f"{path} can't be read as a checkpoint, it is damaged ({quoted(error)}): fetch it again."
        ) from None


def _check_end(path: Path) -> None:
    """Refuse an archive by its end, before anybody reads the list of its entries.

    PyTorch's files end with two records of that list, of which libraries trust one or the other: both have to be small.

    Raises:
        InputError: the list is too long, or something follows it, such as a comment.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END.size - _LOCATOR - _END_64.size))
        tail = file.read()
    end = tail[-_END.size :]
    if len(end) < _END.size or end[:4] != b"PK\x05\x06" or end[-2:] != b"\0\0":
        raise ValueError("something follows its list of entries")
    lists = [_END.unpack(end)[4:6]]
    if tail[-_END.size - _LOCATOR : -_END.size].startswith(b"PK\x06\x07"):
        wide = tail[-_END.size - _LOCATOR - _END_64.size :][: _END_64.size]
        if len(wide) < _END_64.size or wide[:4] != b"PK\x06\x06":
            raise ValueError("the end of its list of entries is missing")
        lists.append(_END_64.unpack(wide)[7:9])
    for entries, size in lists:
        if entries > MAX_ENTRIES or size > MAX_ENTRIES * _ENTRY:
            raise InputError(f"{path} isn't a Frames2LoRA checkpoint: it has more than {MAX_ENTRIES} entries.")


def _is_plain_tensor(value: object) -> bool:
    """Return whether a value is a tensor that occupies the memory that its shape says."""
    return type(value) is Tensor and value.layout == torch.strided and value.is_contiguous()


def _fields(value: object, path: Path) -> dict[str, Any]:
    if not isinstance(value, StandIn):
        raise InputError(f"{path} is damaged: its configuration can't be read.")
    return vars(value)


def _check_switches(values: dict[str, Any], switches: dict[str, object], path: Path) -> None:
    for name, choice in switches.items():
        value = values.get(name, choice)
        if type(value) is not type(choice) or value != choice:
            raise InputError(
                f"{path} needs a hypernetwork with {name} = {quoted(repr(value))}, which no released checkpoint has "
                "and chunkv2l doesn't build."
            )
