"""Generating an answer, and when its first token was known."""

from __future__ import annotations

from time import perf_counter

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.models.base import VLM


def timed(vlm: VLM, prompt: str, adapter: Adapter, max_new_tokens: int) -> tuple[str, float]:
    """An answer's text, and the `perf_counter` at which its first token was known."""
    times: list[float] = []
    text = vlm.generate([prompt], adapter, max_new_tokens, on_first_token=lambda: times.append(perf_counter()))
    return text[0].strip(), times[0] if times else perf_counter()
