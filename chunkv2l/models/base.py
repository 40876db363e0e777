"""The one interface that every frozen vision-language model implements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter

if TYPE_CHECKING:
    from chunkv2l.video.clip import Clip


class TextScorer(Protocol):
    """What says how likely a statement is: a model, or its coarse way.

    Symbols: L text blocks, I intermediate size (`down_proj` maps I to D, the hidden size).
    """

    @property
    def targets(self) -> Sequence[nn.Module]:
        """The L `down_proj` modules in block order: where `inject` puts an adapter."""
        ...

    def score(self, statements: Sequence[str], adapter: Adapter | None = None) -> Tensor:
        """log p(statement | scoring prompt) in nats, summed over the statement's tokens, end of turn excluded.

        Args:
            adapter: none or one (A [L, R, I]): returns [1, T]; or N of them (A [N, L, R, I]): returns [N, T].

        Returns:
            float32 [N, T]; log-softmax in float32.
        """
        ...


class CoarseScorer(TextScorer, Protocol):
    """A way to score that is faster than the model's own and a little off, with targets of its own.

    Its numbers compare with each other, not with the model's.
    """

    @property
    def precision(self) -> torch.dtype:
        """What its adapters may be expanded in."""
        ...


class VLM(TextScorer, Protocol):
    """A frozen vision-language model: text in, text out, and the per-layer states that a hypernetwork reads.

    Symbols: L text blocks, D hidden size, I intermediate size (`down_proj` maps I to D), S tokens of a clip; C channels
    of what its vision side sees, the same for all clips.
    """

    name: str
    caption_question: str
    """What `build` asks for each segment's caption; "" stands for the bare caption prompt."""
    exact_frames: bool
    """Whether a clip's frames must be the very ones shown at its sample times; if not, neighbours up to 1/16 s away
    will do, which takes less time and memory (`cutting.cut`)."""

    @property
    def device(self) -> torch.device: ...

    @property
    def coarse(self) -> CoarseScorer | None:
        """The model's coarse way to score; None where nothing is faster than its own."""
        ...

    def sample_times(self, duration: float, fps: float) -> list[float]:
        """Seconds from a segment's start at which its frames are taken (at least one, ascending).

        Args:
            duration: the segment's length in seconds.
            fps: the movie's mean frame rate; families that count frames use it.
        """
        ...

    def shrink(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A decoded frame, uint8 [H, W, 3] RGB, as the model wants it kept until its clip is complete (uint8 RGB)."""
        ...

    def look(self, clips: Sequence[Clip]) -> list[Tensor]:
        """What the vision side sees of each clip, before any text block: what learned keys pool.

        Returns:
            of each clip features [S_i, C], frame by frame, float32 or in the model's precision; S_i grows with its
            frames.
        """
        ...

    def encode(self, clips: Sequence[Clip], seen: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """States that the hypernetwork reads.

        Args:
            seen: what `look` gave of these clips, so that they aren't looked at again; None to look now.

        Returns:
            states [B, L, S, D] float, index i is the input of text block i; mask [B, S], 1 where a token is real.
        """
        ...

    def prompt_ids(self, question: str) -> list[int]:
        """Token ids of the text-only prompt for a question; no visual token. "" gives the caption prompt."""
        ...

    def generate(
        self,
        questions: Sequence[str],
        adapter: Adapter | None = None,
        max_new_tokens: int = 64,
        *,
        on_first_token: Callable[[], None] | None = None,
    ) -> list[str]:
        """Greedy answers, without special tokens, up to the model's end of turn.

        Args:
            adapter: none (the bare model), one for all questions (A [L, R, I]), or one per question (A [Q, L, R, I]).
            on_first_token: called once, when the first token is known.
        """
        ...

    def count_tokens(self, statement: str) -> int:
        """Return T, the statement's tokens: full stop included, end of turn excluded (docs/algorithm.md, step 20)."""
        ...
