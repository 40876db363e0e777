"""Record a language model's passes as CUDA graphs, once for a size, and replay them with one launch.

Asking is short passes over a few dozen tokens a row: launching their kernels from Python takes longer than computing
them (docs/measurements.md#cuda-graphs). A graph has the same modules, hooks and precisions, on rows and tokens rounded
up: padding on the right is never looked at by a causal block, so it needs no mask.

A size is recorded when it comes for the third time: a single question from a shell would only pay for it. Where
recording fails, everything goes on without graphs.
"""

from __future__ import annotations

import inspect
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.adapter.inject import applied, exclusive, inject

logger = logging.getLogger("chunkv2l")

MOST_TOKENS: Final = 8192
"""Tokens of a pass, padding included, beyond which a GPU is busy without graphs."""
WORTH: Final = 2
"""Requests of a size before it is recorded, which takes as long as several passes."""
LONG: Final = 16
"""Tokens of an answer from which on recording a graph takes less time than going without."""
KEPT: Final = 32
"""Graphs kept: those used last."""
_REMEMBERED: Final = 1000  # sizes that came
_ROWS: Final = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
_TOKENS, _RANKS = 16, 8  # lengths and ranks are rounded up to multiples of them


def rounded(count: int) -> int:
    """Round rows up, so that few sizes serve all."""
    return next((rows for rows in _ROWS if rows >= count), -(-count // _ROWS[-1]) * _ROWS[-1])


class DecoderParts(Protocol):
    """The parts of a `TextDecoder` that a pass is made of."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def targets(self) -> tuple[nn.Module, ...]: ...

    @property
    def head(self) -> Callable[[Tensor], Tensor]: ...

    def embed_ids(self, ids: Tensor) -> Tensor: ...


def cache_name(module: type[nn.Module]) -> str:
    """Return the name of the argument by which a module of transformers takes its cache; 5.24 renamed it."""
    return "cache" if "cache" in inspect.signature(module.forward).parameters else "past_key_values"


Replay = Callable[[], Tensor]
Record = Callable[[Replay], Replay]
"""Records a function over fixed buffers; returns a function that replays it."""


@dataclass(frozen=True)
class Form:
    """The size of a pass, and whatever else its graph depends on.

    Attributes:
        rows, tokens: of the batch, rounded up.
        room: tokens that its cache holds, rounded up; 0 without a cache.
        adapters: how many a stack has, rounded up; 0 for one for all rows, None for none.
        rank: of the adapters, rounded up.
        precision: of the adapters, with their scaling.
        around: addresses of what `inject` blocks around the pass apply, and of the model's weights.
    """

    rows: int
    tokens: int
    room: int
    adapters: int | None
    rank: int
    precision: tuple[torch.dtype, float] | None
    around: tuple[object, ...]


class Pass:
    """A graph of one form, and the tensors that it reads and writes.

    Attributes:
        replay: computes the normed output [rows, tokens, D]; with a cache, the next token of every row, int64 [rows],
            from the prompts.
        step: with a cache, the token after that, again and again.
    """

    def __init__(self, decoder: DecoderParts, form: Form, adapter: Adapter | None, record: Record) -> None:
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
        self._attended = torch.ones(form.rows, 1, 1, form.room, dtype=torch.bool, device=device)
        self._room = torch.arange(form.room, device=device)[None]
        self.replay = record(self._begin)
        self.step = record(self._step)

    def load(self, embeds: Tensor, adapter: Adapter | None, lengths: Tensor | None = None) -> None:
        """Copy a pass's input into its buffers: rows [B, S, D], their adapters, with a cache their lengths [B]."""
        rows, tokens, _ = embeds.shape
        self._embeds[:rows, :tokens].copy_(embeds)
        if lengths is not None:
            self._lengths.fill_(1)[:rows].copy_(lengths)
        if adapter is None or self._adapter is None:
            return
        rank = adapter.rank
        for buffer, factor in ((self._adapter.A, adapter.A), (self._adapter.B, adapter.B)):
            if rank < self._form.rank:
                buffer[..., rank:, :].zero_()
            (buffer[: factor.shape[0]] if adapter.leading else buffer)[..., :rank, :].copy_(factor)

    def _read(self) -> Tensor:
        return self._run(self._embeds, self._order, None, None)

    def _begin(self) -> Tensor:
        self._cache.position.fill_(self._form.tokens)
        self._position.copy_(self._lengths[:, None])
        self._attended.copy_((self._room < self._lengths[:, None])[:, None, None])
        self._cache.whole = True
        hidden = self._run(self._embeds, self._order, None, self._cache)
        last = hidden[torch.arange(len(hidden), device=hidden.device), self._lengths - 1]
        return self._token.copy_(self._decoder.head(last).argmax(-1))

    def _step(self) -> Tensor:
        self._attended.index_fill_(3, self._cache.position, True)
        self._cache.whole = False
        hidden = self._run(self._decoder.embed_ids(self._token[:, None]), self._position, self._attended, self._cache)
        self._cache.position.add_(1)
        self._position.add_(1)
        return self._token.copy_(self._decoder.head(hidden[:, -1]).argmax(-1))

    def _run(self, x: Tensor, positions: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        """Run all blocks and the last norm; not by the model's own `forward`, which looks at numbers for its mask."""
        model: Any = self._decoder.model
        rotary = model.rotary_emb(x, positions)
        with inject(self._decoder.targets, self._adapter):
            for layer in model.layers:
                named = {cache_name(type(layer)): cache}
                x = layer(x, attention_mask=mask, position_ids=positions, position_embeddings=rotary, **named)
        out: Tensor = model.norm(x)
        return out


class Cache:
    """Hold keys and values [rows, heads, room, h] of every block in fixed buffers; blocks call `update`.

    Attributes:
        position: int64 [1], where the next token's keys and values go.
        whole: whether a prompt is being read, from the first position on.
    """

    def __init__(self, form: Form, config: Any, like: Tensor) -> None:
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (config.num_hidden_layers, form.rows, config.num_key_value_heads, form.room, width)
        self._keys, self._values = like.new_zeros(shape), like.new_zeros(shape)
        self.position = torch.zeros(1, dtype=torch.long, device=like.device)
        self.whole = True

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Keep a block's new keys and values [rows, heads, S, h]; return those that it attends to."""
        kept = (self._keys[layer], self._values[layer])
        if self.whole:
            for buffer, new in zip(kept, (keys, values), strict=True):
                buffer[:, :, : new.shape[2]].copy_(new)
            return keys, values
        for buffer, new in zip(kept, (keys, values), strict=True):
            buffer.index_copy_(2, self.position, new)
        return kept


class GreedyReplay:
    """Generate greedy answers, token by token, by replaying a pass with a cache."""

    def __init__(self, recorded: Pass) -> None:
        self._pass = recorded
        self._rows = 0

    def begin(self, embeds: Tensor, lengths: Tensor, adapter: Adapter | None) -> list[int]:
        """Return the first token of every answer to right-padded prompts [B, S, D] of these lengths [B]."""
        with torch.inference_mode():
            self._rows = len(embeds)
            self._pass.load(embeds, adapter, lengths)
            tokens: list[int] = self._pass.replay().tolist()
            return tokens[: self._rows]

    def next_tokens(self) -> list[int]:
        """Return the next token of every answer."""
        with torch.inference_mode():
            tokens: list[int] = self._pass.step().tolist()
            return tokens[: self._rows]


class Recorder:
    """Records on a CUDA device; all graphs share one pool of memory, as they never run side by side."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None

    def __call__(self, run: Replay) -> Replay:
        """Record a function, or raise RuntimeError where it can't be recorded."""
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


class Graphs:
    """The graphs of one language model.

    Args:
        decoder: the model; its blocks are called one by one, as transformers' Llama calls them.
        record: makes a graph; for tests, anything that computes the same again.
    """

    def __init__(self, decoder: DecoderParts, record: Record | None = None) -> None:
        self._decoder = decoder
        self._device = decoder.device
        self._record = record or Recorder(self._device)
        self._targets = decoder.targets
        self._requests: Counter[Form] = Counter()
        self._made: OrderedDict[Form, Pass] = OrderedDict()
        self._adapters: WeakValueDictionary[tuple[object, ...], Adapter] = WeakValueDictionary()
        self._failed = False

    def __len__(self) -> int:
        """Return how many graphs are kept now."""
        return len(self._made)

    def states(self, embeds: Tensor, adapter: Adapter | None) -> Tensor | None:
        """Return the normed output [B, S, D] of right-padded rows [B, S, D]; where a row is padded it means nothing.

        Args:
            adapter: as `inject` takes it, on the model's device.

        Returns:
            None where there is no graph: this size is new, is too large, or can't be recorded.
        """
        with exclusive(self._targets):
            with torch.inference_mode():
                recorded = self._find(embeds, adapter, 0, WORTH)
                if recorded is None:
                    return None
                recorded.load(embeds, adapter)
                states = recorded.replay()
            return states[: embeds.shape[0], : embeds.shape[1]].clone()  # out here, so that gradients may be taken

    def generate(self, embeds: Tensor, adapter: Adapter | None, most: int, hurry: bool = True) -> GreedyReplay | None:
        """Return a generator of at most `most` tokens for right-padded prompts [B, S, D]; None as in `states`.

        The caller holds `exclusive` until it is done with it.

        Args:
            hurry: the first token is waited for. Otherwise a size of `LONG` tokens is recorded when it first comes.
        """
        with torch.inference_mode():
            recorded = self._find(embeds, adapter, most, WORTH if hurry or most < LONG else 0)
            return None if recorded is None else GreedyReplay(recorded)

    def _find(self, embeds: Tensor, adapter: Adapter | None, most: int, worth: int) -> Pass | None:
        form = None if self._failed else self._form(embeds, adapter, most)
        if form is None or form.rows * max(form.tokens, form.room) > MOST_TOKENS:
            return None
        if form in self._made:
            self._made.move_to_end(form)
            return self._made[form]
        if self._requests[form] < worth:
            if len(self._requests) > _REMEMBERED:
                self._requests.clear()
            self._requests[form] += 1
            return None
        try:
            self._made[form] = Pass(self._decoder, form, self._buffers(form, adapter), self._record)
        except RuntimeError as error:  # of memory, or an operation that can't be recorded
            self._failed = True
            self._made.clear()
            logger.warning("No CUDA graphs (%s): asking goes on without.", str(error).splitlines()[0].rstrip("."))
            return None
        while len(self._made) > KEPT:
            self._made.popitem(last=False)
        return self._made[form]

    def _form(self, embeds: Tensor, adapter: Adapter | None, most: int) -> Form | None:
        applied_now = applied(self._targets)
        if applied_now is None or embeds.device != self._device:
            return None
        model: Any = self._decoder.model
        around: list[object] = [model.embed_tokens.weight.data_ptr(), model.norm.weight.data_ptr()]
        for a, b, scaling in applied_now:
            around += [a.data_ptr(), b.data_ptr(), a.shape, scaling]
        rows, tokens = embeds.shape[0], -(-embeds.shape[1] // _TOKENS) * _TOKENS
        room = -(-(tokens + most) // _TOKENS) * _TOKENS if most else 0
        if adapter is None:
            return Form(rounded(rows), tokens, room, None, 0, None, tuple(around))
        rank, precision = -(-adapter.rank // _RANKS) * _RANKS, (adapter.A.dtype, adapter.scaling)
        if not adapter.leading:
            return Form(rounded(rows), tokens, room, 0, rank, precision, tuple(around))
        count = adapter.leading[0]
        if not count or rows % count:
            return None
        return Form(rounded(count) * (rows // count), tokens, room, rounded(count), rank, precision, tuple(around))

    def _buffers(self, form: Form, adapter: Adapter | None) -> Adapter | None:
        """Return the buffers for the adapters of such passes; passes of other lengths share them."""
        if adapter is None:
            return None
        key = (form.adapters, form.rank, form.precision)
        buffers = self._adapters.get(key)
        if buffers is None:
            leading = [form.adapters] if form.adapters else []
            a, b = (
                factor.new_zeros([*leading, factor.shape[-3], form.rank, factor.shape[-1]])
                for factor in (adapter.A, adapter.B)
            )
            buffers = self._adapters[key] = Adapter(a, b, adapter.scaling)
        return buffers
