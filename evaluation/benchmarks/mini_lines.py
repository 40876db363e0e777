"""Measure the lines of `python -m evaluation mini`: questions about photographs, asked of the shipped weights.

Every function returns per-question numbers as `Ratio`s: an accuracy is hits over questions, a likelihood nats over
tokens, a share nats gained over nats to be gained. Nats a token include the end of turn, as in training; the router's
score leaves it out.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import numpy as np
import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter, concat, scale
from chunkv2l.adapter.inject import exclusive
from chunkv2l.hypernet.compose import expand
from chunkv2l.index.tensors import from_bytes, to_bytes
from chunkv2l.models import Model
from chunkv2l.models.family import require_family
from chunkv2l.models.text.decoder import Prompt, log_likelihood
from chunkv2l.policies import weighed
from chunkv2l.query.parse import statement
from chunkv2l.routing.probability import evidence
from chunkv2l.train.data.images import ImageSet
from chunkv2l.train.data.questions import Described, NegativeNouns, exists
from chunkv2l.train.stages.measure import (
    Frames,
    Given,
    Ratio,
    SceneQuestion,
    Scores,
    answer_yes_no,
    measure_captions,
    measure_compositions,
    rank_in_blocks,
)
from chunkv2l.video.clip import Clip
from evaluation.common.resampling import ratios
from evaluation.common.token_f1 import best_f1
from evaluation.movies.photographs import Encoder, Take

CHUNK: Final = 32
"""Clips whose adapters are expanded together."""
ROWS: Final = 16
"""Questions that go through the model together, where each has few adapters composed."""
SMALL: Final = 4
"""Adapters a question that are few: of more composed, fewer questions go together."""
KEPT_CLIPS: Final = 128
"""Photographs whose adapters and vision features are kept, at most: 3 MB each."""
COMPOSED: Final = 4
"""Segments that the router's best are composed of."""


