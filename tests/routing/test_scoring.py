"""One question's scores within its budget: keys, words, chapters, neighbours, several statements."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.graph import Node, segment_graph
from chunkv2l.models import Calibration
from chunkv2l.routing.probability import evidence, evidences, probabilities
from chunkv2l.routing.router import Router
from chunkv2l.routing.scoring import MIN_PROSPECT, Budget, Scoring
from tests.helpers.fake_vlm import HIDDEN, FakeModel, fake_model
from tests.helpers.keyed import by_words, random_keys, unit_keys
from tests.helpers.pieces import chapters, pieces
from tests.helpers.written import random_codes

TEXT = "A dog catches the ball."
OTHER = "The cat sits."


def keyed(kappa: float = 0.0) -> FakeModel:
    """A model with random learned keys."""
    keys = random_keys(HIDDEN)
    return replace(fake_model(), keys=keys, sentences=by_words, calibration=Calibration(key=kappa))


class Movie:
    """Codes, keys and chapters of a movie of random segments, noting which codes were read."""

    def __init__(self, count: int, model: FakeModel, each: int = 0) -> None:
        self.model, self.each, self.count = model, each, count
        self.codes = random_codes(count)
        self.chapter_codes = random_codes(-(-count // each) if each else 0, seed=1)
        self.read: list[Node] = []
        self.keys_read = 0

    def __call__(self, nodes: Sequence[Node]) -> Tensor:
        self.read += nodes
        return torch.stack([self.codes[n] if isinstance(n, int) else self.chapter_codes[int(n[1:])] for n in nodes])

    def keys(self) -> Tensor | None:
        self.keys_read += 1
        return None if self.model.keys is None else unit_keys(self.count)

    def router(self) -> Router:
        return Router(self.model, self, [None] * self.count, self.keys)

    def scoring(
        self,
        budget: int | None,
        hits: Sequence[int] = (),
        similar: Iterable[tuple[int, int, float]] = (),
        text: str = TEXT,
    ) -> Scoring:
        graph = segment_graph(pieces(self.count), similar, chapters(self.count, self.each) if self.each else ())
        return Scoring(self.router(), text, Budget(budget), lambda _: [(i, 1.0) for i in hits], graph)

    def similarity(self, text: str = TEXT) -> list[float]:
        assert self.model.keys is not None
        cosines: list[float] = (unit_keys(self.count) @ self.model.keys.of_sentences(by_words([text]))[0]).tolist()
        return cosines


def test_over_the_budget_the_nearest_keys_are_scored_and_neighbours_of_the_best() -> None:
    movie = Movie(200, keyed())
    question = movie.scoring(24, hits=[5, 150, 3])
    p = question.score(range(200))
    assert len(movie.read) == 24 == sum(value > 0 for value in p.values())
    similarity = movie.similarity()
    nearest = sorted(range(200), key=lambda i: -similarity[i])
    assert set(nearest[:10]) | {5, 150} <= set(movie.read[:12]) <= set(nearest[:12]) | {5, 150}
    assert set(nearest[:20]) <= set(movie.read)
    candidates = {candidate.node: candidate for candidate in question.candidates()}
    assert candidates[nearest[0]].sources[0] == "key 1" and candidates[5].sources[0] == "words 1"
    assert candidates[nearest[0]].key == pytest.approx(max(similarity), abs=1e-5)
    best = max(movie.read[:12], key=lambda node: question.nats[node])
    assert isinstance(best, int)
    assert {node for node in (best - 1, best + 1) if 0 <= node < 200} <= set(movie.read)
    assert all(candidate.sources for candidate in candidates.values()) and movie.keys_read == 1


def test_a_movie_within_the_budget_is_scored_whole_and_needs_no_key() -> None:
    movie = Movie(12, keyed())
    question = movie.scoring(48)
    question.score(range(12))
    assert movie.keys_read == 0 and sorted(movie.read, key=int) == list(range(12))
    assert {candidate.sources for candidate in question.candidates()} == {("all",)}
    assert len(movie.model.vlm.prompts) == 1  # one pass: the bias alone went with the segments


def test_candidates_are_chosen_without_a_pass_of_the_model() -> None:
    movie = Movie(60, keyed())
    question = movie.scoring(12)
    question.score(range(60))
    assert len(movie.model.vlm.prompts) == 2  # the first look, the second
    whole = movie.scoring(None)
    whole.score(range(60))
    assert {node: whole.nats[node] for node in question.nats} == pytest.approx(question.nats, abs=1e-5)


def test_without_keys_the_movie_is_searched_from_an_even_spread() -> None:
    movie = Movie(120, fake_model())
    similar = [(i, (i * 37) % 120, 0.5) for i in range(120) if i < (i * 37) % 120]
    question = movie.scoring(24, similar=similar)
    question.score(range(120))
    candidates = question.candidates()
    assert len(movie.read) == 24 and all(candidate.key is None for candidate in candidates)
    names = {source.split()[0] for candidate in candidates for source in candidate.sources}
    assert {"spread", "after", "before", "like"} <= names
    start = [candidate.node for candidate in candidates if candidate.sources[0] == "spread"]
    assert len(start) == 6


def test_without_keys_a_long_movies_chapters_are_scored_within_the_budget() -> None:
    movie = Movie(120, fake_model(), each=10)
    question = movie.scoring(24)
    question.score(range(120))
    groups = [node for node in movie.read if isinstance(node, str)]
    assert len(groups) == 2 and len(movie.read) == 24
    best = max(groups, key=lambda group: question.nats[group])
    inside = [candidate for candidate in question.candidates() if f"in {best}" in candidate.sources]
    assert inside and all(10 * int(best[1:]) <= int(candidate.node) < 10 * int(best[1:]) + 10 for candidate in inside)


def test_chapters_share_their_own_probability() -> None:
    movie = Movie(40, fake_model(), each=10)
    question = movie.scoring(None)
    p = question.score(["g0", "g1", "g2", "g3", *range(40)])
    of_chapters = [p[f"g{i}"] for i in range(4)]
    segment_p, absent = question.probabilities()
    assert 0 < sum(of_chapters) < 1 and all(isinstance(node, int) for node in segment_p)
    assert absent is not None and sum(segment_p.values()) + absent == pytest.approx(1.0)
    model = movie.model
    router = movie.router()
    nats = router.nats(TEXT, ["g0", "g1", "g2", "g3"])
    expected, _ = probabilities(nats, router.tokens(TEXT), 4, model.calibration)
    assert of_chapters == pytest.approx([expected[f"g{i}"] for i in range(4)])


def test_more_chapters_than_half_the_budget_are_chosen_by_their_keys() -> None:
    movie = Movie(120, keyed(), each=5)
    question = movie.scoring(12)
    p = question.score([f"g{i}" for i in range(24)])
    assert len(movie.read) == 6 and sum(value > 0 for value in p.values()) == 6
    best = torch.tensor(movie.similarity()).view(24, 5).amax(1)  # a chapter's likeliest segment
    assert {int(str(node)[1:]) for node in movie.read} == set(best.topk(6).indices.tolist())
    question.score(range(5))
    assert len(movie.read) == 11


def test_asked_about_everything_the_segments_get_most_of_the_budget() -> None:
    movie = Movie(120, keyed(), each=5)
    movie.scoring(16).score([*range(120), *(f"g{i}" for i in range(24))])
    assert sum(isinstance(node, str) for node in movie.read) == 4 and len(movie.read) == 16


def test_a_limit_leaves_the_rest_for_another_statement() -> None:
    movie = Movie(60, keyed())
    question = movie.scoring(12)
    query = question.query("When does it?", "when")
    p = query.score(range(60), limit=5)
    assert sum(value > 0 for value in p.values()) == 5
    other = query.about(OTHER)
    assert other.statement == OTHER and other.relation is None and other.text == query.text
    q = other.score(range(60))
    assert sum(value > 0 for value in q.values()) == 7 and len(movie.read) == 12
    assert question.others[0].statement == OTHER and question.others[0].nats != question.nats
    assert query.score(range(60)) == p  # nothing is left to spend


def test_keys_count_in_the_probabilities_where_the_calibration_says_so() -> None:
    movie, plain = Movie(10, keyed(kappa=2.0)), Movie(10, keyed())
    question, without = movie.scoring(48), plain.scoring(48)
    p, q = question.score(range(10)), without.score(range(10))
    similarity = dict(enumerate(movie.similarity()))
    nats = {int(node): value for node, value in question.nats.items()}
    tokens = question.tokens
    expected, absent = probabilities(nats, tokens, 10, movie.model.calibration, similarity)
    assert p == pytest.approx(expected, abs=1e-6) and question.probabilities()[1] == pytest.approx(absent)
    assert p != pytest.approx(q, abs=1e-3)
    z = evidences(nats, tokens, movie.model.calibration, similarity)
    bare = evidences(nats, tokens, plain.model.calibration, similarity)
    assert {i: z[i] - bare[i] for i in z} == pytest.approx({i: 2 * similarity[i] for i in z}, abs=1e-5)


def test_what_cannot_become_probable_is_not_scored() -> None:
    movie = Movie(200, keyed(kappa=16.0))
    question = movie.scoring(24)
    question.score(range(200))
    first, second = movie.read[:12], movie.read[12:]
    assert 0 < len(second) < 12
    calibration, similarity = movie.model.calibration, dict(enumerate(movie.similarity()))
    nats = {int(node): question.nats[node] for node in first}
    top = max([math.log(200), *evidences(nats, question.tokens, calibration, similarity).values()])
    most = evidences(dict.fromkeys(range(200), max(nats.values())), question.tokens, calibration, similarity)
    assert all(math.exp(most[int(node)] - top) >= MIN_PROSPECT for node in second)
    nearest = sorted(range(200), key=lambda i: -similarity[i])[:22]
    left = [node for node in nearest if node not in movie.read]
    assert left and all(math.exp(most[node] - top) < MIN_PROSPECT for node in left)


def test_where_the_index_has_no_keys_scores_alone_count() -> None:
    movie = Movie(10, keyed(kappa=2.0))
    bare = Scoring(Router(movie.model, movie, [None] * 10), TEXT, Budget(48), lambda _: [], segment_graph(pieces(10)))
    assert bare.score(range(10)) == pytest.approx(Movie(10, keyed()).scoring(48).score(range(10)), abs=1e-6)
    assert bare.candidates()[0].key is None


def test_a_chapters_key_counts_as_its_likeliest_segments() -> None:
    movie = Movie(12, keyed(kappa=2.0), each=4)
    question = movie.scoring(None)
    p = question.score(["g0", "g1", "g2"])
    nats = movie.router().nats(TEXT, ["g0", "g1", "g2"])
    cosines = movie.similarity()
    similarity = {f"g{i}": max(cosines[4 * i : 4 * i + 4]) for i in range(3)}
    assert p == pytest.approx(probabilities(nats, question.tokens, 3, movie.model.calibration, similarity)[0], abs=1e-6)
    assert {candidate.node: candidate.key for candidate in question.candidates()} == pytest.approx(similarity, abs=1e-6)


def test_an_index_without_keys_is_searched_without_them() -> None:
    movie = Movie(60, keyed())
    question = Scoring(
        Router(movie.model, movie, [None] * 60), TEXT, Budget(12), lambda _: [], segment_graph(pieces(60))
    )
    p = question.score(range(60))
    assert sum(value > 0 for value in p.values()) == 12
    assert {candidate.key for candidate in question.candidates()} == {None}


def test_keys_of_another_size_are_refused() -> None:
    movie = Movie(20, keyed())
    router = Router(movie.model, movie, [None] * 20, lambda: torch.zeros(20, 5))
    with pytest.raises(InputError, match="build with --force"):
        router.key_similarity(TEXT)


def test_what_was_left_out_counts_as_nothing_but_is_among_n() -> None:
    """p(not there) of a budgeted question differs from an exhaustive one's only by what the others scored."""
    movie = Movie(60, keyed())
    budgeted, whole = movie.scoring(20), movie.scoring(None)
    budgeted.score(range(60))
    whole.score(range(60))
    nats = {int(node): value for node, value in budgeted.nats.items()}
    _, expected = probabilities(nats, budgeted.tokens, 60, movie.model.calibration)
    absent, least = budgeted.probabilities()[1], whole.probabilities()[1]
    assert absent is not None and least is not None
    assert absent == pytest.approx(expected) and absent > least


