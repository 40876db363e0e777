"""Compute with adapters (`algebra`), apply them to a model (`inject`), read and write PEFT's folders (`peft`)."""

from __future__ import annotations

from chunkv2l.adapter.algebra import Adapter, compress, concat, truncate

__all__ = ["Adapter", "compress", "concat", "truncate"]
