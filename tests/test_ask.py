"""The read path on indexes with known codes: spans, text, JSON, and that nothing of the index enters the prompt."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import torch

import chunkv2l
from chunkv2l import ask as asking
from chunkv2l.adapter.algebra import concat
from chunkv2l.answer import certainty
from chunkv2l.answer.answer import Answer, PartialAnswer, describe_moment
from chunkv2l.answer.spans import Span, join_adjacent, rank_spans
from chunkv2l.ask import Index
from chunkv2l.errors import InputError, NothingFound
from chunkv2l.graph import Node
from chunkv2l.models import UNFITTED, Calibration, Model, ModelSpec
from chunkv2l.models.smolvlm.load import load_smolvlm
from chunkv2l.query.parse import statement
from chunkv2l.query.query import Query
from chunkv2l.timecode import between
from tests.helpers import indexes
from tests.helpers.fake_vlm import HIDDEN, FakeModel, fake_model
from tests.helpers.frames2lora import MODEL, hypernet_file
from tests.helpers.keyed import by_words, random_keys, unit_keys
from tests.helpers.written import CAPTIONS, random_codes, write_index

WHEN = "When does a dog catch the ball?"
WHAT = "What is on the grass?"
META = {
    "movie": {"name": "movie.mp4", "size": 1, "sha256": "0" * 64, "duration": 60.0, "fps": 10.0},
    "model": "fake",
    "identity": dict(fake_model().identity),
    "settings": {"detector": "fixed:1", "codes": "fp32", "captions": True},
    "code_shape": list(random_codes(1).shape[1:]),
}


@pytest.fixture
def model() -> FakeModel:
    return fake_model()


@pytest.fixture
def index(tmp_path: Path, model: FakeModel) -> Iterator[Index]:
    with Index(write_index(tmp_path / "movie.idx", random_codes(12)), model) as opened:
        yield opened


# ---- scores to spans


class Piece:
    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, end


PIECES = [Piece(4.0 * i, 4.0 * i + 4) for i in range(8)]


def spans_of(scores: dict[int, float]) -> list[tuple[int, ...]]:
    order = sorted(scores, key=lambda i: -scores[i])
    return [span.segments for span in rank_spans(PIECES, order, scores)]


def test_neighbours_that_score_alike_are_one_moment() -> None:
    assert spans_of({0: 0.02, 1: 0.4, 2: 0.3, 3: 0.05, 6: 0.1}) == [(1, 2), (6,), (3,), (0,)]
    (span, *_) = rank_spans(PIECES, [1, 2], {1: 0.4, 2: 0.3})
    assert (span.start, span.end) == (4.0, 12.0) and span.score == pytest.approx(0.7)


def test_a_neighbour_with_half_the_score_is_another_moment() -> None:
    assert spans_of({1: 0.4, 2: 0.2}) == [(1,), (2,)]


def test_where_the_router_has_no_opinion_nothing_is_merged() -> None:
    assert spans_of(dict.fromkeys(range(8), 0.05)) == [(i,) for i in range(8)]


def test_a_moment_grows_both_ways_but_not_through_what_scores_low() -> None:
    assert spans_of({1: 0.2, 2: 0.3, 3: 0.16, 4: 0.01, 5: 0.2}) == [(1, 2, 3), (5,), (4,)]


def test_no_more_than_asked_for() -> None:
    assert len(rank_spans(PIECES, range(8), {}, limit=5)) == 5


def test_where_text_came_from_is_joined_whatever_it_scores() -> None:
    spans = join_adjacent(PIECES, [5, 1, 2], {1: 0.01, 2: 0.02, 5: 0.5})
    assert [span.segments for span in spans] == [(5,), (1, 2)]


def test_a_span_in_words() -> None:
    assert between(Piece(42, 58)) == "from 0:42 to 0:58"
    assert between(Piece(153.84, 156.84)) == "from 2:33.8 to 2:36.8"
    assert describe_moment(Span(42, 58, 0.6, (3,)), 0.4) == "From 0:42 to 0:58."
    assert describe_moment(Span(42, 58, 0.6, (3,)), None) == "From 0:42 to 0:58."
    absent = describe_moment(Span(42, 58, 0.3, (3,)), 0.4)
    assert absent == "It seems not to be in this video; the likeliest moment is from 0:42 to 0:58."


# ---- when


def test_when_is_answered_with_spans_best_first(index: Index, model: FakeModel) -> None:
    answer = index.ask(WHEN)
    assert answer.policy == "route" and len(answer.spans) >= 5 and answer.not_there is not None
    covered = [i for span in answer.spans for i in span.segments]
    assert len(covered) == len(set(covered))
    bias = model.hypernet.bias
    texts = [statement(WHEN)]
    adapters = [concat([model.hypernet.expand(code)], bias=bias) for code in index.file.codes()]
    scores = [float(model.vlm.score(texts, adapter)[0, 0]) for adapter in adapters]
    best = max(range(12), key=scores.__getitem__)
    assert best in answer.spans[0].segments
    assert answer.answer.startswith(("From ", "It seems not to be in this video"))
    assert sum(span.score for span in answer.spans) + answer.not_there <= 1 + 1e-6


def test_the_question_itself_is_never_scored_nor_generated_from(index: Index, model: FakeModel) -> None:
    index.ask(WHEN)
    assert model.vlm.prompts and all(prompt == model.vlm.prompt_ids("") for prompt in model.vlm.prompts)


def test_a_statement_is_a_search(index: Index) -> None:
    assert index.ask("A dog catches the ball").spans == index.ask("Show me a dog catches the ball").spans


@pytest.mark.parametrize("policy", ["concat", "mean"])
def test_a_policy_that_composes_everything_leaves_when_to_the_router(index: Index, policy: str) -> None:
    routed, answer = index.ask(WHEN), index.ask(WHEN, policy=policy)
    assert answer.policy == policy and answer.spans == routed.spans and answer.not_there == routed.not_there


def test_fts_says_when_by_words_alone(index: Index, model: FakeModel) -> None:
    answer = index.ask(WHEN, policy="fts", top_k=2)
    assert model.vlm.prompts == [] and answer.not_there is None
    dogs = {i for i in range(12) if {"dog", "ball"} & set(CAPTIONS[i % 6].split())}
    assert {i for span in answer.spans for i in span.segments} == dogs  # the other hits follow the two composed ones
    assert {span.segments for span in answer.spans[:2]} == {(4,), (10,)}  # "a dog catches the ball"
    assert sum(span.score for span in answer.spans) == pytest.approx(1.0)


def test_a_users_policy_decides_the_order(index: Index) -> None:
    def third(graph: nx.DiGraph, query: Query) -> dict[Node, float]:
        return {3: 0.2, 7: 0.8}

    answer = index.ask(WHEN, policy=third)
    assert [span.segments for span in answer.spans] == [(7,), (3,)]
    assert [span.score for span in answer.spans] == pytest.approx([0.8, 0.2]) and answer.policy == "third"


def test_absence_is_said(tmp_path: Path) -> None:
    path = write_index(tmp_path / "movie.idx", random_codes(6))
    sceptic = replace(fake_model(), calibration=Calibration(beta=20.0))
    with Index(path, sceptic) as index:
        answer = index.ask(WHEN)
    assert answer.not_there is not None and answer.not_there > 0.99 and len(answer.spans) >= 5
    assert answer.answer.startswith("It seems not to be in this video; the likeliest moment is from ")


# ---- what


def test_what_is_answered_by_the_composed_adapter_from_the_question_alone(index: Index, model: FakeModel) -> None:
    answer = index.ask(WHAT, policy="mean")
    expected = model.vlm.generate([WHAT], index.compose(dict.fromkeys(range(12), 1 / 12)))[0]
    assert answer.answer == expected and answer.answer
    assert [span.segments for span in answer.spans] == [tuple(range(12))] and answer.not_there is None


@pytest.mark.parametrize("policy", [None, "route", "concat", "mean", "fts", "timeline"])
def test_nothing_of_the_index_enters_a_prompt(index: Index, model: FakeModel, policy: str | None) -> None:
    index.ask("What does the dog catch?", policy=policy)
    allowed = [model.vlm.prompt_ids(""), model.vlm.prompt_ids("What does the dog catch?")]
    assert allowed[1] in model.vlm.prompts and all(prompt in allowed for prompt in model.vlm.prompts)


def test_what_enters_a_real_language_model_is_the_question_alone(tmp_path: Path) -> None:
    """Every id that the token embedding sees, on the tiny SmolVLM: prompts, the statement and what was generated."""
    vlm, hypernet, identity = load_smolvlm(str(MODEL), str(hypernet_file(tmp_path)), device="cpu")
    config = hypernet.config
    model = Model("tiny", vlm, hypernet, UNFITTED, identity)
    codes = torch.randn(
        6, config.num_layers, config.rank, config.latent_size, generator=torch.Generator().manual_seed(0)
    )
    path = write_index(tmp_path / "movie.idx", codes / codes.norm(dim=-1, keepdim=True), ["zebra 4711"], model=model)
    ids_seen: list[list[int]] = []
    table: Any = vlm.decoder.model.embed_tokens
    table.register_forward_pre_hook(lambda _, args: ids_seen.append(args[0].flatten().tolist()))
    with Index(path, model) as index:
        answer = index.ask("What does the dog catch?")
    tokenizer = vlm.tokenizer
    prompt, caption = vlm.prompt_ids("What does the dog catch?"), vlm.prompt_ids("")
    stated = tokenizer(" The dog catch.", add_special_tokens=False).input_ids
    assert ids_seen.count(prompt) == 1 and caption in ids_seen
    others = [ids for ids in ids_seen if ids not in (prompt, caption)]
    assert all(len(ids) == 1 or ids == stated[:-1] for ids in others)  # the statement, or a token just generated
    said = [ids[0] for ids in others if len(ids) == 1]
    assert answer.answer.startswith(tokenizer.decode(said, skip_special_tokens=True).strip())
    assert not any(vlm.model.config.image_token_id in ids for ids in ids_seen)
    assert "zebra" not in "".join(tokenizer.decode(ids) for ids in ids_seen)
    assert 0 < answer.timing.first_token_s < answer.timing.total_s


@pytest.mark.parametrize("policy", ["route", "concat", "mean", "timeline"])
def test_with_another_movies_codes_answers_change(tmp_path: Path, model: FakeModel, policy: str) -> None:
    """Same captions, same segments, other codes: what is said comes from the codes."""
    questions = [WHAT, "What is the dog doing?", "Who is in the house?", "What color is the ball?", "Where is the cat?"]
    said = []
    for seed in (0, 1):
        with Index(write_index(tmp_path / f"{seed}.idx", random_codes(12, seed)), model) as index:
            said.append([index.ask(question, policy=policy).answer for question in questions])
    assert sum(a != b for a, b in zip(*said, strict=True)) >= 3


def test_with_another_movies_codes_spans_change(tmp_path: Path, model: FakeModel) -> None:
    spans = []
    for seed in (0, 1):
        with Index(write_index(tmp_path / f"{seed}.idx", random_codes(12, seed)), model) as index:
            spans.append(index.ask(WHEN).spans)
    assert spans[0] != spans[1]


@pytest.mark.parametrize("captions", [(), ("the cat is red",)])
def test_captions_alone_change_no_answer(tmp_path: Path, model: FakeModel, captions: tuple[str, ...]) -> None:
    said = []
    for name, words in (("a", CAPTIONS), ("b", captions)):
        with Index(write_index(tmp_path / f"{name}.idx", random_codes(12), words), model) as index:
            answer = index.ask(WHAT)
            said.append((answer.answer, answer.spans))
    assert said[0] == said[1]


def test_a_text_answer_names_the_segments_that_it_came_from(index: Index) -> None:
    answer = index.ask(WHAT, top_k=3)
    assert sum(len(span.segments) for span in answer.spans) == 3
    assert [span.score for span in answer.spans] == sorted((span.score for span in answer.spans), reverse=True)


def test_a_question_about_the_whole_movie_is_not_routed(index: Index, model: FakeModel) -> None:
    for policy in (None, "route"):
        answer = index.ask("What happens?", policy=policy)
        assert answer.policy == "timeline" and answer.not_there is None
        assert {i for span in answer.spans for i in span.segments} == {1, 4, 7, 10}
    assert all(prompt == model.vlm.prompt_ids("What happens?") for prompt in model.vlm.prompts)


# ---- compose


def test_compose_is_the_weighted_concatenation_with_one_bias(index: Index, model: FakeModel) -> None:
    adapter = index.compose({2: 0.5, 5: -1.0, 7: 0.0})
    codes = index.file.codes([2, 5])
    parts = [model.hypernet.expand(code) for code in codes]
    expected = concat(parts, [0.5, -1.0], bias=model.hypernet.bias)
    torch.testing.assert_close(adapter.A, expected.A)
    torch.testing.assert_close(adapter.B, expected.B)
    assert adapter.rank == 3 * model.hypernet.config.rank and not adapter.A.requires_grad


@pytest.mark.parametrize("weights", [{}, {0: 0.0}, {99: 1.0}, {0: float("nan")}])
def test_compose_refuses_what_it_cant(index: Index, weights: dict[Node, float]) -> None:
    with pytest.raises(InputError):
        index.compose(weights)


# ---- the answer


def test_json_has_exactly_these_keys(index: Index) -> None:
    for question in (WHEN, WHAT):
        values = json.loads(json.dumps(index.ask(question).to_json()))
        assert list(values) == [
            "question",
            "answer",
            "spans",
            "not_there",
            "unsure",
            "policy",
            "model",
            "visual_tokens",
            "timing",
        ]
        assert list(values["timing"]) == ["load_s", "route_s", "compose_s", "first_token_s", "total_s"]
        assert all(list(span) == ["start", "end", "score", "segments"] for span in values["spans"])
        assert values["visual_tokens"] == 0 and values["question"] == question and values["model"] == "fake"
        assert 0 <= values["not_there"] <= 1


@pytest.mark.parametrize(("threshold", "unsure"), [(-100.0, False), (100.0, True)])
def test_text_about_what_no_key_is_near_is_unsure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threshold: float, unsure: bool
) -> None:
    keyed = replace(fake_model(), keys=random_keys(HIDDEN), sentences=by_words, calibration=Calibration(key=3.0))
    monkeypatch.setattr(certainty, "UNSURE_BELOW", threshold)
    path = write_index(tmp_path / "movie.idx", random_codes(6), model=keyed, keys=unit_keys(6))
    with Index(path, keyed) as index:
        answer, plain = index.ask(WHAT), index.ask(WHAT, policy="mean")
        moments = index.ask(WHEN)
    assert answer.unsure is unsure and answer.to_json()["unsure"] is unsure
    assert answer.answer and not answer.answer.startswith("Unsure"), "the text itself is what was generated"
    assert not plain.unsure, "a policy that asks the router nothing knows nothing of it"
    assert not moments.unsure, "moments have a probability each"


def test_without_keys_nothing_is_unsure(index: Index) -> None:
    assert not index.ask(WHAT).unsure


def test_times_add_up(tmp_path: Path) -> None:
    slow = fake_model(delay=0.05)
    with Index(write_index(tmp_path / "movie.idx", random_codes(5)), slow) as index:
        first, second = index.ask(WHAT), index.ask(WHAT)
    for answer in (first, second):
        timing = answer.timing
        assert 0 <= timing.route_s + timing.compose_s <= timing.first_token_s <= timing.total_s - timing.load_s + 1e-6
        assert timing.first_token_s >= 0.05  # generation counts
    assert first.timing.load_s > 0 and second.timing.load_s == 0


def test_the_first_token_is_told_before_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step of decoding takes 30 ms: the first token is known after one step, the answer after all."""
    model = fake_model()
    logits, steps = model.vlm._logits, []

    def slowly(ids: torch.Tensor) -> torch.Tensor:
        out = logits(ids)
        time.sleep(0.03)
        steps.append(1)
        return out

    with Index(write_index(tmp_path / "movie.idx", random_codes(5)), model) as index:
        monkeypatch.setattr(model.vlm, "_logits", slowly)
        timing = index.ask(WHAT, policy="mean").timing
    before = timing.route_s + timing.compose_s
    first, whole = timing.first_token_s - before, timing.total_s - timing.load_s - before
    assert len(steps) >= 2 and 0.03 <= first <= whole - 0.03 * (len(steps) - 1)


