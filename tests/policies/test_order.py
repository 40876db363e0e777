"""Order in time: the walk on scores made by hand, and questions asked of an index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chunkv2l import policies
from chunkv2l.answer.answer import describe_count
from chunkv2l.answer.spans import Span
from chunkv2l.ask import Index
from chunkv2l.errors import InputError, NothingFound
from chunkv2l.graph import Node, segment_graph, segments, select_interval, share_among_segments
from chunkv2l.policies.temporal import MIN_SINGLE_SHARE, anchors, beside, event, occurrences
from chunkv2l.query.parse import parse
from chunkv2l.query.query import Query
from tests.helpers.fake_vlm import FakeModel, fake_model
from tests.helpers.pieces import chapters, pieces
from tests.helpers.written import random_codes, write_index
from tests.policies.test_policies import Scores

GRAPH = segment_graph(pieces(10))


def asked(question: str, scores: Mapping[Node, float], others: Mapping[str, dict[Node, float]] = {}) -> Query:
    parsed = parse(question)
    scorer = Scores(scores, others=others)
    return Query(question, parsed.statement, parsed.kind, parsed.relation, scorer=scorer)


BARKS: dict[Node, float] = {2: 0.4, 5: 0.3, 6: 0.25, 8: 0.02}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What happens after a dog barks?", {3: 0.4, 7: 0.3, 9: 0.02}),
        ("What happens before a dog barks?", {1: 0.4, 4: 0.3, 7: 0.02}),
        ("What happens while a dog barks?", BARKS),
        ("When is the first time that a dog barks?", {2: 1.0}),
        ("When is the last time that a dog barks?", {5: 0.3, 6: 0.25}),
        ("When is the second time that a dog barks?", {5: 0.3, 6: 0.25}),
        ("How many times does a dog bark?", {2: 0.4, 5: 0.3, 6: 0.25}),
        ("When does no dog bark?", dict.fromkeys((0, 1, 3, 4, 7, 8, 9), 1.0)),
        ("What happens until a dog barks?", dict.fromkeys((0, 1), 1.0)),
    ],
)
def test_the_walk_from_the_anchor(question: str, expected: dict[Node, float]) -> None:
    total = sum(expected.values())
    found = policies.order(GRAPH, asked(question, BARKS))
    assert found == pytest.approx({node: p / total for node, p in expected.items()})


@pytest.mark.parametrize(
    ("question", "expected"),
    [  # segments of 4 s; a dog barks in 2 (8 to 12 s) and in 5 and 6 (20 to 28 s)
        ("What happens 5 seconds after a dog barks?", {4: 0.4, 8: 0.3}),
        ("What happens 5 seconds before a dog barks?", {0: 0.4, 3: 0.3}),
        ("What happens within 6 seconds after a dog barks?", {3: 0.2, 4: 0.2, 7: 0.15, 8: 0.15}),
        ("What happens ten minutes after a dog barks?", {9: 0.7}),
        ("What happens ten minutes before a dog barks?", {0: 0.7}),
    ],
)
def test_a_distance_from_the_anchor(question: str, expected: dict[Node, float]) -> None:
    total = sum(expected.values())
    weights = policies.order(GRAPH, asked(question, {2: 0.4, 5: 0.3, 6: 0.25}), top_k=2)
    assert weights == pytest.approx({node: p / total for node, p in expected.items()})


def test_an_event_is_looked_for_within_a_distance() -> None:
    question = "When does a man jump within 6 seconds after a dog barks?"
    weights = policies.order(GRAPH, asked(question, BARKS, {"A man jump.": {3: 0.1, 4: 0.3, 9: 0.6}}))
    assert weights == pytest.approx({3: 0.25, 4: 0.75})


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ({8: 0.5}, dict.fromkeys((3, 4, 6, 7), 1.0)),  # between the likeliest bark and 8, evenly spread
        ({3: 0.5}, {2: 1.0, 3: 1.0}),  # nothing is between them
        ({1: 0.6, 4: 0.1}, {3: 1.0}),  # the likelier run comes before the bark
    ],
)
def test_what_is_between_two_events(runs: dict[Node, float], expected: dict[Node, float]) -> None:
    question = "What happens between a dog barking and a fish swimming?"
    weights = policies.order(GRAPH, asked(question, {2: 0.5}, {"A fish swimming.": runs}))
    assert weights == {node: pytest.approx(1 / len(expected)) for node in expected}


def test_an_event_is_looked_for_between_two_others() -> None:
    question = "When does a man jump between a dog barking and a fish swimming?"
    others: dict[str, dict[Node, float]] = {"A fish swimming.": {6: 0.5}, "A man jump.": {1: 0.6, 4: 0.2, 9: 0.2}}
    assert policies.order(GRAPH, asked(question, {2: 0.5}, others), top_k=1) == {4: 1.0}


def test_what_is_nowhere_is_absent_everywhere_and_the_other_way_round() -> None:
    question = "When is there no dog?"
    assert set(policies.order(GRAPH, asked(question, {2: 0.1}))) == set(range(10))
    with pytest.raises(NothingFound, match="all the time"):
        policies.order(GRAPH.subgraph([2]), asked(question, {2: 0.9}))
    with pytest.raises(NothingFound, match="2 times only"):
        policies.order(GRAPH, asked("When is the third time that a dog barks?", BARKS))


def test_without_a_relation_it_is_route() -> None:
    question = asked("When does a dog bark?", BARKS)
    assert policies.order(GRAPH, question) == policies.route(GRAPH, question)


def test_the_walk_stays_in_the_movie() -> None:
    assert policies.order(GRAPH, asked("What happens after a dog barks?", {9: 0.9})) == {9: 1.0}
    assert policies.order(GRAPH, asked("What happens before a dog barks?", {0: 0.9})) == {0: 1.0}
    part = GRAPH.subgraph(range(3, 6))
    assert policies.order(part, asked("What happens after a dog barks?", {4: 0.2, 5: 0.9}), top_k=1) == {5: 1.0}


def test_top_k_anchors_lead_on() -> None:
    found = policies.order(GRAPH, asked("What happens after a dog barks?", {1: 0.4, 4: 0.3, 7: 0.2}), top_k=2)
    assert found == pytest.approx({2: 4 / 7, 5: 3 / 7})


def test_an_event_beside_an_anchor_is_looked_for_on_its_side_only() -> None:
    others: dict[str, dict[Node, float]] = {"The man jump.": {1: 0.6, 4: 0.2, 7: 0.3}}
    query = asked("When does the man jump after the dog barks?", {2: 0.5, 3: 0.4}, others)
    assert policies.order(GRAPH, query, top_k=2) == pytest.approx({7: 0.6, 4: 0.4})
    assert isinstance(query.scorer, Scores) and query.scorer.limits == [24]  # half of the budget is the event's
    query = asked("When did the man jump before the dog barks?", {2: 0.5}, others)
    assert policies.order(GRAPH, query, top_k=1) == {1: 1.0}
    query = asked("While the dog barks, when does the man jump?", {4: 0.5, 7: 0.4}, others)
    assert policies.order(GRAPH, query) == pytest.approx({7: 0.6, 4: 0.4})


def test_a_question_without_a_relation_asks_nothing_more() -> None:
    query = asked("When does a dog bark?", BARKS)
    assert policies.order(GRAPH, query) == policies.route(GRAPH, query)
    assert isinstance(query.scorer, Scores) and query.scorer.asked == 2  # one each


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ({1: 0.2, 2: 0.1, 5: 0.009, 9: 0.15}, [(1, 2), (9, 9)]),
        ({1: 0.2, 3: 0.2, 2: 0.0}, [(1, 1), (3, 3)]),
        ({4: 0.3}, [(4, 4)]),
        ({4: 0.3, 5: 0.014}, [(4, 4)]),
        ({7: 0.1, 0: 0.1, 8: 0.1, 9: 0.1}, [(0, 0), (7, 9)]),
    ],
)
def test_segments_next_to_each_other_are_one_occurrence(p: dict[int, float], expected: list[tuple[int, int]]) -> None:
    assert occurrences(p, event(GRAPH, p)) == expected


def test_what_looks_like_the_best_segment_is_the_event_and_nothing_else() -> None:
    scores: dict[Node, float] = {2: 0.05, 5: 0.3, 7: 0.005, 8: 0.2}
    alike = segment_graph(pieces(10), [(2, 5, 0.8), (5, 7, 0.9), (5, 8, 0.6)])
    question = "When is the last time that a dog barks?"
    assert policies.order(GRAPH, asked(question, scores)) == {8: 1.0}
    assert policies.order(alike, asked(question, scores)) == {5: 1.0}  # 8 isn't alike enough, 7 doesn't score enough
    assert set(policies.order(alike, asked("How many times does a dog bark?", scores))) == {2, 5}


def test_segments_that_look_alike_are_the_event_together() -> None:
    alike = segment_graph(pieces(10), [(1, 6, 0.9), (3, 9, 0.6), (6, 9, 0.8)])  # 1 and 9 by way of 6
    p = {1: 0.1, 3: 0.25, 6: 0.12, 9: 0.09}
    assert event(alike, p) == {1, 6, 9} and event(GRAPH, p) == {3}
    assert event(alike, {1: 0.02, 3: 0.25, 6: 0.02}) == {3}
    assert occurrences(p, {1, 6, 9}) == [(1, 1), (6, 6), (9, 9)]


def test_a_moment_that_lasts_is_no_event_that_comes_back() -> None:
    p = {4: 0.3, 5: 0.2, 8: 0.1}
    assert occurrences(p, {4, 5}) == [(4, 5), (8, 8)]


def test_of_a_long_movie_the_segments_that_look_like_the_best_one_are_scored_too() -> None:
    movie = segment_graph(pieces(60), [(7, 50, 0.9)])
    query = asked("When is the last time that a dog barks?", {7: 0.3, 50: 0.1})
    assert policies.order(movie, query) == {50: 1.0}
    assert isinstance(query.scorer, Scores) and query.scorer.limits == [40, None, None]


def test_anchors_are_best_first_and_take_in_neighbours_that_score_as_well() -> None:
    assert anchors({1: 0.1, 2: 0.4, 3: 0.3, 4: 0.15, 8: 0.2}, 2) == [(2, 3), (8, 8)]
    assert anchors({1: 0.0, 2: 0.0}, 1) == [(1, 1)]


def test_beside_a_run() -> None:
    assert (beside(GRAPH, (3, 4), True), beside(GRAPH, (3, 4), False)) == (5, 2)
    assert (beside(GRAPH, (8, 9), True), beside(GRAPH, (0, 1), False)) == (9, 0)


# ---- parts of the movie


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.0, 8.0, [0, 1]),
        (0.0, 8.1, [0, 1, 2]),
        (7.9, 8.0, [1]),
        (8.0, 8.0, [2]),
        (0.0, 0.0, [0]),
        (40.0, 40.0, [9]),
        (39.0, 40.0, [9]),
        (0.0, 40.0, list(range(10))),
    ],
)
def test_segments_in_a_stretch(start: float, end: float, expected: list[int]) -> None:
    assert segments(select_interval(GRAPH, start, end)) == expected


def test_a_part_keeps_the_groups_that_lie_in_it() -> None:
    movie = segment_graph(pieces(12), [(1, 9, 0.5), (5, 6, 0.4)], chapters(12, 4))
    part = select_interval(movie, 12.0, 36.0)  # segments 3 to 8
    assert set(part) == {3, 4, 5, 6, 7, 8, "g1"} and part.has_edge(5, 6) and part.has_edge(5, "g1")
    with pytest.raises(Exception, match="Frozen"):
        part.remove_node(4)


def test_a_groups_weight_is_shared_out() -> None:
    movie = segment_graph(pieces(8), (), chapters(8, 4))
    assert share_among_segments(movie, {"g1": 0.8, 5: -0.1, 0: 0.3}) == pytest.approx(
        {4: 0.2, 5: 0.1, 6: 0.2, 7: 0.2, 0: 0.3}
    )


# ---- asked of an index


@pytest.fixture
def model() -> FakeModel:
    return fake_model()


@pytest.fixture
def index(tmp_path: Path, model: FakeModel) -> Iterator[Index]:
    with Index(write_index(tmp_path / "movie.idx", random_codes(12)), model) as opened:
        yield opened


def test_what_happens_after_is_answered_from_the_segment_behind(index: Index, model: FakeModel) -> None:
    anchor = index.ask("A dog catches the ball.").spans[0].segments
    answer = index.ask("What happens after a dog catches the ball?")
    assert answer.policy == "order" and answer.not_there is not None
    assert answer.spans[0].segments == (min(anchor[-1] + 1, 11),)
    assert model.vlm.prompts[-1] == model.vlm.prompt_ids("What happens?")
    assert answer.route is not None and answer.route.looks[0].statement == "A dog catches the ball."
    adapter = index.compose(dict(answer.route.weights))
    assert answer.answer == model.vlm.generate(["What happens?"], adapter)[0]
    assert sum(span.score for span in answer.spans) == pytest.approx(1.0 - answer.not_there)


def test_the_first_and_the_last_time(index: Index) -> None:
    p = {one.node: one.p for one in _candidates(index.ask("A dog runs."))}
    there = sorted(node for node, value in p.items() if value >= MIN_SINGLE_SHARE * max(p.values()))
    first, last = (index.ask(f"When is the {word} time that a dog runs?") for word in ("first", "last"))
    assert min(i for span in first.spans for i in span.segments) == there[0]
    assert max(i for span in last.spans for i in span.segments) == there[-1]
    assert first.policy == last.policy == "order" and len(first.spans) >= 1


def test_how_many_times_is_a_number_with_the_spans(index: Index, model: FakeModel) -> None:
    answer = index.ask("How many times does a dog run?")
    assert answer.policy == "order" and answer.answer.split()[0] in ("0", str(len(answer.spans)))
    assert all(prompt == model.vlm.prompt_ids("") for prompt in model.vlm.prompts)  # nothing was generated
    assert [span.score for span in answer.spans] == sorted((span.score for span in answer.spans), reverse=True)


def test_when_something_is_not_there_the_answer_is_the_time_without_it(index: Index, model: FakeModel) -> None:
    answer = index.ask("When does the dog not run?", budget="all")
    assert answer.policy == "order" and answer.not_there is None and model.vlm.prompts[-1] == model.vlm.prompt_ids("")
    assert answer.notes == ('"The dog run." was looked for; the answer is where it seems not to be, in order of time.',)
    assert [span.start for span in answer.spans] == sorted(span.start for span in answer.spans)
    assert answer.answer.startswith("From 0:") and all(0.0 <= span.score <= 1.0 for span in answer.spans)
    by_route = index.ask("When does the dog not run?", policy="route")
    assert "the answer is where it seems to be" in by_route.notes[0] and by_route.not_there is not None


def test_counting_in_words() -> None:
    one, two = Span(0.0, 16.0, 0.2, (0,)), Span(40.0, 60.0, 0.3, (3, 4))
    assert describe_count([one], 0.1) == "1 time: from 0:00 to 0:16."
    assert describe_count([two, one], None) == "2 times: from 0:00 to 0:16 and from 0:40 to 1:00."
    assert describe_count([one], None, number=3) == "3 times: from 0:00 to 0:16."
    many = [Span(10.0 * i, 10.0 * i + 10, 0.1, (i,)) for i in range(14)]
    assert describe_count(many, None).startswith("14 times: from 0:00 to 0:10, ") and len(many) == 14
    assert describe_count(many, None).endswith(", from 1:50 to 2:00 and 2 more.")
    assert describe_count([two, one], 0.6) == (
        "0 times: it seems not to be in this video; the likeliest moment is from 0:40 to 1:00."
    )


def test_a_stretch_restricts_every_policy(index: Index, model: FakeModel) -> None:
    for question, policy in (
        ("When does a dog run in the last 12 seconds?", None),
        ("When does a dog run in the last 12 seconds?", "concat"),
        ("What happens in the last 12 seconds?", None),
        ("What is on the grass in the last 12 seconds?", "chapters"),
        ("How many times does a dog run in the last 12 seconds?", None),
        ("What happens after a dog runs in the last 12 seconds?", None),
    ):
        answer = index.ask(question, policy=policy)
        assert {i for span in answer.spans for i in span.segments} <= {9, 10, 11}, (question, policy)
        assert answer.route is not None and answer.route.within == (36.0, 48.0)
    asked = index.ask("What is on the grass in the first half?")
    assert asked.policy == "route" and model.vlm.prompts[-1] == model.vlm.prompt_ids("What is on the grass?")
    assert {one.node for one in _candidates(asked)} == set(range(6)) and asked.route is not None
    assert asked.route.looks[0].segments == 6


def test_a_time_that_the_movie_doesnt_have(index: Index) -> None:
    with pytest.raises(NothingFound, match="lasts 0:48, so there is nothing at or after 12:30"):
        index.ask("What happens after 12:30?")
    assert index.ask("What happens in the first ten minutes?").policy == "timeline"


def test_show_me_a_stretch(index: Index) -> None:
    answer = index.ask("Show me the last 8 seconds")
    assert {i for span in answer.spans for i in span.segments} == {10, 11} and answer.not_there is None


def test_a_policy_named_by_the_user_is_used_as_it_is(index: Index, model: FakeModel) -> None:
    question = "What happens after a dog runs?"
    answer = index.ask(question, policy="mean")
    assert answer.policy == "mean" and model.vlm.prompts[-1] == model.vlm.prompt_ids(question)
    assert [span.segments for span in answer.spans] == [tuple(range(12))]


def test_a_query_tells_its_relation_to_a_policy(index: Index) -> None:
    seen: list[Any] = []

    def mine(graph: Any, query: Query) -> dict[Node, float]:
        seen.append(query.relation)
        return {0: 1.0}

    index.ask("What happens after a dog runs?", policy=mine)
    index.ask("What is on the grass?", policy=mine)
    assert seen[0].kind == "after" and seen[0].anchor == "A dog runs." and seen[1] is None


def test_when_asks_for_an_event_within_the_budget(tmp_path: Path, model: FakeModel) -> None:
    with Index(write_index(tmp_path / "movie.idx", random_codes(60)), model) as index:
        answer = index.ask("When does the man jump after the dog catches the ball?", budget=20)
    assert answer.route is not None
    anchor, event = answer.route.looks
    assert (anchor.statement, event.statement) == ("The dog catches the ball.", "The man jump.")
    assert len(anchor.candidates) == 10 and 1 <= len(event.candidates) <= 10
    best = int(anchor.candidates[0].node)
    assert all(int(one.node) >= best for one in event.candidates)
    assert answer.not_there == event.not_there


def test_the_first_time_in_a_long_movie_stays_within_the_budget(tmp_path: Path, model: FakeModel) -> None:
    with Index(write_index(tmp_path / "movie.idx", random_codes(60)), model) as index:
        answer = index.ask("When is the first time that the dog catches the ball?", budget=20)
    (look,) = answer.route.looks if answer.route is not None else ()
    assert len(look.candidates) == 20 and {i for span in answer.spans for i in span.segments} <= {
        one.node for one in look.candidates
    }


def test_order_over_an_index_asks_for_no_more_than_it_needs(index: Index, model: FakeModel) -> None:
    index.ask("When does a dog run?")
    calls = len(model.vlm.prompts)
    index.ask("When is the first time that a dog run?")  # the same statement: its scores are remembered
    assert len(model.vlm.prompts) == calls


def test_bad_policies_are_sentences_with_groups_too(index: Index) -> None:
    with pytest.raises(InputError, match=r"'g7', which is not in the graph \(segments 0 to 11\)"):
        index.ask("What is it?", policy=lambda graph, query: {"g7": 1.0})


def _candidates(answer: Any) -> Any:
    assert answer.route is not None
    return answer.route.looks[0].candidates
