"""Load `mini`: the frozen parts from the cache, the trained ones from the package or from a folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.files import check_file, check_safetensors, read_text
from chunkv2l.hypernet import HypernetConfig, Hypernetwork, load_hypernetwork
from chunkv2l.hypernet.checkpoint import build_hypernetwork, read_config, try_in_sandbox
from chunkv2l.hypernet.keys import SENTENCE, Keys
from chunkv2l.hypernet.released import MAX_FILE
from chunkv2l.models.assets import weights
from chunkv2l.models.assets.cache import known_sha256
from chunkv2l.models.calibration import UNFITTED, Calibration, SelectorCalibration, naming
from chunkv2l.models.mini import classifier, smollm2
from chunkv2l.models.mini import frozen as mini_frozen
from chunkv2l.models.mini.connector import MAX_FRAMES, SIZE, Connector
from chunkv2l.models.mini.vlm import FRAMES_PER_SECOND, MIN_FRAMES, MiniVLM, reading_precision
from chunkv2l.models.model import Available, Comparison, Model
from chunkv2l.models.selector_file import SELECTOR, read_calibration, read_selector
from chunkv2l.models.sentence import minilm
from chunkv2l.sanitize import quoted

SHIPPED: Final = Path(__file__).parent
READER, HYPERNET = "reader.safetensors", "hypernet.safetensors"
CALIBRATION = "calibration.json"
"""The calibration's file, which counts before the one inside the weights: fitting anew leaves the weights alone."""
SIZES: Final = (30, 576, 1536)
"""SmolLM2-135M's text blocks, hidden and intermediate size."""
HYPERNET_CONFIG: Final = HypernetConfig(
    num_layers=30,
    hidden_size=576,
    intermediate_size=1536,
    latent_size=256,
    rank=8,
    num_blocks=5,
    num_heads=8,
    num_kv_heads=4,
    head_dim=64,
)
"""The sizes of a hypernetwork that is trained for `mini`."""
TAGS = "tags"
"""In a reader's metadata: "true" where clips are read with a classifier's tags."""
_TERMS = (
    "Its weights are for research: several of the sets that they were trained on are for research only. "
    "LICENSE-WEIGHTS.md and MODEL_CARD.md in chunkv2l/models/mini list them."
)
_NOT_SHIPPED = "This installation lacks mini's trained weights: install chunkv2l anew."
FUSED: Final = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
"""The LoRA's matrices: the modules of a block whose rows lie one below another in each."""


class MiniLoader:
    """`mini`, as the package ships it or from a folder of one's own training."""

    names = ("mini",)
    keeps_keys = True

    def accepts(self, name: str) -> bool:
        return name in self.names or is_folder(Path(name))

    def load(self, name: str, hypernet: str | None, device: torch.device) -> Model:
        if name in self.names:
            return load(hypernet=hypernet, device=device)
        return load(Path(name), hypernet=hypernet, device=device, name=Path(name).resolve().name)

    def find(self, name: str) -> Available:
        if not is_folder(SHIPPED):
            return Available(name, False, _NOT_SHIPPED, _TERMS)
        needed = [mini_frozen.folder(), minilm.folder()]
        if reads_tags(SHIPPED / READER):
            needed.append(classifier.folder())
        if not all(folder.is_dir() for folder in needed):
            text = "Its frozen parts are fetched when they are first needed: chunkv2l models fetch mini."
            return Available(name, False, text, _TERMS)
        return Available(name, True, f"Its frozen parts are in {mini_frozen.folder()}.", _TERMS)

    def fetch(self, name: str, source: Path | None) -> Available:
        if source is not None and not source.is_dir():
            raise InputError(f"There is no folder {source}.")
        folders = [mini_frozen.fetch(source), minilm.fetch(source)]
        if reads_tags(SHIPPED / READER):
            folders.append(classifier.fetch(source))
        *others, last = map(str, folders)
        return Available(name, True, f"{name} is in {', '.join(others)} and {last}.", _TERMS)

    def compare(self, name: str, model: Model) -> Sequence[Comparison]:
        return ()

    def hypernet_config(self, name: str) -> HypernetConfig:
        return HYPERNET_CONFIG

    def read_hypernet(self, path: Path) -> tuple[Hypernetwork, Keys | None]:
        network, keys, _ = read_hypernet(path)
        return network, keys


