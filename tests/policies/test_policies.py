"""Built-in policies on scores made by hand, and how a user's own are loaded and refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from chunkv2l import policies
from chunkv2l.defaults import POLICIES
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.graph import Node, neighbours, segment_graph, segments
from chunkv2l.query.parse import parse
from chunkv2l.query.query import Query, Selected
from tests.helpers.pieces import chapters, pieces

GRAPH = segment_graph(pieces(10))


class Scores:
    """A scorer with scores made by hand: of the statement, and of others that a policy asks about."""

    def __init__(
        self,
        scores: Mapping[Node, float] = {},
        hits: Mapping[Node, float] = {},
        others: Mapping[str, Mapping[Node, float]] = {},
    ) -> None:
        self.scores, self.hits, self.others, self.asked = scores, hits, others, 0
        self.limits: list[int | None] = []

    def score(self, nodes: Iterable[Node], limit: int | None = None) -> dict[Node, float]:
        self.asked += 1
        self.limits.append(limit)
        return {node: self.scores.get(node, 0.0) for node in nodes}

    def select(self, nodes: Iterable[Node]) -> Mapping[int, Selected]:
        p = {node: self.scores.get(node, 0.0) for node in nodes if isinstance(node, int)}
        ranked = sorted(p, key=lambda node: -p[node])
        return {node: Selected(p[node], 0.0, np.full((3, 2), 1.0 + node, dtype=np.float32)) for node in ranked}

    def find(self, nodes: Iterable[Node], limit: int | None = None) -> Mapping[Node, float]:
        return self.score(nodes, limit)

    def search(self) -> Mapping[Node, float]:
        return self.hits

    def about(self, query: Query, statement: str) -> Query:
        return replace(query, statement=statement, relation=None, scorer=Scores(self.others[statement]))


def query(text: str = "When does a dog bark?", scorer: Scores | None = None) -> Query:
    parsed = parse(text)
    return Query(
        text,
        parsed.statement,
        parsed.kind,
        parsed.relation,
        scorer=scorer or Scores({2: 0.4, 5: 0.3, 6: 0.1, 7: 0.05}),
        selects=True,
    )


def test_the_graph_is_a_chain_with_times_and_captions() -> None:
    assert segments(GRAPH) == list(range(10))
    assert GRAPH.nodes[3] == {"start": 12.0, "end": 16.0, "caption": "caption 3", "speech": ""}
    assert list(GRAPH.edges) == [(i, i + 1) for i in range(9)]
    assert list(neighbours(GRAPH, 3, "next")) == [4] and list(neighbours(GRAPH, 9, "next")) == []
    assert list(neighbours(GRAPH, 3, "similar")) == []


def test_a_policy_cant_change_the_graph() -> None:
    with pytest.raises(nx.NetworkXError):
        GRAPH.add_edge(0, 5)


def test_route_weighs_the_best_by_the_roots_of_their_belief() -> None:
    total = 4**0.5 + 3**0.5 + 1
    expected = {2: 4**0.5 / total, 5: 3**0.5 / total, 6: 1 / total}
    assert policies.route(GRAPH, query(), top_k=3) == pytest.approx(expected)
    assert len(policies.route(GRAPH, query())) == 4


def test_select_weighs_slots_by_gates_and_the_roots_of_p() -> None:
    total = 4**0.5 + 3**0.5 + 1
    weights = policies.select(GRAPH, query(), top_k=3)
    assert list(weights) == [2, 5, 6] and len(policies.select(GRAPH, query())) == 8
    for node, share in ((2, 4**0.5 / total), (5, 3**0.5 / total), (6, 1 / total)):
        assert weights[node] == pytest.approx(np.full((3, 2), share * (1.0 + node)))  # the gates are 1 + node
    scorer = Scores()
    assert (
        policies.select(GRAPH, query("What happens?", scorer)) == policies.timeline(GRAPH, query()) and not scorer.asked
    )


def test_what_a_question_excludes_counts_against_the_rest() -> None:
    others: dict[str, dict[Node, float]] = {"A cat.": {2: 0.5, 7: 0.36, 9: 0.04}}
    weights = policies.select(
        GRAPH, replace(query("A dog, but not a cat"), scorer=Scores({2: 0.4}, others=others), excluded="A cat."), 1
    )
    assert list(weights) == [2, 7, 9]
    assert weights[7] == pytest.approx(np.full((3, 2), -0.25 * 0.6 * 8)) and np.all(np.asarray(weights[9]) < 0)


SLOTS = np.arange(6, dtype=np.float64).reshape(3, 2)


@pytest.mark.parametrize(
    ("weight", "problem"),
    [
        (SLOTS[:2], r"weights \[2, 2\]; the rank slots of this index are \[3, 2\]"),
        ([[1.0, 2.0], [3.0]], "is no array of numbers"),
        (SLOTS * np.nan, "aren't finite numbers"),
        (SLOTS * 1e6, "a weight of 5e\\+06; weights lie between"),
        (np.array([["a", "b"]] * 3), "is no array of numbers"),
    ],
)
def test_weights_of_slots_that_cant_be_composed_are_refused(weight: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        policies.check("mine", {2: weight}, GRAPH, (3, 2))


def test_weights_of_slots_are_copied_and_zeros_dropped() -> None:
    given = SLOTS.copy()
    weights = policies.check("mine", {2: given, 3: [[0, 0], [0, 1], [0, 0]], 4: 0 * SLOTS, 5: 1}, GRAPH, (3, 2))
    given[:] = 9.0
    assert list(weights) == [2, 3, 5] and weights[5] == 1.0 and np.array_equal(np.asarray(weights[2]), SLOTS)
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(weights[2])[0] = 1.0
    with pytest.raises(InputError, match="can't be used here"):
        policies.check("mine", {2: SLOTS}, GRAPH)


def test_route_without_a_statement_is_the_timeline_and_asks_nothing() -> None:
    scorer = Scores()
    assert policies.route(GRAPH, query("What happens?", scorer), 2) == {2: 0.5, 7: 0.5}
    assert scorer.asked == 0


def test_route_survives_scores_of_zero() -> None:
    assert policies.route(GRAPH, query(scorer=Scores()), 2) == {0: 0.5, 1: 0.5}


def test_concat_and_mean_take_everything_or_the_best() -> None:
    scorer = Scores({4: 0.5, 1: 0.2})
    assert policies.concat(GRAPH, query(scorer=scorer)) == dict.fromkeys(range(10), 1.0)
    assert policies.mean(GRAPH, query(scorer=scorer)) == dict.fromkeys(range(10), 0.1)
    assert scorer.asked == 0
    assert policies.concat(GRAPH, query(scorer=scorer), top_k=2) == {4: 1.0, 1: 1.0}
    assert policies.mean(GRAPH, query(scorer=scorer), top_k=2) == {4: 0.5, 1: 0.5}


def test_fts_takes_the_best_hits_and_never_scores() -> None:
    scorer = Scores(hits={3: 3.0, 8: 1.0, 0: 0.5})
    assert policies.fts(GRAPH, query(scorer=scorer), top_k=2) == {3: 0.75, 8: 0.25}
    assert scorer.asked == 0
    with pytest.raises(InputError, match="shares a word"):
        policies.fts(GRAPH, query(scorer=Scores()))


@pytest.mark.parametrize(
    ("k", "expected"), [(1, [5]), (2, [2, 7]), (5, [1, 3, 5, 7, 9]), (10, list(range(10))), (99, list(range(10)))]
)
def test_timeline_is_spread_evenly(k: int, expected: list[int]) -> None:
    weights = policies.timeline(GRAPH, query(), k)
    assert sorted(weights) == expected and sum(weights.values()) == pytest.approx(1.0)


def test_window_takes_in_what_lies_around_the_best() -> None:
    assert policies.window(GRAPH, query()) == pytest.approx({2: 0.5, 3: 0.25, 1: 0.25})
    assert policies.window(GRAPH, query(), reach=2) == pytest.approx({2: 0.4, 3: 0.2, 4: 0.1, 1: 0.2, 0: 0.1})
    two = policies.window(GRAPH, query(scorer=Scores({0: 0.3, 1: 0.1})), top_k=2)  # neighbours of each other
    assert two == pytest.approx({0: 0.875 / 1.625, 1: 0.625 / 1.625, 2: 0.125 / 1.625})
    assert policies.window(GRAPH, query("What happens?")) == policies.timeline(GRAPH, query())


def test_diffuse_moves_belief_along_edges() -> None:
    alike = segment_graph(pieces(10), [(2, 8, 0.9), (5, 8, 0.9)])
    scorer = Scores({2: 0.4, 5: 0.4, 0: 0.2})
    weights = policies.diffuse(alike, query(scorer=scorer), top_k=3)
    assert set(weights) == {2, 5, 8} and sum(weights.values()) == pytest.approx(1.0)  # two likely ones lead to 8
    assert weights[2] > weights[8] and weights[5] > weights[8]
    plain = policies.diffuse(GRAPH, query(scorer=scorer), top_k=10)
    assert plain[2] > plain[3] > plain[9] and plain[4] > plain[9]  # without similar edges it walks along next
    assert policies.diffuse(GRAPH, query("What happens?")) == policies.timeline(GRAPH, query())
    assert policies.diffuse(GRAPH, query(scorer=Scores()), top_k=2) == {0: 0.5, 1: 0.5}


def test_diffuse_is_personalised_pagerank() -> None:
    """Against the definition: a walker's stationary distribution, solved as a linear system."""
    import numpy as np

    alike = segment_graph(pieces(6), [(0, 4, 0.8), (1, 5, 0.3)])
    start = {1: 0.75, 3: 0.25}
    found = policies.diffuse(alike, query(scorer=Scores({1: 0.3, 3: 0.1})), top_k=6)
    steps = np.zeros((6, 6))
    for a, b, data in alike.edges(data=True):
        steps[a, b] += data.get("similar", 0.0) + 0.5 * ("next" in data)
        steps[b, a] += 0.5 * ("next" in data)
    steps /= steps.sum(1, keepdims=True)
    restart = np.array([start.get(i, 0.0) for i in range(6)])
    expected = np.linalg.solve(np.eye(6) - 0.5 * steps.T, 0.5 * restart)
    assert [found[i] for i in range(6)] == pytest.approx(expected.tolist(), abs=1e-9)


