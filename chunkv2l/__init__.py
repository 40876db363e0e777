"""chunkv2l: build an index of a long video once, then question it with zero visual tokens.

    import chunkv2l

    chunkv2l.build("movie.mp4")                      # movie.idx beside it
    with chunkv2l.open("movie.idx") as index:
        print(index.ask("When does a dog catch the ball?").answer)

Everything is imported when it is first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chunkv2l import policies
    from chunkv2l.adapter import Adapter
    from chunkv2l.answer import Answer
    from chunkv2l.ask import Index
    from chunkv2l.ask import open_index as open
    from chunkv2l.build import build
    from chunkv2l.scenes import Segment

__all__ = ["Adapter", "Answer", "Index", "Segment", "build", "open", "policies"]
__version__ = "0.1.0"

_WHERE = {
    "Adapter": ("adapter", "Adapter"),
    "Answer": ("answer", "Answer"),
    "Index": ("ask", "Index"),
    "Segment": ("scenes", "Segment"),
    "open": ("ask", "open_index"),
}


def __getattr__(name: str) -> Any:
    if name in ("build", "policies"):
        return import_module(f"chunkv2l.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'chunkv2l' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    value = getattr(import_module(f"chunkv2l.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


class _Build(ModuleType):
    """The module chunkv2l.build, which is also called: `chunkv2l.build("movie.mp4")`."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.build(*args, **options)


class _Package(ModuleType):
    """This package: when the import system binds the submodule "build" to its name here, the name stays callable."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "build" and isinstance(value, ModuleType):
            value.__class__ = _Build
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
