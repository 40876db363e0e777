"""Comparing segments by a selector instead of scoring them: candidates, probabilities, pooled scores, exclusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.graph import Node, segment_graph
from chunkv2l.query.query import Limits, Query, parse_budget
from chunkv2l.routing.candidates import COMPARED, COMPARED_WORDS
from chunkv2l.routing.probability import EXCLUDED_ODDS, log_not_shown, pool_evidence, share_out
from chunkv2l.routing.router import Router
from chunkv2l.routing.scoring import Budget, Scoring
from tests.helpers.fake_vlm import FakeModel, fake_model
from tests.helpers.keyed import by_words, unit_keys
from tests.helpers.pieces import chapters, pieces
from tests.helpers.selecting import selective, word_states
from tests.helpers.written import random_codes

TEXT, OTHER = "A dog catches the ball.", "The cat sits."
DEFAULT = Limits()


class Movie:
    """A movie of random segments, noting which codes were read."""

    def __init__(self, count: int, model: FakeModel) -> None:
        self.model, self.count, self.codes = model, count, random_codes(count)
        self.read: list[int] = []
        self.router = Router(model, self._read, [None] * count, lambda: unit_keys(count))

    def _read(self, nodes: Sequence[Node]) -> Tensor:
        numbers = [int(str(node).lstrip("g")) for node in nodes]
        self.read += numbers
        return self.codes[numbers]

    def scoring(self, hits: Sequence[int] = (), limits: Limits = DEFAULT, excluded: str = "", each: int = 0) -> Scoring:
        graph = segment_graph(pieces(self.count), (), chapters(self.count, each) if each else ())
        search = [(node, 1.0) for node in hits]
        return Scoring(self.router, TEXT, Budget(limits), lambda _: search, graph, excluded=excluded)

    def nearest(self, text: str = TEXT) -> list[int]:
        assert self.model.keys is not None
        similarity = (unit_keys(self.count) @ self.model.keys.of_sentences(by_words([text]))[0]).tolist()
        return sorted(range(self.count), key=lambda node: -similarity[node])


@pytest.mark.parametrize("count", [300, 10_000])
def test_the_nearest_keys_and_words_are_compared_however_long_the_movie_is(count: int) -> None:
    movie = Movie(count, selective(key=1.0))
    hits = [5, 150, 3, 8, 9, 10, 11, 12, 13]
    scoring = movie.scoring(hits)
    selected = scoring.select(range(count))
    assert len(selected) == len(movie.read) == COMPARED and movie.model.vlm.prompts == []
    assert set(selected) >= set(hits[:COMPARED_WORDS]) and set(movie.nearest()[:50]) <= set(selected)
    p = [segment.p for segment in selected.values()]
    assert p == sorted(p, reverse=True) and sum(p) + (scoring.probabilities()[1] or 0.0) == pytest.approx(1.0)
    assert list(scoring.select(range(count))) == list(selected) and len(movie.read) == COMPARED  # remembered
    rows = scoring.candidates()
    assert len(rows) == COMPARED and all(row.nats is None and row.evidence is not None for row in rows)
    assert next(row for row in rows if row.node == movie.nearest()[0]).sources[-1] == "key 1"


def test_p_is_the_form_of_the_routers_with_the_evidence_for_the_score() -> None:
    movie = Movie(20, selective(key=1.5, beta=-0.5))
    scoring = movie.scoring()
    selected = scoring.select(range(20))
    selector, keys, calibration = movie.model.selector, movie.model.keys, movie.model.selector_calibration
    assert selector is not None and keys is not None
    evidence, gates = selector(word_states([TEXT]), movie.codes)
    cosines = unit_keys(20) @ keys.of_sentences(by_words([TEXT]))[0]
    z = calibration.key * scoring.tokens**-calibration.epsilon * cosines + calibration.slots * evidence[0]
    e = z.exp()
    p = e / (20 * math.exp(calibration.beta) + e.sum())
    for node, (value, of_slots, factors) in selected.items():
        assert value == pytest.approx(float(p[node]), rel=1e-4) and of_slots == pytest.approx(float(evidence[0, node]))
        torch.testing.assert_close(torch.from_numpy(factors), gates[0, node])


@pytest.mark.parametrize("rescored", [3, None])
def test_a_budget_scores_the_best_exactly_and_pools_both(rescored: int | None) -> None:
    movie = Movie(12, selective(key=1.0, beta=0.3))
    before = movie.scoring().select(range(12))
    scoring = movie.scoring(limits=Limits(rescored, rescored))
    selected = scoring.select(range(12))
    scored = list(before)[: rescored or 12]
    assert set(scoring.nats) == set(scored)
    calibration, form = movie.model.calibration, movie.model.selector_calibration.form
    similarity = movie.router.key_similarity(TEXT)
    assert similarity is not None
    scale = scoring.tokens**-form.epsilon
    z = {node: before[node].evidence * 2.0 + form.key * scale * similarity[node] for node in before}
    for node in scored:
        router_z = scoring.nats[node] / (calibration.tau * scoring.tokens**calibration.gamma) + 3.0 * similarity[node]
        assert pool_evidence(z[node], 0.3, router_z, 0.0) == pytest.approx(0.3 + ((z[node] - 0.3) + router_z) / 2)
        z[node] = pool_evidence(z[node], 0.3, router_z, 0.0)
    expected = share_out(z, 12, 0.3)[0]
    assert {node: segment.p for node, segment in selected.items()} == pytest.approx(expected, rel=1e-4)
    scoring.select(range(12))
    assert set(scoring.nats) == set(scored)  # no more the second time


def test_segments_that_may_show_what_is_excluded_lose() -> None:
    movie = Movie(30, selective(key=1.0))
    plain, against = (
        movie.scoring().select(range(30)),
        Scoring(movie.router, OTHER, Budget(Limits()), lambda _: [], segment_graph(pieces(30))).select(range(30)),
    )
    scoring = movie.scoring(excluded=OTHER)
    query = scoring.query("question", "when")
    selected = query.select(range(30))
    form = movie.model.selector_calibration.form

    def odds(p: float, absent: float) -> float:
        return math.log(p / absent * 30)

    not_there = movie_absent(movie, TEXT), movie_absent(movie, OTHER)
    for node in range(30):
        fallen = odds(selected[node].p, scoring.probabilities()[1] or 0.0) - odds(plain[node].p, not_there[0])
        z = odds(against[node].p, not_there[1])
        assert (
            fallen
            == pytest.approx(-math.log1p(math.exp(z + EXCLUDED_ODDS)), abs=1e-4)
            == pytest.approx(log_not_shown(z, 0.0), abs=1e-4)
        )
    assert form.beta == 0.0 and query.excluded == OTHER
    about = query.about(OTHER)
    assert about.excluded == "" and about.scorer is scoring.excluded and scoring.others == []


def movie_absent(movie: Movie, text: str) -> float:
    scoring = Scoring(movie.router, text, Budget(Limits()), lambda _: [], segment_graph(pieces(movie.count)))
    scoring.select(range(movie.count))
    return scoring.probabilities()[1] or 0.0


def test_the_router_excludes_within_its_budget() -> None:
    movie = Movie(60, selective())
    plain, excluding = movie.scoring(limits=Limits(48, 0)), movie.scoring(limits=Limits(48, 0), excluded=OTHER)
    before, after = plain.score(range(60)), excluding.score(range(60))
    assert excluding.excluded is not None
    assert len(excluding.nats) + len(excluding.excluded.nats) <= 48 and len(excluding.excluded.nats) == 12
    assert set(excluding.excluded.nats) <= set(excluding.nats)
    best = max(excluding.excluded.nats, key=lambda node: excluding.excluded.nats[node] if excluding.excluded else 0.0)
    assert after[best] / max(after.values()) < before[best] / max(before.values()) or after[best] < before[best]


def test_find_takes_the_selector_where_there_is_one() -> None:
    movie = Movie(100, selective())
    scoring = movie.scoring(each=10)
    p = scoring.find(range(100))
    assert sum(value > 0 for value in p.values()) == COMPARED and len(p) == 100 and not scoring.nats
    assert list(scoring.find(["g1"])) == ["g1"] and list(scoring.nats) == ["g1"]
    without = Movie(10, replace(fake_model(), keys=None))
    question = without.scoring()
    assert question.find(range(10)) == question.score(range(10))
    with pytest.raises(InputError, match="no selector: use --policy route"):
        question.select(range(10))
    with pytest.raises(InputError, match=r"query.select was asked about the node 99"):
        question.select([99])


def test_a_damaged_code_is_named() -> None:
    movie = Movie(5, selective())
    movie.codes[3] = math.nan
    with pytest.raises(InputError, match="code of segment 3 is damaged"):
        movie.scoring().select(range(5))


@pytest.mark.parametrize(
    ("budget", "limits"),
    [("auto", Limits(48, 0)), (8, Limits(8, 8)), ("all", Limits(None, None)), (None, Limits(None, None))],
)
def test_budgets(budget: int | None, limits: Limits) -> None:
    assert parse_budget(budget) == limits
    assert Query("q", "s", "when").excluded == ""
