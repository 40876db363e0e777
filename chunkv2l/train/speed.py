"""Time a training stage by kind of batch, and compare with the GPU's peak."""

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
from chunkv2l.train.runs.checkpoints import make_untrained
from chunkv2l.train.runs.hypernet import compile_projection
from chunkv2l.train.runs.mini import MiniRun, bank_clips, hypernet_stage, vlm_stage
from chunkv2l.train.stages.hypernet_stage import Trained
from chunkv2l.train.stages.vlm_stage import VisualReader

PEAK = {"H100": 989.0, "H200": 989.0, "A100": 312.0}
"""TFLOP/s of dense bfloat16 matrix products, from the vendor's data sheets (SXM)."""

Loss = Callable[[Batch, float], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True)
class Speed:
    """The speed of one kind of batch.

    Attributes:
        steps_s, clips_s, rows_s: steps, clips and text rows a second.
        tflops: matrix products, forward and backward.
        share: of the GPU's peak; None where the peak isn't known.
    """

    kind: str
    steps_s: float
    clips_s: float
    rows_s: float
    tflops: float
    share: float | None


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
        loss: the function to time.
        eager: the same, uncompiled: its matrix products are counted, on four batches of each kind.
        batches: by kind; the first `warmup` of each aren't timed.
        prepare: called after counting, to compile modules that `eager` must not run compiled.
        peak: TFLOP/s of the GPU, None if unknown.
    """
    parameters = [p for p in trained.parameters() if p.requires_grad]

    def step(function: Loss, batch: Batch) -> None:
        function(batch, 0.0)[0].backward()  # type: ignore[no-untyped-call]
        for parameter in parameters:
            parameter.grad = None

    counts = {}
    for batch_kind, stream in batches.items():
        counter = FlopCounterMode(display=False)
        with counter:
            for batch in stream[warmup : warmup + 4]:
                step(eager, batch)
        counts[batch_kind] = counter.get_total_flops() / len(stream[warmup : warmup + 4])
    prepare()
    speeds = []
    for batch_kind, stream in batches.items():
        for batch in stream[:warmup]:
            step(loss, batch)
        timed = stream[warmup:]
        _synchronize()
        began = time.perf_counter()
        for batch in timed:
            step(loss, batch)
        _synchronize()
        seconds = time.perf_counter() - began
        tflops = counts[batch_kind] * len(timed) / seconds / 1e12
        clips, rows = sum(len(batch.images) for batch in timed), sum(len(batch.owner) for batch in timed)
        share = None if peak is None else round(tflops / peak, 4)
        steps_s, clips_s, rows_s = (round(x / seconds, 2) for x in (len(timed), clips, rows))
        speeds.append(Speed(batch_kind, steps_s, clips_s, rows_s, round(tflops, 2), share))
    return speeds


def measure_run(run: MiniRun, count: int) -> list[Speed]:
    """Time both stages of a run, `count` batches of each kind that its mix names; nothing is kept."""
    reader = VisualReader(run.decoder, run.config.lora_rank).to(run.device)
    peak = gpu_peak()
    speeds = []
    for batch_kind in run.config.mix.kinds:
        settings = replace(run.material.settings, mix=replace(run.config.mix, kinds={batch_kind: 1.0}))
        source = replace(run.material, settings=settings).batches(run.prompts, rank=run.rank)
        batches = {batch_kind: [source.make(number) for number in range(6 + count)]}
        if batch_kind == "vlm":
            stage = vlm_stage(run, reader)
            speeds += measure(stage.loss, replace(stage, runner=run_block).loss, reader, batches, peak=peak)
        else:
            trained = make_untrained(run.config, run.vocabulary()).to(run.device)
            clips = bank_clips(run, reader.requires_grad_(False), run.bank, run.decoder)
            second = hypernet_stage(run, trained, clips)
            eager = replace(second, runner=run_block).loss

            def prepare(trained: Trained = trained) -> None:
                if run.config.compile:
                    compile_projection(trained)

            speeds += measure(second.loss, eager, trained, batches, prepare=prepare, peak=peak)
    return speeds


def gpu_peak() -> float | None:
    """Return the TFLOP/s of this machine's GPU; None without one, or where its peak isn't known."""
    if not torch.cuda.is_available():
        return None
    name: Any = torch.cuda.get_device_name()
    return next((value for key, value in PEAK.items() if key in name), None)


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
