"""What every family of frozen models does with words, once it has said how its prompts and answers are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.models.base import CoarseScorer
from chunkv2l.models.text.decoder import TextDecoder, score
from chunkv2l.models.text.greedy import greedy

if TYPE_CHECKING:
    from chunkv2l.video.clip import Clip


class Family(ABC):
    """The half of `chunkv2l.models.base.VLM` that all families share; see there for what the methods promise.

    Attributes:
        decoder: the language model; a family sets it.
    """

    decoder: TextDecoder

    @property
    def device(self) -> torch.device:
        return self.decoder.device

    @property
    def targets(self) -> Sequence[nn.Module]:
        return self.decoder.targets

    @property
    def coarse(self) -> CoarseScorer | None:
        return None

    # --- what a family says of itself ----------------------------------------------------------------------------

    @property
    @abstractmethod
    def channels(self) -> int:
        """C of `look`."""

    @abstractmethod
    def look(self, clips: Sequence[Clip]) -> list[Tensor]:
        """What the vision side sees of each clip: features [S_i, C].

        Raises:
            InputError: no clip, or one that can't be looked at.
        """

    @abstractmethod
    def prompt_ids(self, question: str) -> list[int]:
        """Token ids of the text-only prompt for a question; "" gives the caption prompt."""

    @abstractmethod
    def statement_ids(self, statement: str) -> list[int]:
        """The statement's tokens as they follow the caption prompt, end of turn excluded."""

    @abstractmethod
    def _text(self, ids: Sequence[int]) -> str:
        """What an answer's tokens say, without special tokens."""

    @abstractmethod
    def _clip_prompts(self, clips: Sequence[Clip], question: str, seen: Sequence[Tensor] | None = None) -> list[Tensor]:
        """For each clip [S_i, D]: the prompt with its frames beside the question ("": caption prompt), embedded.

        Args:
            seen: what `look` gave of these clips; None to look now.
        """

    # --- what follows from it ------------------------------------------------------------------------------------

    def count_tokens(self, statement: str) -> int:
        return len(self.statement_ids(statement))

    def generate(
        self,
        questions: Sequence[str],
        adapter: Adapter | None = None,
        max_new_tokens: int = 64,
        *,
        on_first_token: Callable[[], None] | None = None,
    ) -> list[str]:
        """Greedy answers, one a question; `on_first_token` is called once, when the first token is known."""
        prompts = [self.prompt_ids(question) for question in questions]
        rows = greedy(self.decoder, prompts, adapter, max_new_tokens, on_first_token=on_first_token)
        return [self._text(row) for row in rows]

    def score(self, statements: Sequence[str], adapter: Adapter | None = None) -> Tensor:
        return self.score_through(self.decoder, statements, adapter)

    def score_through(self, decoder: TextDecoder, statements: Sequence[str], adapter: Adapter | None = None) -> Tensor:
        """`score`, by a language model that stands in for the family's own."""
        return score(decoder, self.prompt_ids(""), [self.statement_ids(item) for item in statements], adapter)

    # --- the same with the frames in context: what adapters are compared with -------------------------------------

    @torch.no_grad()
    def generate_from_frames(
        self,
        clips: Sequence[Clip],
        question: str,
        max_new_tokens: int = 64,
        *,
        on_first_token: Callable[[], None] | None = None,
    ) -> list[str]:
        """What the bare model answers when it sees each clip's frames beside the question ("": caption prompt)."""
        prompts = self._clip_prompts(clips, question)
        rows = greedy(self.decoder, prompts, None, max_new_tokens, on_first_token=on_first_token)
        return [self._text(row) for row in rows]

    @torch.no_grad()
    def score_from_frames(self, clips: Sequence[Clip], statements: Sequence[str]) -> Tensor:
        """log p(statement | frames, caption prompt) of the bare model, nats, float32 [clips, statements]."""
        ids = [self.statement_ids(item) for item in statements]
        return torch.cat([score(self.decoder, prompt, ids) for prompt in self._clip_prompts(clips, "")])


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
