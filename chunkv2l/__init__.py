"""chunkv2l: build an index of a long video once, then question it with zero visual tokens.

    import chunkv2l

    chunkv2l.build("movie.mp4")                      # movie.idx beside it
    with chunkv2l.open("movie.idx") as index:
        print(index.ask("When does a dog catch the ball?").answer)

Everything is imported when it is first used, so that importing the package costs nothing. Import it before torch: then
PyTorch's idle threads sleep instead of spinning, as OMP_WAIT_POLICY=PASSIVE says, and leave the cores to others. Where
torch was there first, a warning says so.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chunkv2l import policies
    from chunkv2l.adapter.algebra import Adapter
    from chunkv2l.answer.answer import Answer
    from chunkv2l.ask import Index
    from chunkv2l.ask import open_index as open
    from chunkv2l.indexing.build import build
    from chunkv2l.library.library import Library
    from chunkv2l.video.detectors import Segment

if "torch" in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
    warnings.warn(
        "torch was imported before chunkv2l, so its idle threads spin, and all is slower on a busy machine: "
        "import chunkv2l first, or set OMP_WAIT_POLICY=PASSIVE before Python starts.",
        RuntimeWarning,
        stacklevel=2,
    )
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # OpenMP reads it once, when torch is loaded

__all__ = ["Adapter", "Answer", "Index", "Library", "Segment", "build", "open", "policies"]
__version__ = "0.1.0"

_EXPORTS = {
    "Adapter": ("adapter.algebra", "Adapter"),
    "Answer": ("answer.answer", "Answer"),
    "Index": ("ask", "Index"),
    "Library": ("library.library", "Library"),
    "Segment": ("video.detectors", "Segment"),
    "build": ("indexing.build", "build"),
    "open": ("ask", "open_index"),
}


def __getattr__(name: str) -> Any:
    if name == "policies":
        return import_module("chunkv2l.policies")
    if name not in _EXPORTS:
        raise AttributeError(f"module 'chunkv2l' has no attribute {name!r}")
    module, attribute = _EXPORTS[name]
    value = getattr(import_module(f"chunkv2l.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
