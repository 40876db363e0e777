"""How fast a stage trains on the card at hand, by kind of batch, and what share of the card's peak that is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from chunkv2l.train.core.decoder import run_block
from chunkv2l.train.data.batches import Batch
from chunkv2l.train.runs.checkpoints import fresh
from chunkv2l.train.runs.hypernet import compile_projection
from chunkv2l.train.runs.mini import MiniRun, bank_clips, hypernet_stage, vlm_stage
from chunkv2l.train.stages.hypernet_stage import Trained
from chunkv2l.train.stages.vlm_stage import VisualReader

PEAK = {"H100": 989.0, "H200": 989.0, "A100": 312.0}
"""TFLOP/s of dense bfloat16 matrix products, from the vendor's data sheets (SXM)."""

Loss = Callable[[Batch, float], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True)
class Speed:
    """Of one kind of batch; `tflops` counts matrix products, forward and backward."""

    kind: str
    steps_s: float
    clips_s: float
    rows_s: float
    tflops: float
    share: float | None
    """of the card's peak; None where it isn't known"""


def measure(
    loss: Loss,
    eager: Loss,
    trained: nn.Module,
    batches: dict[str, list[Batch]],
    *,
    warmup: int = 6,
    prepare: Callable[[], None] = lambda: None,
    peak: float | None = None,
) -> list[Speed]:
    """Time forward and backward of each kind's batches, the optimiser's step left out.

    Args:
        loss: what is timed.
        eager: the same, uncompiled: its matrix products are counted (on one batch of each kind).
        batches: by kind; the first `warmup` of each aren't timed.
        prepare: called after counting: compiles what `eager` must not run compiled.
    """
    parameters = [p for p in trained.parameters() if p.requires_grad]

    def step(function: Loss, batch: Batch) -> None:
        function(batch, 0.0)[0].backward()  # type: ignore[no-untyped-call]
        for parameter in parameters:
            parameter.grad = None

    counts = {}
    for kind, some in batches.items():
        counter = FlopCounterMode(display=False)
        with counter:
            for batch in some[warmup : warmup + 4]:
                step(eager, batch)
        counts[kind] = counter.get_total_flops() / len(some[warmup : warmup + 4])
    prepare()
    speeds = []
    for kind, some in batches.items():
        for batch in some[:warmup]:
            step(loss, batch)
        timed = some[warmup:]
        _wait()
        began = time.perf_counter()
        for batch in timed:
            step(loss, batch)
        _wait()
        seconds = time.perf_counter() - began
        tflops = counts[kind] * len(timed) / seconds / 1e12
        clips, rows = (sum(getattr(b, name).shape[0] for b in timed) for name in ("images", "owner"))
        share = None if peak is None else round(tflops / peak, 4)
        steps_s, clips_s, rows_s = (round(x / seconds, 2) for x in (len(timed), clips, rows))
        speeds.append(Speed(kind, steps_s, clips_s, rows_s, round(tflops, 2), share))
    return speeds


def measure_run(run: MiniRun, count: int) -> list[Speed]:
    """Time both stages of a run, `count` batches of each kind that its mix names; nothing is kept."""
    reader = VisualReader(run.decoder, run.config.lora_rank).to(run.device)
    peak = peak_of_this_card()
    speeds = []
    for kind in run.config.mix.kinds:
        settings = replace(run.material.settings, mix=replace(run.config.mix, kinds={kind: 1.0}))
        source = replace(run.material, settings=settings).batches(run.prompts, skip_taught=True, rank=run.rank)
        batches = {kind: [source.make(number) for number in range(6 + count)]}
        if kind == "vlm":
            stage = vlm_stage(run, reader)
            speeds += measure(stage.loss, replace(stage, runner=run_block).loss, reader, batches, peak=peak)
        else:
            trained = fresh(run.config).to(run.device)
            clips = bank_clips(run, reader.requires_grad_(False), run.bank, run.decoder)
            second = hypernet_stage(run, trained, clips)
            eager = replace(second, runner=run_block).loss

            def prepare(trained: Trained = trained) -> None:
                if run.config.compile:
                    compile_projection(trained)

            speeds += measure(second.loss, eager, trained, batches, prepare=prepare, peak=peak)
    return speeds


def peak_of_this_card() -> float | None:
    """TFLOP/s of this machine's card, where it is known."""
    if not torch.cuda.is_available():
        return None
    name: Any = torch.cuda.get_device_name()
    return next((value for key, value in PEAK.items() if key in name), None)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
