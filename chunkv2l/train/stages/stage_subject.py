"""Measure a hypernetwork in training, on the images that a run keeps aside: the figures of its log."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from chunkv2l.train.core.losses import answer_nats
from chunkv2l.train.data.batches import Written, pad
from chunkv2l.train.data.questions import Described, NegativeNouns, exists_row
from chunkv2l.train.stages.hypernet_stage import HypernetStage, side_by_side
from chunkv2l.train.stages.measure import (
    Frames,
    Given,
    Ratio,
    SceneQuestion,
    Scores,
    answer_yes_no,
    measure_captions,
    measure_compositions,
    nats_a_token,
    rank_in_blocks,
)
from chunkv2l.train.stages.names import NameScores, names_among, share_naming, statements_of

_CLIPS_AT_ONCE = 128
"""Clips in the compositions that go through the decoder at once."""


@dataclass(frozen=True)
class StageSubject:
    """The clips of a stage's own source, under its adapters as they are when first asked about.

    Args:
        stage: the trained parts, and the source whose image i is described by `described[i]`.
        frames: frames a clip.
        rows: text rows that go through the decoder at once.
        batch: clips that are looked at at once.
    """

    stage: HypernetStage
    described: Sequence[Described]
    prompts: Written
    frames: int = 4
    rows: int = 256
    batch: int = 64

    @cached_property
    def has_frames(self) -> bool:
        return self.stage.source.clips(torch.arange(1), self.frames).teacher is not None

    @cached_property
    def adapters(self) -> tuple[Tensor, Tensor]:
        """Return A [N, L, r, I] and scaling · B [N, L, r, D] of all clips, without bias."""
        parts = []
        with torch.no_grad():
            for images in torch.split(torch.arange(len(self.described)), self.batch):
                watched = self.stage.source.clips(images, self.frames)
                low = watched.states.dtype == torch.bfloat16
                with torch.autocast(watched.states.device.type, torch.bfloat16, enabled=low):
                    codes = self.stage.trained.hypernet.encode(watched.states, watched.mask)
                parts.append(self.stage.factors(codes))
        a, b = (torch.cat(column) for column in zip(*parts, strict=True))
        return a, b

    @torch.no_grad()
    def nats(self, rows: Sequence[tuple[str, str]], given: Sequence[Given]) -> tuple[list[float], list[int]]:
        frames = [condition.clip for condition in given if isinstance(condition, Frames)]
        if frames:
            return self._nats_behind_frames(rows, frames)
        weights = [condition for condition in given if not isinstance(condition, Frames)]
        size = len(weights[0]) if weights else 0
        if not size:
            return _listed(*self._nats(rows, *self.stage.bias(1), None))
        a, b = self.adapters
        clips = torch.tensor([list(chosen) for chosen in weights], device=a.device)  # [Q, size]
        if size == 1 and all(weight == 1.0 for chosen in weights for weight in chosen.values()):
            return _listed(*self._nats(rows, *self.stage.with_bias(a, b), clips[:, 0]))
        factors = torch.tensor([list(chosen.values()) for chosen in weights], device=a.device).to(a.dtype)
        step = max(1, _CLIPS_AT_ONCE // size)
        sums, counts = [], []
        for begin in range(0, len(rows), step):
            chosen, factor = clips[begin : begin + step], factors[begin : begin + step, :, None, None, None]
            joined = (side_by_side(t) for t in (a[chosen] * factor, b[chosen]))
            which = torch.arange(len(chosen), device=a.device)
            values, tokens = self._nats(rows[begin : begin + step], *self.stage.with_bias(*joined), which)
            sums.append(values)
            counts.append(tokens)
        return _listed(torch.cat(sums), torch.cat(counts))

    @torch.no_grad()
    def scores(self, clips: Sequence[int], texts: Sequence[str]) -> Scores:
        a, b = self.stage.with_bias(*self.adapters)
        rows = [("", text) for text in texts]
        nats = torch.zeros(len(clips), len(texts))
        tokens = torch.zeros(len(texts))
        for row, clip in enumerate(clips):
            values, counts = self._nats(rows, a[clip : clip + 1], b[clip : clip + 1], None, end=False)
            nats[row], tokens = -values.cpu(), counts.float().cpu()
        source, keys = self.stage.source, self.stage.trained.keys
        of_texts = keys.of_sentences(self.stage.sentences(texts))
        of_clips = [
            keys.of_clips(*source.features(images, self.frames))
            for images in torch.split(torch.tensor(clips), self.batch)
        ]
        return Scores(nats, tokens, (torch.cat(of_clips) @ of_texts.T).cpu())

    @torch.no_grad()
    def prior(self, texts: Sequence[str]) -> Tensor:
        """Return log p(statement | bias adapter) without the end of turn, [texts]."""
        return -self._nats([("", text) for text in texts], *self.stage.bias(1), None, end=False)[0].cpu()

    @torch.no_grad()
    def generate(self, count: int, longest: int = 24) -> list[str]:
        """Return greedy captions from the adapters of the first `count` clips."""
        a, b = (factors[:count] for factors in self.adapters)
        a, b = self.stage.with_bias(a, b)
        ids = torch.tensor([self.prompts.ask("")] * len(a), device=a.device)
        start = ids.shape[1]
        for _ in range(longest):
            hidden = self.stage.answer(ids, a, b)
            ids = torch.cat([ids, (hidden[:, -1] @ self.stage.decoder.head.T).argmax(-1, keepdim=True)], dim=1)
        return [self.prompts.text(row[start:]) for row in ids.tolist()]

    def _nats(
        self, rows: Sequence[tuple[str, str]], a: Tensor, b: Tensor, which: Tensor | None, end: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Return summed nats and token counts [Q] of answers under adapter `which[q]` of a stack; None: the only one.

        Args:
            end: whether the end of turn counts.
        """
        sums, counts = [], []
        for begin in range(0, len(rows), self.rows):
            written = [
                (self.prompts.ask(question), self.prompts.answer(answer)[: None if end else -1])
                for question, answer in rows[begin : begin + self.rows]
            ]
            chosen = slice(None) if which is None else which[begin : begin + self.rows]
            values, tokens = self.stage.answer_nats(written, a[chosen], b[chosen])
            sums.append(values)
            counts.append(tokens)
        return torch.cat(sums), torch.cat(counts)

    def _nats_behind_frames(
        self, rows: Sequence[tuple[str, str]], clips: Sequence[int]
    ) -> tuple[list[float], list[int]]:
        sums, counts = [], []
        for begin in range(0, len(rows), self.batch):
            images = torch.tensor(clips[begin : begin + self.batch])
            teacher = self.stage.source.clips(images, self.frames).teacher
            assert teacher is not None  # `has_frames` says so
            written = [
                (
                    [*self.stage.source.ids_before_question(image), *self.prompts.behind_frames(question)],
                    self.prompts.answer(answer),
                )
                for image, (question, answer) in zip(images.tolist(), rows[begin : begin + self.batch], strict=True)
            ]
            ids, labels = (t.to(self.stage.source.device) for t in pad(written))
            hidden = teacher(torch.arange(len(written), device=ids.device), ids)
            values, tokens = answer_nats(hidden, self.stage.decoder.head, labels)
            sums.append(values)
            counts.append(tokens)
        return _listed(torch.cat(sums), torch.cat(counts))


