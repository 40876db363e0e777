"""Which segments are worth scoring: on lists and graphs made by hand."""

from __future__ import annotations

from collections.abc import Iterable

import networkx as nx

from chunkv2l.graph import segment_graph
from chunkv2l.routing.candidates import (
    WITH_KEYS,
    Choice,
    choose_first_round,
    choose_later_round,
    number_sources,
    rank_members,
)
from tests.helpers.pieces import chapters, pieces

BUDGET = 12


def choice(count: int, most: int = BUDGET) -> Choice:
    return Choice(most, set(range(count)))


def graph(count: int, similar: Iterable[tuple[int, int, float]] = (), each: int = 0) -> nx.DiGraph:
    return segment_graph(pieces(count), similar, chapters(count, each) if each else ())


def test_keys_fill_most_of_the_budget_and_words_and_neighbours_a_twelfth_each() -> None:
    chosen = choice(100, 24)
    keys = range(99, -1, -1)
    new = choose_first_round(chosen, keys, words=[3, 50, 4], members=[])
    assert new == sorted([3, 50, *range(99, 89, -1)])  # 2 by words, then keys up to half of 24
    assert chosen.sources[3][0] == "words 1" and chosen.sources[99] == ["key 1"] and chosen.left == 12
    new = choose_later_round(chosen, graph(100), {50: 1.0, 99: 0.5}, number_sources(keys, "key"), 12, shares=WITH_KEYS)
    assert new == [49, 51, *range(80, 90)]
    assert chosen.sources[51][0] == "after 50" and chosen.sources[80] == ["key 20"] and chosen.left == 0


def test_a_segment_that_several_lists_name_counts_once_and_has_all_its_names() -> None:
    chosen = choice(100)
    choose_first_round(chosen, keys=[7, 8, 9], words=[8], members=[])
    assert chosen.sources == {8: ["words 1", "key 2"], 7: ["key 1"], 9: ["key 3"]}
    choose_later_round(chosen, graph(100), {7: 0.0, 8: 1.0, 9: 0.5}, number_sources([8, 9, 7], "key"), 0)
    assert chosen.sources[8] == ["words 1", "key 2", "before 9", "after 7", "key 1"]


def test_without_keys_a_quarter_is_words_chapters_and_an_even_spread() -> None:
    chosen = choice(60, 16)
    new = choose_first_round(chosen, keys=[], words=[1], members=[(31, "in g1"), (32, "in g1")])
    assert len(new) == 4 and {1, 31, 32} < set(new)
    assert [sources for node, sources in chosen.sources.items() if node not in (1, 31, 32)] == [["spread"]]


def test_only_what_is_wanted_is_chosen() -> None:
    chosen = Choice(8, {1, 2, 3})
    assert choose_first_round(chosen, keys=[9, 3, 8, 1], words=[7, 2], members=[(6, "in g0")]) == [1, 2, 3]


def test_the_later_round_goes_round_the_best_by_turns_then_down_the_lists() -> None:
    edges = [(10, 40, 0.9), (10, 50, 0.3), (30, 60, 0.5)]
    chosen = choice(100)
    chosen.take([(10, "key 1"), (30, "key 2")], 12)
    new = choose_later_round(
        chosen, graph(100, edges), {10: 1.0, 30: 2.0}, number_sources([10, 30, 77, 78, 79, 80], "key"), 8
    )
    assert new == [9, 11, 29, 31, 40, 50, 60, 77]
    assert list(chosen.sources)[2:] == [31, 29, 11, 9, 60, 40, 50, 77]  # the better seed first, the nearer neighbours
    assert [chosen.sources[node][0] for node in (31, 29, 60, 40, 50, 77)] == [
        "after 30", "before 30", "like 30", "like 10", "like 10", "key 3",
    ]  # fmt: skip


def test_a_later_round_over_no_scores_takes_what_is_left() -> None:
    chosen = choice(10, 3)
    assert choose_later_round(chosen, graph(10), {}, number_sources([5, 6, 7, 8], "key"), 3) == [5, 6, 7]
    assert chosen.left == 0


def test_members_of_the_best_chapters() -> None:
    movie = graph(12, each=4)
    expected = [(8, "in g2"), (9, "in g2"), (10, "in g2"), (11, "in g2"), *((node, "in g0") for node in range(4))]
    assert rank_members(movie, {"g0": -1.0, "g2": 3.0}, None) == expected
    similarity = {node: float(node == 10) for node in range(12)}
    assert rank_members(movie, {"g2": 3.0}, similarity)[0] == (10, "in g2")
