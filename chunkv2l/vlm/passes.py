"""One pass of a language model over tensors that stay where they are, so that it can be recorded (`graphs.py`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.adapter.inject import applied, inject

if TYPE_CHECKING:
    from chunkv2l.models.text.decoder import TextDecoder

Replay = Callable[[], Tensor]
Record = Callable[[Replay], Replay]
"""Takes what computes a tensor from tensors that stay where they are; gives what does the same again."""


@dataclass(frozen=True)
class Form:
    """The size of a pass, and whatever else its graph depends on.

    Attributes:
        rows, tokens: of the batch, rounded up.
        room: tokens that its cache holds, rounded up; 0 without a cache.
        adapters: how many a stack has, rounded up; 0 for one for all rows, None for none.
        rank: of the adapters, rounded up.
        kind: their precision and scaling.
        around: addresses of what `inject` blocks around the pass apply, and of the model's weights.
    """

    rows: int
    tokens: int
    room: int
    adapters: int | None
    rank: int
    kind: tuple[torch.dtype, float] | None
    around: tuple[object, ...]


class Pass:
    """A graph of one form, and the tensors that it reads and writes.

    Attributes:
        replay: computes the normed output [rows, tokens, D]; with a cache, the next token of every row, int64 [rows],
            from the prompts.
        step: with a cache, the token after that, again and again.
    """

    def __init__(self, decoder: TextDecoder, form: Form, adapter: Adapter | None, record: Record) -> None:
        self._decoder, self._form, self._adapter = decoder, form, adapter
        self._around = applied(decoder.targets)  # what the graph reads must live as long as it
        model: Any = decoder.model
        width = model.embed_tokens.weight.shape[1]
        self._embeds: Tensor = model.embed_tokens.weight.new_zeros(form.rows, form.tokens, width)
        device = self._embeds.device
        self._order = torch.arange(form.tokens, device=device)[None]
        if not form.room:
            self.replay = record(self._read)
            return
        self._lengths = torch.ones(form.rows, dtype=torch.long, device=device)
        self._cache = Cache(form, model.config, self._embeds)
        self._token = torch.zeros(form.rows, dtype=torch.long, device=device)
        self._position = torch.zeros(form.rows, 1, dtype=torch.long, device=device)
        self._seen = torch.ones(form.rows, 1, 1, form.room, dtype=torch.bool, device=device)
        self._room = torch.arange(form.room, device=device)[None]
        self.replay = record(self._begin)
        self.step = record(self._step)

    def load(self, embeds: Tensor, adapter: Adapter | None, lengths: Tensor | None = None) -> None:
        """Put what a pass is about into its place: rows [B, S, D], their adapters, with a cache their lengths [B]."""
        rows, tokens, _ = embeds.shape
        self._embeds[:rows, :tokens].copy_(embeds)
        if lengths is not None:
            self._lengths.fill_(1)[:rows].copy_(lengths)
        if adapter is None or self._adapter is None:
            return
        rank = adapter.rank
        for place, factor in ((self._adapter.A, adapter.A), (self._adapter.B, adapter.B)):
            if rank < self._form.rank:
                place[..., rank:, :].zero_()
            (place[: factor.shape[0]] if adapter.leading else place)[..., :rank, :].copy_(factor)

    def _read(self) -> Tensor:
        return self._run(self._embeds, self._order, None, None)

    def _begin(self) -> Tensor:
        self._cache.place.fill_(self._form.tokens)
        self._position.copy_(self._lengths[:, None])
        self._seen.copy_((self._room < self._lengths[:, None])[:, None, None])
        self._cache.whole = True
        hidden = self._run(self._embeds, self._order, None, self._cache)
        last = hidden[torch.arange(len(hidden), device=hidden.device), self._lengths - 1]
        return self._token.copy_(self._decoder.head(last).argmax(-1))

    def _step(self) -> Tensor:
        self._seen.index_fill_(3, self._cache.place, True)
        self._cache.whole = False
        hidden = self._run(self._decoder.embed_ids(self._token[:, None]), self._position, self._seen, self._cache)
        self._cache.place.add_(1)
        self._position.add_(1)
        return self._token.copy_(self._decoder.head(hidden[:, -1]).argmax(-1))

    def _run(self, x: Tensor, positions: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        """All blocks and the last norm. Not by the model's own `forward`: as it makes its mask it looks at numbers."""
        from chunkv2l.models.text.decoder import cache_name

        model: Any = self._decoder.model
        turned = model.rotary_emb(x, positions)
        with inject(self._decoder.targets, self._adapter):
            for layer in model.layers:
                given = {cache_name(type(layer)): cache}
                x = layer(x, attention_mask=mask, position_ids=positions, position_embeddings=turned, **given)
        out: Tensor = model.norm(x)
        return out


class Cache:
    """Keys and values [rows, heads, room, h] of every block, that stay where they are; blocks know it by `update`.

    Attributes:
        place: int64 [1], where the next token's go.
        whole: whether a prompt is being read, from the first place on.
    """

    def __init__(self, form: Form, config: Any, like: Tensor) -> None:
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (config.num_hidden_layers, form.rows, config.num_key_value_heads, form.room, width)
        self._keys, self._values = like.new_zeros(shape), like.new_zeros(shape)
        self.place = torch.zeros(1, dtype=torch.long, device=like.device)
        self.whole = True

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Keep a block's new keys and values [rows, heads, S, h]; returns those that it attends to."""
        kept = (self._keys[layer], self._values[layer])
        if self.whole:
            for place, new in zip(kept, (keys, values), strict=True):
                place[:, :, : new.shape[2]].copy_(new)
            return keys, values
        for place, new in zip(kept, (keys, values), strict=True):
            place.index_copy_(2, self.place, new)
        return kept


class Speech:
    """Greedy answers, token by token, by replaying a pass with a cache."""

    def __init__(self, found: Pass) -> None:
        self._pass = found
        self._rows = 0

    def begin(self, embeds: Tensor, lengths: Tensor, adapter: Adapter | None) -> list[int]:
        """The first token of every answer to right-padded prompts [B, S, D] of these lengths [B]."""
        with torch.inference_mode():
            self._rows = len(embeds)
            self._pass.load(embeds, adapter, lengths)
            found: list[int] = self._pass.replay().tolist()
            return found[: self._rows]

    def go_on(self) -> list[int]:
        """The next token of every answer."""
        with torch.inference_mode():
            found: list[int] = self._pass.step().tolist()
            return found[: self._rows]


class Recorder:
    """Records on a CUDA device; all graphs share one pool of memory, as they never run side by side."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None

    def __call__(self, run: Replay) -> Replay:
        """Raises RuntimeError where it can't be recorded."""
        cuda: Any = torch.cuda
        with cuda.device(self._device):
            aside = cuda.Stream()
            aside.wait_stream(cuda.current_stream())
            with cuda.stream(aside):  # libraries set themselves up at the first calls, which can't be recorded
                run()
                run()
            cuda.current_stream().wait_stream(aside)
            graph = cuda.CUDAGraph()
            with cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                out = run()
            self._pool = self._pool or graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return out

        return replay
