"""Tokenize without transformers, whose import takes longer than a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer


class Tokens:
    """A tokenizer with what `mini` needs; for every other attribute transformers' is loaded, and asked."""

    def __init__(self, path: Path, full: Callable[[], Any]) -> None:
        """Read a tokenizer.

        Args:
            path: tokenizer.json.
            full: loads the same as transformers has it.
        """
        self._tokenizer = Tokenizer.from_file(str(path))
        self._load = full

    @cached_property
    def full(self) -> Any:
        """Return transformers' tokenizer."""
        return self._load()

    @cached_property
    def added_tokens_decoder(self) -> Mapping[int, str]:
        """Return the tokens that are recognised before a text is split, by number."""
        return {number: token.content for number, token in self._tokenizer.get_added_tokens_decoder().items()}

    @property
    def all_special_tokens(self) -> list[str]:
        """Return those added tokens that stand for no text."""
        return [token.content for token in self._tokenizer.get_added_tokens_decoder().values() if token.special]

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Return a text's token ids."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
        """Return the text of token ids: a sequence, or a tensor [n]."""
        numbers: Sequence[int] = [int(number) for number in ids]
        return str(self._tokenizer.decode(numbers, skip_special_tokens=skip_special_tokens))

    def convert_tokens_to_ids(self, token: str) -> int | None:
        """Return a token's number, None where there is no such token."""
        number: int | None = self._tokenizer.token_to_id(token)
        return number

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.full, name)