def test_moments_are_told_first_and_the_text_as_it_grows(index: Index) -> None:
    steps: list[PartialAnswer] = []
    answer = index.ask(WHAT, progress=steps.append)
    assert steps[0] == PartialAnswer(answer.spans, answer.not_there)
    assert [step.text for step in steps[1:]] == [
        " ".join(answer.answer.split()[: i + 1]) for i in range(len(steps) - 1)
    ]
    assert steps[-1].text == answer.answer
    steps.clear()
    answer = index.ask(WHEN, progress=steps.append)
    assert steps == [PartialAnswer(answer.spans, answer.not_there, answer.answer)]


def test_answering_ends_when_progress_raises(index: Index) -> None:
    def stop(step: PartialAnswer) -> None:
        if step.text:
            raise InterruptedError

    expected = index.ask(WHAT).answer
    with pytest.raises(InterruptedError):
        index.ask(WHAT, progress=stop)
    assert index.ask(WHAT).answer == expected


def test_a_follow_up_is_answered_under_the_same_adapter_without_scores(index: Index, model: FakeModel) -> None:
    first = index.ask(WHAT)
    assert first.route is not None
    assert first.prompt == WHAT
    weights = dict(first.route.weights)
    model.vlm.prompts.clear()
    again = index.follow_up(WHAT, weights)
    assert (again.answer, again.policy, again.not_there) == (first.answer, "follow-up", None)
    assert model.vlm.prompts == [model.vlm.prompt_ids(WHAT)]
    assert {number for span in again.spans for number in span.segments} == set(weights)
    assert (
        index.follow_up("What runs?", weights, index.compose(weights)).answer
        == index.follow_up("What runs?", weights).answer
    )
    with pytest.raises(InputError, match="policy follow-up"):
        index.follow_up(WHAT, {99: 1.0})


