"""The router: how likely each segment's adapter makes a statement, and what that says about where it is true.

S_i = log p(t | scoring prompt; Δ_i + Δ_b) − log p(t | scoring prompt; Δ_b), in nats, for statement t, segment i and the
bias adapter Δ_b. `chunkv2l.routing.probability` makes probabilities of scores,
`chunkv2l.routing.scoring` decides which segments a question scores. Chapters are scored like segments, by codes
of their own. Where the VLM has a coarse way to score, both log p of a coarse S_i are its: what is off alike in both
cancels out.
"""

from __future__ import annotations

import math
from collections import ChainMap, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from chunkv2l.adapter.inject import inject
from chunkv2l.errors import InputError
from chunkv2l.graph import Node
from chunkv2l.hypernet.compose import expand
from chunkv2l.routing.probability import AnyNode, probabilities
from chunkv2l.routing.scoring import Scoring
from chunkv2l.routing.step_timer import StepTimer

if TYPE_CHECKING:
    from chunkv2l.models import Model
    from chunkv2l.models.base import TextScorer

__all__ = ["Router", "Scoring", "probabilities"]

STATEMENTS_KEPT = 64
"""Statements whose scores are remembered; a number a segment each."""
CPU_BYTES, GPU_BYTES = 256 << 20, 2 << 30
"""Expanded adapters held at once while scoring, whatever the movie's length."""
CPU_ROWS, GPU_ROWS = 64, 256
"""Rows scored at once."""


@dataclass
class _Scores:
    """A way of scoring, the precision of its adapters, and what it has found: log p under the bias alone, and S − μ by
    node."""

    scorer: TextScorer
    precision: torch.dtype = torch.float32
    alone: float | None = None
    nats: dict[Node, float] = field(default_factory=dict)


@dataclass
class _Known:
    """What is known of a statement: T, scores (`coarse` and `exact` are one where the VLM has no coarse way), its
    learned query [K]."""

    tokens: int
    exact: _Scores
    coarse: _Scores
    query: Tensor | None = None


class Router:
    """Scores of statements over one movie's segments, computed when first asked for and remembered."""

    def __init__(
        self,
        model: Model,
        codes: Callable[[Sequence[Node]], Tensor],
        mu: Sequence[float | None],
        keys: Callable[[], Tensor | None] = lambda: None,
    ) -> None:
        """
        Args:
            codes: segment numbers, or names of chapters, -> their codes, [n, L, r, d].
            mu: each segment's mean score in nats, or None where the model doesn't use it; one a segment.
            keys: reads all segments' learned keys [N, K], None where the index has none; called once, when needed.
        """
        self.model = model
        self._codes = codes
        self._mu = [value or 0.0 for value in mu]
        self._read_keys = keys
        self._keys: Tensor | None = None
        self._has_keys: bool | None = None if model.keys is not None else False
        self._lock = RLock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def __len__(self) -> int:
        """N."""
        return len(self._mu)

    def tokens(self, statement: str) -> int:
        """T."""
        with self._lock:
            return self._recall(statement).tokens

    def nats(
        self, statement: str, nodes: Sequence[AnyNode], timer: StepTimer | None = None, *, coarse: bool = False
    ) -> dict[AnyNode, float]:
        """S_i − μ_i of segments (numbers) and chapters ("g0" …, μ = 0), in as few batches as memory allows.

        Args:
            coarse: the VLM's coarse way will do, where it has one; what is known exactly is told exactly.

        Raises:
            InputError: a code that scores no number.
        """
        timer = timer or StepTimer()
        with self._lock, torch.inference_mode():
            known = self._recall(statement)
            new = known.coarse if coarse else known.exact
            told = ChainMap(known.exact.nats, new.nats)
            missing: list[Node] = [node for node in dict.fromkeys(nodes) if node not in told]
            rows = self._rows()
            for first in range(0, len(missing), rows):
                some = missing[first : first + rows]
                scores = self._score(statement, known, new, some, timer)
                assert new.alone is not None
                for node, score in zip(some, scores, strict=True):
                    if not math.isfinite(score):
                        what = f"segment {node}" if isinstance(node, int) else f"chapter {node}"
                        raise InputError(f"The code of {what} is damaged (it scores {score}): build with --force.")
                    new.nats[node] = score - new.alone - (self._mu[node] if isinstance(node, int) else 0.0)
            return {node: told[node] for node in nodes}

    def likeness(self, statement: str, timer: StepTimer | None = None) -> list[float] | None:
        """The cosine of each segment's learned key and the statement's; None where there are no keys.

        Raises:
            InputError: keys of another size than the model's.
        """
        timer = timer or StepTimer()
        with self._lock, torch.inference_mode():
            if self._has_keys is None:
                with timer("keys"):
                    self._keys = self._read_keys()
                self._has_keys = self._keys is not None
            if self._keys is None:
                return None
            query = self._query(statement, timer)
            with timer("keys"):
                if self._keys.shape != (len(self), query.shape[0]):
                    raise InputError(
                        f"The index has keys {list(self._keys.shape)} where the model's are [{len(self)}, "
                        f"{query.shape[0]}]: build with --force."
                    )
                found: list[float] = (self._keys @ query).tolist()
            return found

    # ---- within

    def _recall(self, statement: str) -> _Known:
        known = self._known.get(statement)
        if known is None:
            vlm = self.model.vlm
            exact = _Scores(vlm)
            coarse = exact if vlm.coarse is None else _Scores(vlm.coarse, vlm.coarse.precision)
            known = self._known[statement] = _Known(vlm.count_tokens(statement), exact, coarse)
        self._known.move_to_end(statement)
        while len(self._known) > STATEMENTS_KEPT:
            self._known.popitem(last=False)
        return known

    def _query(self, statement: str, timer: StepTimer) -> Tensor:
        """The statement's side of the keys [K]."""
        known, keys, sentences = self._recall(statement), self.model.keys, self.model.sentences
        assert keys is not None and sentences is not None
        if known.query is None:
            with timer("statement"):
                known.query = keys.of_sentences(sentences([statement]))[0].float().cpu()
        return known.query

    def _score(
        self, statement: str, known: _Known, new: _Scores, nodes: Sequence[Node], timer: StepTimer
    ) -> list[float]:
        """log p under each node's adapter and the bias, in the way of `new`. Where log p under the bias alone isn't
        known, an adapter of zeros in the same batch finds it: that costs a row instead of a pass."""
        hypernet, scorer = self.model.hypernet, new.scorer
        with timer("codes"):
            codes = self._codes(nodes)
        with timer("expand"):
            if new.alone is None:
                codes = torch.cat([codes, codes.new_zeros(1, *codes.shape[1:])])
            adapters = expand(hypernet, codes, new.precision)
        with timer("score" if new is known.exact else "score coarsely"), inject(scorer.targets, hypernet.bias):
            scores: list[float] = scorer.score([statement], adapters)[:, 0].tolist()
        if new.alone is None:
            new.alone = scores.pop()
        return scores

    def _rows(self) -> int:
        bias = self.model.hypernet.bias
        size = 2 * (bias.A.nbytes + bias.B.nbytes)  # a segment's ranks, and what the pass over them holds
        rows, most = (CPU_ROWS, CPU_BYTES) if self.model.vlm.device.type == "cpu" else (GPU_ROWS, GPU_BYTES)
        return max(1, min(rows, most // size))
