"""Rank-space algebra on adapters, and where they meet a model (`inject`) or PEFT (`peft`). Knows tensors only."""

from __future__ import annotations

from chunkv2l.adapter.algebra import Adapter, compress, concat, truncate

__all__ = ["Adapter", "compress", "concat", "truncate"]
