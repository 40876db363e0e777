"""The query that a policy gets: a parsed question with ways to score segments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from chunkv2l.defaults import AUTO_BUDGET, BUDGET
from chunkv2l.errors import InputError
from chunkv2l.graph import Node
from chunkv2l.query.parse import Kind
from chunkv2l.query.relations import Relation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


BudgetChoice: TypeAlias = int | Literal["all", "auto"] | None
"""A budget as a question is asked with it; see `parse_budget`."""


class Limits(NamedTuple):
    """The numbers of segments that a question may cost, None for all.

    Attributes:
        scored: that the router may score.
        rescored: of those that the selector compares, that the router may score once more.
    """

    scored: int | None = BUDGET
    rescored: int | None = 0


def parse_budget(budget: int | str | None) -> Limits:
    """Return how many segments may be scored for one question.

    Args:
        budget: a number, or "all" or None; "auto" lets the router score 48, and none that the selector compares.

    Raises:
        InputError: none of these, or a number below 1.
    """
    if budget == AUTO_BUDGET:
        return Limits()
    if budget is None or budget == "all":
        return Limits(None, None)
    if not isinstance(budget, int) or budget < 1:
        raise InputError(f'The budget must be "all" or a number of segments from 1 on, not {budget!r}.')
    return Limits(budget, budget)


class Selected(NamedTuple):
    """Hold what the selector makes of a segment.

    Attributes:
        p: the probability that it shows the statement.
        evidence: how well its rank slots answer to the statement, in the scale of logits before calibration.
        gates: the factor of each of its rank slots, [L, r]; 1 leaves a rank as it is.
    """

    p: float
    evidence: float
    gates: NDArray[np.float32]


class Scorer(Protocol):
    """Scores and full-text hits for a `Query`, as `ask` provides them."""

    def score(self, nodes: Iterable[Node], limit: int | None = None) -> Mapping[Node, float]: ...

    def select(self, nodes: Iterable[Node]) -> Mapping[int, Selected]: ...

    def find(self, nodes: Iterable[Node], limit: int | None = None) -> Mapping[Node, float]: ...

    def search(self) -> Mapping[Node, float]: ...

    def about(self, query: Query, statement: str) -> Query: ...


@dataclass(frozen=True)
class Query:
    """A question on its way through a policy. Policies read it; they can't change it."""

    text: str
    """The question as it was asked."""
    statement: str
    """The statement that the router scores; "" when the question names nothing to look for."""
    kind: Kind
    """"when" and "statement" ask for spans of time, the others for text."""
    relation: Relation | None = None
    """Order in time, None where the question names none; `statement` is then the anchor's."""
    budget: int | None = BUDGET
    """Segments that may be scored for this question; None for all."""
    excluded: str = ""
    """The statement that is not to be shown ("a dog, but not a ball"); "" where the question names none. Probabilities
    account for it already."""
    selects: bool = False
    """Tells whether the model has a selector, which `select` needs."""
    scorer: Scorer | None = field(default=None, repr=False, compare=False)

    def score(self, nodes: Iterable[Node], limit: int | None = None) -> dict[Node, float]:
        """Return p of each node, in [0, 1]: the probability that it shows the statement (docs/algorithm.md, step 23).

        Probabilities are shared out among all segments scored for this question and "not there", so that they sum to at
        most 1; asking for more nodes later scores only the new ones and shares anew. At most `budget` nodes are scored:
        of more than that, the likeliest (`chunkv2l.routing.candidates`), and the rest count as 0. Chapters ("g0" …) are
        scored by codes of their own, which costs as much; their probabilities are shared out among chapters. Without a
        statement every node gets 1/n: there is nothing to tell them apart by.

        Args:
            limit: so much of the budget at most, to leave some for later.

        Raises:
            InputError: a node that isn't in the graph.
        """
        return dict(self._scorer.score(nodes) if limit is None else self._scorer.score(nodes, limit))

    def select(self, nodes: Iterable[Node]) -> dict[int, Selected]:
        """Return what the selector makes of segments, likeliest first, without a pass (docs/algorithm.md, step 24).

        Of more than 64 nodes only the nearest by key and by words are compared, and only these are returned; chapters
        never are. Probabilities are shared out as `score` does, among all segments compared for this question.

        Raises:
            InputError: a node that isn't in the graph, or a model that has no selector.
        """
        return dict(self._scorer.select(nodes))

    def find(self, nodes: Iterable[Node], limit: int | None = None) -> dict[Node, float]:
        """Return p of each node from the selector where the model has one, else as `score` does.

        Nodes that the selector doesn't compare count as 0; where there are chapters among the nodes, all are scored.

        Args:
            limit: as for `score`.

        Raises:
            InputError: a node that isn't in the graph.
        """
        return dict(self._scorer.find(nodes, limit))

    def search(self) -> dict[Node, float]:
        """Return the segments whose captions or subtitles share words with the statement: {node: relevance > 0}."""
        return dict(self._scorer.search())

    def about(self, statement: str) -> Query:
        """Return the same question, looking for another statement, scored from what is left of the budget."""
        return self._scorer.about(self, statement)

    @property
    def _scorer(self) -> Scorer:
        if self.scorer is None:
            raise RuntimeError("this Query was made without a scorer: only chunkv2l.open(…).ask() hands one in")
        return self.scorer
