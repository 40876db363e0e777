"""Run the training loop of both stages: AdamW, warm-up and cosine, averaged weights, a log, resumable checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from chunkv2l.files import atomic_write
from chunkv2l.train.core import distributed

Item = TypeVar("Item")


@dataclass(frozen=True)
class Schedule:
    """The length of a run and its learning rate. A run ends at `steps` or after `seconds`, whichever is first."""

    steps: int
    seconds: float = math.inf
    rate: float = 6e-4
    warmup: int = 150
    floor: float = 0.03
    """the last learning rate, as a share of `rate`"""
    weight_decay: float = 0.02
    average: float = 0.998
    """decay of the moving average of the weights, a step"""
    clip: float = 1.0

    def progress(self, step: int, elapsed: float) -> float:
        """Return the share of the run that is done, 0 … 1."""
        return min(1.0, max(step / self.steps, elapsed / self.seconds))

    def factor(self, step: int, elapsed: float) -> float:
        """Return the learning rate as a share of `rate`: linear warm-up, then cosine down to `floor`."""
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress(step, elapsed)))
        return min(1.0, (step + 1) / self.warmup) * (self.floor + (1 - self.floor) * cosine)


@dataclass
class Trainer(Generic[Item]):
    """Train `module` on a stream of batches.

    Args:
        module: its parameters that require gradients are trained.
        loss: (batch, progress in 0…1) → loss and figures to log.
        folder: where `log.jsonl` and `checkpoint.pt` go.
        evaluate: called at `every` steps and at the end, with the averaged weights in `module`; its figures are logged.
    """

    module: nn.Module
    loss: Callable[[Item, float], tuple[Tensor, dict[str, Tensor]]]
    schedule: Schedule
    folder: Path
    name: str
    evaluate: Callable[[], dict[str, float]] | None = None
    every: int = 10**9
    save_every: float = 120.0
    leads: bool = True
    """True for the process that logs, evaluates and saves"""
    step: int = 0
    elapsed: float = 0.0
    _average: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        decayed = [p for p in self.parameters if p.ndim >= 2]
        plain = [p for p in self.parameters if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": self.schedule.weight_decay}, {"params": plain, "weight_decay": 0}]
        fused = self.parameters[0].is_cuda
        self.optimizer = torch.optim.AdamW(groups, lr=self.schedule.rate, betas=(0.9, 0.98), fused=fused)
        distributed.broadcast_from_first([p.detach() for p in self.parameters])
        self._average = [p.detach().clone() for p in self.parameters]
        self._resume()

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{self.name}.pt"

    def run(self, batches: Iterator[Item]) -> None:
        """Train to the end of the schedule; the averaged weights are in `module` afterwards."""
        began = time.monotonic() - self.elapsed
        saved = last = time.monotonic()
        window: list[dict[str, Tensor | float]] = []
        while self.schedule.progress(self.step, self.elapsed) < 1:
            window.append(self.advance(next(batches)))
            if self.step % 10 == 0:
                self.elapsed = distributed.broadcast_value(time.monotonic() - began)
            if self.step % 50 == 0:
                self._log_window(window, time.monotonic() - last)
                window, last = [], time.monotonic()
            if self.leads and self.evaluate is not None and self.step % self.every == 0:
                self._log({"step": self.step, **self._evaluated()})
                last = time.monotonic()
            if self.leads and time.monotonic() - saved > self.save_every:
                self.save()
                saved = time.monotonic()
        self._swap()
        if self.leads and self.evaluate is not None:
            self._log({"step": self.step, "end": True, **self.evaluate()})

    def advance(self, batch: Item) -> dict[str, Tensor | float]:
        """Take one step and return the loss's figures and the gradient's norm."""
        factor = self.schedule.factor(self.step, self.elapsed)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate * factor
        loss, figures = self.loss(batch, self.schedule.progress(self.step, self.elapsed))
        loss.backward()  # type: ignore[no-untyped-call]
        distributed.average_gradients(self.parameters)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.schedule.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        decay = min(self.schedule.average, (self.step + 1) / (self.step + 10))
        torch._foreach_lerp_(self._average, [p.detach() for p in self.parameters], 1 - decay)
        self.step += 1
        return {**figures, "norm": norm.detach()}

    def save(self) -> None:
        """Write weights, average, optimiser, step and RNG state to the checkpoint."""
        state = {
            "step": self.step,
            "elapsed": self.elapsed,
            "weights": [p.detach() for p in self.parameters],
            "average": self._average,
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
        }
        with atomic_write(self.checkpoint) as part:
            torch.save(state, part)

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        device = self.parameters[0].device
        state: dict[str, Any] = torch.load(self.checkpoint, map_location=device, weights_only=True)
        with torch.no_grad():
            for parameter, value in zip(self.parameters, state["weights"], strict=True):
                parameter.copy_(value)
        self._average = list(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"].cpu())
        self.step, self.elapsed = state["step"], state["elapsed"]

    def _swap(self) -> None:
        """Exchange the weights and their average."""
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self._average, strict=True):
                kept = parameter.detach().clone()
                parameter.copy_(average)
                average.copy_(kept)

    def _evaluated(self) -> dict[str, float]:
        assert self.evaluate is not None
        self._swap()
        try:
            return self.evaluate()
        finally:
            self._swap()

    def _log_window(self, window: list[dict[str, Tensor | float]], seconds: float) -> None:
        figures: dict[str, list[float]] = {}
        for row in window:
            for key, value in row.items():
                figures.setdefault(key, []).append(float(value))
        means = {key: round(sum(values) / len(values), 4) for key, values in figures.items()}
        rate = round(len(window) / seconds, 2)
        self._log({"step": self.step, "seconds": round(self.elapsed, 1), "steps_s": rate, **means})

    def _log(self, row: dict[str, object]) -> None:
        if not self.leads:
            return
        line = json.dumps({"stage": self.name, **row})
        print(line, flush=True)
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(line + "\n")
