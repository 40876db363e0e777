"""Measure what a model makes of internalised clips: answers, yes/no questions, finding a clip, compositions.

The same functions measure a hypernetwork while it is trained (`stage_subject.StageSubject`) and the weights that are
shipped (`python -m evaluation mini`). They take questions and return a number for each; callers choose the questions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from chunkv2l.train.data.questions import Described, scene_row_among


@dataclass(frozen=True)
class Frames:
    """A clip's frames in the context of the bare model."""

    clip: int


Given = Frames | Mapping[int, float]
"""The condition of an answer: frames in context, or clips' adapters with weights, and the bias once; {} is the
bias alone."""


@dataclass(frozen=True)
class Scores:
    """Statements scored under the adapters of clips.

    Attributes:
        nats: log p(statement | clip) without the end of turn, float [clips, texts]; a statement's own prior is left in.
        tokens: T of each statement, float [texts].
        keys: cosines of learned keys and statements, float [clips, texts]; None where the model has no keys.
    """

    nats: Tensor
    tokens: Tensor
    keys: Tensor | None


class Subject(Protocol):
    """A model and the clips that it has internalised, numbered as their descriptions."""

    @property
    def described(self) -> Sequence[Described]: ...

    @property
    def has_frames(self) -> bool:
        """Return whether the clips' frames can be put in context."""
        ...

    def nats(self, rows: Sequence[tuple[str, str]], given: Sequence[Given]) -> tuple[list[float], list[int]]:
        """Return −log p of each answer, its end of turn included, and how many tokens that is.

        Args:
            rows: (question, answer); the empty question is the caption prompt.
            given: of each row; all frames, or all compositions of equally many clips.
        """
        ...

    def scores(self, clips: Sequence[int], texts: Sequence[str]) -> Scores: ...


@dataclass(frozen=True)
class Ratio:
    """Σ `over` / Σ `under`, a number a question each: hits over questions, nats over tokens."""

    over: tuple[float, ...]
    under: tuple[float, ...]

    @classmethod
    def mean(cls, values: Sequence[float | bool]) -> Ratio:
        """Return the ratio whose value is the mean."""
        return cls(tuple(float(value) for value in values), (1.0,) * len(values))

    @property
    def value(self) -> float:
        return sum(self.over) / sum(self.under)


def nats_a_token(nats: Sequence[float], tokens: Sequence[int]) -> Ratio:
    """Return the ratio of answers' nats and tokens."""
    return Ratio(tuple(nats), tuple(float(count) for count in tokens))


def measure_captions(subject: Subject, rows: Sequence[tuple[int, str]]) -> dict[str, Ratio]:
    """Return nats a token of captions under "context" (frames), "adapter", "wrong" (the next clip's) and "bias".

    Args:
        rows: (clip, a caption of it).
    """
    count = len(subject.described)
    answers = [("", text) for _, text in rows]
    given: dict[str, Sequence[Given]] = {
        "context": [Frames(clip) for clip, _ in rows],
        "adapter": [{clip % count: 1.0} for clip, _ in rows],
        "wrong": [{(clip + 1) % count: 1.0} for clip, _ in rows],
        "bias": [{} for _ in rows],
    }
    if not subject.has_frames:
        del given["context"]
    return {name: nats_a_token(*subject.nats(answers, values)) for name, values in given.items()}


def answer_yes_no(subject: Subject, rows: Sequence[tuple[int, str, bool]], way: str) -> list[bool]:
    """Return which questions are answered rightly: "Yes." is likelier than "No." where yes is true, and the reverse.

    Args:
        rows: (clip, question, whether yes is right).
        way: "adapter", or "context" for frames.
    """
    given: list[Given] = [Frames(clip) if way == "context" else {clip: 1.0} for clip, _, _ in rows]
    yes, no = (subject.nats([(question, text) for _, question, _ in rows], given)[0] for text in ("Yes.", "No."))
    return [(a < b) if truth else (b < a) for a, b, (_, _, truth) in zip(yes, no, rows, strict=True)]


def rank_in_blocks(scores: Tensor, size: int) -> Tensor:
    """Return each text's number of clips that score higher than its own, among its block of `size` clips, [texts].

    Args:
        scores: [clips, texts]; text j is of clip j. Blocks are clips 0 … size − 1, and so on.
    """
    ranks = []
    for begin in range(0, scores.shape[1], size):
        block = scores[begin : begin + size, begin : begin + size]
        ranks.append((block > block.diagonal()).sum(0))
    return torch.cat(ranks)


@dataclass(frozen=True)
class SceneQuestion:
    """A question that one clip of a group answers: its noun is in that clip's captions alone.

    Attributes:
        clips: the group.
        right: position of the clip that answers.
    """

    clips: tuple[int, ...]
    right: int
    question: str
    answer: str

    @classmethod
    def about(
        cls, described: Sequence[Described], clips: Sequence[int], right: int, rng: random.Random
    ) -> SceneQuestion | None:
        """Make a question that the clip at a position of a group answers; None where it has no noun of its own."""
        row = scene_row_among([described[clip] for clip in clips], right, rng)
        return row and cls(tuple(clips), right, *row)


def measure_compositions(
    subject: Subject,
    questions: Iterable[SceneQuestion],
    compose: Callable[[SceneQuestion], Mapping[str, Mapping[int, float]]],
) -> tuple[dict[str, dict[int, float]], list[int]]:
    """Return {composition: {question's number: −log p of its answer}} and the answers' numbers of tokens.

    Beside the compositions stand "right", the clip alone that answers, and "bias".

    Args:
        compose: a question's compositions by name, {clip: weight} each; called once a question, in order.
    """
    asked: list[SceneQuestion] = []
    given: dict[str, dict[int, Given]] = {}
    for number, question in enumerate(questions):
        asked.append(question)
        controls: dict[str, Mapping[int, float]] = {"right": {question.clips[question.right]: 1.0}, "bias": {}}
        for name, weights in {**controls, **compose(question)}.items():
            given.setdefault(name, {})[number] = weights
    rows = [(question.question, question.answer) for question in asked]
    nats: dict[str, dict[int, float]] = {}
    tokens = [0] * len(rows)
    for name, by_number in given.items():
        values, counts = subject.nats([rows[number] for number in by_number], list(by_number.values()))
        nats[name] = dict(zip(by_number, values, strict=True))
        for number, count in zip(by_number, counts, strict=True):
            tokens[number] = count
    return nats, tokens
