"""Keep users' words plain, and transformers quiet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def special_strings(tokenizer: Any) -> tuple[str, ...]:
    """Return every string that a tokenizer reads as one special token, longest first."""
    added = (str(token) for token in tokenizer.added_tokens_decoder.values())
    return tuple(sorted({*tokenizer.all_special_tokens, *added}, key=len, reverse=True))


def plain(text: str, special: Sequence[str]) -> str:
    """Return the text without any of the strings, those included that appear when others are taken out.

    Nothing in a user's words may become a control token.
    """
    before = ""
    while text != before:
        before = text
        for token in special:
            text = text.replace(token, "")
    return text


@contextmanager
def quiet() -> Iterator[None]:
    """Hide transformers' progress bars inside the `with` block; afterwards they are as before."""
    from transformers.utils import logging as module

    logging: Any = module
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
