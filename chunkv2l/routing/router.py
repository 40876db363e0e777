"""The router: how likely each segment's adapter makes a statement.

S_i = log p(t | scoring prompt; Δ_i + Δ_b) − log p(t | scoring prompt; Δ_b), in nats, for statement t, segment i and the
bias adapter Δ_b. Chapters are scored like segments, by codes of their own. Where the VLM has a coarse way to score,
both terms of a coarse S_i are computed that way, so that their common error cancels.

Where the model has a selector, the router has it compare statements with segments' codes, too, which takes no pass.

`chunkv2l.routing.probability` makes probabilities of scores; `chunkv2l.routing.scoring` decides which segments a
question scores.
"""

from __future__ import annotations

import math
from collections import ChainMap, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chunkv2l.adapter.inject import inject
from chunkv2l.errors import InputError
from chunkv2l.graph import Node
from chunkv2l.hypernet.compose import expand
from chunkv2l.routing.probability import AnyNode
from chunkv2l.routing.step_timer import StepTimer

if TYPE_CHECKING:
    from chunkv2l.hypernet.selector import Words
    from chunkv2l.models import Model
    from chunkv2l.models.base import TextScorer

STATEMENTS_KEPT: Final = 64
"""Statements whose scores are remembered: one number a segment for each."""
COMPARED_AT_ONCE: Final = 64
"""Codes that the selector compares at once."""
CPU_BYTES: Final = 256 << 20
GPU_BYTES: Final = 2 << 30
"""Bytes of expanded adapters at once while scoring, whatever the movie's length."""
CPU_ROWS: Final = 64
GPU_ROWS: Final = 256
"""Rows scored at once."""


class Compared(NamedTuple):
    """A segment's evidence for a statement, and the gates [L, r] of its rank slots."""

    evidence: float
    gates: NDArray[np.float32]


@dataclass
class _Scores:
    """Scores of a statement by one way of scoring.

    Attributes:
        precision: of the adapters.
        alone: log p under the bias alone; None until it is computed.
        nats: S − μ by node.
    """

    scorer: TextScorer
    precision: torch.dtype = torch.float32
    alone: float | None = None
    nats: dict[Node, float] = field(default_factory=dict)