def test_chapters_come_first_then_their_segments() -> None:
    movie = segment_graph(pieces(16), (), chapters(16, 4))
    scores: dict[Node, float] = {"g0": 0.1, "g1": 0.5, "g2": 0.05, "g3": 0.3, 5: 0.2, 13: 0.1, 1: 0.05, 9: 0.9}
    scorer = Scores(scores)
    weights = policies.chapters(movie, query(scorer=scorer), top_k=3)
    assert weights == pytest.approx(policies.weighed({5: 0.2, 13: 0.1, 1: 0.05}, 3))  # 9 lies in a chapter that lost
    assert scorer.limits == [24, None]
    assert policies.chapters(GRAPH, query(), top_k=2) == policies.route(GRAPH, query(), 2)
    assert policies.chapters(movie, query("What happens?")) == policies.timeline(movie, query())


@pytest.mark.parametrize(
    ("question", "spoken", "name"),
    [
        ("When does a dog bark?", False, "route"),
        ("What is on the table?", False, "route"),
        ("A dog barks.", False, "route"),
        ("When does she say hello?", True, "fts"),
        ("When does she say hello?", False, "route"),
        ("What happens?", False, "timeline"),
        ("What is this movie about?", True, "timeline"),
        ("What happens in the first minute?", False, "timeline"),
        ("When does a dog bark in the first minute?", False, "route"),
        ("What happens after a dog barks?", False, "order"),
        ("How many times does a dog bark in the first minute?", True, "order"),
        ("When is the last time that a dog barks?", False, "order"),
    ],
)
def test_the_policy_for_a_kind_of_question(question: str, spoken: bool, name: str) -> None:
    assert policies.choose(parse(question), spoken) == name
    assert policies.choose(parse(question), spoken, selects=True) == ("select" if name == "route" else name)


