"""How many clips are read together."""

from __future__ import annotations

import pytest
import torch

from chunkv2l.indexing.build import BATCH
from chunkv2l.indexing.segments import AT_ONCE, EACH, ON_GPU, clips_at_once


def test_a_gpu_with_room_reads_more_clips_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clips_at_once(torch.device("cpu")) == AT_ONCE
    for room, count in ((ON_GPU * EACH, ON_GPU), (ON_GPU * EACH - 1, ON_GPU // 2), (EACH, AT_ONCE)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, room=room: (room, room))
        assert clips_at_once(torch.device("cuda")) == count
        assert BATCH % count == 0  # what is stored together is read together