def interval(ratio: Ratio, rounds: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Return a ratio's bootstrapped 95 % interval: questions are drawn anew with replacement."""
    low, high = np.percentile(ratios(ratio.over, ratio.under, rounds, seed), [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class _Asked:
    """A question with its answer and condition, to be told from others.

    Attributes:
        frames: the photograph whose frames are in context; None without.
        weights: of the photographs whose adapters are composed; none for the bias alone, and with frames.
    """

    question: str
    answer: str
    frames: int | None
    weights: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, question: str, answer: str, condition: Given) -> _Asked:
        if isinstance(condition, Frames):
            return cls(question, answer, condition.clip, ())
        return cls(question, answer, None, tuple(condition.items()))

    @property
    def size(self) -> int:
        """Return the number of photographs composed; -1 with frames."""
        return len(self.weights) if self.frames is None else -1

    @property
    def sort_key(self) -> tuple[int, int]:
        """Return what orders questions so that those about one photograph's frames, and those as long, are together."""
        return (-1 if self.frames is None else self.frames), len(self.question)


@dataclass(frozen=True)
class Shown:
    """Photographs encoded by the shipped model: descriptions, codes as a build stores them, learned keys.

    Attributes:
        looks: clips of photographs with their vision features, that were needed before.
        expanded: adapters of photographs, likewise.
        scored: log p by photograph and statement, likewise.
    """

    model: Model
    images: ImageSet
    encoder: Encoder
    codes: Tensor  # [n, L, r, d]
    keys: Tensor | None  # [n, K]
    looks: dict[int, tuple[Clip, Tensor]] = field(default_factory=dict, repr=False)
    expanded: dict[int, Adapter] = field(default_factory=dict, repr=False)
    scored: dict[tuple[int, str], float] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, encoder: Encoder, images: ImageSet) -> Shown:
        """Encode a set of photographs."""
        encoded = encoder.takes([Take(jpeg) for jpeg in images.jpegs])
        keys = [one.key for one in encoded if one.key is not None]
        codes = torch.stack([one.code.float() for one in encoded])
        return cls(encoder.model, images, encoder, codes, torch.stack(keys) if keys else None)

    @property
    def described(self) -> Sequence[Described]:
        return self.images.described

    def clip(self, number: int) -> Clip:
        """Return a photograph's clip."""
        clip, vlm = self.encoder.film(Take(self.images.jpegs[number])), self.model.vlm
        return Clip(tuple(vlm.sampling.shrink(frame) for frame in clip.frames), clip.times, clip.duration, clip.fps)

    def adapters(self, numbers: Sequence[int]) -> Adapter:
        """Return the adapters of some photographs, A [n, L, r, I], without the bias."""
        missing = [number for number in dict.fromkeys(numbers) if number not in self.expanded]
        if len(self.expanded) + len(missing) > KEPT_CLIPS:
            return expand(self.model.hypernet, self.codes[list(numbers)])
        if missing:
            made = expand(self.model.hypernet, self.codes[missing])
            self.expanded.update((number, made[i]) for i, number in enumerate(missing))
        return _stack([self.expanded[number] for number in numbers])

    def composed(self, weights: Mapping[int, float]) -> Adapter:
        """Return one adapter: photographs' by their weights, and the bias once."""
        if not weights:
            return self.model.hypernet.bias
        parts = self.adapters(list(weights))
        weighted = [scale(parts[i], weight) for i, weight in enumerate(weights.values())]
        return concat(weighted, bias=self.model.hypernet.bias)

    @property
    def has_frames(self) -> bool:
        return True

    @torch.inference_mode()
    def nats(self, rows: Sequence[tuple[str, str]], given: Sequence[Given]) -> tuple[list[float], list[int]]:
        vlm = require_family(self.model.vlm)
        answers = [[*vlm.statement_ids(answer), vlm.end_of_turn] for _, answer in rows]
        asked = [_Asked.of(*row, condition) for row, condition in zip(rows, given, strict=True)]
        numbers = {question: number for number, question in enumerate(asked)}  # those that are asked repeatedly, once
        batches: dict[int, list[_Asked]] = {}
        for question in sorted(numbers, key=lambda question: (question.sort_key, len(answers[numbers[question]]))):
            batches.setdefault(question.size, []).append(question)
        values: dict[_Asked, float] = {}
        for size, questions in batches.items():
            step = max(1, min(ROWS, ROWS * SMALL // max(1, size)))
            for begin in range(0, len(questions), step):
                batch = questions[begin : begin + step]
                targets = [answers[numbers[question]] for question in batch]
                values |= dict(zip(batch, self._nats_of(batch, targets), strict=True))
        return [values[question] for question in asked], [len(ids) for ids in answers]

    def _nats_of(self, batch: Sequence[_Asked], targets: Sequence[Sequence[int]]) -> list[float]:
        """Return −log p of the answers to a batch: all frames in context, or all compositions of equally many clips."""
        vlm = require_family(self.model.vlm)
        adapter, prompts = None, [self._prompt(question) for question in batch]
        if batch[0].weights:
            adapter = _stack([self.composed(dict(question.weights)) for question in batch])
        elif batch[0].frames is None:
            adapter = self.model.hypernet.bias
        with exclusive(vlm.targets):
            return (-log_likelihood(vlm.decoder, prompts, targets, adapter)).tolist()

    def _prompt(self, asked: _Asked) -> Prompt:
        vlm, number = require_family(self.model.vlm), asked.frames
        if number is None:
            return vlm.prompt_ids(asked.question)
        with exclusive(vlm.targets):
            if number not in self.looks:
                if len(self.looks) == KEPT_CLIPS:
                    del self.looks[next(iter(self.looks))]
                clip = self.clip(number)
                self.looks[number] = clip, vlm.look([clip])[0]
            clip, features = self.looks[number]
            return vlm.embed_with_frames([clip], asked.question, [features])[0]

    @torch.inference_mode()
    def scores(self, clips: Sequence[int], texts: Sequence[str]) -> Scores:
        model = self.model
        missing = [text for text in dict.fromkeys(texts) if any((clip, text) not in self.scored for clip in clips)]
        for begin in range(0, len(clips) if missing else 0, CHUNK):
            chunk = clips[begin : begin + CHUNK]
            adapters = concat([self.adapters(chunk)], bias=model.hypernet.bias)
            with exclusive(model.vlm.targets):
                nats = model.vlm.score(missing, adapters).tolist()
            for clip, row in zip(chunk, nats, strict=True):
                self.scored.update(((clip, text), value) for text, value in zip(missing, row, strict=True))
        table = torch.tensor([[self.scored[clip, text] for text in texts] for clip in clips])
        tokens = torch.tensor([float(model.vlm.count_tokens(text)) for text in texts])
        if model.keys is None or model.sentences is None or self.keys is None:
            return Scores(table, tokens, None)
        of_texts = model.keys.of_sentences(model.sentences(texts)).float().cpu()
        return Scores(table, tokens, self.keys[list(clips)] @ of_texts.T)

    def routed(self, scores: Scores) -> Tensor:
        """Return the router's z, up to what all clips of a statement share, [clips, texts]."""
        keys = 0.0 if scores.keys is None else scores.keys
        return evidence(scores.nats, keys, scores.tokens, self.model.calibration)


def _stack(adapters: Sequence[Adapter]) -> Adapter:
    """Return adapters of one rank as a stack."""
    return Adapter(
        torch.stack([adapter.A for adapter in adapters]),
        torch.stack([adapter.B for adapter in adapters]),
        adapters[0].scaling,
    )


def captions(shown: Shown, count: int) -> dict[str, Ratio]:
    """Return nats a token of captions: frames in context, the right clip's adapter, a wrong clip's, the bias alone."""
    measured = measure_captions(shown, _caption_rows(shown, count))
    lines = {f"caption NLL, {name}": ratio for name, ratio in measured.items()}
    adapter, bias = measured["adapter"], measured["bias"]
    gain = tuple(b - a for a, b in zip(adapter.over, bias.over, strict=True))
    lines["adapter's gain over the bias, nats a token"] = Ratio(gain, adapter.under)
    lines["adapter over context"] = Ratio(adapter.over, measured["context"].over)
    return lines


def _caption_rows(shown: Shown, count: int) -> list[tuple[int, str]]:
    """Return `count` captions over all photographs, each behind its photograph's number."""
    captioned = [i for i, image in enumerate(shown.described) if image.captions]
    each, more = divmod(count, len(captioned))
    return [
        (number, text)
        for position, number in enumerate(captioned)
        for text in shown.described[number].captions[: each + (position < more)]
    ]


class HardNegatives:
    """Draw nouns that a photograph lacks, as often as other captions mention them together with its own."""

    def __init__(self, described: Sequence[Described]) -> None:
        self._beside: dict[str, Counter[str]] = {}
        for image in described:
            for noun in sorted(image.nouns):
                self._beside.setdefault(noun, Counter()).update(sorted(image.nouns - {noun}))

    def draw(self, nouns: frozenset[str], rng: random.Random) -> str | None:
        """Return a noun that often occurs with `nouns`; None if no caption mentions one."""
        beside: Counter[str] = Counter()
        for noun in sorted(nouns):
            beside.update(self._beside.get(noun, Counter()))
        others = {noun: count for noun, count in beside.items() if noun not in nouns}
        return rng.choices(list(others), list(others.values()))[0] if others else None


def yes_no(shown: Shown, count: int, rng: random.Random) -> dict[str, Ratio]:
    """Return the share of "Is there a …?" answered rightly, by adapter and by frames; half of the answers are yes."""
    fair, hard = NegativeNouns.count(shown.described), HardNegatives(shown.described)
    usable = [i for i, image in enumerate(shown.described) if image.captions and image.nouns]
    rows: dict[str, list[tuple[int, str, bool]]] = {"fair": [], "hard": []}
    for row in range(count):
        number = usable[row // 2 % len(usable)]
        nouns, truth = shown.described[number].nouns, row % 2 == 1
        easy_noun = rng.choice(sorted(nouns)) if truth else fair.draw(nouns, rng)
        hard_noun = easy_noun if truth else hard.draw(nouns, rng) or easy_noun
        rows["fair"].append((number, exists(easy_noun), truth))
        rows["hard"].append((number, exists(hard_noun), truth))
    return {
        f"yes/no, {negatives} negatives, {way}": Ratio.mean(answer_yes_no(shown, own_rows, way))
        for negatives, own_rows in rows.items()
        for way in ("context", "adapter")
    }


def find(shown: Shown, count: int, sizes: Sequence[int], rng: random.Random) -> Iterator[dict[str, Ratio]]:
    """Yield R@1 and R@5 of finding a text's segment among N, by the router, by S alone and by learned keys alone.

    Photographs are dealt into blocks of the largest N; smaller N are parts of a block, so that every N has the same
    questions. The lines are yielded after every block.
    """
    largest = max(sizes)
    captioned = [i for i, image in enumerate(shown.described) if image.captions]
    hits: dict[str, list[bool]] = {}
    done = 0
    while done < count:
        rng.shuffle(captioned)
        for begin in range(0, len(captioned) - largest + 1, largest):
            block = captioned[begin : begin + largest]
            texts = [rng.choice(shown.described[number].captions) for number in block[: count - done]]
            scores = shown.scores(block, texts)
            ways = {"router": shown.routed(scores), "S alone": scores.nats}
            if scores.keys is not None:
                ways["key alone"] = scores.keys
            for way, z in ways.items():
                for size in sizes:
                    ranks = rank_in_blocks(z, size)
                    for top in (1, 5, 32):
                        if top < size and (top < 32 or way == "key alone"):
                            hits.setdefault(f"R@{top} of {size}, {way}", []).extend((ranks < top).tolist())
            done += len(texts)
            yield {name: Ratio.mean(values) for name, values in hits.items()}
            if done >= count:
                return


def scene_questions(shown: Shown, size: int, count: int, rng: random.Random) -> Iterator[SceneQuestion]:
    """Yield questions about groups of photographs, each by a noun that one of the group alone shows."""
    captioned = [i for i, image in enumerate(shown.described) if image.captions]
    for _ in range(20 * count):
        group = rng.sample(captioned, size)
        right = rng.randrange(size)
        question = SceneQuestion.about(shown.described, group, right, rng)
        if question is not None:
            yield question


def share_kept(shown: Shown, size: int, count: int, rng: random.Random) -> dict[str, Ratio]:
    """Return the shares of the right clip's gain over the bias alone that N clips' sum and mean keep."""

    def compose(question: SceneQuestion) -> dict[str, dict[int, float]]:
        weights = {"sum": 1.0, "mean": 1.0 / size}
        return {name: dict.fromkeys(question.clips, weight) for name, weight in weights.items()}

    return _shares_kept(shown, size, count, rng, compose)


def best_of(shown: Shown, size: int, count: int, rng: random.Random) -> dict[str, Ratio]:
    """Return the shares that the router's best 4 of N keep, weighted as `route` does.

    They are looked for by what the question says ("the dog": a thing that one photograph alone shows), and by a
    sentence: another caption of that photograph than the answer.
    """

    def compose(question: SceneQuestion) -> dict[str, dict[int, float]]:
        captions = shown.described[question.clips[question.right]].captions
        others = [text for text in captions if text != question.answer]
        statements = {"name": statement(question.question)} | ({"sentence": rng.choice(others)} if others else {})
        p = shown.routed(shown.scores(question.clips, list(statements.values()))).softmax(0)
        compositions = {}
        for column, way in enumerate(statements):
            weights = weighed(dict(enumerate(p[:, column].tolist())), COMPOSED)
            compositions[f"router's best 4, found by a {way}"] = {question.clips[i]: w for i, w in weights.items()}
        return compositions

    return _shares_kept(shown, size, count, rng, compose)


def _shares_kept(
    shown: Shown,
    size: int,
    count: int,
    rng: random.Random,
    compose: Callable[[SceneQuestion], Mapping[str, Mapping[int, float]]],
) -> dict[str, Ratio]:
    questions = islice(scene_questions(shown, size, count, rng), count)
    nats, counts = measure_compositions(shown, questions, compose)
    right, bias, tokens = nats.pop("right"), nats.pop("bias"), tuple(float(number) for number in counts)
    gain = [bias[i] - right[i] for i in range(len(tokens))]
    lines = {f"right clip's gain over the bias of {size}, nats a token": Ratio(tuple(gain), tokens)}
    for way, values in nats.items():
        kept = tuple(bias[i] - value for i, value in values.items())
        lines[f"share kept of {size}, {way}"] = Ratio(kept, tuple(gain[i] for i in values))
    return lines


@torch.inference_mode()
def codes(shown: Shown, count: int, formats: Sequence[str] = ("fp32", "int8")) -> dict[str, Ratio]:
    """Return bytes of a stored code, and token-F1 of captions from it."""
    model = shown.model
    chosen = [i for i, one in enumerate(shown.described) if one.captions][:count]
    lines = {}
    for form in formats:
        sizes, values = [], []
        for begin in range(0, len(chosen), CHUNK):
            batch = chosen[begin : begin + CHUNK]
            blobs = [to_bytes(shown.codes[number], form) for number in batch]
            stored = torch.stack([from_bytes(blob) for blob in blobs])
            adapters = concat([expand(model.hypernet, stored)], bias=model.hypernet.bias)
            texts = model.vlm.generate([model.vlm.caption_question] * len(batch), adapters, 40)
            sizes += [len(blob) for blob in blobs]
            values += [best_f1(text, shown.described[n].captions) for text, n in zip(texts, batch, strict=True)]
        lines[f"bytes a code, {form}"] = Ratio.mean([float(size) for size in sizes])
        lines[f"caption token-F1, {form} codes"] = Ratio.mean(values)
    return lines
