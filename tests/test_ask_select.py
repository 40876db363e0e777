"""The policy `select` end to end, where the model has a selector: moments, text, order in time, exclusion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.answer.explain import explain_answer
from chunkv2l.ask import Index
from chunkv2l.errors import InputError
from chunkv2l.export import export_adapters
from chunkv2l.graph import segments
from chunkv2l.hypernet.selector import Selection, Selector, Words
from chunkv2l.query.query import Query
from tests.helpers.fake_vlm import LAYERS, RANK, FakeModel, fake_model
from tests.helpers.keyed import unit_keys
from tests.helpers.selecting import selective
from tests.helpers.written import random_codes, write_index

WHEN, WHAT = "When does a dog catch the ball?", "What is on the grass?"
COUNT = 80


@pytest.fixture
def model() -> FakeModel:
    return selective(key=1.0)


@pytest.fixture
def index(tmp_path: Path, model: FakeModel) -> Iterator[Index]:
    path = write_index(tmp_path / "movie.idx", random_codes(COUNT), keys=unit_keys(COUNT))
    with Index(path, model) as opened:
        yield opened


def test_moments_come_from_the_selector_alone(index: Index, model: FakeModel) -> None:
    answer = index.ask(WHEN)
    assert answer.policy == "select" and model.vlm.prompts == [] and answer.route is not None
    (look,) = answer.route.looks
    assert len(look.candidates) == 64 and answer.route.budget == 0
    best = look.candidates[0]
    assert best.node in answer.spans[0].segments and answer.not_there == look.not_there
    p = {row.node: row.p for row in look.candidates}
    for span in answer.spans:
        assert span.score == pytest.approx(sum(p[node] for node in span.segments))
    assert [row.node for row in look.candidates[:8]] == [node for node, _ in answer.route.weights]


def test_text_is_generated_under_the_slots(index: Index) -> None:
    answer = index.ask(WHAT)
    assert answer.route is not None
    adapter = index.compose(dict(answer.route.weights))
    assert adapter.rank == 8 * RANK + RANK
    assert answer.answer == index.model.vlm.generate([answer.prompt], adapter)[0].strip()
    weights = dict(answer.route.weights)
    assert {node for span in answer.spans for node in span.segments} == {
        n for n, w in weights.items() if np.mean(w) > 0
    }
    again = index.follow_up(WHAT, weights)
    assert again.answer == answer.answer


def test_gates_of_one_and_four_segments_are_route(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = index.ask(WHAT, policy="route")
    assert answer.route is not None
    numbers = dict(answer.route.weights)
    slots = {node: np.full((LAYERS, RANK), weight, dtype=np.float32) for node, weight in numbers.items()}
    for ours, theirs in zip(_factors(index, slots), _factors(index, numbers), strict=True):
        torch.testing.assert_close(ours, theirs)


def _factors(index: Index, weights: object) -> tuple[torch.Tensor, torch.Tensor]:
    adapter = index.compose(weights)  # type: ignore[arg-type]
    return adapter.A, adapter.B


def test_explain_shows_evidence_and_slots(index: Index) -> None:
    answer = index.ask(WHAT, top_k=3)
    lines = explain_answer(answer)
    assert lines[0] == "policy: select" and "64 compared, 0 scored, budget 0; not there" in lines[1]
    assert lines[2].split() == ["rank", "node", "time", "p", "weight", "evidence", "S", "nats", "key", "found", "by"]
    start = lines.index(f"rank slots kept, by layer (█ is {RANK}):")
    assert answer.route is not None
    for line, (node, _) in zip(lines[start + 1 :], answer.route.weights, strict=False):
        assert line == f"  {node:>5}  {'█' * LAYERS}  {LAYERS * RANK} slots"
    values = answer.to_json(explain=True)["route"]
    assert np.array(values["weights"][0]["slots"]).shape == (LAYERS, RANK)
    assert values["weights"][0]["weight"] == pytest.approx(np.mean(values["weights"][0]["slots"]), abs=1e-3)
    assert values["looks"][0]["candidates"][0]["nats"] is None


def test_a_budget_scores_the_best(index: Index) -> None:
    answer = index.ask(WHEN, budget=5)
    assert answer.route is not None and answer.route.budget == 5
    assert sum(row.nats is not None for row in answer.route.looks[0].candidates) == 5


@pytest.mark.parametrize(
    ("question", "policy"),
    [
        ("What happens after a dog catches the ball?", "order"),
        ("When does a man jump after a dog runs?", "order"),
        ("How many times does a dog run?", "order"),
        ("When is the first time that a dog runs?", "order"),
        ("When does a dog run in the first minute?", "select"),
        ("What is this movie about?", "timeline"),
    ],
)
def test_other_questions_score_nothing_either(index: Index, model: FakeModel, question: str, policy: str) -> None:
    answer = index.ask(question)
    assert answer.policy == policy and answer.spans
    passes = [prompt for prompt in model.vlm.prompts if prompt == model.vlm.prompt_ids("")]
    assert passes == []  # statements are scored under the empty question's prompt
    if "minute" in question:
        assert all(span.end <= 60.0 for span in answer.spans)


@pytest.mark.parametrize("gated", [True, False])
def test_what_is_excluded_is_looked_for_too(index: Index, model: FakeModel, gated: bool) -> None:
    assert model.selector is not None
    if not gated:
        model.selector.reset_gates()
    answer = index.ask("What is on the grass, but not in the water?")
    assert answer.route is not None
    assert [look.statement for look in answer.route.looks] == ["On the grass.", "In the water."]
    weights = {node: float(np.mean(weight)) for node, weight in answer.route.weights}
    assert len(weights) == 10 and bool(answer.route.slots) == gated
    if not gated:
        assert [weight > 0 for weight in weights.values()] == [True] * 8 + [False] * 2
    shown = {node for span in answer.spans for node in span.segments}
    assert shown == {node for node, weight in weights.items() if weight > 0}  # not where the text didn't come from


def test_route_stays_by_name_and_without_a_selector(index: Index, tmp_path: Path, model: FakeModel) -> None:
    assert index.ask(WHEN, policy="route").policy == "route" and model.vlm.prompts
    with Index(index.path, replace(model, selector=None)) as plain:
        assert plain.ask(WHEN).policy == "route"
        named, routed = plain.ask(WHEN, policy="select"), plain.ask(WHEN, policy="route")
        assert named.policy == "select" and named.spans == routed.spans
        with pytest.raises(InputError, match="The model fake has no selector: use --policy route"):
            plain.ask(WHEN, policy=lambda graph, query: {node: 1.0 for node in query.select(segments(graph))})


def test_a_movie_that_is_composed_whole_is_not_scored(tmp_path: Path, model: FakeModel) -> None:
    with Index(write_index(tmp_path / "short.idx", random_codes(3)), model) as short:
        answer = short.ask(WHEN)
    assert (
        answer.policy == "select" and model.vlm.prompts == [] and sum(len(span.segments) for span in answer.spans) == 3
    )


def test_a_policy_of_ones_own_selects(index: Index) -> None:
    def policy(graph: object, query: Query) -> dict[int | str, object]:
        selected = query.select(segments(graph))
        best = next(iter(selected))
        return {best: selected[best].gates.clip(min=0)}

    answer = index.ask(WHAT, policy=policy)  # type: ignore[arg-type]
    assert answer.route is not None and len(answer.route.weights) == 1


def test_the_fake_models_selector_has_the_interface() -> None:
    selector = selective().selector
    assert isinstance(selector, Selector)
    selection = selector(Words(torch.randn(2, 3, 384), torch.ones(2, 3)), random_codes(4))
    assert isinstance(selection, Selection) and selection.evidence.shape == (2, 4)
    assert selection.gates.shape == (2, 4, LAYERS, RANK) and bool((selection.gates < 0).any())
    assert fake_model().selector is None


def test_slots_are_exported_as_they_are_composed(index: Index, tmp_path: Path) -> None:
    (written,) = export_adapters(index, tmp_path / "out", policy="select", question=WHAT, top_k=2)
    adapter, loaded = index.compose(written.weights), Adapter.from_pretrained(written.folder)
    torch.testing.assert_close(loaded.scaling * loaded.B.mT @ loaded.A, adapter.scaling * adapter.B.mT @ adapter.A)
    (entry,) = json.loads((tmp_path / "out" / "adapters.json").read_text())
    assert entry["rank"] == 3 * RANK and np.array(list(entry["weights"].values())).shape == (2, LAYERS, RANK)
