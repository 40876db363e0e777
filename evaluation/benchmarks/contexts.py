"""Run the bare frozen model with any number of frames before a question, to time an index against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chunkv2l.adapter.inject import inject
from chunkv2l.models.family import Family
from chunkv2l.video.clip import Clip


@dataclass(frozen=True)
class Look:
    """Shrunk frames, uint8 [H, W, 3], spread evenly over so many seconds."""

    frames: tuple[NDArray[np.uint8], ...]
    seconds: float


@dataclass(frozen=True)
class Prompt:
    """Embeddings of the frames [S, D], with everything before the question, and of the question [Q, D]."""

    frames: Tensor
    question: Tensor


class Reader:
    """Read frames in a frozen model's context, up to the first token of the answer."""

    def __init__(self, vlm: Family) -> None:
        self._vlm = vlm

    def most_frames(self, pictures: Sequence[NDArray[np.uint8]], question: str) -> int:
        """Return the number of frames that fit into the model's context, with the question and a token of answer."""
        limit = self._vlm.decoder.max_tokens
        few, more = (
            self.look(Look(tuple(pictures[i % len(pictures)] for i in range(n)), 60.0 * n), question) for n in (2, 10)
        )
        each = -(-(len(more.frames) - len(few.frames)) // 8)
        return max(1, 2 + (limit - 1 - len(few.frames) - len(few.question)) // each)

    @torch.inference_mode()
    def look(self, look: Look, question: str) -> Prompt:
        """Return the prompt with the frames' embeddings."""
        count = len(look.frames)
        times = tuple(look.seconds * n / count for n in range(count))
        return Prompt(*self._vlm.embed_context(Clip(look.frames, times, look.seconds, 1.0), question))

    @torch.inference_mode()
    def read(self, prompt: Prompt) -> int:
        """Read the whole prompt and return the first token of the answer."""
        embeds = torch.cat([prompt.frames, prompt.question])[None]
        with inject(self._vlm.targets, None):
            return self._token(self._vlm.decoder.run(embeds, self._ones(embeds.shape[1])))

    @torch.inference_mode()
    def keep(self, prompt: Prompt) -> Any:
        """Return the key-value cache of the frames."""
        from transformers import DynamicCache

        cache: Any = DynamicCache()
        with inject(self._vlm.targets, None):
            self._vlm.decoder.run(prompt.frames[None], self._ones(len(prompt.frames)), cache)
        return cache

    @torch.inference_mode()
    def go_on(self, prompt: Prompt, cache: Any) -> int:
        """Read the question on a kept cache, restore the cache, and return the first token."""
        begin, count = len(prompt.frames), len(prompt.question)
        places = torch.arange(begin, begin + count, device=prompt.question.device)[None]
        with inject(self._vlm.targets, None):
            out = self._vlm.decoder.run(prompt.question[None], self._ones(begin + count), cache, position_ids=places)
        token = self._token(out)
        cache.crop(-count)
        return token

    def bytes_of(self, cache: Any) -> int:
        """Return the bytes of a cache."""
        return sum(t.nbytes for layer in cache.layers for t in (layer.keys, layer.values))

    def seconds(self, run: Callable[[], int]) -> float:
        """Return the seconds that a function takes."""
        started = perf_counter()
        run()
        return perf_counter() - started

    def _ones(self, count: int) -> Tensor:
        return torch.ones(1, count, dtype=torch.long, device=self._vlm.device)

    def _token(self, out: Any) -> int:
        return int(self._vlm.decoder.head(out.last_hidden_state[:, -1]).argmax(-1))