def test_a_statement_that_the_router_forgot_is_scored_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chunkv2l.routing.router.STATEMENTS_KEPT", 1)
    movie = Movie(10, keyed(kappa=2.0))
    question = movie.scoring(48)
    query = question.query("When does it?", "when")
    p = query.score(range(10))
    query.about(OTHER).score(range(10))
    assert query.score(range(10)) == p and question.candidates()[0].key is not None


def test_only_a_part_of_the_movie_may_be_asked_about() -> None:
    movie = Movie(30, fake_model())
    part = segment_graph(pieces(30)).subgraph(range(10, 20))
    question = Scoring(movie.router(), TEXT, Budget(None), lambda _: [(3, 2.0), (12, 1.0)], part)
    question.score(range(10, 20))
    assert question.segments == 10 and question.search() == {12: 1.0}
    with pytest.raises(InputError, match="node 3"):
        question.score([3])


def test_key_evidence_is_that_of_the_nearest_key() -> None:
    movie = Movie(12, keyed(kappa=3.0))
    question = movie.scoring(4)
    assert question.key_evidence() is None  # nothing is scored yet
    question.score(range(12))
    calibration = movie.model.calibration
    assert question.key_evidence() == pytest.approx(
        evidence(0.0, max(movie.similarity()), question.tokens, calibration)
    )


