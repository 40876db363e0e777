"""How many clips are read together."""

from __future__ import annotations

import pytest
import torch

from chunkv2l.indexing.build import BATCH
from chunkv2l.indexing.segments import CLIPS_AT_ONCE, CLIPS_ON_GPU, GPU_BYTES_PER_CLIP, clips_at_once


def test_a_gpu_with_room_reads_more_clips_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clips_at_once(torch.device("cpu")) == CLIPS_AT_ONCE
    for room, count in (
        (CLIPS_ON_GPU * GPU_BYTES_PER_CLIP, CLIPS_ON_GPU),
        (CLIPS_ON_GPU * GPU_BYTES_PER_CLIP - 1, CLIPS_ON_GPU // 2),
        (GPU_BYTES_PER_CLIP, CLIPS_AT_ONCE),
    ):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, room=room: (room, room))
        assert clips_at_once(torch.device("cuda")) == count
        assert BATCH % count == 0  # what is stored together is read together
