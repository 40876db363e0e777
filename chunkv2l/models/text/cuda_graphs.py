"""Record a language model's passes as CUDA graphs, once for a size, and replay them with one launch.

Asking is short passes over a few dozen tokens a row: launching their kernels from Python takes longer than computing
them (docs/measurements.md#cuda-graphs). A graph has the same modules, hooks and precisions, on rows and tokens rounded
up: padding on the right is never looked at by a causal block, so it needs no mask.

A size is recorded when it comes for the third time: a single question from a shell would only pay for it. Where
recording fails, everything goes on without graphs.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.adapter.inject import applied, exclusive
from chunkv2l.vlm.passes import Form, Pass, Record, Recorder, Speech

if TYPE_CHECKING:
    from chunkv2l.models.text.decoder import TextDecoder

logger = logging.getLogger("chunkv2l")

MOST_TOKENS: Final = 8192
"""Passes of more tokens, padding included, keep a GPU busy without graphs."""
WORTH: Final = 2
"""How often a size comes before it is recorded, which takes as long as several passes."""
LONG: Final = 16
"""Tokens of an answer that take longer without a graph than recording one does."""
KEPT: Final = 32
"""Graphs kept, those used last."""
_REMEMBERED: Final = 1000  # sizes that came
_ROWS: Final = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
_TOKENS, _RANKS = 16, 8  # lengths and ranks are rounded up to multiples of them


def rounded(count: int) -> int:
    """Rows rounded up, so that few sizes serve all."""
    return next((rows for rows in _ROWS if rows >= count), -(-count // _ROWS[-1]) * _ROWS[-1])


class Graphs:
    """The graphs of one language model.

    Args:
        decoder: the model; its blocks are called one by one, as transformers' Llama calls them.
        record: makes a graph; for tests, anything that computes the same again.
    """

    def __init__(self, decoder: TextDecoder, record: Record | None = None) -> None:
        self._decoder = decoder
        self._device = decoder.device
        self._record = record or Recorder(self._device)
        self._targets = decoder.targets
        self._seen: Counter[Form] = Counter()
        self._made: OrderedDict[Form, Pass] = OrderedDict()
        self._adapters: WeakValueDictionary[tuple[object, ...], Adapter] = WeakValueDictionary()
        self._failed = False

    def __len__(self) -> int:
        """How many graphs there are now."""
        return len(self._made)

    def states(self, embeds: Tensor, adapter: Adapter | None) -> Tensor | None:
        """The normed output [B, S, D] of right-padded rows [B, S, D]; numbers where a row is padded mean nothing.

        Args:
            adapter: as `inject` takes it, on the model's device.

        Returns:
            None where there is no graph: this size is new, is too large, or can't be recorded.
        """
        with exclusive(self._targets):
            with torch.inference_mode():
                found = self._find(embeds, adapter, 0, WORTH)
                if found is None:
                    return None
                found.load(embeds, adapter)
                states = found.replay()
            return states[: embeds.shape[0], : embeds.shape[1]].clone()  # out here, so that gradients may be taken

    def speech(self, embeds: Tensor, adapter: Adapter | None, most: int, hurry: bool = True) -> Speech | None:
        """Greedy answers of at most `most` tokens to right-padded prompts [B, S, D]; None as in `states`.

        The caller holds `exclusive` until it is done with it.

        Args:
            hurry: the first token is waited for. Otherwise a size of `LONG` tokens is recorded when it first comes.
        """
        with torch.inference_mode():
            found = self._find(embeds, adapter, most, WORTH if hurry or most < LONG else 0)
            return None if found is None else Speech(found)

    def _find(self, embeds: Tensor, adapter: Adapter | None, most: int, worth: int) -> Pass | None:
        form = None if self._failed else self._form(embeds, adapter, most)
        if form is None or form.rows * max(form.tokens, form.room) > MOST_TOKENS:
            return None
        if form in self._made:
            self._made.move_to_end(form)
            return self._made[form]
        if self._seen[form] < worth:
            if len(self._seen) > _REMEMBERED:
                self._seen.clear()
            self._seen[form] += 1
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
        rank, kind = -(-adapter.rank // _RANKS) * _RANKS, (adapter.A.dtype, adapter.scaling)
        if not adapter.leading:
            return Form(rounded(rows), tokens, room, 0, rank, kind, tuple(around))
        count = adapter.leading[0]
        if not count or rows % count:
            return None
        return Form(rounded(count) * (rows // count), tokens, room, rounded(count), rank, kind, tuple(around))

    def _buffers(self, form: Form, adapter: Adapter | None) -> Adapter | None:
        """Where the adapters of such passes lie; passes of other lengths share them."""
        if adapter is None:
            return None
        key = (form.adapters, form.rank, form.kind)
        found = self._adapters.get(key)
        if found is None:
            leading = [form.adapters] if form.adapters else []
            a, b = (
                factor.new_zeros([*leading, factor.shape[-3], form.rank, factor.shape[-1]])
                for factor in (adapter.A, adapter.B)
            )
            found = self._adapters[key] = Adapter(a, b, adapter.scaling)
        return found