def test_answers_are_the_same_every_time(index: Index) -> None:
    def values(answer: Answer) -> dict[str, Any]:
        return {key: value for key, value in answer.to_json().items() if key != "timing"}

    for question in (WHEN, WHAT):
        assert values(index.ask(question)) == values(index.ask(question))


def test_the_budget_holds_even_when_asked_twice(tmp_path: Path, model: FakeModel) -> None:
    with Index(write_index(tmp_path / "movie.idx", random_codes(60)), model) as index:
        for _ in range(2):
            answer = index.ask(WHEN, budget=10)
            assert answer.not_there is not None
            assert len({i for span in answer.spans for i in span.segments}) <= 10
        without_limit = [index.ask(WHEN, budget=budget) for budget in ("all", None)]
        first, second = (
            {key: value for key, value in answer.to_json().items() if key != "timing"} for answer in without_limit
        )
        assert first == second
        assert without_limit[0].route is not None
        scored = {candidate.node for trace in without_limit[0].route.looks for candidate in trace.candidates}
        assert {node for node in scored if isinstance(node, int)} == set(range(60))


# ---- opening


def test_bad_questions_and_options_are_sentences(index: Index) -> None:
    for question, message in (("  ", "empty"), ("When?", "nothing to look for"), ("Show me", "nothing to look for")):
        with pytest.raises(InputError, match=message):
            index.ask(question)
    for budget in (0, -3, "some", 1.5):
        with pytest.raises(InputError, match="budget"):
            index.ask(WHEN, budget=budget)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="2001 characters"):
        index.ask("w" * 2001)
    with pytest.raises(InputError, match="There is no policy"):
        index.ask(WHEN, policy="magic")


