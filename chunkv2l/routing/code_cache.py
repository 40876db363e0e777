"""Keep an index's codes on a GPU: read and unpacked when a question first needs them, then reused.

Reading and unpacking a question's codes takes longer than scoring them there
(docs/measurements.md#codes-kept-on-a-gpu). On a CPU, where memory is scarce, codes are read anew for each question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from chunkv2l.graph import Node

MOST: Final = 1 << 30
"""Bytes of codes that are kept (docs/measurements.md#size-of-a-code)."""
SHARE: Final = 0.1
"""Share of a movie's segments that must have been read before all others are, if there is room: a first question never
waits for that, and none after the second reads anything."""
AT_ONCE: Final = 64

Read = Callable[[Sequence[Node]], Tensor]


class CodeCache:
    """Cache codes on the device. Same signature as `IndexFile.codes`.

    Args:
        read: nodes -> their codes [n, L, r, d], as `IndexFile.codes`.
        segments: how many the movie has.
        device: where codes are kept.
        most: bytes.
    """

    def __init__(self, read: Read, segments: int, device: torch.device, most: int = MOST) -> None:
        self._read, self._segments, self._device, self._most = read, segments, device, most
        self._kept: dict[Node, Tensor] = {}
        self._bytes = 0

    def __call__(self, nodes: Sequence[Node]) -> Tensor:
        """Their codes, float32 [n, L, r, d], on the device.

        Raises:
            InputError: as `read`.
        """
        kept = self._kept
        found = {node: kept[node] for node in dict.fromkeys(nodes) if node in kept}
        missing = [node for node in dict.fromkeys(nodes) if node not in found]
        if not missing:
            return torch.stack([found[node] for node in nodes])
        found |= self._take(missing)
        rest = [node for node in range(self._segments) if node not in kept]
        size = self._bytes // max(1, len(kept))
        if (
            rest
            and self._segments - len(rest) >= SHARE * self._segments
            and size * len(rest) <= self._most - self._bytes
        ):
            for first in range(0, len(rest), AT_ONCE):
                self._take(rest[first : first + AT_ONCE])
        return torch.stack([found[node] for node in nodes])

    def _take(self, nodes: Sequence[Node]) -> dict[Node, Tensor]:
        """Read codes, and keep those for which there is room."""
        codes = self._read(nodes).to(self._device)
        found = dict(zip(nodes, codes.unbind(), strict=True))
        if self._bytes + codes.nbytes <= self._most:
            self._bytes += sum(codes[0].nbytes for node in nodes if node not in self._kept)
            self._kept |= found
        return found