@pytest.mark.parametrize("name", list(policies.BUILT_IN))
@pytest.mark.parametrize("question", ["When does a dog bark?", "What happens?", "What happens after a dog barks?"])
@pytest.mark.parametrize("part", [None, range(4, 9), range(7, 8)])
def test_every_policy_works_with_and_without_chapters_and_on_a_part(
    name: str, question: str, part: range | None
) -> None:
    rich = segment_graph(pieces(10), [(2, 8, 0.9)], chapters(10, 5))
    for whole in (GRAPH, rich):
        graph = whole if part is None else whole.subgraph(part)
        asked = query(question, Scores({2: 0.4, 5: 0.3, 7: 0.2, "g1": 0.5}, hits={7: 1.0}))
        weights = policies.run(name, policies.BUILT_IN[name], graph, asked, (3, 2))
        assert set(weights) <= set(graph)


def test_every_built_in_says_when_to_use_it() -> None:
    assert list(policies.BUILT_IN) == list(POLICIES)  # what --help says, without importing them
    assert all(policy.__doc__ for policy in policies.BUILT_IN.values())


# ---- a user's own


def own(tmp_path: Path, text: str) -> str:
    (tmp_path / "mine.py").write_text(text)
    return f"{tmp_path / 'mine.py'}:policy"