def test_a_question_that_isnt_unicode_is_made_so(index: Index) -> None:
    assert index.ask("When does the c\udcffat sit?").question == "When does the c?at sit?"


def test_a_policy_with_negative_weights_only_has_no_moment(index: Index) -> None:
    with pytest.raises(InputError, match="no moment to show"):
        index.ask(WHEN, policy=lambda graph, query: {0: -1.0})
    assert index.ask(WHAT, policy=lambda graph, query: {0: -1.0}).answer


def test_a_bad_policy_is_told_before_the_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_: pytest.fail("loaded"), raising=False)
    with Index(write_index(tmp_path / "movie.idx", random_codes(2))) as index:
        for options in ({"policy": "magic"}, {"budget": 0}, {"policy": "x.py:f"}, {"top_k": 0}):
            with pytest.raises(InputError):
                index.ask(WHEN, **options)
        with pytest.raises(InputError):
            index.ask("")


def test_the_model_is_loaded_once_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[Any, ...]] = []

    def load_model(*needed: Any) -> FakeModel:
        loaded.append(needed)
        return fake_model()

    monkeypatch.setattr("chunkv2l.models.load_model", load_model, raising=False)
    with chunkv2l.open(write_index(tmp_path / "movie.idx", random_codes(3)), device="cpu") as index:
        assert len(index.segments) == 3 and index.graph.number_of_edges() == 2 and loaded == []
        index.ask(WHEN)
        index.ask(WHAT)
        index.compose({0: 1.0})
    assert loaded == [(ModelSpec("fake", None, "cpu"),)]


