"""Generate greedily: the most likely next token, again and again, for a batch of prompts under per-row adapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.adapter.inject import Injector, exclusive
from chunkv2l.errors import InputError
from chunkv2l.models.text.decoder import MAX_ROWS, MAX_TOKENS, Prompt, TextDecoder, chunks, is_stack, pad, select_rows


@torch.no_grad()
def greedy(
    decoder: TextDecoder,
    prompts: Sequence[Prompt],
    adapter: Adapter | None = None,
    max_new_tokens: int = 64,
    *,
    max_rows: int = MAX_ROWS,
    on_first_token: Callable[[], None] | None = None,
    on_tokens: Callable[[Sequence[int]], None] | None = None,
) -> list[list[int]]:
    """Return the most likely continuation of every prompt, the end-of-turn token included where it came.

    Args:
        adapter: none, one for all prompts, or one a prompt (A [prompts, L, R, I]).
        on_first_token: called once, when the first batch's first tokens are known.
        on_tokens: called with the first prompt's tokens so far, after each of its batch's steps; what it raises ends
            the generation.

    Raises:
        InputError: a stack of adapters with another number of them than there are prompts.
    """
    if adapter is not None and is_stack(adapter) and adapter.leading[0] != len(prompts):
        raise InputError(
            f"{adapter.leading[0]} adapters can't answer {len(prompts)} prompts: one each, or one for all."
        )
    if max_new_tokens < 1:
        return [[] for _ in prompts]
    embedded = [decoder.embed(prompt) for prompt in prompts]
    out: list[list[int]] = []
    for chunk in chunks([row.shape[0] + max_new_tokens for row in embedded], max_rows, 8 * MAX_TOKENS):
        part = select_rows(adapter, slice(chunk.start, chunk.stop), decoder.device)
        with exclusive(decoder.targets):
            rows = embedded[chunk.start : chunk.stop]
            out += _replayed(decoder, rows, part, max_new_tokens, on_first_token, on_tokens) or _greedy_batch(
                decoder, rows, part, max_new_tokens, on_first_token, on_tokens
            )
        on_first_token = on_tokens = None
    return out


def _replayed(
    decoder: TextDecoder,
    prompts: Sequence[Tensor],
    adapter: Adapter | None,
    max_new_tokens: int,
    on_first_token: Callable[[], None] | None,
    on_tokens: Callable[[Sequence[int]], None] | None,
) -> list[list[int]] | None:
    """Generate as `_greedy_batch` does, by CUDA graphs; None where there are none for it."""
    if decoder.graphs is None:
        return None
    embeds, mask = pad(prompts)
    replay = decoder.graphs.generate(embeds, adapter, max_new_tokens, hurry=on_first_token is not None)
    if replay is None:
        return None
    out: list[list[int]] = [[] for _ in prompts]
    tokens = replay.begin(embeds, mask.sum(1), adapter)
    while True:
        for row, value in zip(out, tokens, strict=True):
            if not _has_ended(row, decoder.end_ids):
                row.append(value)
        if on_first_token is not None:
            on_first_token()
            on_first_token = None
        if on_tokens is not None:
            on_tokens(out[0])
        if max(map(len, out)) == max_new_tokens or all(_has_ended(row, decoder.end_ids) for row in out):
            return out
        tokens = replay.next_tokens()


def _greedy_batch(
    decoder: TextDecoder,
    prompts: Sequence[Tensor],
    adapter: Adapter | None,
    max_new_tokens: int,
    on_first_token: Callable[[], None] | None,
    on_tokens: Callable[[Sequence[int]], None] | None,
) -> list[list[int]]:
    """Generate for rows that fit one batch. Once half of its rows have ended, a batch goes on without them."""
    out: list[list[int]] = [[] for _ in prompts]
    live = list(range(len(prompts)))  # the prompts whose rows are in the batch
    embeds, mask = pad(prompts)
    lengths = mask.sum(1)
    cache: Any = decoder.new_cache()
    injector = Injector(decoder.targets)
    try:
        injector.set(adapter)
        hidden = decoder.run(embeds, mask, cache).last_hidden_state
        last = hidden[torch.arange(len(live), device=hidden.device), lengths - 1]
        while True:
            token = decoder.head(last).argmax(-1)
            for row, value in zip(live, token.tolist(), strict=True):
                if not _has_ended(out[row], decoder.end_ids):
                    out[row].append(value)
            if on_first_token is not None:
                on_first_token()
                on_first_token = None
            if on_tokens is not None:
                on_tokens(out[0])
            going = [slot for slot, row in enumerate(live) if not _has_ended(out[row], decoder.end_ids)]
            if not going or len(out[live[going[0]]]) == max_new_tokens:
                return out
            if 2 * len(going) <= len(live):
                kept = torch.tensor(going, device=token.device)
                live = [live[slot] for slot in going]
                token, mask, lengths = token[kept], mask[kept], lengths[kept]
                cache.batch_select_indices(kept)
                adapter = select_rows(adapter, kept, decoder.device)
                injector.set(adapter)
            mask = torch.cat([mask, mask.new_ones(len(live), 1)], dim=1)
            embeds = decoder.embed_ids(token[:, None])
            last = decoder.run(embeds, mask, cache, position_ids=lengths[:, None]).last_hidden_state[:, -1]
            lengths = lengths + 1
    finally:
        injector.remove()


def _has_ended(tokens: Sequence[int], end_ids: frozenset[int]) -> bool:
    """Return whether an answer's last token ends a turn."""
    return bool(tokens) and tokens[-1] in end_ids
