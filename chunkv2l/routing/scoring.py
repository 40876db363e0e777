"""One question's scores, within its budget: what `Query.score`, `Query.search` and `Query.about` do. No torch here.

A score costs one of the budget, whether of a segment or of a chapter. Where more segments are asked about than the
budget allows, `chunkv2l.routing.candidates` says which are scored.

Where the model has a coarse way to score, candidates are scored that way first, and then those that come out best once
more, exactly: what a question is answered with is exact, what decides who may be among the best need not be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from typing import TYPE_CHECKING, Final

import networkx as nx

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.graph import Node, members, pick_evenly
from chunkv2l.query.query import Query
from chunkv2l.routing import candidates
from chunkv2l.routing.candidates import Choice, named
from chunkv2l.routing.probability import AnyNode, ceilings, probabilities
from chunkv2l.routing.step_timer import StepTimer

if TYPE_CHECKING:
    from chunkv2l.query.parse import Kind
    from chunkv2l.query.relations import Relation
    from chunkv2l.routing.router import Router

Search = Callable[[str], Sequence[tuple[int, float]]]

EXACT: Final = 6
"""Best segments, and best chapters, that are scored exactly; `route` composes four."""
FAINT: Final = 0.02
"""Least probability, relative to the likeliest, that a candidate of the second round must be able to reach to be scored
(docs/measurements.md#pruned-candidates)."""


class Budget:
    """How many scores a question has left, shared by all the statements that it scores."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, count: int) -> None:
        self.left -= count


@dataclass(frozen=True)
class Scored:
    """What is known of one candidate.

    Attributes:
        sources: why it was scored: "all", "key 3", "words 1", "after 17", "like 4", "in g2", "spread", "left over".
        likeness: of its learned key; None where there are no keys.
        nats: S − μ.
        p: its probability; of a chapter, among chapters.
    """

    node: Node
    sources: tuple[str, ...]
    likeness: float | None
    nats: float
    p: float


class Scoring:
    """The scores of one statement for one question."""

    def __init__(
        self,
        router: Router,
        statement: str,
        budget: int | None,
        search: Search,
        graph: nx.DiGraph,
        *,
        timer: StepTimer | None = None,
        left: Budget | None = None,
    ) -> None:
        """
        Args:
            budget: scores that the question may cost; None for as many as it has segments and chapters.
            search: full-text search over the index, (segment, relevance) best first.
            graph: the segment graph, or the part of it that the question is about: N counts its segments.
            left: shared with other statements of the question; a new one if None.
        """
        self._router, self.statement, self._search, self._budget, self._graph = router, statement, search, budget, graph
        self._timer = timer or StepTimer()
        self._left = left or Budget(len(graph) if budget is None else budget)
        self.segments = sum(isinstance(node, int) for node in graph)
        """N."""
        self.nats: dict[Node, float] = {}
        """S − μ of what was scored so far."""
        self.hits: dict[int, float] = {}
        """What `search` found, if it was asked."""
        self.others: list[Scoring] = []
        """Scores of other statements that the question looked for (`Query.about`)."""
        self._sources: dict[Node, tuple[str, ...]] = {}
        self._likeness: list[float] | None = None

    def query(self, text: str, kind: Kind, relation: Relation | None = None) -> Query:
        """The question as a policy gets it, scored by this."""
        return Query(text, self.statement, kind, relation, budget=self._budget, scorer=self)

    def about(self, query: Query, statement: str) -> Query:
        """See `Query.about`."""
        other = Scoring(
            self._router,
            statement,
            self._budget,
            self._search,
            self._graph,
            timer=self._timer,
            left=self._left,
        )
        self.others.append(other)
        return replace(query, statement=statement, relation=None, scorer=other)

    def score(self, nodes: Iterable[Node], limit: int | None = None) -> dict[Node, float]:
        """See `Query.score`."""
        asked = list(dict.fromkeys(nodes))
        for node in asked:
            if node not in self._graph:
                raise InputError(f"query.score was asked about the node {node!r}, which is not in the graph.")
        wanted: list[Node] = [node if isinstance(node, str) else int(node) for node in asked]  # NumPy's numbers too
        if not self.statement:
            return {node: 1.0 / self.segments for node in wanted}
        segments = [int(node) for node in wanted if isinstance(node, int) and node not in self.nats]
        chapters = [node for node in wanted if isinstance(node, str) and node not in self.nats]
        known = len(self.nats)
        room = self._left.left if limit is None else min(limit, self._left.left)
        try:
            if len(segments) + len(chapters) <= room:
                self._evaluate(dict.fromkeys([*segments, *chapters], ("all",)))
            else:
                half = room if limit is not None else room // 2 or room  # their members will be asked about next
                spent = self._chapters(chapters, room // 4 if segments else half)
                self._segments(segments, room - spent)
            if len(self.nats) > known:
                self._settle()
        except ChunkV2LError:
            raise
        except Exception as error:  # not the policy's fault, which is where this would come out
            raise ChunkV2LError(f"Scoring segments failed with {type(error).__name__}: {error}.") from error
        p, of_chapters = self._segment_p()[0], self._chapter_p()
        return {node: p.get(node, 0.0) if isinstance(node, int) else of_chapters.get(node, 0.0) for node in wanted}

    def search(self) -> dict[Node, float]:
        """See `Query.search`."""
        self.hits = {node: relevance for node, relevance in self._words() if relevance > 0}
        return {node: relevance for node, relevance in self.hits.items()}

    @property
    def tokens(self) -> int:
        """T."""
        return self._router.tokens(self.statement)

    def probabilities(self) -> tuple[dict[int, float], float | None]:
        """p of the segments scored so far and p(not there); None when none was."""
        return self._segment_p()

    def candidates(self) -> list[Scored]:
        """Everything that was scored, likeliest first, segments before chapters."""
        found: list[tuple[Node, float]] = sorted(self._segment_p()[0].items(), key=lambda item: -item[1])
        found += sorted(self._chapter_p().items(), key=lambda item: -item[1])
        return [Scored(node, self._sources[node], self._key_of(node), self.nats[node], p) for node, p in found]

    def _key_of(self, node: AnyNode) -> float | None:
        """The likeness of a segment's key, of a chapter its likeliest segment's; None where keys weren't looked at."""
        if self._likeness is None:
            return None
        return max(self._likeness[i] for i in ([node] if isinstance(node, int) else members(self._graph, node)))

    # ---- choosing

    def _segments(self, wanted: Sequence[int], room: int) -> None:
        """Score the candidates among these segments, in looks (`chunkv2l.routing.candidates`)."""
        if room < 1 or not wanted:
            return
        likeness = self._look_at_keys()
        keys: list[int] = [] if likeness is None else sorted(wanted, key=lambda node: -likeness[node])
        words = [node for node, _ in self._words()]
        members: list[tuple[int, str]] = []
        groups = [node for node in self._graph if isinstance(node, str)]
        if not keys and groups and len(wanted) >= candidates.LONG * room:
            each = max(1, round(room * candidates.BY_CHAPTERS / 2))
            room -= self._chapters([group for group in groups if group not in self.nats], each)
            members = candidates.best_members(self._graph, self._chapter_p(), None)[:each]
        choice = Choice(room, set(wanted))
        self._evaluate(dict.fromkeys(candidates.first_look(choice, keys, words, members), ()))
        for rounds in range(candidates.ROUNDS[bool(keys)], 0, -1):
            rest = [*named(keys, "key"), *((node, "left over") for node in self._evenly(wanted, choice.left))]
            most = choice.left // rounds
            new = candidates.second_look(choice, self._graph, self._segment_p()[0], rest, most, bool(keys))
            self._evaluate(dict.fromkeys(self._promising(new), ()))
        self._sources |= {node: tuple(sources) for node, sources in choice.sources.items()}

    def _promising(self, nodes: Sequence[int]) -> Sequence[int]:
        """Those of them that scoring could still make matter, by their keys; all where keys don't count."""
        nats, calibration, likeness = self._segment_nats(), self._router.model.calibration, self._look_at_keys()
        if not nats or not calibration.key or likeness is None:
            return nodes
        known = {node: likeness[node] for node in [*nats, *nodes]}
        most = ceilings(nats, nodes, self.tokens, self.segments, calibration, known)
        return [node for node in nodes if most[node] >= FAINT]

    def _evenly(self, wanted: Sequence[int], count: int) -> list[int]:
        return pick_evenly([node for node in wanted if node not in self.nats], count)

    def _chapters(self, wanted: Sequence[str], room: int) -> int:
        """Score the best of these chapters, at most `room`; how many that were."""
        source = "all"
        if len(wanted) > room:
            if self._look_at_keys() is None:
                wanted, source = pick_evenly(wanted, room), "spread"
            else:
                wanted, source = sorted(wanted, key=lambda group: -(self._key_of(group) or 0.0))[:room], "key"
        self._evaluate(dict.fromkeys(wanted, (source,)))
        return len(wanted)

    def _look_at_keys(self) -> list[float] | None:
        """The likeness of every segment's key, looked up once; None where there are none."""
        if self._likeness is None:
            self._likeness = self._router.likeness(self.statement, self._timer)
        return self._likeness

    def _words(self) -> list[tuple[int, float]]:
        with self._timer("words"):
            return [(node, relevance) for node, relevance in self._search(self.statement) if node in self._graph]

    # ---- scores

    def _evaluate(self, nodes: Mapping[Node, tuple[str, ...]]) -> None:
        self._left.spend(len(nodes))
        self.nats |= self._router.nats(self.statement, list(nodes), self._timer, coarse=True)
        self._sources |= nodes

    def _settle(self) -> None:
        """Score what came out best exactly; that costs nothing of the budget."""
        best: list[Node] = [*_best(self._segment_p()[0]), *_best(self._chapter_p())]
        self.nats |= self._router.nats(self.statement, best, self._timer)

    def _segment_nats(self) -> dict[int, float]:
        return {node: value for node, value in self.nats.items() if isinstance(node, int)}

    def _chapter_nats(self) -> dict[str, float]:
        return {node: value for node, value in self.nats.items() if isinstance(node, str)}

    def _segment_p(self) -> tuple[dict[int, float], float | None]:
        """p of the scored segments, and p(not there); None when none was."""
        nats = self._segment_nats()
        if not nats:
            return {}, None
        return self._shared_out(nats, self.segments)

    def _chapter_p(self) -> dict[str, float]:
        nats = self._chapter_nats()
        return self._shared_out(nats, len(self._graph) - self.segments)[0] if nats else {}

    def _shared_out(self, nats: Mapping[AnyNode, float], count: int) -> tuple[dict[AnyNode, float], float]:
        calibration = self._router.model.calibration
        likeness = None
        if calibration.key and self._look_at_keys() is not None:
            likeness = {node: self._key_of(node) or 0.0 for node in nats}
        return probabilities(nats, self.tokens, count, calibration, likeness)


def _best(p: Mapping[AnyNode, float]) -> list[AnyNode]:
    return nlargest(EXACT, p, key=p.__getitem__)
