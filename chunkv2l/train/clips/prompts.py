"""Remember how a VLM writes prompts and answers, for making batches."""

from __future__ import annotations

from collections.abc import Callable

from chunkv2l.models.family import Family

_REMEMBERED = 100_000


class FamilyPrompts:
    """A VLM's own prompts and statements as token ids, remembered; see `batches.Written`."""

    def __init__(self, vlm: Family) -> None:
        self._vlm = vlm
        self._known: dict[tuple[str, str], list[int]] = {}

    def ask(self, question: str) -> list[int]:
        """Return the text-only prompt; "" is the caption prompt."""
        return self._remembered("ask", question, self._vlm.prompt_ids)

    def behind_frames(self, question: str) -> list[int]:
        """Return what follows a clip's frames when the question is asked with them in context."""
        return self._remembered("behind", question, self._vlm.ids_after_frames)

    def answer(self, text: str) -> list[int]:
        """Return the text as it follows the caption prompt, and the end of turn."""
        return [*self._remembered("answer", text, self._vlm.statement_ids), self._vlm.end_of_turn]

    def text(self, ids: list[int]) -> str:
        """Return what the model said, up to its end of turn."""
        end = self._vlm.end_of_turn
        return self._vlm.decode(ids[: ids.index(end)] if end in ids else ids)

    def _remembered(self, role: str, text: str, write: Callable[[str], list[int]]) -> list[int]:
        key = (role, text)
        if key not in self._known:
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            self._known[key] = list(write(text))
        return list(self._known[key])
