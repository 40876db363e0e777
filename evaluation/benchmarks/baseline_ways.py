"""Find moments and answer questions in the ways that `baselines` compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter, concat
from chunkv2l.adapter.inject import exclusive
from chunkv2l.answer.spans import rank_spans
from chunkv2l.ask import MAX_NEW_TOKENS, Index
from chunkv2l.hypernet.compose import expand
from chunkv2l.models.family import Family, require_family
from chunkv2l.query.parse import parse
from chunkv2l.routing.probability import probabilities
from chunkv2l.video.clip import Clip
from evaluation.benchmarks import answers, asking, in_context, moments, qa
from evaluation.benchmarks.answers import Nats, Rule
from evaluation.common.metrics import Scored
from evaluation.datasets.qa_files import Question

Embed = Callable[[Sequence[str]], Tensor]
"""Returns unit vectors [n, d] of texts."""

MOST: Final = 10
"""Windows of a prediction, at most: mAP reads no more."""
IN_PROMPT: Final = 4
"""Captions in a prompt, at most: as many as `route` composes segments."""


class Movie:
    """A movie's index, its file if there is one, and data that several ways share, made when first needed."""

    def __init__(self, index: Index, file: Path | None = None, embed: Embed | None = None) -> None:
        self.index = index
        self.file = file
        self.embed = embed
        self.vlm = index.model.vlm

    @property
    def duration(self) -> float:
        """Return the movie's length, seconds."""
        return float(self.index.segments[-1].end)

    @property
    def family(self) -> Family:
        """Return the model as one that takes frames into its context."""
        return require_family(self.vlm)

    @cached_property
    def clip(self) -> Clip:
        """Return uniform frames of the whole movie."""
        assert self.file is not None
        return in_context.whole_movie(self.file, self.vlm)

    @cached_property
    def adapter(self) -> Adapter:
        """Return one adapter for the whole movie, made from those frames, and the bias."""
        hypernet = self.index.model.hypernet
        with torch.inference_mode():
            code = hypernet.encode(*self.vlm.encode([self.clip]))
            return concat(expand(hypernet, code).unbind(), bias=hypernet.bias)

    @cached_property
    def prompts(self) -> list[Tensor]:
        """Return the caption prompt with each segment's frames, [S, D] each."""
        assert self.file is not None
        spans = [(segment.start, segment.end) for segment in self.index.segments]
        with exclusive(self.vlm.targets), torch.inference_mode():
            return [
                self.family.embed_with_frames([clip], "")[0]
                for clip in in_context.segment_clips(self.file, self.vlm, spans)
            ]

    @cached_property
    def meanings(self) -> Tensor:
        """Return embeddings of the segments' captions, [N, d]; 0 where a segment has none."""
        assert self.embed is not None
        captions = [segment.caption for segment in self.index.segments]
        return self.embed(captions) * torch.tensor([[float(bool(caption.strip()))] for caption in captions])

    def by_words(self, text: str) -> dict[int, float]:
        """Return the segments whose captions share words with the text, best first."""
        return {number: score for number, score in self.index.file.search(statement(text)) if score > 0}

    def by_meaning(self, text: str) -> dict[int, float]:
        """Return all segments by the cosine of caption and text, best first."""
        assert self.embed is not None
        cosines = (self.meanings @ self.embed([statement(text)])[0]).tolist()
        return dict(sorted(enumerate(cosines), key=lambda item: -item[1]))


def statement(text: str) -> str:
    """Return the statement of a text, or the text itself if it has none."""
    return parse(text).statement or text


# Moments: functions of movie and query that return windows, best first.

FindMoment = Callable[[Movie, str], tuple[Scored, ...]]


def ask(movie: Movie, query: str) -> tuple[Scored, ...]:
    """Ask as `chunkv2l ask` does."""
    return moments.windows(movie.index, moments.question(query))


def full_text(movie: Movie, query: str) -> tuple[Scored, ...]:
    """Ask as `chunkv2l ask --policy fts` does: BM25 over the captions."""
    return moments.windows(movie.index, moments.question(query), policy="fts")


def embeddings(movie: Movie, query: str) -> tuple[Scored, ...]:
    """Return the segments whose captions are nearest in meaning."""
    segments = movie.index.segments
    best = list(movie.by_meaning(query).items())[:MOST]
    return tuple((segments[number].start, segments[number].end, cosine) for number, cosine in best)


def whole_movie(movie: Movie, query: str) -> tuple[Scored, ...]:
    """Return the whole movie: one adapter for all of it knows no times."""
    return ((0.0, movie.duration, 1.0),)


def frames_in_context(movie: Movie, query: str) -> tuple[Scored, ...]:
    """Ask the model that sees uniform frames; an answer without two times predicts nothing."""
    with exclusive(movie.vlm.targets):
        said = movie.family.generate_from_frames([movie.clip], in_context.asked_when(query), MAX_NEW_TOKENS)[0]
    window = in_context.spoken_window(said, movie.duration)
    return () if window is None else ((*window, 1.0),)