LOADER: Final = MiniLoader()


def is_folder(folder: Path) -> bool:
    """Return whether a folder holds trained parts of `mini`."""
    return (folder / READER).is_file() and (folder / HYPERNET).is_file()


def load(
    folder: Path | None = None, hypernet: str | None = None, device: torch.device | str = "cpu", name: str = "mini"
) -> Model:
    """Return `mini` with the trained parts of a folder.

    Args:
        folder: with `reader.safetensors` and `hypernet.safetensors`, and maybe `selector.safetensors`; None for those
            that the package ships.
        hypernet: a hypernetwork's file, instead of the folder's; see `read_hypernet`. The folder's selector is then
            left out.

    Raises:
        InputError: a file is missing or isn't what it should be.
        ChunkV2LError: the frozen parts can't be fetched.
    """
    if folder is None and not is_folder(SHIPPED):
        raise ChunkV2LError(_NOT_SHIPPED)
    folder = folder or SHIPPED
    if not is_folder(folder):
        raise InputError(f"{folder} isn't a folder of mini's: it needs {READER} and {HYPERNET}.")
    network_path = folder / HYPERNET if hypernet is None else Path(hypernet)
    if hypernet is not None:
        try_in_sandbox(network_path)
    network, keys, calibration = read_hypernet(network_path)
    if hypernet is None and (folder / CALIBRATION).is_file():
        with naming(folder / CALIBRATION):
            calibration = Calibration.from_text(read_text(folder / CALIBRATION))
    frozen = mini_frozen.fetch()
    sentences = None
    if keys is not None:
        minilm.fetch()  # now, while there may be a network, though a build needs none of it
        sentences = minilm.Lazy(device)
    tagged = reads_tags(folder / READER)
    looks = tagged or (keys is not None and keys.has_names)
    if tagged and keys is not None and not keys.has_names:
        raise InputError(f"{network_path} has keys that read no names, and {READER} reads tags: train them together.")
    classifier_folder = classifier.fetch() if looks else None
    language = mini_frozen.read_language(frozen)
    connector = adapt(language, folder / READER)
    check_keys(keys, connector.cls.in_features, network_path)
    # Importing transformers would take longer than a question (docs/measurements.md#importing-transformers).
    built: Any = (smollm2.build_plain if torch.device(device).type == "cpu" else smollm2.build)(language)
    vlm = MiniVLM(
        built.to(device),
        lambda: mini_frozen.load_vision(frozen).to(device),
        connector.to(device),
        mini_frozen.load_plain_tokenizer(frozen),
        name,
        reading=reading_precision(device),
        classifier=None if classifier_folder is None else lambda: classifier.load(classifier_folder).to(device),
        reads_tags=tagged,
    )
    hypernet_sha256 = known_sha256(network_path)
    identity: dict[str, str | int | float] = {
        "family": "mini",
        "language": mini_frozen.LANGUAGE.sha256,
        "vision": mini_frozen.VISION.sha256,
        "reader": known_sha256(folder / READER),
        "hypernet": hypernet_sha256,
        "size": SIZE,
        "min_frames": MIN_FRAMES,
        "max_frames": MAX_FRAMES,
        "frames_per_second": FRAMES_PER_SECOND,
    }
    if looks:
        identity["classifier"] = classifier.WHEEL.sha256
    selector, selector_calibration = None, SelectorCalibration()
    if hypernet is None and sentences is not None and (folder / SELECTOR).is_file():
        selector = read_selector(folder / SELECTOR, network.config, hypernet_sha256).to(device)
        selector_calibration = read_calibration(folder)
    if keys is not None:
        keys = keys.to(device).eval().requires_grad_(False)
    network = with_exact_scaling(network).to(device).eval().requires_grad_(False)
    return Model(
        name,
        vlm,
        network,
        calibration,
        identity,
        keys,
        sentences,
        None if sentences is None else sentences.words,
        selector,
        selector_calibration,
    )


