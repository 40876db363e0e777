"""A tokenizer for reading and answering, without transformers: importing that takes longer than a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer


class Tokens:
    """What `mini` asks of its tokenizer; whatever else is asked of it, transformers' is loaded for and answers."""

    def __init__(self, path: Path, full: Callable[[], Any]) -> None:
        """
        Args:
            path: tokenizer.json.
            full: loads the same as transformers has it.
        """
        self._own = Tokenizer.from_file(str(path))
        self._load = full

    @cached_property
    def full(self) -> Any:
        """transformers'."""
        return self._load()

    @cached_property
    def added_tokens_decoder(self) -> Mapping[int, str]:
        """Every token that is found before a text is taken apart, by its number."""
        return {number: token.content for number, token in self._own.get_added_tokens_decoder().items()}

    @property
    def all_special_tokens(self) -> list[str]:
        """Those of them that stand for no text."""
        return [token.content for token in self._own.get_added_tokens_decoder().values() if token.special]

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        ids: list[int] = self._own.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
        """The text of token ids: a sequence, or a tensor [n]."""
        numbers: Sequence[int] = [int(number) for number in ids]
        return str(self._own.decode(numbers, skip_special_tokens=skip_special_tokens))

    def convert_tokens_to_ids(self, token: str) -> int | None:
        """A token's number, None where there is no such token."""
        number: int | None = self._own.token_to_id(token)
        return number

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.full, name)