def _listed(nats: Tensor, tokens: Tensor) -> tuple[list[float], list[int]]:
    return nats.tolist(), tokens.tolist()


def context_figures(subject: StageSubject, negatives: NegativeNouns) -> dict[str, float]:
    """Return caption NLL a token and yes/no accuracy with frames in context; {} where frames can't be had."""
    if not subject.has_frames:
        return {}
    rows = _caption_rows(subject)
    nats = subject.nats([("", text) for _, text in rows], [Frames(clip) for clip, _ in rows])
    right = answer_yes_no(subject, _yes_no_rows(subject, negatives), "context")
    return _rounded({"nll_context": nats_a_token(*nats), "yesno_context": Ratio.mean(right)})


def caption_figures(subject: StageSubject, negatives: NegativeNouns) -> dict[str, float]:
    """Return caption NLL a token (frames in context, the right clip's adapter, a wrong clip's, the bias alone) and
    yes/no accuracy."""
    ratios = {f"nll_{name}": ratio for name, ratio in measure_captions(subject, _caption_rows(subject)).items()}
    rows = _yes_no_rows(subject, negatives)
    for way in ("context", "adapter") if subject.has_frames else ("adapter",):
        ratios[f"yesno_{way}"] = Ratio.mean(answer_yes_no(subject, rows, way))
    return _rounded(ratios)


