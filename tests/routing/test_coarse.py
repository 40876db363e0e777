"""Scoring in two steps: everything coarsely where the model can, then the best few exactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
import torch
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.graph import Node, segment_graph
from chunkv2l.hypernet.compose import expand
from chunkv2l.routing.probability import probabilities
from chunkv2l.routing.router import Router
from chunkv2l.routing.scoring import EXACT, Budget, Scoring
from chunkv2l.routing.step_timer import StepTimer
from tests.helpers.fake_vlm import FakeModel, FakeVLM, fake_hypernet, fake_model
from tests.helpers.pieces import chapters, pieces
from tests.helpers.written import random_codes

TEXT = "A dog catches the ball."
OFF = 7.0
"""So far the coarse way is off for every adapter alike: half a nat more or less comes on top."""


class Rough:
    """A coarse way to score: the same model once more, its numbers shifted and rounded to half a nat.

    Attributes:
        rows: how many adapters each call scored; precisions: and what they were expanded in.
    """

    precision = torch.bfloat16

    def __init__(self) -> None:
        self._vlm = FakeVLM().eval()
        self.rows: list[int] = []
        self.precisions: set[torch.dtype] = set()

    @property
    def targets(self) -> Sequence[nn.Module]:
        return self._vlm.targets

    def score(self, statements: Sequence[str], adapter: Adapter | None = None) -> Tensor:
        assert adapter is not None
        self.rows.append(len(adapter.A))
        self.precisions.add(adapter.A.dtype)
        return (2 * self._vlm.score(statements, adapter.to(dtype=torch.float32))).round() / 2 + OFF


class Movie:
    """A movie of random codes, noting what was read of it."""

    def __init__(self, count: int, each: int = 0, *, coarse: bool = True) -> None:
        self.model: FakeModel = fake_model()
        self.rough = Rough()
        self.model.vlm.coarse = self.rough if coarse else None
        self.codes, self.chapter_codes = random_codes(count), random_codes(max(1, count // max(each, 1)), seed=1)
        self.graph = segment_graph(pieces(count), (), chapters(count, each) if each else ())
        self.read: list[Node] = []
        self.router = Router(self.model, self, [0.1] * count)

    def __call__(self, nodes: Sequence[Node]) -> Tensor:
        self.read += nodes
        return torch.stack([self.codes[n] if isinstance(n, int) else self.chapter_codes[int(n[1:])] for n in nodes])

    def scoring(self, budget: int | None = None, timer: StepTimer | None = None) -> Scoring:
        return Scoring(self.router, TEXT, Budget(budget), lambda _: [], self.graph, timer=timer)

    def exactly(self, nodes: Iterable[Node]) -> dict[Node, float]:
        """Their scores from a model without a coarse way."""
        return self._again(coarse=False).router.nats(TEXT, list(nodes))

    def coarsely(self, nodes: Iterable[Node]) -> dict[Node, float]:
        """Their scores from the coarse way alone."""
        return self._again(coarse=True).router.nats(TEXT, list(nodes), coarse=True)

    def _again(self, coarse: bool) -> Movie:
        other = Movie(len(self.codes), coarse=coarse)
        other.chapter_codes = self.chapter_codes
        return other


def test_the_best_are_scored_exactly_and_the_rest_coarsely() -> None:
    movie = Movie(30)
    question = movie.scoring()
    p = question.score(range(30))
    exact, coarse = movie.exactly(range(30)), movie.coarsely(range(30))
    best = sorted(range(30), key=lambda node: -coarse[node])[:EXACT]
    assert {node: question.nats[node] for node in best} == pytest.approx({node: exact[node] for node in best}, abs=1e-4)
    others = [node for node in range(30) if node not in best]
    assert [question.nats[node] for node in others] == [coarse[node] for node in others]
    assert all(abs(coarse[node] - exact[node]) > 1e-3 for node in range(30))
    assert question.nats == pytest.approx(exact, abs=0.75)  # the shift cancels out
    expected, absent = probabilities(question.nats, question.tokens, 30, movie.model.calibration)
    assert p == pytest.approx(expected) and question.probabilities()[1] == pytest.approx(absent)
    assert movie.rough.rows == [31] and movie.rough.precisions == {torch.bfloat16}
    assert len(movie.read) == 30 + EXACT


def test_scores_within_a_question_agree_whenever_they_are_asked_for() -> None:
    movie = Movie(40)
    question = movie.scoring(30)
    question.score(range(10))
    first = dict(question.nats)
    p = question.score(range(40))
    assert len(question.nats) == 30 and question.score(range(40)) == p
    exact = movie.exactly(question.nats)
    kept = [node for node, nats in first.items() if nats == pytest.approx(exact[node], abs=1e-4)]
    assert len(kept) == EXACT and all(question.nats[node] == first[node] for node in kept)
    best = max(question.nats, key=question.nats.__getitem__)
    assert question.nats[best] == pytest.approx(exact[best], abs=1e-4)


def test_the_exact_pass_comes_after_all_looks() -> None:
    movie, timer = Movie(120), StepTimer()
    question = movie.scoring(24, timer)
    question.score(range(120))
    assert len(question.nats) == 24 == sum(movie.rough.rows) - 1  # the bias alone goes along once
    assert len(movie.rough.rows) == 3 and len(movie.model.vlm.prompts) == 1
    assert movie.read[24:] and set(movie.read[24:]) <= set(movie.read[:24]) and len(movie.read) == 24 + EXACT
    assert {"score", "score coarsely"} <= timer.seconds.keys()


def test_chapters_are_scored_in_two_steps_too() -> None:
    movie = Movie(60, each=5)
    question = movie.scoring()
    names = [f"g{number}" for number in range(12)]
    question.score(names)
    exact, coarse = movie.exactly(names), movie.coarsely(names)
    best = sorted(names, key=lambda group: -coarse[group])
    right = [question.nats[group] == pytest.approx(exact[group], abs=1e-4) for group in best]
    assert all(right[:EXACT]) and not any(right[EXACT:])


def test_the_router_tells_coarse_from_exact() -> None:
    movie = Movie(6)
    router = movie.router
    coarse = router.nats(TEXT, range(6), coarse=True)
    assert router.nats(TEXT, [1, 2], coarse=True) == {1: coarse[1], 2: coarse[2]} and len(movie.read) == 6
    exact = router.nats(TEXT, [2, 3])
    assert exact == pytest.approx({node: movie.exactly([node])[node] for node in (2, 3)}, abs=1e-4)
    assert movie.read[6:] == [2, 3] and exact[2] != coarse[2]
    assert router.nats(TEXT, range(6), coarse=True) == {**coarse, **exact}  # what is known better is told
    assert len(movie.read) == 8


def test_a_model_without_a_coarse_way_scores_everything_once_and_exactly() -> None:
    movie, timer = Movie(30, coarse=False), StepTimer()
    question = movie.scoring(timer=timer)
    question.score(range(30))
    assert question.nats == movie.router.nats(TEXT, range(30)) == movie.router.nats(TEXT, range(30), coarse=True)
    assert question.nats == pytest.approx(movie.exactly(range(30)), abs=1e-4)
    assert movie.read == list(range(30)) and "score coarsely" not in timer.seconds
    assert len(movie.model.vlm.prompts) == 1


def test_adapters_are_expanded_in_the_precision_asked_for() -> None:
    hypernet, codes = fake_hypernet(), random_codes(3)
    whole, low = expand(hypernet, codes), expand(hypernet, codes, torch.bfloat16)
    assert (whole.A.dtype, low.A.dtype, low.B.dtype) == (torch.float32, torch.bfloat16, torch.bfloat16)
    for candidate, other in ((whole.A, low.A), (whole.B, low.B)):
        assert 0 < float((candidate - other).norm() / candidate.norm()) < 0.02
