"""A question's scores, within its budget: what `Query.score`, `Query.search` and `Query.about` do. No torch here.

A score costs one of the budget, whether of a segment or of a chapter. Where more segments are asked about than the
budget allows, `chunkv2l.routing.candidates` chooses which are scored.

Where the model has a coarse way to score, candidates are scored coarsely first, then the best of them exactly. An
answer rests on exact scores; coarse ones only decide who may be among the best.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import nlargest
from typing import TYPE_CHECKING, Final

import networkx as nx

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.graph import Node, groups, members, pick_evenly
from chunkv2l.query.query import Query
from chunkv2l.routing import candidates
from chunkv2l.routing.candidates import WITH_KEYS, WITHOUT_KEYS, Choice, number_sources
from chunkv2l.routing.probability import AnyNode, evidence, probabilities, relative_maxima
from chunkv2l.routing.step_timer import StepTimer
from chunkv2l.routing.trace import Candidate, StatementTrace

if TYPE_CHECKING:
    from chunkv2l.query.parse import Kind
    from chunkv2l.query.relations import Relation
    from chunkv2l.routing.router import Router

Search = Callable[[str], Sequence[tuple[int, float]]]
"""A statement -> (segment, relevance) of full-text hits in the graph, best first."""

EXACT: Final = 6
"""Number of the best segments, and of the best chapters, that are scored exactly; `route` composes four."""
MIN_PROSPECT: Final = 0.02
"""A segment that can't become this probable, relative to the likeliest, isn't scored in a later round
(docs/measurements.md#pruned-candidates)."""


class Budget:
    """The number of scores that a question may cost, shared by all the statements that it looks for.

    Attributes:
        total: as the question has it; None for no limit.
        left: what is left of it.
    """

    def __init__(self, total: int | None) -> None:
        self.total = total
        self.left = sys.maxsize if total is None else total

    def spend(self, count: int) -> None:
        """Take so many scores off what is left."""
        self.left -= count


class Scoring:
    """The scores of one statement for one question.

    Attributes:
        statement: what is looked for.
        segments: N, the number of the graph's segments.
        nats: S − μ of every node that was scored so far.
        hits: {segment: relevance} that `search` returned; empty until it is called.
        others: the scores of other statements that the question looked for (`Query.about`).
    """

    def __init__(
        self,
        router: Router,
        statement: str,
        budget: Budget,
        search: Search,
        graph: nx.DiGraph,
        *,
        timer: StepTimer | None = None,
    ) -> None:
        """
        Args:
            graph: the segment graph, or the part of it that the question is about.
        """
        self._router, self._budget, self._search, self._graph = router, budget, search, graph
        self._timer = timer or StepTimer()
        self.statement = statement
        self.segments = sum(isinstance(node, int) for node in graph)
        self.nats: dict[Node, float] = {}
        self.hits: dict[int, float] = {}
        self.others: list[Scoring] = []
        self._sources: dict[Node, tuple[str, ...]] = {}
        self._key_similarity: list[float] | None = None

    def query(self, text: str, kind: Kind, relation: Relation | None = None) -> Query:
        """Return the question as a policy gets it, scored by this."""
        return Query(text, self.statement, kind, relation, budget=self._budget.total, scorer=self)

    def about(self, query: Query, statement: str) -> Query:
        """See `Query.about`."""
        other = Scoring(self._router, statement, self._budget, self._search, self._graph, timer=self._timer)
        self.others.append(other)
        return replace(query, statement=statement, relation=None, scorer=other)

    def score(self, nodes: Iterable[Node], limit: int | None = None) -> dict[Node, float]:
        """See `Query.score`."""
        requested: list[Node] = []
        for node in dict.fromkeys(nodes):
            if node not in self._graph:
                raise InputError(f"query.score was asked about the node {node!r}, which is not in the graph.")
            requested.append(node if isinstance(node, str) else int(node))  # NumPy's numbers, too
        if not self.statement:
            return {node: 1.0 / self.segments for node in requested}
        try:
            self._score_new(requested, limit)
        except ChunkV2LError:
            raise
        except Exception as error:  # a policy called this, and would be blamed for it
            raise ChunkV2LError(f"Scoring segments failed with {type(error).__name__}: {error}.") from error
        segment_p, chapter_p = self._segment_p()[0], self._chapter_p()
        return {
            node: segment_p.get(node, 0.0) if isinstance(node, int) else chapter_p.get(node, 0.0) for node in requested
        }

    def search(self) -> dict[Node, float]:
        """See `Query.search`."""
        self.hits = {node: relevance for node, relevance in self._full_text() if relevance > 0}
        return {node: relevance for node, relevance in self.hits.items()}

    @property
    def tokens(self) -> int:
        """T."""
        return self._router.tokens(self.statement)

    def probabilities(self) -> tuple[dict[int, float], float | None]:
        """Return p of the segments scored so far, and p(not there), which is None when none was."""
        return self._segment_p()

    def key_evidence(self) -> float | None:
        """Return what the key that is nearest to the statement adds to a segment's z, the highest of all segments.

        None where nothing was scored, or where keys don't count.
        """
        calibration = self._router.model.calibration
        if not self.nats or not calibration.key:
            return None
        similarity = self._key_similarities()
        if similarity is None:
            return None
        nearest = max(similarity[node] for node in self._graph if isinstance(node, int))
        return evidence(0.0, nearest, self.tokens, calibration)

    def candidates(self, weights: Mapping[Node, float] | None = None) -> tuple[Candidate, ...]:
        """Return everything that was scored, likeliest first, segments before chapters.

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
                        nats=self.nats[node],
                        p=p,
                        weight=(weights or {}).get(node, 0.0),
                    )
                )
        return tuple(rows)

    def trace(self, weights: Mapping[Node, float]) -> StatementTrace:
        """Return what was scored for the statement, with the weights that the policy made of it."""
        not_there = self.probabilities()[1]
        return StatementTrace(self.statement, self.tokens, self.segments, not_there, self.candidates(weights))

    # ---- choosing what is scored

    def _score_new(self, nodes: Sequence[Node], limit: int | None) -> None:
        """Score those of the nodes that weren't yet, within the budget."""
        scored_before = len(self.nats)
        segments = [node for node in nodes if isinstance(node, int) and node not in self.nats]
        chapters = [node for node in nodes if isinstance(node, str) and node not in self.nats]
        room = self._budget.left if limit is None else min(limit, self._budget.left)
        if len(segments) + len(chapters) <= room:
            self._evaluate(dict.fromkeys([*segments, *chapters], ("all",)))
        else:
            half = room if limit is not None else room // 2 or room  # the chapters' members will be asked about next
            spent = self._score_chapters(chapters, room // 4 if segments else half)
            self._score_segments(segments, room - spent)
        if len(self.nats) > scored_before:
            self._score_best_exactly()

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
        highest = relative_maxima(nats, nodes, self.tokens, self.segments, calibration, key_similarity)
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
        best: list[Node] = [*_best(self._segment_p()[0]), *_best(self._chapter_p())]
        self.nats |= self._router.nats(self.statement, best, self._timer)

    def _segment_nats(self) -> dict[int, float]:
        return {node: value for node, value in self.nats.items() if isinstance(node, int)}

    def _segment_p(self) -> tuple[dict[int, float], float | None]:
        nats = self._segment_nats()
        return self._probabilities(nats, self.segments) if nats else ({}, None)

    def _chapter_p(self) -> dict[str, float]:
        nats = {node: value for node, value in self.nats.items() if isinstance(node, str)}
        return self._probabilities(nats, len(self._graph) - self.segments)[0] if nats else {}

    def _probabilities(self, nats: Mapping[AnyNode, float], count: int) -> tuple[dict[AnyNode, float], float]:
        calibration = self._router.model.calibration
        key_similarity = None
        if calibration.key and self._key_similarities() is not None:
            key_similarity = {node: self._key_of(node) or 0.0 for node in nats}
        return probabilities(nats, self.tokens, count, calibration, key_similarity)


def _best(p: Mapping[AnyNode, float]) -> list[AnyNode]:
    return nlargest(EXACT, p, key=p.__getitem__)
