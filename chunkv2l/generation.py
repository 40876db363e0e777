"""Generating an answer, and when its first token was known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from torch import nn

from chunkv2l.adapter import Adapter
from chunkv2l.inject import exclusive
from chunkv2l.vlm.base import VLM


def timed(vlm: VLM, prompt: str, adapter: Adapter, max_new_tokens: int) -> tuple[str, float]:
    """An answer's text, and the `perf_counter` at which its first token was known."""
    with exclusive(vlm.targets), _second_call(vlm.targets[0]) as times:
        text = vlm.generate([prompt], adapter, max_new_tokens)[0].strip()
    return text, times[1] if len(times) > 1 else perf_counter()


@contextmanager
def _second_call(module: nn.Module) -> Iterator[list[float]]:
    """When a module is called, the first two times: the first token is known when the first block runs again."""
    times: list[float] = []

    def note(*_: object) -> None:
        if len(times) < 2:
            times.append(perf_counter())

    handle = module.register_forward_pre_hook(note)
    try:
        yield times
    finally:
        handle.remove()
