"""Mark captions that a segment's own key doesn't support: what the model says there may well be invented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import torch

from chunkv2l.defaults import UNCERTAIN_BELOW
from chunkv2l.index.tensors import read_key
from chunkv2l.models.calibration import key_evidence

if TYPE_CHECKING:
    from chunkv2l.models import Model

AT_ONCE: Final = 64
"""Captions that are embedded together."""


@torch.inference_mode()
def find_uncertain(model: Model, rows: Sequence[tuple[str, bytes | None]]) -> list[int] | None:
    """Return the numbers of the segments whose captions are uncertain, ascending.

    A caption is taken for a statement, and its key evidence is that of the segment's own key: κ · T^−ε · cos, as the
    router has it. It is uncertain below `UNCERTAIN_BELOW`. Without keys nothing is known: None.

    Args:
        rows: each segment's caption, "" for none, and its key as stored.
    """
    if model.keys is None or model.sentences is None or not model.calibration.key:
        return None
    keyed = [(number, caption, key) for number, (caption, key) in enumerate(rows) if caption and key is not None]
    uncertain: list[int] = []
    for first in range(0, len(keyed), AT_ONCE):
        batch = keyed[first : first + AT_ONCE]
        queries = model.keys.of_sentences(model.sentences([caption for _, caption, _ in batch])).float().cpu()
        for (number, caption, blob), query in zip(batch, queries, strict=True):
            cosine = float(read_key(blob, f"the key of segment {number}") @ query)
            tokens = model.vlm.count_tokens(caption)
            if key_evidence(cosine, tokens, model.calibration.key, model.calibration.epsilon) < UNCERTAIN_BELOW:
                uncertain.append(number)
    return uncertain
