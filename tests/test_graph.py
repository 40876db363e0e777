"""The segment graph: relations that don't hide each other, chapters as groups, places that recur, and its speed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import pytest

from chunkv2l.graph import chapter_of, groups, members, neighbours, pick_evenly, places, segment_graph, segments
from chunkv2l.index.rows import ChapterRow, SegmentRow


@dataclass(frozen=True)
class Piece:
    start: float
    end: float
    caption: str


PIECES = [Piece(4.0 * i, 4.0 * i + 4, f"caption {i}") for i in range(9)]
SIMILAR = [(0, 1, 0.9), (1, 2, 0.8), (3, 4, 0.7), (4, 5, 0.9), (0, 7, 0.95), (1, 8, 0.9), (2, 6, 0.9), (6, 7, 0.5)]
CHAPTERS = [ChapterRow(0, 0, 2), ChapterRow(1, 3, 5), ChapterRow(2, 6, 8)]


def test_an_index_without_chapters_has_segments_and_next_only() -> None:
    graph = segment_graph(PIECES)
    assert segments(graph) == list(range(9)) and groups(graph) == []
    assert dict(graph.nodes[3]) == {"start": 12.0, "end": 16.0, "caption": "caption 3", "speech": ""}
    assert chapter_of(graph, 3) is None
    assert [data for _, _, data in graph.edges(data=True)] == [{"next": 0.0}] * 8
    assert nx.is_frozen(graph)


def test_next_holds_the_gap_and_speech_is_taken_where_it_is() -> None:
    graph = segment_graph([SegmentRow(0, 0.0, 4.0, "", "Hello there."), SegmentRow(1, 5.5, 6.0, "A dog.")])
    assert graph.edges[0, 1] == {"next": 1.5}
    assert [graph.nodes[i]["speech"] for i in (0, 1)] == ["Hello there.", ""]


def test_relations_between_the_same_two_nodes_dont_hide_each_other() -> None:
    graph = segment_graph(PIECES, SIMILAR, CHAPTERS)
    assert graph.edges[0, 1] == {"next": 0.0, "similar": 0.9} and graph.edges[1, 0] == {"similar": 0.9}
    assert list(neighbours(graph, 1)) == [2]
    assert sorted(map(int, neighbours(graph, 1, "similar"))) == [0, 2, 8]
    assert list(neighbours(graph, 1, "part_of")) == ["g0"] and graph.edges[1, "g0"] == {"part_of": 1.0}


def test_groups_cover_their_members() -> None:
    graph = segment_graph(PIECES, SIMILAR, CHAPTERS)
    assert segments(graph) == list(range(9)) and groups(graph) == ["g0", "g1", "g2"]
    assert [members(graph, group) for group in groups(graph)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert [chapter_of(graph, i) for i in range(9)] == ["g0"] * 3 + ["g1"] * 3 + ["g2"] * 3
    assert dict(graph.nodes["g1"]) == {"start": 12.0, "end": 24.0, "caption": "", "first": 3, "last": 5, "place": 1}
    with pytest.raises(KeyError):
        members(graph, "g3")


def test_more_than_ten_groups_stay_in_order() -> None:
    graph = segment_graph(PIECES * 4, (), [ChapterRow(k, 3 * k, 3 * k + 2) for k in range(12)])
    assert groups(graph) == [f"g{k}" for k in range(12)]


def test_a_place_recurs_where_chapters_look_alike() -> None:
    graph = segment_graph(PIECES, SIMILAR, CHAPTERS)
    assert [graph.nodes[group]["place"] for group in groups(graph)] == [0, 1, 0]


def test_one_chance_resemblance_makes_no_place() -> None:
    coherent = [(3 * k + i, 3 * k + j, 0.9) for k in range(3) for i in range(3) for j in range(i)]
    runs = [(0, 2), (3, 5), (6, 8)]
    assert places(runs, [*coherent, (0, 8, 0.3)]) == [0, 1, 2]
    assert places(runs, [*coherent, (0, 8, -0.9)]) == [0, 1, 2]
    assert places(runs, []) == [0, 1, 2] and places([], []) == []


def test_more_pairs_than_a_movie_has_are_no_places(monkeypatch: pytest.MonkeyPatch) -> None:
    runs, pairs = [(0, 3), (4, 7), (8, 11)], [(0, 8, 0.9), (1, 9, 0.9), (4, 5, 0.9)]
    assert places(runs, pairs) == [0, 1, 0]
    monkeypatch.setattr("chunkv2l.graph.MOST_EDGES", 1)
    assert places(runs, pairs) == [0, 1, 2]


def test_segments_that_arent_there() -> None:
    for similar, chapters in (([(0, 9, 0.5)], ()), ((), [ChapterRow(0, 0, 9)])):
        with pytest.raises(KeyError):
            segment_graph(PIECES, similar, chapters)


PROGRAM = """
import random, sys
from chunkv2l.graph import places
assert not {"torch", "transformers", "scipy"} & set(sys.modules), "graph.py is to stay light"
rng = random.Random(1)
pairs = [(rng.randrange(400), rng.randrange(400), rng.random()) for _ in range(900)]
print(places([(8 * k, 8 * k + 7) for k in range(50)], pairs))
"""


def test_the_same_places_in_every_process_and_no_torch() -> None:
    def told(seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout

    one = told("1")
    assert told("2") == one and len(set(one.split(","))) > 2


def test_an_hours_graph_has_every_edge_that_was_given() -> None:
    rng = random.Random(0)
    pairs = {tuple(sorted(rng.sample(range(600), 2))) for _ in range(1500)}
    similar = [(a, b, rng.random()) for a, b in sorted(pairs)]
    chapters = [ChapterRow(k, 12 * k, 12 * k + 11) for k in range(50)]
    graph = segment_graph([Piece(6.0 * i, 6.0 * i + 6, "") for i in range(600)], similar, chapters)
    by_relation = {
        relation: sum(relation in data for _, _, data in graph.edges(data=True))
        for relation in ("next", "similar", "part_of")
    }
    assert by_relation == {"next": 599, "similar": 2 * len(similar), "part_of": 600}


@pytest.mark.parametrize(
    ("length", "count", "expected"),
    [
        (10, 0, []),
        (10, 1, [5]),
        (10, 2, [2, 7]),
        (10, 5, [1, 3, 5, 7, 9]),
        (10, 10, list(range(10))),
        (10, 99, list(range(10))),
        (1, 8, [0]),
        (9, 2, [2, 6]),
        (0, 3, []),
    ],
)
def test_values_are_picked_evenly(length: int, count: int, expected: list[int]) -> None:
    assert pick_evenly(range(length), count) == expected
