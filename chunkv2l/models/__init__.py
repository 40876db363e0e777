"""Frozen vision-language models, each with the hypernetwork trained for it and the numbers fitted to both.

Importing this loads neither torch nor weights.
"""

from __future__ import annotations

from chunkv2l.models.calibration import UNFITTED, Calibration, SelectorCalibration
from chunkv2l.models.model import Available, Model, ModelSpec
from chunkv2l.models.registry import available, fetch_model, load_model

__all__ = [
    "UNFITTED",
    "Available",
    "Calibration",
    "Model",
    "ModelSpec",
    "SelectorCalibration",
    "available",
    "fetch_model",
    "load_model",
]
