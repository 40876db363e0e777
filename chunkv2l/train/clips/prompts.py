"""How any VLM of the toolkit writes prompts and answers, for making batches."""

from __future__ import annotations

from collections.abc import Callable

from chunkv2l.errors import InputError
from chunkv2l.models.mini.vlm import MiniVLM
from chunkv2l.models.smolvlm.vlm import CAPTION_PROMPT, SmolVLM
from chunkv2l.video.clip import Clip

AnyVLM = MiniVLM | SmolVLM
"""Families that a hypernetwork can be trained for: those of which is known here how they write a clip's turn."""
_REMEMBERED = 100_000
_ONE_FRAME = Clip((), (0.0,), 1.0, 1.0)
"""Only its words count."""


class Words:
    """A VLM's own `prompt_ids` and `statement_ids`, remembered; see `batches.Written`."""

    def __init__(self, vlm: AnyVLM) -> None:
        self._vlm = vlm
        self._known: dict[tuple[str, str], list[int]] = {}
        self._end, self._behind = _of_family(vlm)

    def ask(self, question: str) -> list[int]:
        """The text-only prompt; "" is the caption prompt."""
        return self._remembered("ask", question, self._vlm.prompt_ids)

    def behind_frames(self, question: str) -> list[int]:
        """What follows a clip's frames when the question is asked with them in context."""
        return self._remembered("behind", question, self._behind)

    def answer(self, text: str) -> list[int]:
        """The text as it follows the caption prompt, and the end of turn."""
        return [*self._remembered("answer", text, self._vlm.statement_ids), self._end]

    def text(self, ids: list[int]) -> str:
        """What the model said, up to its end of turn."""
        said = ids[: ids.index(self._end)] if self._end in ids else ids
        return self._vlm._text(said)

    def _remembered(self, kind: str, text: str, make: Callable[[str], list[int]]) -> list[int]:
        key = (kind, text)
        if key not in self._known:
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            self._known[key] = list(make(text))
        return list(self._known[key])


def _of_family(vlm: AnyVLM) -> tuple[int, Callable[[str], list[int]]]:
    """The end of turn, and how what follows the frames is written."""
    if isinstance(vlm, MiniVLM):
        return vlm.prompts.answer("")[-1], lambda question: vlm.prompts.behind_frames(vlm._plain(question))
    return int(vlm.tokenizer.convert_tokens_to_ids(vlm._end)), _behind_smolvlm(vlm)


def _behind_smolvlm(vlm: SmolVLM) -> Callable[[str], list[int]]:
    """The tokens after those that clips have in front of every question."""
    first, other = (vlm.clip_ids(_ONE_FRAME, text, True) for text in (CAPTION_PROMPT, "Is it?"))
    length = next(i for i, (a, b) in enumerate(zip(first, other, strict=False)) if a != b)

    def behind(question: str) -> list[int]:
        ids = vlm.clip_ids(_ONE_FRAME, question or CAPTION_PROMPT, True)
        if ids[:length] != first[:length]:
            raise InputError(f"The tokenizer joins the question {question!r} to what stands before it.")
        return ids[length:]

    return behind