# --- the reader: connector and LoRA ----------------------------------------------------------------------------------


def reads_tags(path: Path) -> bool:
    """Return whether a reader was trained with a classifier's tags behind the visual tokens.

    Raises:
        InputError: the file can't be read.
    """
    check_safetensors(path, weights.MAX_FILE)
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get(TAGS) == "true"
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} can't be read as a safetensors file ({quoted(error)}): fetch it again.") from None


def adapt(language: Mapping[str, Tensor], path: Path) -> Connector:
    """Add a reader file's LoRA to the language model's weights, in place, and return its connector.

    Args:
        language: the state dict of SmolLM2, in float32; on the meta device nothing is added, only checked.

    Raises:
        InputError: the file can't be read, or isn't a reader for this language model.
    """
    state, _ = weights.read(path)
    try:
        if unknown := sorted(name for name in state if not name.startswith(("connector.", "lora."))):
            raise InputError(f"it has {unknown[0]}.")
        connector = read_connector(_strip_prefix(state, "connector."), language["model.embed_tokens.weight"].shape[1])
        merge(language, _strip_prefix(state, "lora."))
    except InputError as error:
        raise InputError(f"{path} isn't a reader of mini's: {quoted(error)}") from None
    return connector


def read_connector(state: Mapping[str, Tensor], hidden_size: int) -> Connector:
    """Return the connector with these weights; its own widths follow from them.

    Raises:
        InputError: other names or shapes than a connector's.
    """
    if "up.weight" not in state or "cls.weight" not in state:
        raise InputError("it has no connector.")
    width, channels = state["up.weight"].shape[0], state["cls.weight"].shape[-1]
    with torch.device("meta"):
        connector = Connector(hidden_size, width, channels)
    return _fill(connector, state)


def merge(language: Mapping[str, Tensor], lora: Mapping[str, Tensor]) -> None:
    """Add up · down to W for every fused matrix of every block, in place.

    Args:
        language: a Llama's state dict, float32.
        lora: `down.{qkv,out,gate_up,down}` [L, r, in] and `up.…` [L, out, r], float32.

    Raises:
        InputError: other names or shapes; nothing is changed then.
    """
    names = {f"{side}.{fused}" for side in ("down", "up") for fused in FUSED}
    if set(lora) != names:
        raise InputError(f"its LoRA has {', '.join(sorted(lora)) or 'nothing'} instead of {', '.join(sorted(names))}.")
    layers = sum(name.endswith(".input_layernorm.weight") for name in language)
    plan = []
    for fused, modules in FUSED.items():
        down, up = lora[f"down.{fused}"], lora[f"up.{fused}"]
        parts = [[language[f"model.layers.{i}.{module}.weight"] for module in modules] for i in range(layers)]
        rows, columns = sum(part.shape[0] for part in parts[0]), parts[0][0].shape[1]
        fits = up.ndim == down.ndim == 3 and down.shape == (layers, up.shape[2], columns)
        if not fits or up.shape[:2] != (layers, rows):
            raise InputError(f"its LoRA's {fused} is {list(up.shape)} and {list(down.shape)}, for another model.")
        plan.append((parts, down, up))
    for parts, down, up in plan:
        for block, block_down, block_up in zip(parts, down, up, strict=True):
            start = 0
            for weight in block:
                if not weight.is_meta:
                    weight.addmm_(block_up[start : start + weight.shape[0]], block_down)
                start += weight.shape[0]


# --- the hypernetwork ------------------------------------------------------------------------------------------------


