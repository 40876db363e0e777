"""Users' words as plain text: nothing in them may become a control token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def special_strings(tokenizer: Any) -> tuple[str, ...]:
    """Every string that a tokenizer reads as one special token, longest first."""
    added = (str(token) for token in tokenizer.added_tokens_decoder.values())
    return tuple(sorted({*tokenizer.all_special_tokens, *added}, key=len, reverse=True))


def plain(text: str, special: Sequence[str]) -> str:
    """The text without any of the strings, those included that appear when others are taken out."""
    found = True
    while found:
        found = False
        for token in special:
            if token in text:
                text, found = text.replace(token, ""), True
    return text


@contextmanager
def quiet() -> Iterator[None]:
    """No bars inside the `with` block; afterwards as before."""
    from transformers.utils import logging as module

    logging: Any = module
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
