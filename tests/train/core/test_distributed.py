"""Two processes train as one does on both their batches."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCRIPT = textwrap.dedent(
    """
    import os, socket
    import torch
    from torch import nn
    from chunkv2l.train.core import distributed as several
    from chunkv2l.train.core.losses import info_nce

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    first = os.fork()  # importing takes longer than all that follows
    rank = "0" if first else "1"
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank}
    rank, count, device = several.start()
    torch.manual_seed(rank)  # other weights in each process, until they are given the first one's
    module = nn.Linear(4, 3, bias=False)
    unused = nn.Parameter(torch.ones(2))
    several.broadcast_from_first([module.weight.data])
    torch.manual_seed(100)
    data, texts = torch.randn(count, 2, 4), torch.randn(count, 2, 3)
    keys = several.gather(module(data[rank]))
    asked = several.gather(texts[rank])
    loss = info_nce(keys @ asked.T, 1.0) * several.count()
    loss.backward()
    several.average_gradients([module.weight, unused])
    if rank == 0:
        whole = nn.Linear(4, 3, bias=False)
        whole.weight.data.copy_(module.weight.data)
        info_nce(whole(data.flatten(0, 1)) @ texts.flatten(0, 1).T, 1.0).backward()
        torch.testing.assert_close(module.weight.grad, whole.weight.grad)
        assert several.broadcast_value(1.5) == 1.5 and torch.equal(unused.grad, torch.zeros(2))
        print("alike")
    else:
        assert several.broadcast_value(99.0) == 1.5
    torch.distributed.destroy_process_group()
    assert not first or os.waitpid(first, 0)[1] == 0
    """
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_gradients_of_two_processes_are_those_of_one_batch() -> None:
    """With the variables that `torchrun` sets."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "alike" in done.stdout
