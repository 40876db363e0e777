"""What `python -m evaluation mini` measures, line by line: questions about photographs, asked of the shipped weights.

Every function gives per-question numbers as `Ratio`s, a sum over questions over another: an accuracy is hits over
questions, a likelihood nats over tokens, a share nats gained over nats to be gained. Nats a token include the end of
turn, as in training, except where the router's score is meant.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
from chunkv2l.models.text.decoder import Prompt, score
from chunkv2l.policies import weighed
from chunkv2l.query.parse import statement
from chunkv2l.routing.probability import strength
from chunkv2l.train.data.images import ImageSet
from chunkv2l.train.data.questions import Described, NegativeNouns, exists, scene_row
from chunkv2l.video.clip import Clip
from evaluation.common.token_f1 import best_f1
from evaluation.movies.photographs import Encoder, Take

CHUNK: Final = 32
"""Clips whose adapters are expanded at once."""
COMPOSED: Final = 4
"""Segments that the router's best are composed of."""


@dataclass(frozen=True)
class Ratio:
    """Σ `over` / Σ `under`, a number a question each."""

    over: tuple[float, ...]
    under: tuple[float, ...]

    @classmethod
    def mean(cls, values: Sequence[float | bool]) -> Ratio:
        return cls(tuple(float(value) for value in values), (1.0,) * len(values))

    @property
    def value(self) -> float:
        return sum(self.over) / sum(self.under)

    def interval(self, rounds: int = 2000, seed: int = 0) -> tuple[float, float]:
        """95 %, by drawing the questions anew with replacement."""
        rng = np.random.default_rng(seed)
        over, under = np.asarray(self.over), np.asarray(self.under)
        drawn = rng.integers(0, len(over), (rounds, len(over)))
        low, high = np.percentile(over[drawn].sum(1) / under[drawn].sum(1), [2.5, 97.5])
        return float(low), float(high)


@dataclass(frozen=True)
class Shown:
    """Photographs as the model has them: descriptions, codes as a build stores them, learned keys."""

    model: Model
    images: ImageSet
    encoder: Encoder
    codes: Tensor  # [n, L, r, d]
    keys: Tensor | None  # [n, K]

    @classmethod
    def of(cls, encoder: Encoder, images: ImageSet) -> Shown:
        encoded = encoder.takes([Take(jpeg) for jpeg in images.jpegs])
        keys = [one.key for one in encoded if one.key is not None]
        codes = torch.stack([one.code.float() for one in encoded])
        return cls(encoder.model, images, encoder, codes, torch.stack(keys) if keys else None)

    @property
    def described(self) -> Sequence[Described]:
        return self.images.described

    def clip(self, number: int) -> Clip:
        clip, vlm = self.encoder.film(Take(self.images.jpegs[number])), self.model.vlm
        return Clip(tuple(vlm.sampling.shrink(frame) for frame in clip.frames), clip.times, clip.duration, clip.fps)

    def adapters(self, numbers: Sequence[int]) -> Adapter:
        """A [n, L, r, I], without the bias."""
        return expand(self.model.hypernet, self.codes[list(numbers)])

    def composed(self, numbers: Sequence[int], weights: Sequence[float]) -> Adapter:
        """One adapter: these weighted, and the bias once."""
        parts = self.adapters(numbers)
        return concat([scale(parts[i], w) for i, w in enumerate(weights)], bias=self.model.hypernet.bias)


def nats(model: Model, prompt: Prompt, answer: str, adapter: Adapter | None) -> tuple[float, int]:
    """−log p of an answer and its end of turn, and how many tokens that is."""
    vlm = require_family(model.vlm)
    ids = [*vlm.statement_ids(answer), vlm.end_of_turn]
    with exclusive(vlm.targets):
        return -float(score(vlm.decoder, prompt, [ids], adapter)[0, 0]), len(ids)


