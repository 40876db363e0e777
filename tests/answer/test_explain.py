"""How an answer was found: kept on the answer, as lines and as JSON; and the whole read path over chapters and keys."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from chunkv2l.answer.answer import Answer
from chunkv2l.answer.explain import explain_answer
from chunkv2l.answer.trace import Route
from chunkv2l.ask import Index
from chunkv2l.cli import main as cli
from chunkv2l.graph import groups, neighbours
from chunkv2l.policies import weighed
from chunkv2l.query.parse import statement
from chunkv2l.routing.step_timer import StepTimer
from tests.helpers import indexes
from tests.helpers.fake_vlm import FakeModel, fake_model
from tests.helpers.keyed import unit_keys
from tests.helpers.written import random_codes, write_index
from tests.routing.test_scoring import keyed

WHEN = "When does a dog catch the ball?"
COUNT = 60


def rich(path: Path, model: FakeModel, speech: dict[int, str] | None = None) -> Path:
    """An index with keys, chapters, similar segments and subtitles."""
    codes = random_codes(COUNT)
    meta = {
        "movie": {"name": "movie.mp4", "size": 1, "sha256": "0" * 64, "duration": 4.0 * COUNT, "fps": 10.0},
        "model": model.name,
        "identity": dict(model.identity),
        "settings": {"detector": "fixed:4", "codes": "fp32", "captions": True},
        "code_shape": list(codes.shape[1:]),
    }
    chapters = [(first, first + 9) for first in range(0, COUNT, 10)]
    return indexes.write_index(
        path,
        ["the cat sits" if i % 7 else "a dog catches the ball" for i in range(COUNT)],
        codes=codes,
        kind="fp32",
        keys=None if model.keys is None else unit_keys(COUNT),
        speech=speech,
        meta=meta,
        chapters=chapters,
        similar=[(3, 40, 0.9), (5, 41, 0.8)],
    )


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    model = keyed()
    with Index(rich(tmp_path / "movie.idx", model), model) as opened:
        yield opened


def route_of(answer: Answer) -> Route:
    assert answer.route is not None
    return answer.route


def test_the_graph_has_chapters_and_similar_segments(index: Index) -> None:
    assert groups(index.graph) == [f"g{i}" for i in range(6)]
    assert list(neighbours(index.graph, 3, "similar")) == [40]


def test_a_route_tells_what_was_scored_and_why(index: Index) -> None:
    answer = index.ask(WHEN, budget=16)
    route = route_of(answer)
    (look,) = route.looks
    candidates = look.candidates
    assert (look.statement, look.tokens, look.segments) == ("A dog catch the ball.", 6, COUNT)
    assert look.not_there == answer.not_there and route.budget == 16 and (route.relation, route.within) == (None, None)
    assert len(candidates) == 16 and [candidate.rank for candidate in candidates] == list(range(1, 17))
    assert all(
        candidate.sources and candidate.key is not None and candidate.end == candidate.start + 4
        for candidate in candidates
    )
    p = [candidate.p for candidate in candidates]
    assert p == sorted(p, reverse=True) and answer.not_there is not None
    assert sum(p) + answer.not_there == pytest.approx(1.0)
    assert {candidate.node: candidate.weight for candidate in candidates if candidate.weight} == dict(route.weights)
    assert dict(route.weights) == pytest.approx(
        weighed({candidate.node: candidate.p for candidate in look.candidates}, 4)
    )
    assert any(source.startswith("words") for candidate in look.candidates for source in candidate.sources)


def test_the_seconds_by_step_add_up(index: Index) -> None:
    answer = index.ask("What is on the grass?", budget=16)
    steps = dict(route_of(answer).seconds)
    assert set(steps) == {"keys", "statement", "words", "codes", "expand", "score", "policy", "compose", "generate"}
    assert all(seconds >= 0 for seconds in steps.values())
    assert sum(steps.values()) <= answer.timing.total_s - answer.timing.load_s + 1e-6


def test_a_route_is_frozen_and_no_part_of_what_makes_answers_equal(index: Index) -> None:
    candidate, other = index.ask(WHEN), index.ask(WHEN)
    assert candidate.route is not other.route
    assert dataclasses.replace(candidate, timing=other.timing) == other
    with pytest.raises(dataclasses.FrozenInstanceError):
        route_of(candidate).budget = 3  # type: ignore[misc]


def test_lines_name_every_candidate(index: Index) -> None:
    answer = index.ask("What happens after a dog catches the ball?", budget=12)
    lines = explain_answer(answer)
    assert lines[0] == "policy: order" and lines[1] == 'relation: after "A dog catches the ball."'
    assert lines[2].startswith(
        'looked for: "A dog catches the ball." (6 tokens) among 60 segments; 12 scored, budget 12'
    )
    rows = [line.split() for line in lines[4:16]]
    assert [int(row[0]) for row in rows] == list(range(1, 13))
    assert [int(row[1]) for row in rows] == [candidate.node for candidate in route_of(answer).looks[0].candidates]
    assert lines[-1].startswith("time: ") and "score" in lines[-1] and "generate" in lines[-1]
    beside = [node for node, _ in route_of(answer).weights if node not in {int(row[1]) for row in rows}]
    assert not beside or any(f"{beside[0]}: " in line for line in lines[16:-1])


def test_lines_of_a_policy_that_asks_nothing(index: Index) -> None:
    lines = explain_answer(index.ask("What happens in the last 20 seconds?", budget="all"))
    assert lines[1:4] == ["relation: within", "within: 3:40 – 4:00", "nothing was scored"]
    assert lines[4] == "weights of nodes that weren't scored: 55: 0.250, 56: 0.250, 58: 0.250, 59: 0.250"
    assert explain_answer(dataclasses.replace(index.ask(WHEN), route=None)) == []


def test_json_is_plain_and_whole(index: Index) -> None:
    answer = index.ask("When does a man jump after a dog runs?", budget=16)
    values = json.loads(json.dumps(answer.to_json(explain=True)))
    assert list(values)[-1] == "route" and "route" not in answer.to_json()
    route = values["route"]
    assert list(route) == ["relation", "within", "budget", "looks", "weights", "seconds"]
    assert route["relation"]["kind"] == "after" and route["relation"]["event"] == "A man jump."
    assert route["relation"]["span"] == [None, None] and [look["statement"] for look in route["looks"]] == [
        "A dog runs.", "A man jump.",
    ]  # fmt: skip
    assert {"node", "weight"} == set(route["weights"][0]) and route["looks"][0]["candidates"][0]["sources"]
    assert dataclasses.replace(answer, route=None).to_json(explain=True) == answer.to_json()


def test_chapters_are_scored_composed_and_told(index: Index) -> None:
    answer = index.ask("What is on the grass?", policy="chapters", budget=24)
    candidates = route_of(answer).looks[0].candidates
    chapters = [candidate for candidate in candidates if isinstance(candidate.node, str)]
    assert len(chapters) == 6 and [candidate.rank for candidate in chapters] == list(range(1, 7))
    similarity = index.router.key_similarity(statement("What is on the grass?"))
    assert similarity is not None and chapters[0].key is not None
    first = 10 * int(str(chapters[0].node)[1:])
    assert chapters[0].key == pytest.approx(max(similarity[first : first + 10]))
    best = {str(candidate.node) for candidate in chapters[:3]}
    assert all(f"g{int(node) // 10}" in best for node, _ in route_of(answer).weights)
    assert any(line.split()[1].startswith("g") for line in explain_answer(answer)[3:-1])


def test_a_policy_may_weigh_groups(index: Index) -> None:
    answer = index.ask("What is on the grass?", policy=lambda graph, query: {"g2": 0.75, 3: 0.25})
    assert [span.segments for span in answer.spans] == [tuple(range(20, 30)), (3,)]
    assert [span.score for span in answer.spans] == pytest.approx([0.75, 0.25])
    adapter = index.compose({"g2": 0.75, 3: 0.25})
    assert answer.answer == index.model.vlm.generate(["What is on the grass?"], adapter)[0]
    moment = index.ask(WHEN, policy=lambda graph, query: {"g5": 1.0})
    assert {i for span in moment.spans for i in span.segments} == set(range(50, 60))


def test_what_is_said_is_found_in_subtitles(tmp_path: Path) -> None:
    model = fake_model()
    speech = {17: "Good morning, everybody.", 44: "It is a good idea."}
    with Index(rich(tmp_path / "movie.idx", model, speech), model) as index:
        answer = index.ask("When does she say good morning?")
        assert answer.policy == "fts" and answer.spans[0].segments == (17,) and model.vlm.prompts == []
        assert index.ask("When does she say nothing useful?").policy == "route"
        assert index.ask("When does she say good morning?", policy="route").policy == "route"
        assert index.ask("What does she say about the good idea?").policy == "route"
    with Index(rich(tmp_path / "silent.idx", model), model) as index:
        assert index.ask("When does the dog say good morning?").policy == "route"


def test_the_cost_of_a_question_doesnt_grow_with_the_movie(tmp_path: Path) -> None:
    """Passes through the model and codes read, at 30 and at 120 segments."""
    costs = []
    for count in (30, 120):
        model = fake_model()
        with Index(write_index(tmp_path / f"{count}.idx", random_codes(count)), model) as index:
            answer = index.ask(WHEN, budget=12)
        costs.append((len(model.vlm.prompts), len(route_of(answer).looks[0].candidates)))
    assert costs[0] == costs[1] and costs[0][1] == 12


# ---- the command line


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    model = keyed()
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: model, raising=False)
    return str(rich(tmp_path / "movie.idx", model))


def test_ask_explain(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["ask", path, WHEN, "--explain"]) == 0
    out = capsys.readouterr().out
    answer, _, route = out.partition("\n\n")
    assert answer.startswith(("From", "It seems not")) and route.startswith("policy: route\nlooked for: ")
    assert cli.run(["ask", path, WHEN]) == 0
    assert "looked for" not in capsys.readouterr().out


def test_ask_explain_as_json(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["ask", path, WHEN, "--explain", "--json"]) == 0
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert values["route"]["looks"][0]["candidates"][0]["rank"] == 1
    assert cli.run(["ask", path, WHEN, "--json"]) == 0
    assert "route" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("policy", ["window", "diffuse", "chapters", "order"])
def test_new_policies_by_name(path: str, policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["ask", path, "What is on the grass?", "--policy", policy, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policy"] == policy


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return {'g9': 1.0}", "'g9', which is not in the graph (segments 0 to 59, groups g0 to g5)"),
        ("return {'g1': float('nan')}", "must be finite"),
        ("return {'g1': 0.0}", "chose no segment"),
        ("return query.score(['g9'])", "'g9', which is not in the graph"),
        ("return graph.nodes['g1']['nothing']", "KeyError: 'nothing'"),
    ],
)
def test_bad_policies_get_a_sentence(
    path: str, tmp_path: Path, body: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(f"def policy(graph, query):\n    {body}\n")
    assert cli.run(["ask", path, "What is it?", "--policy", f"{tmp_path / 'mine.py'}:policy"]) == 2
    assert message in capsys.readouterr().err


# ---- the timer


def test_a_step_within_another_counts_for_itself() -> None:
    timer = StepTimer()
    with timer("outer"):
        time.sleep(0.02)
        with timer("inner"):
            time.sleep(0.05)
        with timer("inner"):
            time.sleep(0.05)
    assert timer.seconds["inner"] >= 0.1 and timer.seconds["outer"] >= 0.02
    total = sum(timer.seconds.values())
    with pytest.raises(ZeroDivisionError), timer("outer"):
        _ = 1 / 0
    assert sum(timer.seconds.values()) > total


def test_the_watch_of_nested_steps_doesnt_count_twice() -> None:
    timer = StepTimer()
    started = time.perf_counter()
    with timer("a"), timer("b"), timer("a"):
        time.sleep(0.02)
    assert sum(timer.seconds.values()) <= time.perf_counter() - started + 1e-6


def test_keys_of_an_index_are_used(index: Index) -> None:
    similarity = index.router.key_similarity("A dog catch the ball.")
    assert similarity is not None and len(similarity) == COUNT
    assert torch.tensor(similarity).abs().max() <= 1 + 1e-5