def read_hypernet(path: Path) -> tuple[Hypernetwork, Keys | None, Calibration]:
    """Return a hypernetwork for `mini`, with the keys and the calibration that came with it.

    Args:
        path: `hypernet.safetensors` of a training run or packed; or any file that `load_hypernetwork` reads, which has
            no keys and no calibration.

    Raises:
        InputError: no such file, it can't be read, or it is for another model.
    """
    if not path.is_file():
        raise InputError(f"There is no hypernetwork file {path}.")
    if not _is_trained(path):
        network, keys, calibration = load_hypernetwork(path), None, UNFITTED
    else:
        state, metadata = weights.read(path)
        network = build_hypernetwork(read_config(path, metadata), _strip_prefix(state, "hypernet."), path)
        with naming(path):
            calibration = Calibration.from_text(metadata["calibration"]) if "calibration" in metadata else UNFITTED
        try:
            keys = _build_keys(_strip_prefix(state, "keys."))
        except InputError as error:
            raise InputError(f"{path} has keys that can't be used: {quoted(error)}") from None
    c = network.config
    if (c.num_layers, c.hidden_size, c.intermediate_size) != SIZES:
        raise InputError(
            f"{path} is a hypernetwork for another model than mini ({c.num_layers} blocks of {c.intermediate_size} → "
            f"{c.hidden_size} against {SIZES[0]} of {SIZES[2]} → {SIZES[1]})."
        )
    return network, keys, calibration


def check_keys(keys: Keys | None, channels: int, path: Path) -> None:
    """Refuse keys that don't pool what a reader's connector gets: earlier ones pooled states of text blocks.

    Args:
        channels: what the connector gets for each cell.
        path: where the keys are from.

    Raises:
        InputError: they don't.
    """
    if keys is not None and keys.channels != channels:
        raise InputError(
            f"{path} has keys that can't be used: they pool {keys.channels} numbers a token, and what mini sees has "
            f"{channels}. Keys of earlier versions pooled other things: train them anew, starting from that file "
            "(recipes/train_mini/keys.json; the hypernetwork stays as it is)."
        )


def with_exact_scaling(network: Hypernetwork) -> Hypernetwork:
    """Make a hypernetwork's scaling a power of two, the remaining factor in B; changed in place, and returned.

    Folding such a scaling into B, as PEFT's format wants it, rounds nothing: an exported adapter on the exported base
    then computes to the bit what the injected one does.
    """
    power = 2.0 ** math.ceil(math.log2(network.scaling))
    for table in (network.scaler_B, network.bias_B):
        table["down_proj"] = nn.Parameter(table["down_proj"].detach() * (network.scaling / power))
    network.config = replace(network.config, scaling=power)
    return network


def _is_trained(path: Path) -> bool:
    """Return whether a file is laid out as training writes it: the hypernetwork and what belongs to it, by prefixes."""
    check_file(path, MAX_FILE)
    try:
        with safe_open(path, framework="pt") as file:
            return any(name.startswith("hypernet.") for name in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError):
        return False  # load_hypernetwork says what is wrong


def _build_keys(state: Mapping[str, Tensor]) -> Keys | None:
    """Return the learned keys with these weights; None where there are none."""
    if not state:
        return None

    def rows(name: str) -> int:
        return state[name].shape[0] if name in state else 1

    sizes = rows("norm.weight"), rows("key.weight"), rows("value.weight"), rows("liking"), rows("bend.weight")
    with torch.device("meta"):
        keys = Keys(*sizes, vocabulary=torch.empty(rows("vocabulary"), SENTENCE) if "vocabulary" in state else None)
    return _fill(keys, state)


def _fill(module: weights.Module, state: Mapping[str, Tensor]) -> weights.Module:
    """Fill a module on the meta device with these tensors, all of finite numbers."""
    weights.fill(module, state)
    if (damaged := weights.find_unusable(state)) is not None:
        raise InputError(f"{damaged} holds values that aren't finite numbers.")
    return module


def _strip_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names have a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