def asked(model: Model, question: str, clip: Clip | None = None) -> Prompt:
    """A question's prompt; behind a clip's frames if one is given."""
    if clip is None:
        return model.vlm.prompt_ids(question)
    with exclusive(model.vlm.targets):
        return require_family(model.vlm).embed_with_frames([clip], question)[0]


@torch.inference_mode()
def captions(shown: Shown, count: int) -> dict[str, Ratio]:
    """Nats a token of captions: frames in context, the right clip's adapter, a wrong clip's, the bias alone."""
    model, bias = shown.model, shown.model.hypernet.bias
    found: dict[str, list[float]] = {"context": [], "adapter": [], "wrong": [], "bias": []}
    tokens = []
    for number, rows in _spread(shown, count):
        behind, alone = asked(model, "", shown.clip(number)), asked(model, "")
        own, wrong = (shown.composed([i % len(shown.described)], [1.0]) for i in (number, number + 1))
        for text in rows:
            ways = {"context": (behind, None), "adapter": (alone, own), "wrong": (alone, wrong), "bias": (alone, bias)}
            for name, (prompt, adapter) in ways.items():
                value, length = nats(model, prompt, text, adapter)
                found[name].append(value)
            tokens.append(float(length))
    lines = {f"caption NLL, {name}": Ratio(tuple(values), tuple(tokens)) for name, values in found.items()}
    gain = tuple(b - a for a, b in zip(found["adapter"], found["bias"], strict=True))
    lines["adapter's gain over the bias, nats a token"] = Ratio(gain, tuple(tokens))
    lines["adapter over context"] = Ratio(tuple(found["adapter"]), tuple(found["context"]))
    return lines


def _spread(shown: Shown, count: int) -> Iterator[tuple[int, list[str]]]:
    """`count` captions over all photographs, and which photograph they are of."""
    captioned = [i for i, one in enumerate(shown.described) if one.captions]
    each, more = divmod(count, len(captioned))
    for place, number in enumerate(captioned):
        rows = list(shown.described[number].captions)[: each + (place < more)]
        if rows:
            yield number, rows


class HardNegatives:
    """Nouns that a photograph lacks, drawn by how often they stand beside its own in others' captions."""

    def __init__(self, described: Sequence[Described]) -> None:
        self._beside: dict[str, Counter[str]] = {}
        for one in described:
            for noun in sorted(one.nouns):
                self._beside.setdefault(noun, Counter()).update(sorted(one.nouns - {noun}))

    def draw(self, nouns: frozenset[str], rng: random.Random) -> str | None:
        beside: Counter[str] = Counter()
        for noun in sorted(nouns):
            beside.update(self._beside.get(noun, Counter()))
        others = {noun: count for noun, count in beside.items() if noun not in nouns}
        return rng.choices(list(others), list(others.values()))[0] if others else None


