"""Built-in policies on scores made by hand, and how a user's own are loaded and refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from chunkv2l import policies
from chunkv2l.cli_options import BUILT_IN_POLICIES
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.graph import neighbours, segment_graph, segments
from chunkv2l.query import Node, Query, parse


@dataclass(frozen=True)
class Piece:
    start: float
    end: float
    caption: str


GRAPH = segment_graph([Piece(4.0 * i, 4.0 * i + 4, f"caption {i}") for i in range(10)])


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

    def search(self) -> Mapping[Node, float]:
        return self.hits

    def about(self, query: Query, statement: str) -> Query:
        return replace(query, statement=statement, relation=None, scorer=Scores(self.others[statement]))


def query(text: str = "When does a dog bark?", scorer: Scores | None = None) -> Query:
    parsed = parse(text)
    return Query(
        text, parsed.statement, parsed.kind, parsed.relation, scorer=scorer or Scores({2: 0.4, 5: 0.3, 6: 0.1, 7: 0.05})
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


def test_route_shares_belief_among_the_best() -> None:
    assert policies.route(GRAPH, query(), top_k=3) == pytest.approx({2: 0.5, 5: 0.375, 6: 0.125})
    assert len(policies.route(GRAPH, query())) == 4


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


def test_every_built_in_says_when_to_use_it() -> None:
    assert list(policies.BUILT_IN) == list(BUILT_IN_POLICIES)  # what --help says, without importing them
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


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({10: 1.0}, "node 10, which is not in the graph"),
        ({"g0": 1.0}, "'g0', which is not in the graph"),
        ({(1, 2): 1.0}, "not in the graph"),
        ({1: float("nan")}, "must be finite"),
        ({1: float("inf")}, "must be finite"),
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
