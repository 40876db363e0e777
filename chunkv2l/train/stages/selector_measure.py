"""Measure a selector in training, on the images that a run keeps aside: the figures of its log."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from chunkv2l.query.parse import statement
from chunkv2l.train.data.batches import Written
from chunkv2l.train.data.questions import Described
from chunkv2l.train.stages.code_bank import CodeBank
from chunkv2l.train.stages.hypernet_stage import side_by_side
from chunkv2l.train.stages.measure import SceneQuestion, rank_in_blocks
from chunkv2l.train.stages.selector_stage import SelectorStage

BEST: Final = 8
"""Segments that are composed."""
KEY_SCALES: Final = (0.0, 8.0, 12.0, 16.0, 20.0, 26.0, 34.0, 44.0)
"""Weights that the cosine of a key may have beside the selector's evidence."""
_ROWS: Final = 64


@dataclass(frozen=True)
class SelectorSubject:
    """The clips that a selector is measured on.

    Attributes:
        stage: what is measured; its bank is the training clips'.
        bank: of the clips that are described.
    """

    stage: SelectorStage
    bank: CodeBank
    described: Sequence[Described]
    prompts: Written

    @torch.no_grad()
    def tables(self, texts: list[str], clips: int) -> tuple[Tensor, Tensor]:
        """Return evidence and cosines of keys, [clips, texts] both, of clips 0 … `clips` − 1."""
        codes, keys = self.bank.codes[0, :clips].float(), self.bank.keys[0, :clips]
        selector = self.stage.trained.selector
        slots = selector.slots(codes)
        parts = [
            selector.compare(self.stage.words(texts[first : first + 16]), slots).evidence
            for first in range(0, len(texts), 16)
        ]
        queries = self.stage.stage.trained.keys.of_sentences(self.stage.stage.sentences(texts))
        return torch.cat(parts).T.float(), keys.float() @ queries.T

    def figures(self) -> dict[str, float]:
        """Return R@1 and R@5 by evidence, keys and both, and what compositions keep of the right clip's answer."""
        self.stage.trained.eval()
        try:
            key_scale, figures = self.find_figures()
            return figures | self.kept_figures(key_scale)
        finally:
            self.stage.trained.train()

    def find_figures(self) -> tuple[float, dict[str, float]]:
        """Return the best weight of keys, and the figures of finding."""
        count = min(256, len(self.described))
        texts = [image.captions[1 % len(image.captions)] for image in self.described[:count]]
        evidence, cosines = self.tables(texts, count)
        figures: dict[str, float] = {}
        by_scale = {
            scale: float((rank_in_blocks(evidence + scale * cosines, count) < 1).float().mean()) for scale in KEY_SCALES
        }
        best = max(by_scale, key=by_scale.__getitem__)
        figures["best key scale"] = best
        for name, table in (("evidence", evidence), ("keys", cosines), ("both", evidence + best * cosines)):
            for size in (64, 256):
                whole = count // size * size
                if whole:
                    ranks = rank_in_blocks(table[:whole, :whole], size)
                    figures[f"{name} R@1/{size}"] = float((ranks < 1).float().mean())
                    figures[f"{name} R@5/{size}"] = float((ranks < 5).float().mean())
        figures |= {f"both R@1/{count} at {scale:g}": value for scale, value in by_scale.items()}
        return best, {name: round(value, 4) for name, value in figures.items()}

    @torch.no_grad()
    def kept_figures(self, key_scale: float, sizes: Sequence[int] = (8, 64, 256)) -> dict[str, float]:
        """Return shares of the right clip's gain over the bias that compositions keep, for N clips."""
        figures: dict[str, float] = {}
        for size in sizes:
            questions = self._questions(size)
            if not questions:
                continue
            texts = [statement(question.question) or question.answer for question in questions]
            evidence, cosines = self.tables(texts, len(self.described))
            right = torch.tensor([question.clips[question.right] for question in questions], device=evidence.device)
            clips = torch.tensor([question.clips for question in questions], device=evidence.device)
            z = {"both": evidence + key_scale * cosines, "keys": 30.0 * cosines, "evidence": evidence}
            nats = {"right": self._nats(questions, right[:, None], torch.ones_like(right)[:, None].float(), None)}
            nats["bias"] = self._nats(questions, right[:, None], torch.zeros_like(right)[:, None].float(), None)
            for name, table in z.items():
                chosen = table.T.gather(1, clips)
                p, where = chosen.softmax(1).topk(min(BEST, size), 1)
                weights = p.sqrt() / p.sqrt().sum(1, keepdim=True)
                best = clips.gather(1, where)
                hit = (best[:, 0] == right).float().mean()
                figures[f"first {name}/{size}"] = round(float(hit), 4)
                nats[name] = self._nats(questions, best, weights, None)
                if name == "both":
                    gates: dict[str, Callable[[Tensor], Tensor]] = {
                        "gated": lambda gate: gate,
                        "unsigned": lambda gate: gate.clamp(min=0),
                        "binary": lambda gate: (gate > 0.5).float(),
                    }
                    for way, change in gates.items():
                        nats[way] = self._nats(questions, best, weights, (texts, change))
            uniform = torch.full_like(clips, 1.0, dtype=torch.float32) / size
            if size <= 64:
                nats["uniform"] = self._nats(questions, clips, uniform, None)
            figures |= _kept(nats, size)
        return figures

    def _questions(self, size: int) -> list[SceneQuestion]:
        rng = random.Random(11)
        questions = []
        count = len(self.described)
        for _ in range(400):
            clips = tuple(rng.sample(range(count), min(size, count)))
            right = rng.randrange(len(clips))
            question = SceneQuestion.about(self.described, clips, right, rng)
            if question is not None:
                questions.append(question)
            if len(questions) >= 192:
                break
        return questions if len(questions) >= 16 else []

    def _nats(
        self,
        questions: Sequence[SceneQuestion],
        clips: Tensor,
        weights: Tensor,
        gated: tuple[list[str], Callable[[Tensor], Tensor]] | None,
    ) -> Tensor:
        """Return −log p a question of its answer, under the weighted clips [Q, M] and the bias."""
        sums = []
        stage = self.stage.stage
        for first in range(0, len(questions), max(1, _ROWS * BEST // clips.shape[1])):
            part = slice(first, first + max(1, _ROWS * BEST // clips.shape[1]))
            numbers = clips[part]
            codes = self.bank.codes[0, numbers.flatten()].float()
            a, b = (t.view(*numbers.shape, *t.shape[1:]) for t in stage.factors(codes))
            factors = weights[part][:, :, None, None].expand(*numbers.shape, *codes.shape[1:3])
            if gated is not None:
                words = self.stage.words(gated[0][part])
                rows = [
                    self.stage.trained.selector(
                        type(words)(words.states[i : i + 1], words.mask[i : i + 1]),
                        codes.view(*numbers.shape, *codes.shape[1:])[i],
                    ).gates[0]
                    for i in range(len(numbers))
                ]
                factors = factors * gated[1](torch.stack(rows))
            joined = side_by_side(a * factors[..., None].to(a.dtype)), side_by_side(b)
            written = [(self.prompts.ask(q.question), self.prompts.answer(q.answer)) for q in questions[part]]
            sums.append(stage.answer_nats(written, *stage.with_bias(*joined))[0])
        return torch.cat(sums)


def _kept(nats: Mapping[str, Tensor], size: int) -> dict[str, float]:
    bias, right = nats["bias"].sum(), nats["right"].sum()
    return {
        f"kept {name}/{size}": round(float((bias - values.sum()) / (bias - right)), 4)
        for name, values in nats.items()
        if name not in ("bias", "right")
    }
