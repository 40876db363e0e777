"""Compare the router's score with docs/algorithm.md, steps 20–23, worked out one segment at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from chunkv2l.adapter.algebra import concat
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.graph import Node, segment_graph
from chunkv2l.models import Calibration
from chunkv2l.routing import router as routing
from chunkv2l.routing.probability import probabilities
from chunkv2l.routing.router import Router
from chunkv2l.routing.scoring import Budget, Scoring
from tests.helpers.fake_vlm import FakeModel, fake_model
from tests.helpers.written import random_codes

TEXT = "A dog catches the ball."


class Codes:
    """Codes on demand, noting which were read."""

    def __init__(self, codes: Tensor) -> None:
        self.codes, self.read = codes, []  # type: tuple[Tensor, list[list[Node]]]

    def __call__(self, ids: Sequence[Node]) -> Tensor:
        self.read.append(list(ids))
        return self.codes[[int(node) for node in ids]]


def expected_nats(model: FakeModel, codes: Tensor, text: str) -> list[float]:
    bias = model.hypernet.bias
    alone = model.vlm.score([text], bias)[0, 0]
    return [
        float(model.vlm.score([text], concat([model.hypernet.expand(code)], bias=bias))[0, 0] - alone) for code in codes
    ]


def no_hits(text: str) -> list[tuple[int, float]]:
    return []


def test_nats_are_the_gain_over_the_bias_alone() -> None:
    model, codes = fake_model(), random_codes(7)
    router = Router(model, Codes(codes), [None] * 7)
    scores = router.nats(TEXT, range(7))
    assert list(scores.values()) == pytest.approx(expected_nats(model, codes, TEXT), abs=1e-4)
    assert max(scores.values()) - min(scores.values()) > 0.1  # the segments differ at all


def test_mu_is_subtracted() -> None:
    model, codes = fake_model(), random_codes(3)
    plain = Router(model, Codes(codes), [None] * 3).nats(TEXT, range(3))
    shifted = Router(model, Codes(codes), [0.5, -1.0, 0.0]).nats(TEXT, range(3))
    assert [plain[i] - shifted[i] for i in range(3)] == pytest.approx([0.5, -1.0, 0.0])


def test_rows_are_bounded_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = random_codes(10)
    whole = Router(fake_model(), Codes(codes), [None] * 10).nats(TEXT, range(10))
    monkeypatch.setattr(routing, "CPU_ROWS", 3)
    source = Codes(codes)
    parts = Router(fake_model(), source, [None] * 10).nats(TEXT, range(10))
    assert parts == pytest.approx(whole, abs=1e-5)
    assert [len(ids) for ids in source.read] == [3, 3, 3, 1]
    model = fake_model()
    bias = model.hypernet.bias
    monkeypatch.setattr(routing, "CPU_BYTES", 2 * 2 * (bias.A.nbytes + bias.B.nbytes))
    source = Codes(codes)
    Router(model, source, [None] * 10).nats(TEXT, range(10))
    assert max(len(ids) for ids in source.read) == 2


def test_scores_are_remembered_for_each_statement() -> None:
    model, source = fake_model(), Codes(random_codes(5))
    router = Router(model, source, [None] * 5)
    first = router.nats(TEXT, [0, 1, 2])
    calls = len(model.vlm.prompts)
    assert router.nats(TEXT, [2, 0]) == {2: first[2], 0: first[0]}
    assert len(model.vlm.prompts) == calls and source.read == [[0, 1, 2]]
    router.nats(TEXT, [2, 3])
    assert source.read == [[0, 1, 2], [3]]
    router.nats("A cat runs.", [0])
    assert source.read[-1] == [0]


def test_only_so_many_statements_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "STATEMENTS_KEPT", 2)
    source = Codes(random_codes(1))
    router = Router(fake_model(), source, [None])
    for text in ("A dog.", "A cat.", "A man."):
        router.nats(text, [0])
    router.nats("A man.", [0])
    assert len(source.read) == 3
    router.nats("A dog.", [0])
    assert len(source.read) == 4


def test_the_statement_is_scored_under_the_caption_prompt() -> None:
    model = fake_model()
    Router(model, Codes(random_codes(2)), [None] * 2).nats(TEXT, [0, 1])
    assert model.vlm.prompts and all(prompt == model.vlm.prompt_ids("") for prompt in model.vlm.prompts)


def test_probabilities_follow_the_formula() -> None:
    nats, tokens, n = {0: 3.0, 4: 1.0, 5: -2.0}, 6, 9
    calibration = Calibration(tau=0.7, gamma=0.4, beta=0.3)
    p, absent = probabilities(nats, tokens, n, calibration)
    scale = 0.7 * 6**0.4
    e = {i: math.exp(s / scale) for i, s in nats.items()}
    total = 9 * math.exp(0.3) + sum(e.values())
    assert p == pytest.approx({i: value / total for i, value in e.items()})
    assert absent == pytest.approx(9 * math.exp(0.3) / total)
    assert sum(p.values()) + absent == pytest.approx(1.0)


@pytest.mark.parametrize("nats", [{0: 5000.0, 1: 0.0}, {0: -5000.0, 1: -4000.0}])
def test_probabilities_never_overflow(nats: dict[int, float]) -> None:
    p, absent = probabilities(nats, 4, 2, Calibration())
    assert sum(p.values()) + absent == pytest.approx(1.0) and p[0] in (0.0, 1.0)


def test_a_damaged_code_is_an_error() -> None:
    codes = random_codes(2)
    codes[1] = torch.nan
    with pytest.raises(InputError, match="segment 1 is damaged"):
        Router(fake_model(), Codes(codes), [None] * 2).nats(TEXT, [0, 1])


class Piece:
    """What the graph needs of a segment."""

    def __init__(self, number: int) -> None:
        self.start, self.end, self.caption = 4.0 * number, 4.0 * number + 4, ""


def scoring(count: int, budget: int | None, hits: Sequence[int] = (), text: str = TEXT) -> tuple[Scoring, Codes]:
    source = Codes(random_codes(count))
    router = Router(fake_model(), source, [None] * count)
    scores = [(i, 1.0) for i in hits]
    return Scoring(router, text, Budget(budget), lambda _: scores, segment_graph(map(Piece, range(count)))), source


def test_all_are_scored_within_the_budget() -> None:
    question, _ = scoring(6, 6)
    p = question.score(range(6))
    assert all(value > 0 for value in p.values())
    _, absent = question.probabilities()
    assert absent is not None and sum(p.values()) + absent == pytest.approx(1.0)


def test_the_budget_is_the_questions_whole_budget() -> None:
    question, source = scoring(20, 6)
    question.score(range(4))
    question.score(range(4))  # known already: costs nothing
    question.score(range(20))
    question.score(range(20))
    assert sum(len(ids) for ids in source.read) == 6


def test_no_budget_scores_every_segment() -> None:
    question, source = scoring(60, None)
    question.score(range(60))
    assert sum(len(ids) for ids in source.read) == 60


def test_later_nodes_share_anew_with_the_earlier_ones() -> None:
    question, _ = scoring(4, None)
    before = question.score([0, 1])
    after = question.score([0, 1, 2, 3])
    whole, _ = scoring(4, None)
    assert after == pytest.approx(whole.score([0, 1, 2, 3]))
    assert after[0] < before[0] and after[0] / after[1] == pytest.approx(before[0] / before[1])


def test_unknown_nodes_are_refused() -> None:
    question, _ = scoring(4, None)
    with pytest.raises(InputError, match="node 9"):
        question.score([0, 9])


def test_a_failing_model_is_a_failure_not_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: object) -> Tensor:
        raise RuntimeError("out of memory")

    question, _ = scoring(4, None)
    monkeypatch.setattr("tests.helpers.fake_vlm.FakeVLM.score", out_of_memory)
    with pytest.raises(ChunkV2LError, match="RuntimeError: out of memory") as caught:
        question.score(range(4))
    assert caught.value.exit_code == 1


def test_without_a_statement_all_are_alike_and_nothing_is_scored() -> None:
    question, source = scoring(4, None, text="")
    assert question.score([0, 2]) == {0: 0.25, 2: 0.25}
    assert source.read == [] and question.probabilities() == ({}, None)