def test_a_policy_from_a_file(tmp_path: Path) -> None:
    spec = own(
        tmp_path,
        "def policy(graph, query):\n"
        "    scores = query.score(graph.nodes)\n"
        "    best = max(scores, key=scores.get)\n"
        "    return {best: 0.7, **{node: 0.3 for node in graph.successors(best)}}\n",
    )
    name, policy = policies.load(spec)
    assert name == spec and policies.run(name, policy, GRAPH, query()) == {2: 0.7, 3: 0.3}


def test_a_file_may_hold_dataclasses_and_import_the_package(tmp_path: Path) -> None:
    spec = own(
        tmp_path,
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom chunkv2l.policies import route\n"
        "@dataclass\nclass K:\n    k: int = 1\n"
        "def policy(graph, query):\n    return route(graph, query, K().k)\n",
    )
    assert policies.run("mine", policies.load(spec)[1], GRAPH, query()) == {2: 1.0}


def test_a_file_never_replaces_an_installed_module(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("def policy(graph, query):\n    return {0: 1}\n")
    policies.load(f"{tmp_path / 'json.py'}:policy")
    import json

    assert json.loads("1") == 1


def test_a_function_is_a_policy() -> None:
    def first(graph: nx.DiGraph, query: Query) -> dict[Node, float]:
        return {0: 1.0}

    name, policy = policies.load(first)
    assert name == "first" and policies.run(name, policy, GRAPH, query()) == {0: 1.0}


def test_top_k_reaches_policies_that_take_it(tmp_path: Path) -> None:
    assert len(policies.load("route", 2)[1](GRAPH, query())) == 2
    spec = own(tmp_path, "def policy(graph, query, top_k=1):\n    return {n: 1 for n in list(graph)[:top_k]}\n")
    assert len(policies.load(spec, 3)[1](GRAPH, query())) == 3
    with pytest.raises(InputError, match="takes no top_k"):
        policies.load(own(tmp_path, "def policy(graph, query):\n    return {0: 1}\n"), 3)
    with pytest.raises(InputError, match="at least 1"):
        policies.load("route", 0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rout", "There is no policy"),
        ("nowhere.py:policy", "no file"),
        (":policy", "no file"),
        ("{file}:missing", "no function"),
        ("{file}:number", "no function"),
        ("{file}", "There is no policy"),
        ("{text}:policy", "must be Python"),
        ("{broken}:policy", "can't be run: SyntaxError"),
        ("{exits}:policy", "can't be run: SystemExit"),
        ("{raises}:policy", "can't be run: ZeroDivisionError"),
    ],
)
def test_what_cant_be_loaded_is_a_sentence(tmp_path: Path, spec: str, message: str) -> None:
    files = {
        "file": ("mine.py", "number = 1\n"),
        "text": ("mine.txt", "hello"),
        "broken": ("broken.py", "def policy(:\n"),
        "exits": ("exits.py", "import sys\nsys.exit(3)\n"),
        "raises": ("raises.py", "1 / 0\n"),
    }
    for name, text in files.values():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        policies.load(spec.format(**{key: tmp_path / name for key, (name, _) in files.items()}))


