"""A cache of an index's codes on the GPU.

Reading and unpacking a question's codes takes longer than scoring them on a GPU
(docs/measurements.md#codes-kept-on-a-gpu). On a CPU, where memory is scarce, codes are read anew for each question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from chunkv2l.graph import Node

MAX_BYTES: Final = 1 << 30
"""Bytes of codes that are kept: a thousand segments of SmolVLM2-500M."""
PREFETCH_SHARE: Final = 0.1
"""Share of the movie's segments that must have been read before all others are read as well, if there is room. A first
question reads less than that and never waits; after the second nothing is read."""
READ_BATCH: Final = 64
"""Segments that are read at a time."""

ReadCodes = Callable[[Sequence[Node]], Tensor]


class CodeCache:
    """Read codes and keep them on a device. Same signature as `IndexFile.codes`.

    Args:
        read: nodes -> their codes [n, L, r, d].
        segments: the movie's number of segments.
        device: where codes are kept.
        max_bytes: bytes that are kept at most.
    """

    def __init__(self, read: ReadCodes, segments: int, device: torch.device, max_bytes: int = MAX_BYTES) -> None:
        self._read, self._segments, self._device, self._max_bytes = read, segments, device, max_bytes
        self._codes: dict[Node, Tensor] = {}
        self._bytes = 0

    def __call__(self, nodes: Sequence[Node]) -> Tensor:
        """Return the nodes' codes, float32 [n, L, r, d], on the device.

        Raises:
            InputError: as `read`.
        """
        codes = {node: self._codes[node] for node in dict.fromkeys(nodes) if node in self._codes}
        missing = [node for node in dict.fromkeys(nodes) if node not in codes]
        if missing:
            codes |= self._read_and_keep(missing)
            self._prefetch()
        return torch.stack([codes[node] for node in nodes])

    def _prefetch(self) -> None:
        """Read all other segments' codes, once enough of them have been asked for and if they fit."""
        unread = [node for node in range(self._segments) if node not in self._codes]
        bytes_each = self._bytes // max(1, len(self._codes))
        is_used_enough = self._segments - len(unread) >= PREFETCH_SHARE * self._segments
        if is_used_enough and bytes_each * len(unread) <= self._max_bytes - self._bytes:
            for first in range(0, len(unread), READ_BATCH):
                self._read_and_keep(unread[first : first + READ_BATCH])

    def _read_and_keep(self, nodes: Sequence[Node]) -> dict[Node, Tensor]:
        """Read codes, and keep them if there is room."""
        tensor = self._read(nodes).to(self._device)
        codes = dict(zip(nodes, tensor.unbind(), strict=True))
        if self._bytes + tensor.nbytes <= self._max_bytes:
            self._bytes += sum(tensor[0].nbytes for node in nodes if node not in self._codes)
            self._codes |= codes
        return codes
