"""Decide whether a build reads text on the screen, from `--screen-text` and from what is installed."""

from __future__ import annotations

from importlib.util import find_spec

from chunkv2l.errors import InputError


def is_installed() -> bool:
    """Tell whether rapidocr is installed; nothing of it is imported."""
    return find_spec("rapidocr") is not None


def wants_screen_text(choice: str) -> bool:
    """Tell whether text on the screen is to be read.

    Args:
        choice: "off"; "auto" where it is installed; "on".

    Raises:
        InputError: "on", but rapidocr isn't installed; or another word.
    """
    if choice not in ("auto", "on", "off"):
        raise InputError(f"Text on the screen is read with auto, on or off, not {choice!r}.")
    if choice == "on" and not is_installed():
        raise InputError(
            "Text on the screen is read by rapidocr, which isn't installed: pip install 'chunkv2l[screen]'."
        )
    return choice != "off" and is_installed()
