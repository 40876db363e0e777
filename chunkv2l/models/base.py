"""State what a frozen vision-language model is to the rest of the toolkit, and how a family of them is loaded.

A new family touches two places: its own package, which has a `VLM` (most simply a `models.family.Family`) and a
`Loader`, and one line in `models.registry`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter

if TYPE_CHECKING:
    from chunkv2l.video.clip import Clip
    from chunkv2l.video.frame_sampling import FrameSampling

LLAMA_PATH = "model.layers.{i}.mlp.down_proj"


class TextScorer(Protocol):
    """Score statements: a model, or its coarse way to.

    Symbols: L text blocks, I intermediate size (`down_proj` maps I to D, the hidden size).
    """

    @property
    @abstractmethod
    def targets(self) -> Sequence[nn.Module]:
        """Return the L `down_proj` modules in block order: where `inject` puts an adapter."""

    @abstractmethod
    def score(self, statements: Sequence[str], adapter: Adapter | None = None) -> Tensor:
        """Return log p(statement | scoring prompt), in nats, summed over the statement's tokens without end of turn.

        Args:
            adapter: none or one (A [L, R, I]): returns [1, T]; or N of them (A [N, L, R, I]): returns [N, T].

        Returns:
            float32 [N, T]; log-softmax in float32.
        """


class CoarseScorer(TextScorer, Protocol):
    """Score statements faster than the model itself and a little off, through targets of its own.

    The scores compare with each other, not with the model's.
    """

    @property
    @abstractmethod
    def precision(self) -> torch.dtype:
        """Return the precision in which its adapters may be expanded."""


@dataclass(frozen=True)
class AdapterBase:
    """The transformers model that exported adapters are loaded on.

    Attributes:
        name: what the adapters' configuration says that they belong to.
        module_path: where block i's `down_proj` is in that model, {i} standing for the block's number.
        save: writes that model as a folder; None where it is used as it was published. Raises ChunkV2LError where the
            folder can't be written.
    """

    name: str
    module_path: str = LLAMA_PATH
    save: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class Tag:
    """A name for what a clip shows, by a classifier, and its probability."""

    name: str
    p: float


class VLM(TextScorer, Protocol):
    """A frozen vision-language model: text in, text out, and the per-layer states that a hypernetwork reads.

    Symbols: L text blocks, D hidden size, I intermediate size (`down_proj` maps I to D), S tokens of a clip; C channels
    of the vision features, the same for all clips.

    Attributes:
        name: what an index calls the model.
        caption_question: what `build` asks for each segment's caption; "" stands for the bare caption prompt.
    """

    name: str
    caption_question: str

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Return the device that the model runs on."""

    @property
    @abstractmethod
    def coarse(self) -> CoarseScorer | None:
        """Return the model's coarse way to score; None where nothing is faster than its own."""

    @property
    @abstractmethod
    def sampling(self) -> FrameSampling:
        """Return the rule by which a clip's frames are taken from a segment."""

    @property
    @abstractmethod
    def adapter_base(self) -> AdapterBase:
        """Return what an exported adapter is loaded on."""

    @abstractmethod
    def look(self, clips: Sequence[Clip]) -> list[Tensor]:
        """Return each clip's vision features, made before any text block: what learned keys pool.

        Returns:
            of each clip features [S_i, C], frame by frame, float32 or in the model's precision; S_i grows with its
            frames.

        Raises:
            InputError: no clip, or one that can't be looked at.
        """

    @abstractmethod
    def encode(self, clips: Sequence[Clip], features: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Return the states that the hypernetwork reads.

        Args:
            features: what `look` returned for these clips, so that they aren't looked at again; None to look now.

        Returns:
            states [B, L, S, D] float, index i is the input of text block i; mask [B, S], 1 where a token is real.
        """

    @abstractmethod
    def classify(self, features: Sequence[Tensor]) -> list[tuple[Tag, ...]]:
        """Return each clip's tags, the likeliest first, from what `look` returned; none without a classifier.

        They are stored, searched and shown. They never stand in the prompt of a question.
        """

    @abstractmethod
    def prompt_ids(self, question: str) -> list[int]:
        """Return the token ids of the text-only prompt for a question; no visual token. "" gives the caption prompt."""

    @abstractmethod
    def count_tokens(self, statement: str) -> int:
        """Return T, the statement's tokens: full stop included, end of turn excluded (docs/algorithm.md, step 20)."""

    @abstractmethod
    def generate(
        self,
        questions: Sequence[str],
        adapter: Adapter | None = None,
        max_new_tokens: int = 64,
        *,
        on_first_token: Callable[[], None] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[str]:
        """Return greedy answers, one a question, without special tokens, up to the model's end of turn.

        Args:
            adapter: none (the bare model), one for all questions (A [L, R, I]), or one per question (A [Q, L, R, I]).
            on_first_token: called once, when the first token is known.
            on_text: called with the first question's answer so far, after each of its tokens; what it raises ends the
                generation.
        """