class Raising:
    """A weight, or a node, that can't be looked at."""

    def __float__(self) -> float:
        raise ZeroDivisionError("no weight")

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("no weight")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({10: 1.0}, "node 10, which is not in the graph"),
        ({"g0": 1.0}, r"'g0', which is not in the graph \(segments 0 to 9\)"),
        ({(1, 2): 1.0}, "not in the graph"),
        ({1: float("nan")}, "must be finite"),
        ({1: float("inf")}, "must be finite"),
        ({1: 1e7}, "between -1,000,000 and 1,000,000"),
        ({1: -1e300}, "between -1,000,000 and 1,000,000"),
        ({1: 10**400}, "must be finite"),
        ({1: Raising()}, "failed with ZeroDivisionError: no weight"),
        ({Raising(): 1.0}, "failed with ZeroDivisionError: no weight"),
        ({1: "x" * 10_000}, "no number"),
        ({1: "much"}, "no number"),
        ({1: None}, "no number"),
        ({}, "chose no segment"),
        ({1: 0.0, 2: 0}, "chose no segment"),
        (None, "returned NoneType"),
        ([1, 2], "returned list"),
    ],
)
def test_a_bad_result_is_a_sentence(result: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        policies.run("mine", lambda graph, query: result, GRAPH, query())


def test_groups_are_nodes_too() -> None:
    movie = segment_graph(pieces(8), (), chapters(8, 4))
    assert policies.check("mine", {"g1": 1, 3: 0.5}, movie) == {"g1": 1.0, 3: 0.5}
    with pytest.raises(InputError, match=r"'g2', which is not in the graph \(segments 0 to 7, groups g0 to g1\)"):
        policies.check("mine", {"g2": 1.0}, movie)
    with pytest.raises(InputError, match="gives node 'g1' the weight nan"):
        policies.check("mine", {"g1": float("nan")}, movie)


def test_weights_may_be_negative_integers_or_numpy() -> None:
    import numpy as np

    result = {np.int64(3): np.float32(0.5), 4: -1, 5: 0}
    weights = policies.check("mine", result, GRAPH)
    assert weights == {3: 0.5, 4: -1.0} and all(type(node) is int for node in weights)


def test_an_exception_inside_names_its_line(tmp_path: Path) -> None:
    spec = own(tmp_path, "def policy(graph, query):\n    x = {}\n    return x['dog']\n")
    name, policy = policies.load(spec)
    with pytest.raises(InputError, match=r"KeyError: 'dog' \(mine.py, line 3\)"):
        policies.run(name, policy, GRAPH, query())


def test_a_failure_elsewhere_isnt_the_policys() -> None:
    class Failing(Scores):
        def score(self, nodes: Iterable[Node], limit: int | None = None) -> dict[Node, float]:
            raise ChunkV2LError("Scoring segments failed.")

    with pytest.raises(ChunkV2LError, match="Scoring segments failed") as caught:
        policies.run("route", policies.route, GRAPH, query(scorer=Failing()))
    assert caught.value.exit_code == 1


def test_changing_the_graph_is_such_an_exception() -> None:
    def vandal(graph: nx.DiGraph, query: Query) -> dict[Node, float]:
        graph.remove_node(0)
        return {1: 1.0}

    with pytest.raises(InputError, match="Frozen graph"):
        policies.run("vandal", vandal, GRAPH, query())
    assert 0 in GRAPH
