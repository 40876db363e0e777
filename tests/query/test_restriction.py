"""Time ranges in a movie of 12 s: the part of the graph, and sentences for those that hold no time."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from chunkv2l.errors import NothingFound
from chunkv2l.graph import segment_graph, segments
from chunkv2l.query.parse import parse
from chunkv2l.query.restriction import Intervals, describe_parts, restrict_graph


@dataclass(frozen=True)
class Piece:
    start: float
    end: float
    caption: str = ""


GRAPH = segment_graph([Piece(0, 5), Piece(5, 10), Piece(10, 12)])


@pytest.mark.parametrize(
    ("question", "numbers", "intervals"),
    [
        ("What happens?", [0, 1, 2], None),
        ("What happens after 0:05?", [1, 2], [(5, 12)]),
        ("What happens at 0:07?", [1], [(7, 7)]),
        ("What happens at 0:00?", [0], [(0, 0)]),
        ("What happens from -5 to 3 seconds?", [0], [(0, 3)]),
        ("What happens in the first scene?", [0], [(0, 0)]),
        ("What happens within 2 seconds of 0:05?", [0, 1], [(3, 7)]),
        ("What happens outside 0:05-0:10?", [0, 2], [(0, 5), (10, 12)]),
        ("What happens in the first and in the second minute?", [0, 1, 2], [(0, 12)]),
        ("What happens at 0:02 and 0:11?", [0, 2], [(2, 2), (11, 11)]),
        ("What happens at 0:02 and 1:11?", [0], [(2, 2)]),
    ],
)
def test_a_range_leaves_its_segments(
    question: str, numbers: list[int], intervals: list[tuple[float, float]] | None
) -> None:
    graph, kept = restrict_graph(GRAPH, parse(question).relation)
    assert segments(graph) == numbers and kept == (intervals and {"": tuple(intervals)})


@pytest.mark.parametrize(
    ("intervals", "sentence"),
    [
        (None, None),
        ({"": ((0, 5),)}, None),
        ({"a": ((0, 5), (7, 8)), "b": ((0, 5),)}, None),
        ({"": ((0, 5), (7, 8))}, "The question is about these parts of the video: 0:00 – 0:05 and 0:07 – 0:08."),
        ({"": ((1, 1), (2, 2), (3, 4))}, "The question is about these parts of the video: 0:01, 0:02 and 0:03 – 0:04."),
    ],
)
def test_several_parts_are_named(intervals: Intervals | None, sentence: str | None) -> None:
    assert describe_parts(intervals) == (() if sentence is None else (sentence,))


@pytest.mark.parametrize(
    "question",
    [
        "What happens before 0:00?",
        "What happens until 0 seconds?",
        "What happens before the start?",
        "What happens after the end?",
        "What happens in the last 0 seconds?",
        "What happens in the first 0 %?",
        "Show me the first 0 seconds",
        "What happens from 0:05 to 0:05?",
        "What happens 0:05-0:05?",
        "What happens in the 0 seconds after 0:05?",
        "What happens within 0 seconds of 0:05?",
        "What happens after 0:05 and before 0:05?",
        "What happens after 0:08 but before 0:05?",
        "What happens after the first half and before the second half?",
        "What happens at -5 seconds?",
        "What happens just before the start?",
        "What happens after 0:12?",
        "What happens in the second minute?",
        "How many seconds are left after 0:12?",
        "How long is it from 0:05 to 0:05?",
    ],
)
def test_a_range_without_time_in_it_is_a_sentence(question: str) -> None:
    with pytest.raises(
        NothingFound, match=r"The (video lasts 0:12|part of the video that the question is about is empty)"
    ):
        restrict_graph(GRAPH, parse(question).relation)


def test_a_hundredth_of_a_second_before_the_end_counts_as_nothing() -> None:
    end = GRAPH.nodes[segments(GRAPH)[-1]]["end"]
    with pytest.raises(NothingFound, match="is empty"):
        restrict_graph(GRAPH, parse(f"What happens after {end - 0.01:.2f} seconds?").relation)