@torch.inference_mode()
def every_segment(movie: Movie, query: str) -> tuple[Scored, ...]:
    """Score the statement with each segment's frames in context: a prefill of all frames for every query."""
    from chunkv2l.models.text.decoder import score

    vlm, segments, text = movie.family, movie.index.segments, statement(query)
    ids = [vlm.statement_ids(text)]
    with exclusive(vlm.targets):
        alone = float(score(vlm.decoder, vlm.prompt_ids(""), ids)[0, 0])
        nats = {n: float(score(vlm.decoder, prompt, ids)[0, 0]) - alone for n, prompt in enumerate(movie.prompts)}
    p, _ = probabilities(nats, vlm.count_tokens(text), len(segments), movie.index.model.calibration)
    spans = rank_spans(segments, sorted(nats, key=lambda n: -nats[n]), p, MOST)
    return tuple((span.start, span.end, span.score) for span in spans)


@dataclass(frozen=True)
class Way:
    """A way, and its requirements: "movie" (the file), "embed" (MiniLM), "exhaustive" (the option)."""

    run: Callable[..., Any]
    needs: frozenset[str] = frozenset()
    prepare: Callable[[Movie], object] = lambda movie: None


FINDING: Final[Mapping[str, Way]] = {
    "chunkv2l ask": Way(ask),
    "captions, full text": Way(full_text),
    "captions, embeddings": Way(embeddings, frozenset({"embed"}), lambda movie: movie.meanings),
    "one adapter for the whole movie": Way(whole_movie),
    "uniform frames in context": Way(frames_in_context, frozenset({"movie"}), lambda movie: movie.clip),
    "every segment's frames in context": Way(
        every_segment, frozenset({"movie", "exhaustive"}), lambda movie: movie.prompts
    ),
}


# Answers: functions of movie, question and rule that return scores.


def under(movie: Movie, question: Question, adapter: Adapter | None, rule: Rule) -> qa.Scores:
    """Answer under an adapter; None is the bias alone."""
    return qa.answer(movie.index, question, adapter, rule)[1]


def routed(movie: Movie, question: Question, rule: Rule) -> qa.Scores:
    """Answer as `chunkv2l ask` does."""
    weights = asking.weights(movie.index, question.question)
    prompt = asking.prompt(question.question)
    return qa.answer(movie.index, question, asking.adapter(movie.index, weights), rule, prompt)[1]


def read_words(movie: Movie, question: Question, rule: Rule) -> qa.Scores:
    """Answer with the captions that full-text search finds in the bare model's prompt."""
    return _answer_with_captions(movie, question, list(movie.by_words(question.question)), rule)


def read_meaning(movie: Movie, question: Question, rule: Rule) -> qa.Scores:
    """Answer with the captions nearest in meaning in the bare model's prompt."""
    return _answer_with_captions(movie, question, list(movie.by_meaning(question.question)), rule)


def internalised(movie: Movie, question: Question, rule: Rule) -> qa.Scores:
    """Answer under one adapter for the whole movie."""
    return under(movie, question, movie.adapter, rule)


def with_frames(movie: Movie, question: Question, rule: Rule) -> qa.Scores:
    """Answer with uniform frames of the movie in the bare model's context."""
    if question.options:
        return qa.chosen(
            question, in_context.option_nats(movie.family, movie.clip, question.question, question.options), rule
        )
    with exclusive(movie.vlm.targets):
        return qa.said(question, movie.family.generate_from_frames([movie.clip], question.question, MAX_NEW_TOKENS)[0])


def blind(movie: Movie, question: Question, rule: Rule) -> qa.Scores:
    """Answer under the bias alone, without video."""
    return under(movie, question, None, rule)


def with_captions(question: str, captions: Sequence[str]) -> str:
    """Return a question after captions.

    >>> with_captions("Who runs?", ["A dog.", "A man sits"])
    'This is what a video shows: A dog. A man sits. Who runs?'
    """
    if not captions:
        return question
    return f"This is what a video shows: {' '.join(c.strip().rstrip('.') + '.' for c in captions)} {question}"


def _answer_with_captions(movie: Movie, question: Question, numbers: Sequence[int], rule: Rule) -> qa.Scores:
    chosen = sorted(numbers[:IN_PROMPT])  # in order of time
    captions = [movie.index.segments[number].caption for number in chosen]
    prompt = with_captions(question.question, [caption for caption in captions if caption.strip()])
    vlm = movie.vlm
    with exclusive(vlm.targets):
        if not question.options:
            return qa.said(question, vlm.generate([prompt], None, MAX_NEW_TOKENS)[0])
        with_them = answers.nats(movie.family, prompt, question.options, None, None)
        without = answers.nats(movie.family, question.question, question.options, None, None)
    return qa.chosen(
        question, [Nats(a.total, a.tokens, b.total) for a, b in zip(with_them, without, strict=True)], rule
    )


ANSWERING: Final[Mapping[str, Way]] = {
    "chunkv2l ask": Way(routed),
    "captions in the prompt, full text": Way(read_words),
    "captions in the prompt, embeddings": Way(read_meaning, frozenset({"embed"}), lambda movie: movie.meanings),
    "one adapter for the whole movie": Way(internalised, frozenset({"movie"}), lambda movie: movie.adapter),
    "uniform frames in context": Way(with_frames, frozenset({"movie"}), lambda movie: movie.clip),
    qa.BLIND: Way(blind),
}