@torch.inference_mode()
def yes_no(shown: Shown, count: int, rng: random.Random) -> dict[str, Ratio]:
    """Share of "Is there a …?" answered rightly; half of the answers are yes; by adapter and by frames in context."""
    fair, hard = NegativeNouns.count(shown.described), HardNegatives(shown.described)
    usable = [i for i, one in enumerate(shown.described) if one.captions and one.nouns]
    right: dict[str, list[bool]] = {}
    for row in range(count):
        number = usable[row // 2 % len(usable)]
        nouns, model = shown.described[number].nouns, shown.model
        own = shown.composed([number], [1.0])
        clip = shown.clip(number)
        if row % 2:
            truth, drawn = True, {"fair": rng.choice(sorted(nouns))}
            drawn["hard"] = drawn["fair"]
        else:
            truth, drawn = False, {"fair": fair.draw(nouns, rng)}
            drawn["hard"] = hard.draw(nouns, rng) or drawn["fair"]
        for kind, noun in drawn.items():
            question = exists(noun)
            for way, prompt, adapter in (
                ("context", asked(model, question, clip), None),
                ("adapter", asked(model, question), own),
            ):
                yes, no = (nats(model, prompt, answer, adapter)[0] for answer in ("Yes.", "No."))
                right.setdefault(f"yes/no, {kind} negatives, {way}", []).append((yes < no) is truth)
    return {name: Ratio.mean(values) for name, values in right.items()}


@torch.inference_mode()
def scores(shown: Shown, numbers: Sequence[int], texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor | None]:
    """S [clips, texts] without the texts' own prior, T [texts], and learned keys' cosines [clips, texts]."""
    model = shown.model
    vlm = model.vlm
    rows = []
    for begin in range(0, len(numbers), CHUNK):
        own = concat([shown.adapters(numbers[begin : begin + CHUNK])], bias=model.hypernet.bias)
        with exclusive(vlm.targets):
            rows.append(vlm.score(texts, own).cpu())
    tokens = torch.tensor([float(vlm.count_tokens(text)) for text in texts])
    if model.keys is None or model.sentences is None or shown.keys is None:
        return torch.cat(rows), tokens, None
    asked = model.keys.of_sentences(model.sentences(texts)).float().cpu()
    return torch.cat(rows), tokens, shown.keys[list(numbers)] @ asked.T


def find(shown: Shown, count: int, sizes: Sequence[int], rng: random.Random) -> Iterator[dict[str, Ratio]]:
    """Text → segment: R@1 and R@5 among N by the router, by S alone and by learned keys alone; as it goes.

    Photographs are dealt into blocks of the largest N; smaller N are parts of a block, so that every N has the same
    questions.
    """
    largest = max(sizes)
    captioned = [i for i, one in enumerate(shown.described) if one.captions]
    hits: dict[str, list[bool]] = {}
    done = 0
    while done < count:
        rng.shuffle(captioned)
        for begin in range(0, len(captioned) - largest + 1, largest):
            block = captioned[begin : begin + largest]
            wanted = range(min(largest, count - done))
            texts = [rng.choice(shown.described[block[i]].captions) for i in wanted]
            s, tokens, keys = scores(shown, block, texts)
            ways = {"router": strength(s, 0.0 if keys is None else keys, tokens, shown.model.calibration), "S alone": s}
            if keys is not None:
                ways["key alone"] = keys
            for way, z in ways.items():
                for size in sizes:
                    for column in wanted:
                        first = column // size * size
                        part = z[first : first + size, column]
                        rank = int((part > part[column - first]).sum())
                        for top in (1, 5, 32):
                            if top < size and (top < 32 or way == "key alone"):
                                hits.setdefault(f"R@{top} of {size}, {way}", []).append(rank < top)
            done += len(texts)
            yield {name: Ratio.mean(values) for name, values in hits.items()}
            if done >= count:
                return


def scene_questions(
    shown: Shown, size: int, count: int, rng: random.Random
) -> Iterator[tuple[list[int], int, str, str]]:
    """(photographs, which of them answers, question, answer): the question's noun is in one photograph alone."""
    captioned = [i for i, one in enumerate(shown.described) if one.captions]
    for _ in range(20 * count):
        group = rng.sample(captioned, size)
        place = rng.randrange(size)
        others = frozenset().union(*(shown.described[n].nouns for i, n in enumerate(group) if i != place))
        row = scene_row(shown.described[group[place]], rng, others)
        if row is not None:
            yield group, place, *row


@torch.inference_mode()
def share_kept(shown: Shown, size: int, count: int, rng: random.Random) -> dict[str, Ratio]:
    """Of what the right clip's adapter gains over the bias alone, the share that N clips' sum and mean keep."""

    def ways(group: list[int], *_: object) -> dict[str, Adapter]:
        return {name: shown.composed(group, [w] * size) for name, w in (("sum", 1.0), ("mean", 1.0 / size))}

    return _kept(shown, size, count, rng, ways)


@torch.inference_mode()
def best_of(shown: Shown, size: int, count: int, rng: random.Random) -> dict[str, Ratio]:
    """The same of the router's best 4 of N, weighted as `route` does.

    They are found by what the question says ("the dog": a thing that one photograph alone shows), and by a sentence:
    another caption of that photograph than the answer.
    """

    def ways(group: list[int], place: int, question: str, answer: str) -> dict[str, Adapter]:
        others = [text for text in shown.described[group[place]].captions if text != answer]
        asked = {"name": statement(question)} | ({"sentence": rng.choice(others)} if others else {})
        s, tokens, keys = scores(shown, group, list(asked.values()))
        p = strength(s, 0.0 if keys is None else keys, tokens, shown.model.calibration).softmax(0)
        found = {}
        for column, way in enumerate(asked):
            weights = weighed(dict(enumerate(p[:, column].tolist())), COMPOSED)
            chosen = [group[i] for i in weights]
            found[f"router's best 4, found by a {way}"] = shown.composed(chosen, list(weights.values()))
        return found

    return _kept(shown, size, count, rng, ways)


def _kept(
    shown: Shown,
    size: int,
    count: int,
    rng: random.Random,
    ways: Callable[[list[int], int, str, str], dict[str, Adapter]],
) -> dict[str, Ratio]:
    """What compositions of a group, by name, keep of the right clip's gain over the bias alone.

    Args:
        ways: (photographs, which of them answers, question, answer) → compositions.
    """
    model = shown.model
    found: dict[str, dict[int, float]] = {}
    tokens: list[float] = []
    for group, place, question, answer in scene_questions(shown, size, count, rng):
        prompt = asked(model, question)
        controls = {"right": shown.composed([group[place]], [1.0]), "bias": model.hypernet.bias}
        for name, adapter in {**controls, **ways(group, place, question, answer)}.items():
            value, length = nats(model, prompt, answer, adapter)
            found.setdefault(name, {})[len(tokens)] = value
        tokens.append(float(length))
        if len(tokens) == count:
            break
    return _shares(f"of {size}", found, tokens)


def _shares(name: str, found: dict[str, dict[int, float]], tokens: list[float]) -> dict[str, Ratio]:
    """Of {way: {question: nats}}."""
    right, bias = found.pop("right"), found.pop("bias")
    gain = [bias[i] - right[i] for i in range(len(tokens))]
    lines = {f"right clip's gain over the bias {name}, nats a token": Ratio(tuple(gain), tuple(tokens))}
    for way, values in found.items():
        kept = tuple(bias[i] - value for i, value in values.items())
        lines[f"share kept {name}, {way}"] = Ratio(kept, tuple(gain[i] for i in values))
    return lines


@torch.inference_mode()
def codes(shown: Shown, count: int, formats: Sequence[str] = ("fp32", "int8")) -> dict[str, Ratio]:
    """Bytes a stored code, and token-F1 of captions from it."""
    model = shown.model
    chosen = [i for i, one in enumerate(shown.described) if one.captions][:count]
    lines = {}
    for form in formats:
        sizes, values = [], []
        for begin in range(0, len(chosen), CHUNK):
            some = chosen[begin : begin + CHUNK]
            blobs = [to_bytes(shown.codes[number], form) for number in some]
            stored = torch.stack([from_bytes(blob) for blob in blobs])
            adapters = concat([expand(model.hypernet, stored)], bias=model.hypernet.bias)
            texts = model.vlm.generate([model.vlm.caption_question] * len(some), adapters, 40)
            sizes += [len(blob) for blob in blobs]
            values += [best_f1(text, shown.described[n].captions) for text, n in zip(texts, some, strict=True)]
        lines[f"bytes a code, {form}"] = Ratio.mean([float(size) for size in sizes])
        lines[f"caption token-F1, {form} codes"] = Ratio.mean(values)
    return lines
