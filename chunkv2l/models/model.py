"""Hold what the rest of the toolkit knows of a model: its name, its parts, and how its family loads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from chunkv2l.defaults import DEVICE
from chunkv2l.models.calibration import Calibration, SelectorCalibration

if TYPE_CHECKING:
    import torch

    from chunkv2l.hypernet import HypernetConfig, Hypernetwork
    from chunkv2l.hypernet.keys import Keys
    from chunkv2l.hypernet.selector import Selector
    from chunkv2l.models.base import VLM
    from chunkv2l.models.sentence.minilm import EncodeWords, Sentences


@dataclass(frozen=True)
class ModelSpec:
    """A choice of model, hypernetwork and device.

    Attributes:
        name: one of `defaults.MODELS`; a folder of `mini`'s trained parts (as `python -m chunkv2l.models.mini.pack`
            writes it) or of a SmolVLM2; or a hub's OWNER/NAME. None: no choice was made.
        hypernet: a hypernetwork's file, to use another one than the model's own.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" …
    """

    name: str | None = None
    hypernet: str | None = None
    device: str = DEVICE


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
        sentences: the sentence encoder: the keys' own, and that of what is said and written.
        words: the same encoder's states of texts' words, for the selector.
        selector: compares statements with segments' rank slots; None where none was trained.
        selector_calibration: of its evidence.
    """

    name: str
    vlm: VLM
    hypernet: Hypernetwork
    calibration: Calibration
    identity: dict[str, str | int | float]
    keys: Keys | None = None
    sentences: Sentences | None = None
    words: EncodeWords | None = None
    selector: Selector | None = None
    selector_calibration: SelectorCalibration = field(default_factory=SelectorCalibration)


@dataclass(frozen=True)
class Available:
    """A model that can be named.

    Attributes:
        here: whether it can be loaded without fetching anything.
        text: where it is, or how to get it.
        terms: what its weights may be used for, where that isn't whatever one likes; "" where nothing is known to bind.
    """

    name: str
    here: bool
    text: str
    terms: str = field(default="", compare=False)


@dataclass(frozen=True)
class Comparison:
    """A number or a text of a loaded model beside the one that its publication gives."""

    subject: str
    actual: object
    expected: object


class Loader(Protocol):
    """Load the models of one family. `registry.LOADERS` lists the modules that have one, as `LOADER`.

    Attributes:
        names: the family's models that have a name of their own (`defaults.MODELS` has all of them).
        keeps_keys: whether learned keys are kept in the family's hypernetwork files.
    """

    names: tuple[str, ...]
    keeps_keys: bool

    def accepts(self, name: str) -> bool:
        """Return whether this family loads what is called so: one of its names, a folder, or a hub's OWNER/NAME."""
        ...

    def load(self, name: str, hypernet: str | None, device: torch.device) -> Model:
        """Return the model, its parts fetched if they aren't on this machine.

        Raises:
            InputError: no such file, a hypernetwork for another model, or nothing to fetch it from.
            ChunkV2LError: fetching failed.
        """
        ...

    def find(self, name: str) -> Available:
        """Return where one of the family's names is, or how to get it; nothing is fetched."""
        ...

    def fetch(self, name: str, source: Path | None) -> Available:
        """Fetch a model's weights, from the folder `source` if one is given.

        Raises:
            InputError: no such model or folder, or nothing to fetch it from.
            ChunkV2LError: fetching failed.
        """
        ...

    def compare(self, name: str, model: Model) -> Sequence[Comparison]:
        """Return what of a loaded model its publication states, beside the model's own; nothing for other models."""
        ...

    def hypernet_config(self, name: str) -> HypernetConfig:
        """Return the sizes of a hypernetwork to train for a model; fetches the model if that takes its files.

        Raises:
            InputError: no such model, or another kind of model.
            ChunkV2LError: fetching failed.
        """
        ...

    def read_hypernet(self, path: Path) -> tuple[Hypernetwork, Keys | None]:
        """Return a hypernetwork's file of the family, and the learned keys in it.

        Raises:
            InputError: no such file, it can't be read, or it is for another model.
        """
        ...
