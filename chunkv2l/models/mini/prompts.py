"""Write `mini`'s prompts: SmolLM2's chat format without a system message.

The caption prompt is the bare assistant header, which keeps scoring cheap; a question is one user turn. In training and
in the baseline, frames stand at the start of the user turn, and behind them a classifier's tags, where the model has a
classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chunkv2l.models.mini.tags import write_tags

_REMEMBERED = 100_000


class Prompts:
    """Write every prompt as token ids, with a SmolLM2 tokenizer (anything with `encode`)."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}
        self.opening = self._ids("<|im_start|>user\n")
        """what stands before the frames"""
        self._header = self._ids("<|im_start|>assistant\n")

    def _ids(self, text: str) -> list[int]:
        if text not in self._known:
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            self._known[text] = list(self._tokenizer.encode(text, add_special_tokens=False))
        return list(self._known[text])

    def ask(self, question: str) -> list[int]:
        """Return the text-only prompt; "" is the bare caption prompt."""
        if not question:
            return list(self._header)
        return self._ids(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")

    def behind_frames(self, question: str) -> list[int]:
        """Return the ids that follow `opening` and the visual tokens."""
        return self._ids(f"{question}<|im_end|>\n<|im_start|>assistant\n")

    def tags(self, tags: Sequence[str]) -> list[int]:
        """Return what stands between the visual tokens and the rest of a reading prompt; nothing without tags."""
        return self._ids(write_tags(tags)) if tags else []

    def answer(self, text: str) -> list[int]:
        """Return the text and the end of turn: what is trained."""
        return self._ids(f"{text}<|im_end|>")

    def text(self, ids: list[int]) -> str:
        """Return the text of an answer's ids, up to its end of turn."""
        end = self.answer("")[0]
        answer = ids[: ids.index(end)] if end in ids else ids
        return str(self._tokenizer.decode(answer, skip_special_tokens=True)).strip()