def find_figures(subject: StageSubject, sizes: Sequence[int] = (8, 64, 256)) -> dict[str, float]:
    """Return R@1 and R@5 of finding a text's clip among N by its score, and R@1, R@5, R@32 by learned keys alone.

    A text's prior is left in its scores: it doesn't change which clip comes first.
    """
    fitting = [size for size in sizes if size <= len(subject.described)]
    if not fitting:
        return {}
    largest = max(fitting)
    texts = [image.captions[1 % len(image.captions)] for image in subject.described[:largest]]
    scores = subject.scores(range(largest), texts)
    ratios: dict[str, Ratio] = {}
    for size in fitting:
        whole = largest // size * size  # the last block may be short
        ranks = rank_in_blocks(scores.nats[:whole, :whole], size)
        for top in (1, 5):
            ratios[f"R@{top}/{size}"] = Ratio.mean((ranks < top).tolist())
    assert scores.keys is not None
    ranks = rank_in_blocks(scores.keys, largest)
    for top in (1, 5, 32):
        ratios[f"key R@{top}/{largest}"] = Ratio.mean((ranks < top).tolist())
    return _rounded(ratios)


def name_figures(subject: StageSubject) -> dict[str, float]:
    """Return R@1 and R@5 of each image's first label among all names, by its adapter's likelihood, and the share of
    adapters' captions that name it; R@1 with the frames in context where they can be had."""
    labels = [image.labels[0] for image in subject.described]
    names, right = names_among(labels)
    statements = statements_of(names)
    clips = range(len(labels))
    scores = subject.scores(clips, statements)
    table = NameScores(scores.nats, subject.prior(statements), scores.tokens, right)
    figures = table.figures() | {"named": share_naming(subject.generate(len(labels)), labels)}
    if subject.has_frames:
        columns = [subject.nats([("", text)] * len(labels), [Frames(clip) for clip in clips])[0] for text in statements]
        in_context = replace(table, nats=-torch.tensor(columns).T)
        figures |= {f"context {rule} R@1": in_context.recall(rule, 1) for rule in ("sum", "mean")}
    return {name: round(value, 4) for name, value in figures.items()}


def composition_figures(
    subject: StageSubject, sizes: Sequence[int] = (2, 4, 8, 16), groups: int = 24
) -> dict[str, float]:
    """Return NLL a token of answers that one of N clips has: under that clip alone, the bias alone, sum, and mean."""
    rng = random.Random(7)
    ratios: dict[str, Ratio] = {}
    for size in sizes:
        if size > len(subject.described):
            continue
        questions = _scene_questions(subject, size, max(groups, 128 // size), rng)
        if not questions:
            continue

        def compose(question: SceneQuestion, size: int = size) -> dict[str, dict[int, float]]:
            return {
                name: dict.fromkeys(question.clips, weight) for name, weight in (("sum", 1.0), ("mean", 1.0 / size))
            }

        nats, tokens = measure_compositions(subject, questions, compose)
        for name, values in nats.items():
            ratios[f"{size} {name}"] = nats_a_token(list(values.values()), tokens)
    return _rounded(ratios)


def _caption_rows(subject: StageSubject) -> list[tuple[int, str]]:
    return [(i, image.captions[i % len(image.captions)]) for i, image in enumerate(subject.described)]


def _yes_no_rows(subject: StageSubject, negatives: NegativeNouns) -> list[tuple[int, str, bool]]:
    rng = random.Random(5)
    rows = [exists_row(image, negatives, rng) for image in subject.described]
    return [(clip, question, answer == "Yes.") for clip, (question, answer) in enumerate(rows)]


def _scene_questions(subject: StageSubject, size: int, groups: int, rng: random.Random) -> list[SceneQuestion]:
    described = subject.described
    questions = []
    for group in range(groups):
        clips = tuple((group * size + k) % len(described) for k in range(size))
        made = (SceneQuestion.about(described, clips, right, rng) for right in range(size))
        questions += [question for question in made if question is not None]
    return questions


def _rounded(ratios: dict[str, Ratio]) -> dict[str, float]:
    return {name: round(ratio.value, 4) for name, ratio in ratios.items()}