def test_another_model_is_refused_with_the_rebuild_command(tmp_path: Path) -> None:
    path = write_index(tmp_path / "movie.idx", random_codes(3))
    with pytest.raises(InputError, match=r"chunkv2l build .*movie\.mp4"):
        Index(path, fake_model(seed=5))


def test_the_rebuild_command_names_the_model_that_was_asked_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_index(tmp_path / "movie.idx", random_codes(3))
    monkeypatch.setattr(chunkv2l.models, "load_model", lambda *_: fake_model(seed=5))
    for options, words in (
        ({}, "--model MODEL --detector"),
        ({"model": "other"}, "--model other --detector"),
        ({"hypernet": "my file.pt"}, "--model MODEL --hypernet 'my file.pt' --detector"),
        ({"model": "a", "hypernet": "b"}, "--model a --hypernet b --detector"),
    ):
        with Index(path, **options) as index, pytest.raises(InputError, match="built with another model") as caught:
            index.ask(WHEN)
        assert words in str(caught.value), options


@pytest.mark.parametrize("name", ["weights", "somebody/model", "../weights"])
def test_a_model_that_only_the_index_names_is_not_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a folder of that name in the current folder nor a hub's model: the index may come from anybody."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "weights").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = write_index(tmp_path / "movie.idx", random_codes(3), model=replace(fake_model(), name=name))
    loaded: list[ModelSpec] = []

    def load_model(spec: ModelSpec) -> FakeModel:
        loaded.append(spec)
        return fake_model()

    monkeypatch.setattr("chunkv2l.models.load_model", load_model)
    with Index(path) as index, pytest.raises(InputError, match=r"if you trust them, add --model MODEL \(") as caught:
        index.ask(WHEN)
    assert name in str(caught.value) and loaded == []
    with Index(path, name) as index:  # the user's word
        index.ask(WHEN)
    assert loaded == [ModelSpec(name)]


