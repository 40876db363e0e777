"""The router: how likely each segment's adapter makes a statement, and what that says about where it is true.

For statement t (T tokens), segment i of N and the bias adapter Δ_b (DESIGN, "The router's score"):

    S_i = log p(t | scoring prompt; Δ_i + Δ_b) − log p(t | scoring prompt; Δ_b)        nats
    z_i = (S_i − μ_i) / (τ · T^γ)
    p_i = e^{z_i} / (N·e^β + Σ_j e^{z_j}),      p(not there) = N·e^β / (the same sum)

The sum runs over the segments that were scored; those that weren't have p = 0.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from chunkv2l.adapter import concat
from chunkv2l.compose import expand
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.policies import spread
from chunkv2l.query import Kind, Node, Query

if TYPE_CHECKING:
    from chunkv2l.models import Calibration, Model

STATEMENTS_KEPT = 64
"""Statements whose scores are remembered; a number a segment each."""
CPU_BYTES, GPU_BYTES = 256 << 20, 2 << 30
"""Expanded adapters held at once while scoring, whatever the movie's length."""
CPU_ROWS, GPU_ROWS = 64, 256
"""Rows scored at once."""


def probabilities(
    nats: Mapping[int, float], tokens: int, segments: int, calibration: Calibration
) -> tuple[dict[int, float], float]:
    """p of each scored segment, and p(not there).

    Args:
        nats: S_i − μ_i of each scored segment.
        tokens: T.
        segments: N, scored or not.
    """
    scale = calibration.tau * tokens**calibration.gamma
    z = {i: s / scale for i, s in nats.items()}
    absent = math.log(segments) + calibration.beta
    top = max([absent, *z.values()])
    e = {i: math.exp(value - top) for i, value in z.items()}
    total = math.exp(absent - top) + sum(e.values())
    return {i: value / total for i, value in e.items()}, math.exp(absent - top) / total


class Router:
    """Scores of statements over one movie's segments, computed when first asked for and remembered."""

    def __init__(self, model: Model, codes: Callable[[Sequence[int]], Tensor], mu: Sequence[float | None]) -> None:
        """
        Args:
            codes: segment numbers -> their codes, [n, L, r, d].
            mu: each segment's mean score in nats, or None where the model doesn't use it; one a segment.
        """
        self.model = model
        self._codes = codes
        self._mu = [value or 0.0 for value in mu]
        self._lock = RLock()
        self._known: OrderedDict[str, dict[int, float]] = OrderedDict()
        self._alone: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """N."""
        return len(self._mu)

    def nats(self, statement: str, segments: Sequence[int]) -> dict[int, float]:
        """S_i − μ_i of each segment. Memory stays flat: rows are expanded and scored a bounded number at a time."""
        with self._lock:
            return self._nats(statement, segments)

    def _nats(self, statement: str, segments: Sequence[int]) -> dict[int, float]:
        known = self._known.setdefault(statement, {})
        self._known.move_to_end(statement)
        while len(self._known) > STATEMENTS_KEPT:
            self._alone.pop(self._known.popitem(last=False)[0], None)
        missing = [i for i in dict.fromkeys(segments) if i not in known]
        if missing:
            if statement not in self._alone:
                with torch.inference_mode():
                    self._alone[statement] = float(self.model.vlm.score([statement], self.model.hypernet.bias)[0, 0])
            alone = self._alone[statement]
            rows = self._rows()
            for first in range(0, len(missing), rows):
                some = missing[first : first + rows]
                for i, score in zip(some, self._score(statement, some), strict=True):
                    if not math.isfinite(score):
                        raise InputError(f"The code of segment {i} is damaged (it scores {score}): build with --force.")
                    known[i] = score - alone - self._mu[i]
        return {i: known[i] for i in segments}

    def _score(self, statement: str, segments: Sequence[int]) -> list[float]:
        with torch.inference_mode():
            hypernet = self.model.hypernet
            adapters = concat([expand(hypernet, self._codes(segments))], bias=hypernet.bias)
            scores: list[float] = self.model.vlm.score([statement], adapters)[:, 0].tolist()
        return scores

    def _rows(self) -> int:
        bias = self.model.hypernet.bias
        size = 2 * (bias.A.nbytes + bias.B.nbytes)  # a segment's ranks and the bias's
        rows, most = (CPU_ROWS, CPU_BYTES) if self.model.vlm.device.type == "cpu" else (GPU_ROWS, GPU_BYTES)
        return max(1, min(rows, most // size))


class Scoring:
    """One question's scores: what `Query.score` and `Query.search` do, within the question's budget."""

    def __init__(
        self,
        router: Router,
        statement: str,
        budget: int | None,
        search: Callable[[str], Sequence[tuple[int, float]]],
        known: Iterable[Node],
    ) -> None:
        """
        Args:
            budget: segments that may be scored for this question; None for all.
            search: full-text search over the index, (segment, relevance) best first.
            known: the graph's nodes.
        """
        self._router, self._statement, self._search, self._budget = router, statement, search, budget
        self._left = len(router) if budget is None else budget
        self._nodes = set(known)
        self.nats: dict[int, float] = {}
        """S_i − μ_i of the segments scored so far."""
        self.hits: dict[Node, float] = {}
        """What `search` found, if it was asked."""

    def query(self, text: str, kind: Kind) -> Query:
        """The question as a policy gets it, scored by this."""
        return Query(text, self._statement, kind, budget=self._budget, scorer=self)

    def score(self, nodes: Iterable[Node]) -> dict[Node, float]:
        """See `Query.score`."""
        wanted = list(dict.fromkeys(nodes))
        for node in wanted:
            if node not in self._nodes:
                raise InputError(f"query.score was asked about the node {node!r}, which is not in the graph.")
        if not self._statement:
            return {node: 1.0 / len(self._router) for node in wanted}
        new = self._candidates([int(node) for node in wanted if isinstance(node, int) and node not in self.nats])
        self._left -= len(new)
        try:
            self.nats.update(self._router.nats(self._statement, new))
        except ChunkV2LError:
            raise
        except Exception as error:  # not the policy's fault, which is where this would come out
            raise ChunkV2LError(f"Scoring segments failed with {type(error).__name__}: {error}.") from error
        p, _ = self.probabilities()
        return {node: p.get(node, 0.0) for node in wanted}

    def search(self) -> dict[Node, float]:
        """See `Query.search`."""
        self.hits = {segment: relevance for segment, relevance in self._search(self._statement) if relevance > 0}
        return self.hits

    def probabilities(self) -> tuple[dict[Node, float], float | None]:
        """p of the segments scored so far and p(not there); None when none was."""
        if not self.nats:
            return {}, None
        tokens = self._router.model.vlm.count_tokens(self._statement)
        p, absent = probabilities(self.nats, tokens, len(self._router), self._router.model.calibration)
        return {node: value for node, value in p.items()}, absent

    def _candidates(self, segments: list[int]) -> list[int]:
        """Those to score exactly: all, or full-text hits (at most half the budget) and an even spread."""
        if len(segments) <= self._left:
            return segments
        wanted = set(segments)
        hits = [i for i, _ in self._search(self._statement) if i in wanted][: self._left // 2]
        rest = sorted(wanted.difference(hits))
        return sorted([*hits, *spread(rest, self._left - len(hits))])