@dataclass
class _Statement:
    """Values kept of a statement.

    Attributes:
        tokens: T.
        exact, coarse: scores; one and the same where the VLM has no coarse way.
        query: its query vector [K].
        words: its words' states.
        compared: what the selector made of segments.
    """

    tokens: int
    exact: _Scores
    coarse: _Scores
    query: Tensor | None = None
    words: Words | None = None
    compared: dict[int, Compared] = field(default_factory=dict)


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
            codes: segments and chapters -> their codes [n, L, r, d].
            mu: each segment's mean score in nats, or None where the model doesn't use it; one a segment.
            keys: reads all segments' keys [N, K], None where the index has none; called once, when needed.
        """
        self.model = model
        self._codes = codes
        self._mu = [value or 0.0 for value in mu]
        self._read_keys = keys
        self._keys: Tensor | None = None
        self._has_keys: bool | None = None if model.keys is not None else False
        self._lock = RLock()
        self._statements: OrderedDict[str, _Statement] = OrderedDict()

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
        """Return S_i − μ_i of segments and chapters (whose μ is 0), in as few batches as memory allows.

        Args:
            coarse: score the VLM's coarse way, if it has one; nodes whose exact score is known get that.

        Raises:
            InputError: a code whose score is no number.
        """
        timer = timer or StepTimer()
        with self._lock, torch.inference_mode():
            remembered = self._recall(statement)
            scores = remembered.coarse if coarse else remembered.exact
            known = ChainMap(remembered.exact.nats, scores.nats)
            missing: list[Node] = [node for node in dict.fromkeys(nodes) if node not in known]
            rows = self._rows()
            step = "score" if scores is remembered.exact else "score coarsely"
            for first in range(0, len(missing), rows):
                batch = missing[first : first + rows]
                alone, logs = self._log_p(statement, scores, batch, timer, step)
                for node, log_p in zip(batch, logs, strict=True):
                    if not math.isfinite(log_p):
                        name = f"segment {node}" if isinstance(node, int) else f"chapter {node}"
                        raise InputError(f"The code of {name} is damaged (it scores {log_p}): build with --force.")
                    scores.nats[node] = log_p - alone - (self._mu[node] if isinstance(node, int) else 0.0)
            return {node: known[node] for node in nodes}

    def compare(self, statement: str, nodes: Sequence[int], timer: StepTimer | None = None) -> dict[int, Compared]:
        """Return what the selector makes of segments' codes, without a pass of the model.

        Raises:
            InputError: the model has no selector, or a code's evidence is no number.
        """
        timer, selector = timer or StepTimer(), self.model.selector
        if selector is None or self.model.words is None:
            raise InputError(f"The model {self.model.name} has no selector: use --policy route.")
        with self._lock, torch.inference_mode():
            remembered = self._recall(statement)
            missing = [node for node in dict.fromkeys(nodes) if node not in remembered.compared]
            if missing and remembered.words is None:
                with timer("statement"):
                    remembered.words = self.model.words([statement])
            device = next(selector.parameters()).device
            for first in range(0, len(missing), COMPARED_AT_ONCE):
                batch = missing[first : first + COMPARED_AT_ONCE]
                with timer("codes"):
                    codes = self._codes(batch).to(device)
                with timer("compare"):
                    assert remembered.words is not None
                    evidence, gates = selector(remembered.words, codes)
                    rows = zip(batch, evidence[0].tolist(), gates[0].float().cpu().numpy(), strict=True)
                    remembered.compared |= {node: Compared(value, factors.copy()) for node, value, factors in rows}
            for node in missing:
                value, factors = remembered.compared[node]
                if not (math.isfinite(value) and bool(np.isfinite(factors).all())):
                    del remembered.compared[node]
                    raise InputError(
                        f"The code of segment {node} is damaged (it compares as {value}): build with --force."
                    )
            return {node: remembered.compared[node] for node in nodes}

    def key_similarity(self, statement: str, timer: StepTimer | None = None) -> list[float] | None:
        """Return the cosine of each segment's key and the statement's query vector; None where there are no keys.

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
            query = self._query_vector(statement, timer)
            with timer("keys"):
                if self._keys.shape != (len(self), query.shape[0]):
                    raise InputError(
                        f"The index has keys {list(self._keys.shape)} where the model's are [{len(self)}, "
                        f"{query.shape[0]}]: build with --force."
                    )
                cosines: list[float] = (self._keys @ query).tolist()
            return cosines

    def _recall(self, statement: str) -> _Statement:
        """Return what is remembered of a statement, and forget the statement that was used longest ago."""
        remembered = self._statements.get(statement)
        if remembered is None:
            vlm = self.model.vlm
            exact = _Scores(vlm)
            coarse = exact if vlm.coarse is None else _Scores(vlm.coarse, vlm.coarse.precision)
            remembered = self._statements[statement] = _Statement(vlm.count_tokens(statement), exact, coarse)
        self._statements.move_to_end(statement)
        while len(self._statements) > STATEMENTS_KEPT:
            self._statements.popitem(last=False)
        return remembered

    def _query_vector(self, statement: str, timer: StepTimer) -> Tensor:
        """Return the statement's query vector [K], on the CPU."""
        remembered, keys, sentences = self._recall(statement), self.model.keys, self.model.sentences
        assert keys is not None and sentences is not None
        if remembered.query is None:
            with timer("statement"):
                remembered.query = keys.of_sentences(sentences([statement]))[0].float().cpu()
        return remembered.query

    def _log_p(
        self, statement: str, scores: _Scores, nodes: Sequence[Node], timer: StepTimer, step: str
    ) -> tuple[float, list[float]]:
        """Return log p under the bias alone, and log p under each node's adapter and the bias.

        Where the former isn't known yet, an adapter of zeros is added to the batch: a row instead of a pass.
        """
        hypernet, scorer = self.model.hypernet, scores.scorer
        with timer("codes"):
            codes = self._codes(nodes)
        with timer("expand"):
            if scores.alone is None:
                codes = torch.cat([codes, codes.new_zeros(1, *codes.shape[1:])])
            adapters = expand(hypernet, codes, scores.precision)
        with timer(step), inject(scorer.targets, hypernet.bias):
            logs: list[float] = scorer.score([statement], adapters)[:, 0].tolist()
        if scores.alone is None:
            scores.alone = logs.pop()
        return scores.alone, logs

    def _rows(self) -> int:
        """Return the number of adapters that are scored at once."""
        bias = self.model.hypernet.bias
        row_bytes = 2 * (bias.A.nbytes + bias.B.nbytes)  # a segment's ranks, and what the pass over them holds
        on_cpu = self.model.vlm.device.type == "cpu"
        rows, max_bytes = (CPU_ROWS, CPU_BYTES) if on_cpu else (GPU_ROWS, GPU_BYTES)
        return max(1, min(rows, max_bytes // row_bytes))