def test_segments_and_graph(index: Index) -> None:
    assert [(s.start, s.end, s.caption) for s in index.segments[:2]] == [
        (0.0, 4.0, CAPTIONS[0]),
        (4.0, 8.0, CAPTIONS[1]),
    ]
    assert len(index) == 12 and "12 segments" in repr(index) and index.path.name == "movie.idx"
    assert index.graph.nodes[1]["caption"] == CAPTIONS[1]


def test_the_package_exports_its_api_lazily() -> None:
    assert chunkv2l.Index is Index and chunkv2l.Answer is Answer and chunkv2l.open is asking.open_index
    assert set(chunkv2l.__all__) <= set(dir(chunkv2l))
    assert chunkv2l.policies.route.__name__ == "route"
    with pytest.raises(AttributeError):
        chunkv2l.nothing


def test_build_is_a_function_wherever_its_module_was_imported() -> None:
    module = importlib.import_module("chunkv2l.indexing.build")
    assert chunkv2l.build is module.build


def test_a_search_in_a_part_finds_what_is_there_however_much_is_elsewhere(tmp_path: Path, model: FakeModel) -> None:
    """Sixty segments share a word with the question; full-text search alone would return the first 32."""
    path = tmp_path / "movie.idx"
    speech = {i: "hello again" for i in range(60)}
    indexes.write_index(path, [""] * 60, codes=random_codes(60), kind="fp32", seconds=1.0, speech=speech, meta=META)
    with Index(path, model) as index:
        answer = index.ask("When does he say hello in the last 10 seconds?")
        assert answer.policy == "fts" and all(span.start >= 50 for span in answer.spans)
        assert index.file.search("hello", 3, (55, 59)) == index.file.search("hello", 60)[55:58]
        parts = index.ask("When does he say hello except between 0:02 and 0:58?")
        assert {number for span in parts.spans for number in span.segments} == {0, 1, 58, 59}
        assert parts.parts == ((0, 2), (58, 60)) and parts.to_json()["parts"] == [[0, 2], [58, 60]]
        assert parts.within == (0, 60)
        with pytest.raises(NothingFound, match="of that part shares a word"):
            index.ask("When does he say goodbye in the last 10 seconds?", policy="fts")


def test_absence_is_said_of_the_part_that_was_asked_about(tmp_path: Path) -> None:
    sceptic = replace(fake_model(), calibration=Calibration(beta=20.0))
    with Index(write_index(tmp_path / "movie.idx", random_codes(12)), sceptic) as index:
        answer = index.ask("When does a dog catch the ball in the last 20 seconds?")
        count = index.ask("How many times does a dog catch the ball in the last 20 seconds?")
        parts = index.ask("When does a dog catch the ball outside 0:10-0:30?")
    assert parts.answer.startswith("It seems not to be in those parts of this video; the likeliest moment there is ")
    assert parts.notes == ("The question is about these parts of the video: 0:00 – 0:10 and 0:30 – 0:48.",)
    said = "seems not to be in that part of this video; the likeliest moment there is from "
    assert answer.answer.startswith(f"It {said}") and count.answer.startswith(f"0 times: it {said}")
    assert all(span.end > 28 for span in (*answer.spans, *count.spans))
    assert answer.within == count.within == (28, 48) and answer.to_json()["within"] == [28, 48]
