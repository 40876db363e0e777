"""What a trained hypernetwork can do, on photographs that it has not seen (flickr8k_dev, or any set with captions).

Every figure is a mean over all questions of a kind; nats a token include the end of turn, as in training, except where
the router's score is meant, which leaves it out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chunkv2l.train.core.decoder import forward
from chunkv2l.train.core.losses import row_sums, token_nll
from chunkv2l.train.data.batches import Written, pad
from chunkv2l.train.data.questions import Described, NegativeNouns, exists_row, scene_row
from chunkv2l.train.stages.hypernet_stage import HypernetStage

Pair = tuple[str, str]


@dataclass(frozen=True)
class Measure:
    """Measures a stage on its own source's images.

    Args:
        stage: the trained parts, and the source whose image i is described by `described[i]`.
        frames: frames a clip.
        rows: text rows that go through the decoder at once.
        batch: clips that are looked at at once.
    """

    stage: HypernetStage
    described: Sequence[Described]
    negatives: NegativeNouns
    prompts: Written
    frames: int = 4
    rows: int = 256
    batch: int = 64

    @torch.no_grad()
    def clips(self) -> tuple[Tensor, Tensor, Tensor]:
        """codes [N, L, r, d], A and B of every image's clip (without bias)."""
        parts = []
        for images in self._batches():
            watched = self.stage.source.clips(images, self.frames)
            low = watched.states.dtype == torch.bfloat16
            with torch.autocast(watched.states.device.type, torch.bfloat16, enabled=low):
                codes = self.stage.trained.hypernet.encode(watched.states, watched.mask)
            parts.append((codes, *self.stage._factors(codes)))
        codes_, a, b = (torch.cat(column) for column in zip(*parts, strict=True))
        return codes_, a, b

    def _batches(self) -> list[Tensor]:
        return list(torch.split(torch.arange(len(self.described)), self.batch))

    @torch.no_grad()
    def nll(
        self, pairs: Sequence[Pair], a: Tensor | None, b: Tensor | None, which: Tensor | None = None, end: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Summed nats and token counts [Q] of answers under adapter `which[q]` of a stack (None: the only one)."""
        sums, counts = [], []
        for begin in range(0, len(pairs), self.rows):
            rows = [
                (self.prompts.ask(q), self.prompts.answer(x)[: None if end else -1])
                for q, x in pairs[begin : begin + self.rows]
            ]
            ids, labels = (t.to(self.stage.source.device) for t in pad(rows))
            chosen = slice(None) if which is None else which[begin : begin + self.rows]
            factors = (None, None) if a is None or b is None else (a[chosen], b[chosen])
            hidden, _ = forward(self.stage.decoder, self.stage.decoder.embed(ids), *factors, runner=self.stage.runner)
            values, owner = token_nll(hidden, self.stage.decoder.head, labels)
            sums.append(row_sums(values, owner, len(rows)))
            counts.append((labels != -100).sum(1))
        return torch.cat(sums), torch.cat(counts)

    @torch.no_grad()
    def nll_behind(self, *lists: Sequence[Pair]) -> list[tuple[Tensor, Tensor]]:
        """The same with the frames in context, of several lists: pair q behind clip q. None without a teacher."""
        found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in lists]
        for images in self._batches():
            teacher = self.stage.source.clips(images, self.frames).teacher
            if teacher is None:
                return []
            for pairs, parts in zip(lists, found, strict=True):
                chosen = pairs[int(images[0]) : int(images[-1]) + 1]
                rows = [(self.prompts.behind_frames(q), self.prompts.answer(x)) for q, x in chosen]
                ids, labels = (t.to(self.stage.source.device) for t in pad(rows))
                hidden = teacher(torch.arange(len(rows), device=ids.device), ids)
                values, row = token_nll(hidden, self.stage.decoder.head, labels)
                parts.append((row_sums(values, row, len(rows)), (labels != -100).sum(1)))
        return [(torch.cat([s for s, _ in parts]), torch.cat([c for _, c in parts])) for parts in found]

    def context(self) -> dict[str, float]:
        """Frames in context only: caption NLL a token, yes/no accuracy; nothing where they can't be had."""
        if not (found := self.nll_behind(self._captions(), *self._yes_no())):
            return {}
        captions, asked, other = found
        right = asked[0] < other[0]
        return {"nll_context": _mean(*captions), "yesno_context": right.float().mean().item()}

    def _captions(self) -> list[Pair]:
        return [("", image.captions[i % len(image.captions)]) for i, image in enumerate(self.described)]

    def _yes_no(self) -> tuple[list[Pair], list[Pair]]:
        """Questions with the right answer, and with the wrong one."""
        rng = random.Random(5)
        asked = [exists_row(image, self.negatives, rng) for image in self.described]
        return asked, [(q, "No." if x == "Yes." else "Yes.") for q, x in asked]

    def captions(self) -> dict[str, float]:
        """Caption NLL a token: frames in context, right clip's adapter, bias alone, a wrong clip's; yes/no accuracy."""
        _, a, b = self.clips()
        count = len(self.described)
        pairs = self._captions()
        own = torch.arange(count, device=a.device)
        full_a, full_b = self.stage.with_bias(a, b)
        bias_a, bias_b = self.stage.bias(1)
        figures = self.context() | {
            "nll_adapter": _mean(*self.nll(pairs, full_a, full_b, own)),
            "nll_wrong": _mean(*self.nll(pairs, full_a, full_b, (own + 1) % count)),
            "nll_bias": _mean(*self.nll(pairs, bias_a, bias_b)),
        }
        asked, other = self._yes_no()
        right = self.nll(asked, full_a, full_b, own)[0] < self.nll(other, full_a, full_b, own)[0]
        figures["yesno_adapter"] = right.float().mean().item()
        return {key: round(value, 4) for key, value in figures.items()}

    def find(self, sizes: Sequence[int] = (8, 64, 256)) -> dict[str, float]:
        """Text → segment: R@1 and R@5 among N, by the router's score; learned keys alone at the largest N."""
        _, a, b = self.clips()
        full_a, full_b = self.stage.with_bias(a, b)
        figures: dict[str, float] = {}
        fitting = [size for size in sizes if size <= len(self.described)]
        if not fitting:
            return {}
        largest = max(fitting)
        matrix = self._scores(
            [image.captions[1 % len(image.captions)] for image in self.described[:largest]], full_a, full_b
        )
        for size in fitting:
            ranks = []
            for begin in range(0, largest - size + 1, size):
                block = matrix[begin : begin + size, begin : begin + size]  # [clips, texts]
                ranks.append((block > block.diagonal()).sum(0))
            rank = torch.cat(ranks)
            figures[f"R@1/{size}"] = (rank < 1).float().mean().item()
            figures[f"R@5/{size}"] = (rank < 5).float().mean().item()
        similarity = self._similarity(largest)
        rank = (similarity > similarity.diagonal()).sum(0)
        for top in (1, 5, 32):
            figures[f"key R@{top}/{largest}"] = (rank < top).float().mean().item()
        return {key: round(value, 4) for key, value in figures.items()}

    def _scores(self, texts: Sequence[str], a: Tensor, b: Tensor) -> Tensor:
        """log p(text j | clip i) [clips, texts]; the prior doesn't change a text's ranking."""
        count = len(texts)
        out = torch.zeros(count, count)
        pairs = [("", text) for text in texts]
        for i in range(count):
            out[i] = -self.nll(pairs, a[i : i + 1], b[i : i + 1], end=False)[0].cpu()
        return out

    @torch.no_grad()
    def _similarity(self, count: int) -> Tensor:
        """Learned keys of the first `count` clips against learned queries of their texts [clips, texts]."""
        texts = [image.captions[1 % len(image.captions)] for image in self.described[:count]]
        asked = self.stage.trained.keys.of_sentences(self.stage.sentences(texts))
        own = []
        for images in torch.split(torch.arange(count), self.batch):
            own.append(self.stage.trained.keys.of_clips(*self.stage.source.features(images, self.frames)))
        return (torch.cat(own) @ asked.T).cpu()

    @torch.no_grad()
    def generate(self, count: int, longest: int = 24) -> list[str]:
        """Greedy captions from the first `count` clips' adapters, as token strings."""
        _, a, b = self.clips()
        count = min(count, len(a))
        a, b = self.stage.with_bias(a[:count], b[:count])
        ids = torch.tensor([self.prompts.ask("")] * count, device=a.device)
        start = ids.shape[1]
        for _ in range(longest):
            hidden = self.stage.answer(ids, a, b)
            ids = torch.cat([ids, (hidden[:, -1] @ self.stage.decoder.head.T).argmax(-1, keepdim=True)], dim=1)
        return [self.prompts.text(row[start:]) for row in ids.tolist()]

    def compose(self, sizes: Sequence[int] = (2, 4, 8, 16), groups: int = 24) -> dict[str, float]:
        """Questions that one of N clips answers: NLL under the right clip alone, the bias alone, sum, and mean."""
        _, a, b = self.clips()
        rng = random.Random(7)
        bias = self.stage.bias(1)
        full = self.stage.with_bias(a, b)
        figures: dict[str, float] = {}
        for size in sizes:
            if size > len(self.described):
                continue
            pairs, owners, members = [], [], []
            for group in range(max(groups, 128 // size)):
                chosen = [(group * size + k) % len(self.described) for k in range(size)]
                for k in chosen:
                    others = frozenset().union(*(self.described[j].nouns for j in chosen if j != k))
                    row = scene_row(self.described[k], rng, others)
                    if row:
                        pairs.append(row)
                        owners.append(k)
                        members.append(chosen)
            if not pairs:
                continue
            which = torch.tensor(owners, device=a.device)
            figures[f"{size} right"] = _mean(*self.nll(pairs, *full, which))
            figures[f"{size} bias"] = _mean(*self.nll(pairs, *bias))
            for name, weight in (("sum", 1.0), ("mean", 1.0 / size)):
                figures[f"{size} {name}"] = self._composed(pairs, members, a * weight, b)
        return {key: round(value, 4) for key, value in figures.items()}

    def _composed(self, pairs: list[Pair], members: list[list[int]], a: Tensor, b: Tensor) -> float:
        total = count = 0.0
        step = max(1, 128 // len(members[0]))
        for begin in range(0, len(pairs), step):
            chosen = torch.tensor(members[begin : begin + step], device=a.device)
            joined = (t[chosen].transpose(1, 2).flatten(2, 3) for t in (a, b))
            which = torch.arange(len(chosen), device=a.device)
            nats, tokens = self.nll(pairs[begin : begin + step], *self.stage.with_bias(*joined), which)
            total, count = total + nats.sum().item(), count + tokens.sum().item()
        return total / count


def _mean(nats: Tensor, tokens: Tensor) -> float:
    return (nats.sum() / tokens.sum()).item()
