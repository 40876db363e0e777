"""Take a language model apart, and compute log-likelihoods of text under per-row adapters.

`greedy.py` generates. Plain functions over a Llama-like decoder, so that a new family gets them by naming its parts.
Prompts are token ids or, where pictures are in them, embeddings. Rows are padded on the right, so a row's numbers don't
depend on its neighbours; log-softmax is in float32 and computed only where a label is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.adapter.inject import inject
from chunkv2l.models.text.cuda_graphs import Graphs, cache_name

Prompt = Sequence[int] | Tensor
"""Token ids, or embeddings [S, D]."""

GRAPHS = "CHUNKV2L_CUDA_GRAPHS"
"""The environment variable that, set to 0, keeps passes on a GPU from being CUDA graphs."""
MAX_ROWS = 64
MAX_TOKENS = 8192
"""A batch holds at most this many tokens, padding included (a single longer row goes alone)."""
_LOGIT_ROWS = 1024
_SOFTMAX_ROWS = 32
"""Rows of logits that a CPU normalises at a time, so that intermediate results stay in its caches
(docs/measurements.md#softmax-in-pieces)."""


@dataclass(frozen=True)
class TextDecoder:
    """A frozen causal language model in parts.

    Attributes:
        model: transformers' text model (`LlamaModel` or alike): `embed_tokens`, `layers[i].mlp.down_proj`.
        head: hidden [..., D] -> logits [..., V].
        end_ids: tokens that end a turn.
        use_graphs: whether short passes on a GPU may be CUDA graphs.
    """

    model: nn.Module
    head: nn.Module
    end_ids: frozenset[int]
    use_graphs: bool = True

    @property
    def targets(self) -> tuple[nn.Module, ...]:
        """Return the `down_proj` of every block, in order."""
        layers: Any = self.model.layers
        return tuple(layer.mlp.down_proj for layer in layers)

    @property
    def device(self) -> torch.device:
        """Return the device of the model's weights."""
        return next(self.model.parameters()).device

    @property
    def precision(self) -> torch.dtype:
        """Return the precision of the model's weights."""
        return next(self.model.parameters()).dtype

    @property
    def max_tokens(self) -> int:
        """Return how many tokens, prompt and answer, the model's positions reach."""
        config: Any = self.model.config
        return int(config.max_position_embeddings)

    def embed(self, prompt: Prompt) -> Tensor:
        """Return the prompt's embeddings [S, D]; those that are embedded pass unchanged."""
        if isinstance(prompt, Tensor):
            return prompt
        return self.embed_ids(torch.tensor(list(prompt), dtype=torch.long, device=self.device))

    def embed_ids(self, ids: Tensor) -> Tensor:
        """Return the embeddings [..., D] of token ids [...]."""
        table: Any = self.model.embed_tokens
        embedded: Tensor = table(ids)
        return embedded

    @cached_property
    def graphs(self) -> Graphs | None:
        """Return the graphs that make short passes faster: None on a CPU, without `use_graphs`, or by `GRAPHS`=0."""
        enabled = self.use_graphs and self.device.type == "cuda" and os.environ.get(GRAPHS) != "0"
        return Graphs(self) if enabled else None

    def states(self, embeds: Tensor, mask: Tensor, adapter: Adapter | None) -> Tensor:
        """Return the normed output [B, S, D] of right-padded rows under an adapter, or one each (see `inject`).

        Args:
            embeds: [B, S, D].
            mask: [B, S], 1 where a row is real; elsewhere the output means nothing.
        """
        if self.graphs is not None and not torch.is_grad_enabled():
            replayed = self.graphs.states(embeds, adapter)
            if replayed is not None:
                return replayed
        with inject(self.targets, adapter):
            out: Tensor = self.run(embeds, mask).last_hidden_state
        return out

    def run(self, embeds: Tensor, mask: Tensor, cache: Any = None, position_ids: Tensor | None = None) -> Any:
        """Return the text model's output, adding to `cache`: embeds [B, S, D], mask [B, tokens in the cache + S]."""
        if cache is None:
            return self.model(inputs_embeds=embeds, attention_mask=mask, use_cache=False)
        named = {cache_name(type(self.model)): cache}
        return self.model(inputs_embeds=embeds, attention_mask=mask, position_ids=position_ids, use_cache=True, **named)

    def new_cache(self) -> Any:
        """Return an empty key-value cache for `run`."""
        from chunkv2l.models.text.llama import KeyValueCache, Llama

        if isinstance(self.model, Llama):
            return KeyValueCache()
        from transformers import DynamicCache

        return DynamicCache()


def pad(rows: Sequence[Tensor], side: str = "right") -> tuple[Tensor, Tensor]:
    """Pad rows [..., S_i, D] with zeros: [B, ..., S, D], and a mask [B, S] int64, 1 where a row is real."""
    longest = max(row.shape[-2] for row in rows)
    out = rows[0].new_zeros(len(rows), *rows[0].shape[:-2], longest, rows[0].shape[-1])
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for index, row in enumerate(rows):
        length = row.shape[-2]
        span = slice(0, length) if side == "right" else slice(longest - length, longest)
        out[index, ..., span, :] = row
        mask[index, span] = 1
    return out, mask.to(out.device)


def stacked(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Pad rows on the right; no mask where all rows are of one length and nothing is padded."""
    if len({row.shape[-2] for row in rows}) == 1:
        return torch.stack(list(rows)), None
    return pad(rows)


def is_stack(adapter: Adapter | None) -> bool:
    """Return whether an adapter is a stack of several."""
    return adapter is not None and len(adapter.leading) > 0


def select_rows(adapter: Adapter | None, rows: slice | Tensor, device: torch.device) -> Adapter | None:
    """Return those adapters of a stack, on the model's device; None and one for all pass."""
    if adapter is None:
        return None
    return (adapter[rows] if is_stack(adapter) else adapter).to(device)


# --- likelihood ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """Padded rows, and the positions in them at which the labels are predicted."""

    embeds: Tensor  # [B, S, D]
    mask: Tensor  # [B, S]
    places: Tensor  # [M] indices into the B·S states, row by row
    labels: Tensor  # [M]
    slots: Tensor  # [M] indices into [B, width]: where each label's value belongs
    width: int  # the most labels that a row has

    def repeat(self, times: int) -> _Rows:
        """Return all rows, `times` times over."""
        if times == 1:
            return self
        rows, length = self.mask.shape
        copy = torch.arange(times, device=self.places.device)[:, None]
        return _Rows(
            self.embeds.repeat(times, 1, 1),
            self.mask.repeat(times, 1),
            (copy * rows * length + self.places).reshape(-1),
            self.labels.repeat(times),
            (copy * rows * self.width + self.slots).reshape(-1),
            self.width,
        )


def _lay_out(decoder: TextDecoder, prompts: Sequence[Prompt], targets: Sequence[Sequence[int]]) -> _Rows:
    """Lay out prompts and targets as padded rows."""
    # The last label is predicted from the state before it, so it needn't go in.
    heads = [decoder.embed(prompt) for prompt in prompts]
    tails = [decoder.embed(list(target[:-1])) for target in targets]
    embeds, mask = pad([torch.cat(pair) for pair in zip(heads, tails, strict=True)])
    length = embeds.shape[1]
    width = max(len(target) for target in targets)
    places, labels, slots = [], [], []
    for row, (head, target) in enumerate(zip(heads, targets, strict=True)):
        start = row * length + head.shape[0] - 1
        places += list(range(start, start + len(target)))
        labels += list(target)
        slots += list(range(row * width, row * width + len(target)))
    at, ids, to = (torch.tensor(item, dtype=torch.long, device=embeds.device) for item in (places, labels, slots))
    return _Rows(embeds, mask, at, ids, to, width)


def _evaluate(decoder: TextDecoder, rows: _Rows, adapter: Adapter | None) -> Tensor:
    """Return the summed log-probabilities of each row's labels, float32 [B]."""
    if not rows.width:
        return rows.embeds.new_zeros(len(rows.embeds), dtype=torch.float32)
    hidden = decoder.states(rows.embeds, rows.mask, adapter)
    values: list[Tensor] = []
    for start in range(0, len(rows.labels), _LOGIT_ROWS):
        places, labels = (item[start : start + _LOGIT_ROWS] for item in (rows.places, rows.labels))
        values += _log_p(decoder.head(hidden.flatten(0, 1)[places]), labels)
    # Placed, then summed: an index_add's order, so its rounding, isn't the same twice on a GPU.
    table = hidden.new_zeros(rows.mask.shape[0] * rows.width, dtype=torch.float32)
    return table.index_copy(0, rows.slots, torch.cat(values)).view(-1, rows.width).sum(1)


def _log_p(logits: Tensor, labels: Tensor) -> Iterator[Tensor]:
    """Yield log p of each label [M] by its row of logits [M, V], in float32, a few rows at a time."""
    step = _SOFTMAX_ROWS if logits.device.type == "cpu" else len(labels)
    for start in range(0, len(labels), step):
        rows, targets = logits[start : start + step].float(), labels[start : start + step]
        yield rows.gather(-1, targets[:, None])[:, 0] - rows.logsumexp(-1)


def log_likelihood(
    decoder: TextDecoder, prompts: Sequence[Prompt], targets: Sequence[Sequence[int]], adapter: Adapter | None = None
) -> Tensor:
    """Return log p(target | prompt) of each row, summed over the target's tokens, in nats: float32 [rows].

    Differentiable where gradients are on. All rows go through as one batch; `score` bounds it.

    Args:
        adapter: none, one for all rows, or a stack of n, each for rows / n consecutive rows.
    """
    return _evaluate(decoder, _lay_out(decoder, prompts, targets), adapter)


@torch.no_grad()
def score(
    decoder: TextDecoder,
    prompt: Prompt,
    statements: Sequence[Sequence[int]],
    adapter: Adapter | None = None,
    *,
    max_rows: int = MAX_ROWS,
    max_tokens: int = MAX_TOKENS,
) -> Tensor:
    """Return log p(statement | prompt) under each adapter, in nats, float32 [N, T]; N is 1 for none or one.

    Args:
        statements: T target token sequences, as they follow the prompt; an empty one scores 0.
        adapter: none, one (A [L, R, I]), or N of them (A [N, L, R, I]).
    """
    count = adapter.leading[0] if adapter is not None and is_stack(adapter) else 1
    out = torch.zeros(count, len(statements), dtype=torch.float32)
    head = decoder.embed(prompt)
    order = sorted(range(len(statements)), key=lambda t: len(statements[t]))  # alike lengths pad little
    costs = [head.shape[0] + len(statements[t]) for t in order]
    for chunk in chunks(costs, max_rows, max_tokens):
        block = order[chunk.start : chunk.stop]
        rows = _lay_out(decoder, [head] * len(block), [statements[t] for t in block])
        step = max(1, min(max_rows // len(block), max_tokens // rows.mask.numel()))
        for start in range(0, count, step):
            stop = min(start + step, count)
            part = select_rows(adapter, slice(start, stop), decoder.device)
            values = _evaluate(decoder, rows.repeat(stop - start), part)
            out[start:stop, block] = values.view(stop - start, len(block)).cpu()
    return out


def chunks(costs: Sequence[int], max_rows: int, max_tokens: int) -> Iterator[range]:
    """Yield consecutive ranges of rows, at most `max_rows` long and, padded to their longest, `max_tokens` big."""
    start, longest = 0, 0
    for index, cost in enumerate(costs):
        longest = max(longest, cost)
        size = index - start + 1
        if size > 1 and (size > max_rows or size * longest > max_tokens):
            yield range(start, index)
            start, longest = index, cost
    if start < len(costs):
        yield range(start, len(costs))
