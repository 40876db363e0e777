"""Supply a batch's clips: features for the keys, states for the hypernetwork, and the VLM with their frames in context.

`BankClips` makes `mini`'s from the bank of vision features; `encoded.EncodedClips` has those of any other VLM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from chunkv2l.models.mini.connector import Connector, VisionFeatures, unit_states
from chunkv2l.train.clips.bank import FeatureBank
from chunkv2l.train.core.decoder import Decoder, Past, go_on, read
from chunkv2l.train.data.batches import pad_rows

Teacher = Callable[[Tensor, Tensor], Tensor]
"""Takes owner [Q] and ids [Q, T] that follow the frames; returns the VLM's output states [Q, T, D] with clip `owner`'s
frames in context."""


@dataclass(frozen=True)
class Watched:
    """A batch of B clips.

    Attributes:
        states: input of the hypernetwork, [B, L, S, D].
        mask: [B, S], 1 where a token is real; None where all are.
        teacher: the VLM with the frames in context; None where that can't be had.
        features: [B, S', C], what the vision side sees and the keys pool; see `models.base.VLM.look`.
        features_mask: [B, S'], as `mask`.
        words: so many states at the end are of words (tags, and what closes the turn); the others are visual.
    """

    states: Tensor
    mask: Tensor | None
    teacher: Teacher | None
    features: Tensor
    features_mask: Tensor | None
    words: int = 0


@dataclass(frozen=True)
class Words:
    """Ids [B, T] that follow the visual tokens when a clip is read, right-padded; `mask` is 1 where one is real."""

    ids: Tensor
    mask: Tensor


class Clips(Protocol):
    """A supply of clips."""

    @property
    def device(self) -> torch.device: ...

    def clips(
        self, images: Tensor, frames: int, generator: torch.Generator | None = None, words: Words | None = None
    ) -> Watched:
        """Return a clip of about `frames` frames for each image [B], or interval of a video; no gradients flow to it.

        Without a generator they are the same clips every time.

        Args:
            words: what follows the visual tokens; None for the supply's own words.
        """
        ...

    def ids_before_question(self, image: int) -> list[int]:
        """Return the ids between a clip's visual tokens and a question asked with the frames in context: its tags."""
        ...

    def features(
        self, images: Tensor, frames: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return `Watched.features` and their mask for the clips that `clips` would return; no text block runs."""
        ...


@dataclass(frozen=True)
class Sight:
    """Build the embeddings of rows that follow frames."""

    decoder: Decoder
    connector: Connector
    opening: Tensor  # ids before the frames

    def prefix(self, features: VisionFeatures) -> Tensor:
        """Return the opening and the visual tokens, [B, P, D]."""
        visual = self.connector(VisionFeatures(features.grid.float(), features.cls.float()))
        visual = visual.to(self.decoder.embedding.dtype)
        opening = self.decoder.embed(self.opening).expand(visual.shape[0], -1, -1)
        return torch.cat([opening, visual], dim=1)

    def behind(self, prefix: Tensor, owner: Tensor, ids: Tensor, decoder: Decoder) -> Tensor:
        """Return the decoder's output [Q, T, D] over `ids` [Q, T] that follow clip `owner`'s prefix [B, P, D]."""
        return go_on(decoder, read(decoder, prefix)[0], owner, self.decoder.embed(ids))


@dataclass(frozen=True)
class BankClips:
    """Supply `mini`'s clips: vision features from the bank, through the connector, read by the decoder.

    Args:
        tail: ids that close the clip's turn when its states are read.
        tags: ids of each image's tags, where clips are read with such and features end with a classifier's
            probabilities; None without.
    """

    decoder: Decoder
    bank: FeatureBank
    sight: Sight
    tail: Tensor
    tags: Sequence[Sequence[int]] | None = None

    @property
    def device(self) -> torch.device:
        return self.bank.first.device

    @torch.no_grad()
    def clips(
        self, images: Tensor, frames: int, generator: torch.Generator | None = None, words: Words | None = None
    ) -> Watched:
        features = self._look(images, frames, generator)
        prefix = self.sight.prefix(features)
        words = words or self._words(images)
        states, past = read_states(self.decoder, prefix, words.ids)
        mask = None
        if not bool(words.mask.all()):
            mask = torch.cat([words.mask.new_ones(prefix.shape[:2]), words.mask], dim=1)
        teacher = teacher_after(self.decoder, past, prefix.shape[1])
        return Watched(states, mask, teacher, features.features(), None, words.ids.shape[1])

    @torch.no_grad()
    def features(
        self, images: Tensor, frames: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        return self._look(images, frames, generator).features(), None

    def ids_before_question(self, image: int) -> list[int]:
        return [] if self.tags is None else list(self.tags[image])

    def _look(self, images: Tensor, frames: int, generator: torch.Generator | None) -> VisionFeatures:
        features = self.bank.clips(images, frames, generator)
        return features if self.tags is not None else VisionFeatures(features.grid, features.cls)

    def _words(self, images: Tensor) -> Words:
        rows = [[*self.ids_before_question(image), *self.tail.tolist()] for image in images.tolist()]
        ids, mask = pad_rows(rows, 1 if self.tags is None else 4)
        return Words(ids.to(self.device), mask.to(self.device))


def teacher_after(decoder: Decoder, past: Past, keep: int | None = None) -> Teacher:
    """Return the teacher that goes on from the first `keep` tokens of what the decoder has read."""

    @torch.no_grad()
    def teacher(owner: Tensor, ids: Tensor) -> Tensor:
        return go_on(decoder, past, owner, decoder.embed(ids), keep)

    return teacher


def read_states(decoder: Decoder, prefix: Tensor, words: Tensor) -> tuple[Tensor, Past]:
    """Return the input of `mini`'s hypernetwork: each text block's input states, each over its root mean square.

    Args:
        prefix: [B, P, D], opening and visual tokens.
        words: [B, T] ids, right-padded where they are fewer; or [T], the same for all.

    Returns:
        [B, L, P + T, D] in the decoder's precision; the keys and values of prefix and words.
    """
    tokens = decoder.embed(words).expand(prefix.shape[0], -1, -1)
    past, states = read(decoder, torch.cat([prefix, tokens], dim=1), states=True)
    assert states is not None
    return unit_states(states), past
