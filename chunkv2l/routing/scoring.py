"""A question's scores, within its budget: what a `Query`'s methods do. No torch here.

A score costs one of the budget, whether of a segment or of a chapter. Where more segments are asked about than the
budget allows, `chunkv2l.routing.candidates` chooses which are scored.

Where the model has a coarse way to score, candidates are scored coarsely first, then the best of them exactly. An
answer rests on exact scores; coarse ones only decide who may be among the best.

Where the model has a selector, segments may be compared instead, which costs nothing of the budget; the best of them
are scored as well where the question says so (`Limits.rescored`).

A statement that is excluded ("a dog, but not a ball") lowers the z of segments that may show it, by either way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from heapq import nlargest, nsmallest
from typing import TYPE_CHECKING, Final

import networkx as nx

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.graph import Node, Weight, groups, mean_weight, members, pick_evenly
from chunkv2l.query.query import Limits, Query, Selected
from chunkv2l.routing import candidates
from chunkv2l.routing.candidates import COMPARED, WITH_KEYS, WITHOUT_KEYS, Choice, number_sources
from chunkv2l.routing.probability import (
    AnyNode,
    evidence,
    evidences,
    log_not_shown,
    pool_evidence,
    relative_maxima,
    share_out,
)
from chunkv2l.routing.step_timer import StepTimer
from chunkv2l.routing.trace import Candidate, StatementTrace

if TYPE_CHECKING:
    from chunkv2l.query.parse import Kind
    from chunkv2l.query.relations import Relation
    from chunkv2l.routing.router import Compared, Router

Search = Callable[[str], Sequence[tuple[int, float]]]
"""A statement -> (segment, relevance) of full-text hits in the graph, best first."""

EXACT: Final = 6
"""Number of the best segments, and of the best chapters, that are scored exactly; `route` composes four."""
EXCLUDED_SHARE: Final = 1 / 4
"""Share of the budget that scores the excluded statement, for the segments that score best without it."""
MIN_PROSPECT: Final = 0.02
"""A segment that can't become this probable, relative to the likeliest, isn't scored in a later round
(docs/measurements.md#pruned-candidates)."""


class Budget:
    """The number of scores that a question may cost, shared by all the statements that it looks for.

    Attributes:
        total: as the question has it; None for no limit.
        left: what is left of it.
        rescored: for each statement, how many segments that the selector compared are scored as well.
    """

    def __init__(self, limits: Limits | int | None) -> None:
        """
        Args:
            limits: as `parse_budget` returns them; a number or None is a limit of scores alone.
        """
        self.total, rescored = limits if isinstance(limits, Limits) else (limits, 0)
        self.left = sys.maxsize if self.total is None else self.total
        self.rescored = sys.maxsize if rescored is None else rescored

    def spend(self, count: int) -> None:
        """Take so many scores off what is left."""
        self.left -= count


class Scoring:
    """The scores of one statement for one question.

    Attributes:
        statement: what is looked for.
        segments: the number of the graph's segments.
        population: N, among which probabilities are shared out: these, and in a library those of movies that weren't
            opened.
        nats: S − μ of every node that was scored so far.
        compared: the selector's evidence and gates of every segment that was compared so far.
        hits: {segment: relevance} that `search` returned; empty until it is called.
        others: the scores of other statements that the question looked for (`Query.about`).
        excluded: the scores of the statement that is not to be shown; None where the question names none.
    """

    def __init__(
        self,
        router: Router,
        statement: str,
        budget: Budget,
        search: Search,
        graph: nx.DiGraph,
        *,
        excluded: str = "",
        timer: StepTimer | None = None,
        population: int | None = None,
    ) -> None:
        """
        Args:
            graph: the segment graph, or the part of it that the question is about.
            excluded: the statement that is not to be shown, "" for none.
            population: N; the graph's segments if not given.
        """
        self._router, self._budget, self._search, self._graph = router, budget, search, graph
        self._timer = timer or StepTimer()
        self.statement = statement
        self.segments = sum(isinstance(node, int) for node in graph)
        self.population = population or self.segments
        self.nats: dict[Node, float] = {}
        self.hits: dict[int, float] = {}
        self.compared: dict[int, Compared] = {}
        self.others: list[Scoring] = []
        self._sources: dict[Node, tuple[str, ...]] = {}
        self._key_similarity: list[float] | None = None
        self.excluded = self._of(excluded) if excluded else None

    def query(self, text: str, kind: Kind, relation: Relation | None = None) -> Query:
        """Return the question as a policy gets it, scored by this."""
        return Query(
            text,
            self.statement,
            kind,
            relation,
            budget=self._budget.total,
            excluded="" if self.excluded is None else self.excluded.statement,
            selects=self._router.model.selector is not None,
            scorer=self,
        )

    def about(self, query: Query, statement: str) -> Query:
        """See `Query.about`."""
        if self.excluded is not None and statement == self.excluded.statement:
            other = self.excluded
        else:
            other = self._of(statement)
            self.others.append(other)
        return replace(query, statement=statement, excluded="", relation=None, scorer=other)

    def _of(self, statement: str) -> Scoring:
        return Scoring(
            self._router,
            statement,
            self._budget,
            self._search,
            self._graph,
            timer=self._timer,
            population=self.population,
        )

    def score(self, nodes: Iterable[Node], limit: int | None = None) -> dict[Node, float]:
        """See `Query.score`."""
        requested = self._requested(nodes, "score")
        if not self.statement:
            return {node: 1.0 / self.segments for node in requested}
        with _blamed_here():
            self._score_new(requested, limit)
        segment_p, chapter_p = self._segment_p()[0], self._chapter_p()
        return {
            node: segment_p.get(node, 0.0) if isinstance(node, int) else chapter_p.get(node, 0.0) for node in requested
        }

    def select(self, nodes: Iterable[Node]) -> dict[int, Selected]:
        """See `Query.select`."""
        segments = [node for node in self._requested(nodes, "select") if isinstance(node, int)]
        if not self.statement or not segments:
            return {}
        with _blamed_here():
            self._compare(segments)
            self._score_compared()
        p = self._segment_p()[0]
        ranked = sorted((node for node in segments if node in self.compared), key=lambda node: -p[node])
        return {node: Selected(p[node], *self.compared[node]) for node in ranked}

    def find(self, nodes: Iterable[Node], limit: int | None = None) -> dict[Node, float]:
        """See `Query.find`."""
        requested = self._requested(nodes, "find")
        has_chapters = any(isinstance(node, str) for node in requested)
        if self._router.model.selector is None or has_chapters or not self.statement:
            return self.score(requested, limit)
        selected = self.select(requested)
        return {node: selected[node].p if node in selected else 0.0 for node in requested if isinstance(node, int)}

    def _requested(self, nodes: Iterable[Node], method: str) -> list[Node]:
        """Return nodes that a policy asked about, each once.

        Raises:
            InputError: a node that isn't in the graph.
        """
        requested: list[Node] = []
        for node in dict.fromkeys(nodes):
            if node not in self._graph:
                raise InputError(f"query.{method} was asked about the node {node!r}, which is not in the graph.")
            requested.append(node if isinstance(node, str) else int(node))  # NumPy's numbers, too
        return requested

    def search(self) -> dict[Node, float]:
        """See `Query.search`."""
        self.hits = {node: relevance for node, relevance in self._full_text() if relevance > 0}
        return {node: relevance for node, relevance in self.hits.items()}

    @property
    def tokens(self) -> int:
        """T."""
        return self._router.tokens(self.statement)

    @property
    def is_used(self) -> bool:
        """Tell whether anything was scored or compared."""
        return bool(self.nats or self.compared)

    def probabilities(self) -> tuple[dict[int, float], float | None]:
        """Return p of the segments scored or compared so far, and p(not there), which is None when none was."""
        return self._segment_p()

    def key_evidence(self) -> float | None:
        """Return what the key that is nearest to the statement adds to a segment's z, the highest of all segments.

        None where nothing was scored, or where keys don't count.
        """
        calibration = self._router.model.calibration
        if not self.is_used or not calibration.key:
            return None
        similarity = self._key_similarities()
        if similarity is None:
            return None
        nearest = max(similarity[node] for node in self._graph if isinstance(node, int))
        return evidence(0.0, nearest, self.tokens, calibration)

    def candidates(self, weights: Mapping[Node, Weight] | None = None) -> tuple[Candidate, ...]:
        """Return everything that was scored or compared, likeliest first, segments before chapters.

        Args:
            weights: what the policy gave the nodes.
        """
        rows: list[Candidate] = []
        for p_of in (self._segment_p()[0], self._chapter_p()):
            ranked: list[tuple[Node, float]] = sorted(p_of.items(), key=lambda item: -item[1])
            for rank, (node, p) in enumerate(ranked, 1):
                data = self._graph.nodes[node]
                rows.append(
                    Candidate(
                        rank=rank,
                        node=node,
                        start=data["start"],
                        end=data["end"],
                        sources=self._sources[node],
                        key=self._key_of(node),
                        nats=self.nats.get(node),
                        p=p,
                        weight=mean_weight((weights or {}).get(node, 0.0)),
                        evidence=self._evidence_of(node),
                        movie=data.get("movie", ""),
                    )
                )
        return tuple(rows)

    def trace(self, weights: Mapping[Node, Weight]) -> StatementTrace:
        """Return what was scored for the statement, with the weights that the policy made of it."""
        not_there = self.probabilities()[1]
        return StatementTrace(self.statement, self.tokens, self.population, not_there, self.candidates(weights))

    # ---- comparing by the selector

    def _compare(self, segments: Sequence[int]) -> None:
        """Compare the candidates among these segments, and the same with the excluded statement."""
        if len(segments) <= COMPARED:
            sources: dict[Node, tuple[str, ...]] = dict.fromkeys(segments, ("all",))
            chosen = list(segments)
        else:
            similarity = self._key_similarities()
            keys = [] if similarity is None else nsmallest(COMPARED, segments, key=lambda node: -similarity[node])
            choice = Choice(COMPARED, set(segments))
            chosen = candidates.choose_compared(choice, keys, [node for node, _ in self._full_text()])
            sources = {node: tuple(names) for node, names in choice.sources.items()}
        self.compared |= self._router.compare(self.statement, chosen, self._timer)
        self._sources = {**sources, **self._sources}
        if self.excluded is not None:
            self.excluded._compare(chosen)

    def _score_compared(self) -> None:
        """Score the likeliest of the compared segments exactly, as many as the question says."""
        count = min(self._budget.rescored, len(self.compared))
        left = count - sum(node in self.nats for node in self.compared)
        p = self._segment_p()[0]
        missing = [node for node in nlargest(count, p, key=p.__getitem__) if node not in self.nats][: max(0, left)]
        if missing:
            self.nats |= self._router.nats(self.statement, missing, self._timer)

    # ---- choosing what is scored

    def _score_new(self, nodes: Sequence[Node], limit: int | None) -> None:
        """Score those of the nodes that weren't yet, within the budget."""
        scored_before = len(self.nats)
        segments = [node for node in nodes if isinstance(node, int) and node not in self.nats]
        chapters = [node for node in nodes if isinstance(node, str) and node not in self.nats]
        room = self._budget.left if limit is None else min(limit, self._budget.left)
        reserved = 0 if self.excluded is None or not segments else min(len(segments), round(room * EXCLUDED_SHARE))
        room -= reserved
        if len(segments) + len(chapters) <= room:
            self._evaluate(dict.fromkeys([*segments, *chapters], ("all",)))
        else:
            half = room if limit is not None else room // 2 or room  # the chapters' members will be asked about next
            spent = self._score_chapters(chapters, room // 4 if segments else half)
            self._score_segments(segments, room - spent)
        if len(self.nats) > scored_before:
            self._score_best_exactly()
            if self.excluded is not None and reserved:
                p = self._segment_p()[0]
                best = nlargest(reserved, p, key=p.__getitem__)
                missing = [node for node in best if node not in self.excluded.nats]
                self.excluded._evaluate(dict.fromkeys(missing, ("excluded",)))

    def _score_segments(self, segments: Sequence[int], room: int) -> None:
        """Score the candidates among these segments, in rounds (`chunkv2l.routing.candidates`)."""
        if room < 1 or not segments:
            return
        similarity = self._key_similarities()
        keys: list[int] = [] if similarity is None else sorted(segments, key=lambda node: -similarity[node])
        words = [node for node, _ in self._full_text()]
        best_members: list[tuple[int, str]] = []
        if not keys and len(segments) >= candidates.CHAPTERS_FROM * room and (chapters := groups(self._graph)):
            each = max(1, round(room * candidates.CHAPTER_SHARE / 2))
            room -= self._score_chapters([chapter for chapter in chapters if chapter not in self.nats], each)
            best_members = candidates.rank_members(self._graph, self._chapter_p(), None)[:each]
        choice = Choice(room, set(segments))
        self._evaluate(dict.fromkeys(candidates.choose_first_round(choice, keys, words, best_members), ()))
        shares = WITH_KEYS if keys else WITHOUT_KEYS
        for rounds_left in range(shares.later_rounds, 0, -1):
            evenly = pick_evenly([node for node in segments if node not in self.nats], choice.left)
            fillers = [*number_sources(keys, "key"), *((node, "left over") for node in evenly)]
            new = candidates.choose_later_round(
                choice, self._graph, self._segment_p()[0], fillers, choice.left // rounds_left, shares
            )
            self._evaluate(dict.fromkeys(self._with_prospects(new), ()))
        self._sources |= {node: tuple(sources) for node, sources in choice.sources.items()}

    def _with_prospects(self, nodes: Sequence[int]) -> Sequence[int]:
        """Return those of the nodes that a good score could still make probable, by their keys; all without keys."""
        nats, calibration, similarity = self._segment_nats(), self._router.model.calibration, self._key_similarities()
        if not nats or not calibration.key or similarity is None:
            return nodes
        key_similarity = {node: similarity[node] for node in [*nats, *nodes]}
        highest = relative_maxima(nats, nodes, self.tokens, self.population, calibration, key_similarity)
        return [node for node in nodes if highest[node] >= MIN_PROSPECT]

    def _score_chapters(self, chapters: Sequence[str], room: int) -> int:
        """Score the best of these chapters, at most `room`; return their number."""
        source = "all"
        if len(chapters) > room:
            if self._key_similarities() is None:
                chapters, source = pick_evenly(chapters, room), "spread"
            else:
                chapters, source = sorted(chapters, key=lambda chapter: -(self._key_of(chapter) or 0.0))[:room], "key"
        self._evaluate(dict.fromkeys(chapters, (source,)))
        return len(chapters)

    def _key_similarities(self) -> list[float] | None:
        """Return every segment's key similarity, computed once; None where there are no keys."""
        if self._key_similarity is None:
            self._key_similarity = self._router.key_similarity(self.statement, self._timer)
        return self._key_similarity

    def _key_of(self, node: Node) -> float | None:
        """Return a segment's key similarity, or that of a chapter's nearest segment; None where no key was needed."""
        if self._key_similarity is None:
            return None
        inside = [node] if isinstance(node, int) else members(self._graph, node)
        return max(self._key_similarity[segment] for segment in inside)

    def _full_text(self) -> list[tuple[int, float]]:
        with self._timer("words"):
            return [(node, relevance) for node, relevance in self._search(self.statement) if node in self._graph]

    # ---- scores and probabilities

    def _evaluate(self, nodes: Mapping[Node, tuple[str, ...]]) -> None:
        """Score nodes, coarsely if the model can.

        Args:
            nodes: with their sources.
        """
        self._budget.spend(len(nodes))
        self.nats |= self._router.nats(self.statement, list(nodes), self._timer, coarse=True)
        self._sources |= nodes

    def _score_best_exactly(self) -> None:
        """Score the best nodes exactly; that costs nothing of the budget."""
        scored = {node: p for node, p in self._segment_p()[0].items() if node in self.nats}
        best: list[Node] = [*_best(scored), *_best(self._chapter_p())]
        self.nats |= self._router.nats(self.statement, best, self._timer)

    def _segment_nats(self) -> dict[int, float]:
        return {node: value for node, value in self.nats.items() if isinstance(node, int)}

    def _segment_p(self) -> tuple[dict[int, float], float | None]:
        z, beta = self._segment_z()
        return share_out(z, self.population, beta) if z else ({}, None)

    def _segment_z(self) -> tuple[dict[int, float], float]:
        """Return z of the segments, by the selector where it compared any, and the β that belongs to it."""
        if self.compared:
            z, beta = self._compared_z()
            against = {} if self.excluded is None else self.excluded._compared_z()[0]
        else:
            beta = self._router.model.calibration.beta
            z = self._scored_z(self._segment_nats())
            against = {} if self.excluded is None else self.excluded._scored_z(self.excluded._segment_nats())
        return {node: z[node] + (log_not_shown(against[node], beta) if node in against else 0.0) for node in z}, beta

    def _compared_z(self) -> tuple[dict[int, float], float]:
        """Return z of the compared segments, those that were scored pooled with the router's; and β."""
        router, form = self._router.model.calibration, self._router.model.selector_calibration.form
        similarity = self._key_similarities() if form.key else None
        keys = None if similarity is None else {node: similarity[node] for node in self.compared}
        z = evidences({node: value for node, (value, _) in self.compared.items()}, self.tokens, form, keys)
        scored = self._scored_z({node: value for node, value in self._segment_nats().items() if node in z})
        return z | {node: pool_evidence(z[node], form.beta, scored[node], router.beta) for node in scored}, form.beta

    def _chapter_p(self) -> dict[str, float]:
        nats = {node: value for node, value in self.nats.items() if isinstance(node, str)}
        beta = self._router.model.calibration.beta
        return share_out(self._scored_z(nats), len(self._graph) - self.segments, beta)[0] if nats else {}

    def _scored_z(self, nats: Mapping[AnyNode, float]) -> dict[AnyNode, float]:
        """Return z by the router's score and the keys."""
        calibration = self._router.model.calibration
        key_similarity = None
        if nats and calibration.key and self._key_similarities() is not None:
            key_similarity = {node: self._key_of(node) or 0.0 for node in nats}
        return evidences(nats, self.tokens, calibration, key_similarity)

    def _evidence_of(self, node: Node) -> float | None:
        compared = self.compared.get(node) if isinstance(node, int) else None
        return None if compared is None else compared.evidence


@contextmanager
def _blamed_here() -> Iterator[None]:
    """Say that scoring failed where a policy, which called it, would be blamed for it."""
    try:
        yield
    except ChunkV2LError:
        raise
    except Exception as error:
        raise ChunkV2LError(f"Scoring segments failed with {type(error).__name__}: {error}.") from error


def _best(p: Mapping[AnyNode, float]) -> list[AnyNode]:
    return nlargest(EXACT, p, key=p.__getitem__)
