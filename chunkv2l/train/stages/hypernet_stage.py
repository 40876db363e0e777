"""Compute the losses of stage 2: the hypernetwork learns to internalise clips, to be composed, and to be found.

- internalise: cross-entropy on text with zero visual tokens (arXiv 2606.04351), and the distribution of the same VLM
  with the frames in context as a second target;
- compose: several clips' adapters side by side, weighted as the policies do, the bias once; one clip answers, and the
  VLM with that clip's frames in context is a second target here too;
- find: symmetric InfoNCE over router scores (clips × texts), computed only for clips that the learned keys confuse; and
  InfoNCE over the keys in batches of every objective. Keys and hypernetwork share neither weights nor inputs: batches
  of the objective "keys" don't change the hypernetwork, and no text block runs for them.

The VLM is frozen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chunkv2l.hypernet import Hypernetwork
from chunkv2l.hypernet.keys import Keys
from chunkv2l.models.sentence.minilm import Sentences
from chunkv2l.train.clips.base import Clips, Words
from chunkv2l.train.core import distributed
from chunkv2l.train.core.decoder import Decoder, Runner, forward
from chunkv2l.train.core.losses import (
    answer_nats,
    apart_from_equals,
    distil,
    divergence,
    group_nce,
    info_nce,
    multi_positive_nce,
    neighbourhoods,
    row_sums,
    short_weight,
    token_nll,
)
from chunkv2l.train.data.batches import Batch, pad
from chunkv2l.train.data.naming import name_label
from chunkv2l.train.data.nouns import NOUNS, NUMBERS, bare_name
from chunkv2l.train.stages.key_teachers import KeyTeachers

Figures = dict[str, Tensor]


LEAST_TEMPERATURE: Final = 0.7
"""Temperature below which the router's scores aren't sharpened: lower, a few wrong texts outweigh all right ones."""


class Trained(nn.Module):
    """The parts that stage 2 trains: hypernetwork, keys, and the temperature of the router's scores.

    Args:
        channels: C of the vision features that the keys pool.
        key_dropout: see `Keys`.
        vocabulary: as `Keys` has it.
    """

    def __init__(
        self, hypernet: Hypernetwork, channels: int, key_dropout: float = 0.0, vocabulary: Tensor | None = None
    ) -> None:
        super().__init__()
        self.hypernet = hypernet
        self.keys = Keys(channels, dropout=key_dropout, vocabulary=vocabulary)
        if vocabulary is not None:
            self.keys.align_names()
        self.log_temperature = nn.Parameter(torch.tensor(0.0))


@dataclass(frozen=True)
class Weights:
    """Weights of the parts of the loss, and sizes that belong to them.

    Attributes:
        distil: share of the second target, the VLM with frames in context; the other share is cross-entropy.
        find: InfoNCE over router scores, in batches of the objective "find".
        key: InfoNCE over learned keys, in every batch.
        taught: KL divergence from the keys' teachers, if there are any, in batches of the objective "keys".
        named: InfoNCE over keys and the bare names of things ("A dog."), each true of all clips whose texts mention it,
            in batches of the objective "keys".
        scored: clips of a "find" batch that get router scores; all get keys.
        hard: clips in a group, within which router scores are compared: the keys confuse a group's clips.
        short: weight of the tokens of short answers ("Yes."), which long captions outnumber.
        kept: shares of a clip's tokens that the hypernetwork reads, and of its features that the keys pool; one is
            drawn for each batch. Fewer tokens are faster, and harder to memorise.
    """

    distil: float = 0.5
    find: float = 0.3
    key: float = 0.2
    taught: float = 2.0
    named: float = 0.0
    scored: int = 128
    hard: int = 16
    short: float = 1.0
    kept: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class HypernetStage:
    """Compute the loss of a batch, for the clips of one source."""

    trained: Trained
    decoder: Decoder
    source: Clips
    generator: torch.Generator
    runner: Runner
    sentences: Sentences
    weights: Weights = Weights()
    teachers: KeyTeachers | None = None
    names: tuple[str, ...] = NOUNS

    def loss(self, batch: Batch, progress: float) -> tuple[Tensor, Figures]:
        """Return the loss of a batch, and figures for the log."""
        batch = batch.to(self.source.device)
        if batch.objective == "keys":
            features, mask = self.source.features(batch.images, batch.frames, self.generator)
            clip_keys = self._keys_of(features, mask, batch.draw)
            loss, figures, _ = self._keys(batch, clip_keys)
            if self.weights.named and batch.named is not None and batch.named.any():
                named = self._naming(batch.named, batch.counted, clip_keys)
                loss, figures["named"] = loss + self.weights.named * named, named.detach()
            if self.teachers is not None:
                taught = self._taught(self.teachers, batch)
                loss, figures["taught"] = loss + self.weights.taught * taught, taught.detach()
            return loss, figures
        words = None
        if batch.reading_ids is not None and batch.reading_mask is not None:
            words = Words(batch.reading_ids, batch.reading_mask)
        watched = self.source.clips(batch.images, batch.frames, self.generator, words)
        states, mask = self._thinned(watched.states, watched.mask, batch.draw, 0 if words is None else watched.words)
        clip_keys = self._keys_of(watched.features, watched.features_mask, batch.draw)
        keys, figures, similarity = self._keys(batch, clip_keys)
        if batch.objective == "find":
            del watched
            return self._find(batch, self._codes(states, mask), similarity, keys, figures)
        codes = self._codes(states, mask)
        a, b = self.factors(codes)
        teacher = None
        if self.weights.distil and watched.teacher is not None:
            teacher = watched.teacher(batch.owner, batch.behind_ids)
        del watched, states, mask
        hidden, name = (
            self._internalise(batch, a, b) if batch.objective == "internalise" else self._compose(batch, a, b)
        )
        return self._answer_loss(batch, hidden, teacher, name, keys, figures)

    def _keys_of(self, features: Tensor, mask: Tensor | None, draw: int) -> Tensor:
        """Return keys of clips, from a random choice of their features and all of a classifier's probabilities."""
        keys = self.trained.keys
        return keys.of_clips(*self._thinned(features, mask, draw, keys.name_rows))

    def _thinned(self, tokens: Tensor, mask: Tensor | None, draw: int, last: int = 0) -> tuple[Tensor, Tensor | None]:
        """Return a random choice of the clips' tokens [B, ..., S, D], the same for all; with a mask, always the first
        token.

        Args:
            last: tokens at the end that are all kept.
        """
        share = self.weights.kept[draw % len(self.weights.kept)]
        if share >= 1:
            return tokens, mask
        count = tokens.shape[-2] - last
        order = torch.randperm(count, device=tokens.device, generator=self.generator)
        order = order[: max(1, round(share * count))].sort().values
        order = torch.cat([order, torch.arange(count, count + last, device=order.device)])
        if mask is None:
            return tokens[..., order, :], None
        order[0] = 0  # a token that every clip has
        return tokens[..., order, :], mask[:, order]

    def _codes(self, states: Tensor, mask: Tensor | None) -> Tensor:
        with torch.autocast(states.device.type, torch.bfloat16):
            return self.trained.hypernet.encode(states, mask)

    def factors(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return A [B, L, r, I] and scaling · B [B, L, r, D] of codes, in the decoder's precision."""
        with torch.autocast(codes.device.type, torch.bfloat16):
            adapter = self.trained.hypernet.expand(codes)
        dtype = self.decoder.embedding.dtype
        return adapter.A.to(dtype), (adapter.B * adapter.scaling).to(dtype)

    def bias(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the bias adapter, A and scaling · B, `count` times."""
        bias, dtype = self.trained.hypernet.bias, self.decoder.embedding.dtype
        return bias.A.to(dtype).expand(count, -1, -1, -1), (bias.B * bias.scaling).to(dtype).expand(count, -1, -1, -1)

    def with_bias(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Append the bias adapter's ranks to each adapter's."""
        bias_a, bias_b = self.bias(a.shape[0])
        return torch.cat([a, bias_a], dim=2), torch.cat([b, bias_b], dim=2)

    def answer(self, ids: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return output states of text-only rows; each adapter serves the same number of consecutive rows."""
        return forward(self.decoder, self.decoder.embed(ids), a, b, runner=self.runner)[0]

    def answer_nats(self, rows: Sequence[tuple[list[int], list[int]]], a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return −log p of the answers of (prompt, answer) rows, summed, and their tokens, [Q] both; as `answer`."""
        ids, labels = (t.to(self.source.device) for t in pad(rows))
        return answer_nats(self.answer(ids, a, b), self.decoder.head, labels)

    def _answer_loss(
        self, batch: Batch, hidden: Tensor, teacher: Tensor | None, name: str, keys: Tensor, figures: Figures
    ) -> tuple[Tensor, Figures]:
        values, row = token_nll(hidden, self.decoder.head, batch.labels)
        weight = short_weight(batch.labels, row, self.weights.short)
        loss = nll = (values * weight).sum() / weight.sum()
        figures[name] = values.mean().detach()
        if teacher is not None:
            kl = distil(hidden, teacher, self.decoder.head, batch.labels, batch.behind_labels)
            loss = (1 - self.weights.distil) * nll + self.weights.distil * kl
            figures["distil"] = kl.detach()
        return loss + self.weights.key * keys, figures

    def _internalise(self, batch: Batch, a: Tensor, b: Tensor) -> tuple[Tensor, str]:
        return self.answer(batch.ids, *self.with_bias(a, b)), "internalise"

    def _compose(self, batch: Batch, a: Tensor, b: Tensor) -> tuple[Tensor, str]:
        groups, parts = a.shape[0] // batch.parts, batch.parts
        rows = batch.owner.shape[0] // groups
        draw = batch.draw % 5
        if draw < 3:  # one composition a group: all at weight 1, or all at 1 / k
            weight = 1.0 if draw < 1 else 1.0 / parts
            a, b = (side_by_side(_grouped(t, groups, parts)) for t in (a * weight, b))
        else:  # a composition a row, like those of a router that mostly prefers the right clip
            owner = F.one_hot(batch.owner % parts, parts).float()  # [Q, N]
            noise = torch.randn(owner.shape, device=a.device, generator=self.generator)
            weights = (2.0 * owner + noise).softmax(-1).to(a.dtype)
            group = torch.arange(groups, device=a.device).repeat_interleave(rows)
            chosen = _grouped(a, groups, parts)[group] * weights[:, :, None, None, None]
            a, b = side_by_side(chosen), side_by_side(_grouped(b, groups, parts)[group])
        hidden = self.answer(batch.ids, *self.with_bias(a, b))
        return hidden, f"compose_{'sum' if draw < 1 else 'mean' if draw < 3 else 'route'}"

    def _keys(self, batch: Batch, clip_keys: Tensor) -> tuple[Tensor, Figures, Tensor]:
        """Return InfoNCE over learned keys and the clips of all processes, figures, and this process's cosines [clips,
        texts].

        More clips are more negatives.
        """
        keys = self.trained.keys
        text_keys = keys.of_sentences(self.sentences(batch.said))
        scale = keys.log_scale.exp()
        table = distributed.gather(clip_keys) @ distributed.gather(text_keys).T
        texts = distributed.gather(torch.tensor([hash_text(text) for text in batch.said], device=clip_keys.device))
        scores = apart_from_equals(table * scale, texts[:, None] == texts[None])
        nce = info_nce(scores, 1.0) * distributed.count()
        right = torch.arange(table.shape[0], device=table.device)
        figures = {"key": nce.detach() / distributed.count(), "key_found": (table.argmax(0) == right).float().mean()}
        return nce, figures, (clip_keys @ text_keys.T).detach()

    def _naming(self, named: Tensor, counted: Tensor | None, clip_keys: Tensor) -> Tensor:
        """Return InfoNCE over bare names and this process's clips; the temperature gets no gradient from it."""
        keys = self.trained.keys
        name_keys = keys.of_sentences(self.sentences([name_bare(name) for name in self.names]))
        return multi_positive_nce(clip_keys @ name_keys.T * keys.log_scale.exp().detach(), named, counted)

    def _taught(self, teachers: KeyTeachers, batch: Batch) -> Tensor:
        """Return the keys' divergence from their teachers, on half as many images without texts and the batch's
        statements."""
        images = teachers.draw(max(1, len(batch.images) // 2), self.generator)
        features, mask = self.source.features(images, batch.frames, self.generator)
        sentences, keys = self.sentences(batch.said), self.trained.keys
        target = teachers.scores(features, mask, sentences, keys.name_rows)
        clip_keys = self._keys_of(features, mask, batch.draw)
        return divergence(clip_keys @ keys.of_sentences(sentences).T * keys.log_scale.exp(), target)

    def _groups(self, similarity: Tensor, size: int, count: int) -> Tensor:
        """Return groups of clips that the keys confuse, with noise: [count, size]."""
        noise = torch.empty_like(similarity).exponential_(generator=self.generator).log()
        return neighbourhoods(similarity * self.trained.keys.log_scale.exp().detach() - noise, size, count)

    def _find(
        self, batch: Batch, codes: Tensor, similarity: Tensor, keys: Tensor, figures: Figures
    ) -> tuple[Tensor, Figures]:
        with torch.no_grad():  # the prior: its gradient would make clips' texts unlikely under the bias
            blank = self.answer(batch.said_ids, *self.bias(batch.said_ids.shape[0]))
        size = min(self.weights.hard, codes.shape[0])
        groups = self._groups(similarity, size, max(1, min(self.weights.scored, codes.shape[0]) // size))
        rows = groups[:, None].expand(-1, size, -1).flatten()  # each clip with all texts of its group
        ids, labels = batch.said_ids[rows], batch.said_labels[rows]
        hidden = self.answer(ids, *self.with_bias(*self.factors(codes[groups.flatten()])))
        nll, row = token_nll(hidden, self.decoder.head, labels)
        under_clip = -row_sums(nll, row, len(rows)).view(-1, size, size)  # log p of those texts under each clip
        prior, prior_row = token_nll(blank, self.decoder.head, batch.said_labels)
        tokens = (batch.said_labels != -100).sum(1)[groups]  # [groups, texts]
        under_bias = -row_sums(prior, prior_row, codes.shape[0])
        temperature = self.trained.log_temperature.exp().clamp(min=LEAST_TEMPERATURE)
        scores = (under_clip - under_bias[groups][:, None]) / tokens[:, None].sqrt() / temperature
        texts = batch.said_ids[groups]
        nce, share_found = group_nce(scores, (texts[:, :, None] == texts[:, None]).all(-1))
        caption = -under_clip.diagonal(dim1=1, dim2=2).sum() / tokens.sum()
        figures |= {"find": nce.detach(), "found": share_found}
        return self.weights.find * nce + self.weights.key * keys + 0.5 * caption, figures


def name_bare(name: str) -> str:
    """Return the statement by which a thing is looked for by its name alone: "A dog.", "Snow."."""
    return bare_name(name) if name in NUMBERS else name_label(name)


def hash_text(text: str) -> int:
    """Return a number that tells texts apart, the same in all processes."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


def side_by_side(factors: Tensor) -> Tensor:
    """Join the factors of compositions' clips [Q, M, L, r, ·] along the rank: [Q, L, M · r, ·]."""
    return factors.transpose(1, 2).flatten(2, 3)


def _grouped(x: Tensor, groups: int, parts: int) -> Tensor:
    """Reshape [groups · parts, …] to [groups, parts, …]."""
    return x.view(groups, parts, *x.shape[1:])
