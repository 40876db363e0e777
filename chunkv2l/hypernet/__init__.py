"""Turn a clip's per-layer states into a code, and codes into adapters."""

from __future__ import annotations

from chunkv2l.hypernet.checkpoint import load_hypernetwork, save_hypernetwork
from chunkv2l.hypernet.config import HypernetConfig
from chunkv2l.hypernet.model import Hypernetwork

__all__ = ["HypernetConfig", "Hypernetwork", "load_hypernetwork", "save_hypernetwork"]