def test_key_evidence_is_of_the_part_asked_about() -> None:
    movie = Movie(12, keyed(kappa=3.0))
    nearest = max(range(12), key=movie.similarity().__getitem__)
    part = segment_graph(pieces(12)).subgraph([node for node in range(12) if node != nearest])
    question = Scoring(movie.router(), TEXT, Budget(None), lambda _: [], part)
    question.score(part.nodes)
    second = sorted(movie.similarity())[-2]
    value = question.key_evidence()
    assert value == pytest.approx(evidence(0.0, second, question.tokens, movie.model.calibration))


@pytest.mark.parametrize("model", [fake_model(), keyed(kappa=0.0)])
def test_without_keys_that_count_there_is_no_key_evidence(model: FakeModel) -> None:
    question = Movie(6, model).scoring(None)
    question.score(range(6))
    assert question.key_evidence() is None


def test_a_damaged_chapter_is_named() -> None:
    movie = Movie(8, fake_model(), each=4)
    movie.chapter_codes[1] = torch.nan
    with pytest.raises(InputError, match="chapter g1 is damaged"):
        movie.scoring(None).score(["g0", "g1"])


@pytest.mark.parametrize("each", [0, 4, 30])
@pytest.mark.parametrize("model", [keyed(), fake_model(), keyed(kappa=3.0)])
def test_no_question_costs_more_than_its_budget(model: FakeModel, each: int) -> None:
    for budget in (1, 2, 3, 7, 16, 59, 60, 61, 100):
        movie = Movie(60, model, each)
        question = movie.scoring(budget, hits=[4, 5])
        groups = [f"g{i}" for i in range(60 // each)] if each else []
        question.score(groups, limit=3)
        p = question.score([*range(60), *groups])
        assert len(movie.read) <= budget and len(p) == 60 + len(groups)
        candidates = question.candidates()
        assert len(candidates) == len(movie.read) == len(set(movie.read)) and all(
            candidate.sources for candidate in candidates
        )
        if budget > 3:
            assert any(isinstance(candidate.node, int) for candidate in candidates)
        if budget == 100:
            assert all(value > 0 for value in p.values())


def test_without_a_budget_every_statement_is_scored() -> None:
    movie = Movie(12, fake_model())
    query = movie.scoring(None).query("When does it?", "when")
    assert all(p > 0 for p in query.score(range(12)).values())
    assert all(p > 0 for p in query.about(OTHER).score(range(12)).values())
