"""Choose the recogniser that a build listens with, from `--speech` and from what is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from chunkv2l.defaults import RECOGNISER
from chunkv2l.errors import InputError

EXTRA: Final = "pip install 'chunkv2l[speech]'"


def is_installed() -> bool:
    """Tell whether faster-whisper is installed; nothing of it is imported."""
    return find_spec("faster_whisper") is not None


def choose_recogniser(choice: str, has_sound: bool, has_subtitles: bool) -> str | None:
    """Return the name of the recogniser to listen with; None for none.

    Args:
        choice: "off"; "auto" for the default one where it is installed, there is sound and no subtitles were given;
            else a recogniser's name.

    Raises:
        InputError: a name was given, but faster-whisper isn't installed.
    """
    if choice == "off":
        return None
    if choice == "auto":
        return RECOGNISER if has_sound and not has_subtitles and is_installed() else None
    if not is_installed():
        raise InputError(f"Speech is recognised by faster-whisper, which isn't installed: {EXTRA}, or --speech off.")
    return choice if has_sound else None
