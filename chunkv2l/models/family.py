"""Implement what every family of frozen models does with words, once it has said how its prompts are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.errors import InputError
from chunkv2l.models.base import VLM, CoarseScorer, Tag
from chunkv2l.models.text.decoder import TextDecoder, score
from chunkv2l.models.text.greedy import greedy

if TYPE_CHECKING:
    from chunkv2l.video.clip import Clip


class Family(VLM, ABC):
    """A `VLM` around a `TextDecoder`, which can be trained for and compared with its frames in context.

    A family implements what is left abstract here and in `VLM`: the pictures, and how prompts and answers are written.

    Attributes:
        decoder: the language model; a family sets it.
    """

    decoder: TextDecoder

    # --- what a family says of itself ----------------------------------------------------------------------------

    @property
    @abstractmethod
    def channels(self) -> int:
        """Return C of `look`."""

    @property
    @abstractmethod
    def end_of_turn(self) -> int:
        """Return the id of the token that ends an answer."""

    @abstractmethod
    def statement_ids(self, statement: str) -> list[int]:
        """Return the statement's token ids as they follow the caption prompt, end of turn excluded."""

    @abstractmethod
    def ids_after_frames(self, question: str) -> list[int]:
        """Return the token ids that follow a clip's frames in a prompt that holds both; "": the caption prompt."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of an answer's token ids, without special tokens."""

    @abstractmethod
    def embed_with_frames(
        self, clips: Sequence[Clip], question: str, features: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Return for each clip [S_i, D]: the prompt with its frames beside the question ("": caption prompt), embedded.

        Args:
            features: what `look` returned for these clips; None to look now.
        """

    # --- what follows from it ------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return self.decoder.device

    @property
    def targets(self) -> Sequence[nn.Module]:
        return self.decoder.targets

    def classify(self, features: Sequence[Tensor]) -> list[tuple[Tag, ...]]:
        return [()] * len(features)

    @property
    def coarse(self) -> CoarseScorer | None:
        return None

    def count_tokens(self, statement: str) -> int:
        return len(self.statement_ids(statement))

    def generate(
        self,
        questions: Sequence[str],
        adapter: Adapter | None = None,
        max_new_tokens: int = 64,
        *,
        on_first_token: Callable[[], None] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[str]:
        def on_tokens(tokens: Sequence[int]) -> None:
            if on_text is not None:
                on_text(self.decode(tokens))

        prompts = [self.prompt_ids(question) for question in questions]
        rows = greedy(
            self.decoder,
            prompts,
            adapter,
            max_new_tokens,
            on_first_token=on_first_token,
            on_tokens=None if on_text is None else on_tokens,
        )
        return [self.decode(row) for row in rows]

    def score(self, statements: Sequence[str], adapter: Adapter | None = None) -> Tensor:
        return self.score_through(self.decoder, statements, adapter)

    def score_through(self, decoder: TextDecoder, statements: Sequence[str], adapter: Adapter | None = None) -> Tensor:
        """Score as `score` does, by a language model that stands in for the family's own."""
        return score(decoder, self.prompt_ids(""), [self.statement_ids(item) for item in statements], adapter)

    # --- the same with the frames in context: what adapters are compared with -------------------------------------

    def embed_context(self, clip: Clip, question: str) -> tuple[Tensor, Tensor]:
        """Return a prompt with any number of frames in two parts: up to the last frame [S, D], and behind it [Q, D]."""
        (prompt,) = self.embed_with_frames([clip], question)
        behind = len(self.ids_after_frames(question))
        return prompt[:-behind], prompt[-behind:]

    @torch.no_grad()
    def generate_from_frames(
        self,
        clips: Sequence[Clip],
        question: str,
        max_new_tokens: int = 64,
        *,
        on_first_token: Callable[[], None] | None = None,
    ) -> list[str]:
        """Return the bare model's answers when it sees each clip's frames beside the question ("": caption prompt)."""
        prompts = self.embed_with_frames(clips, question)
        rows = greedy(self.decoder, prompts, None, max_new_tokens, on_first_token=on_first_token)
        return [self.decode(row) for row in rows]

    @torch.no_grad()
    def score_from_frames(self, clips: Sequence[Clip], statements: Sequence[str]) -> Tensor:
        """Return log p(statement | frames, caption prompt) of the bare model, nats, float32 [clips, statements]."""
        ids = [self.statement_ids(item) for item in statements]
        return torch.cat([score(self.decoder, prompt, ids) for prompt in self.embed_with_frames(clips, "")])


def require_family(vlm: VLM) -> Family:
    """Return the model as one that can be trained for and read with frames in its context.

    Raises:
        InputError: its text side isn't a `TextDecoder`, so that neither can be done.
    """
    if not isinstance(vlm, Family):
        raise InputError(
            f"{vlm.name} can't be trained for or shown frames in its context: it is no "
            "chunkv2l.models.family.Family, whose decoder can be trained."
        )
    return vlm


@dataclass(frozen=True)
class Lowered:
    """A family's coarse way to score: its language model in a lower precision, under autocast.

    Attributes:
        decoder: a copy of the family's, its matrices in `precision`; it has hooks of its own.
    """

    family: Family
    decoder: TextDecoder
    precision: torch.dtype

    @property
    def targets(self) -> Sequence[nn.Module]:
        return self.decoder.targets

    def score(self, statements: Sequence[str], adapter: Adapter | None = None) -> Tensor:
        with torch.autocast(self.decoder.device.type, dtype=self.precision):
            return self.family.score_through(self.decoder, statements, adapter)
