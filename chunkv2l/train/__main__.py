"""Run `python -m chunkv2l.train {vlm,hypernet,both,selector,speed} --config FILE.json`, or `… plot LOG.jsonl -o
FILE.png`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import click
import torch

from chunkv2l.errors import ChunkV2LError
from chunkv2l.train.core.decoder import compiled, run_block
from chunkv2l.train.plot_log import draw
from chunkv2l.train.runs import any_vlm
from chunkv2l.train.runs.checkpoints import load_reader
from chunkv2l.train.runs.config import read_config
from chunkv2l.train.runs.mini import prepare, train_hypernet, train_vlm
from chunkv2l.train.runs.selector import train_selector
from chunkv2l.train.speed import measure_run
from chunkv2l.train.stages.vlm_stage import VisualReader


@click.group()
def main() -> None:
    """Train a hypernetwork for any VLM, or `mini`'s own parts."""
    torch.set_float32_matmul_precision("high")


def _config(function: click.decorators.FC) -> click.decorators.FC:
    return click.option("--config", type=click.Path(path_type=Path), required=True, help="The run's JSON.")(function)


@main.command()
@_config
def vlm(config: Path) -> None:
    """Train stage 1: connector and LoRA on captions and questions, frames in context."""
    train_vlm(prepare(read_config(config)))


@main.command()
@_config
def hypernet(config: Path) -> None:
    """Train a hypernetwork for the VLM that is named as `model`; without one, mini's stage 2, from stage 1's reader."""
    settings = read_config(config)
    if settings.model:
        print(f"written: {any_vlm.train(settings)}")
        return
    run = prepare(settings)
    reader = VisualReader(run.decoder, settings.lora_rank).to(run.device)
    if settings.reader is None:
        raise click.UsageError("stage 2 needs `reader`: the file that stage 1 wrote.")
    load_reader(reader, settings.reader)
    train_hypernet(run, reader)


@main.command()
@_config
@click.option("--then", type=click.Path(path_type=Path), required=True, help="Stage 2's JSON, with the same sources.")
def both(config: Path, then: Path) -> None:
    """Train both stages, looking at the photographs once."""
    first, second = read_config(config), read_config(then)
    if first.sources != second.sources:
        raise click.UsageError("both configurations must have the same sources.")
    run = prepare(first)
    reader = train_vlm(run)
    runner = compiled() if second.compile else run_block
    material = replace(run.material, settings=second.data_settings)
    train_hypernet(replace(run, config=second, runner=runner, material=material), reader)


@main.command()
@_config
def selector(config: Path) -> None:
    """Train a selector of rank slots for mini's hypernetwork, the file in `start`."""
    settings = read_config(config)
    run = prepare(settings)
    if settings.reader is None or settings.start is None:
        raise click.UsageError("a selector needs `reader` and `start`: the files that stages 1 and 2 wrote.")
    reader = VisualReader(run.decoder, settings.lora_rank).to(run.device)
    load_reader(reader, settings.reader)
    print(f"written: {train_selector(run, reader, settings.start)}")


@main.command()
@_config
@click.option("--batches", default=20, show_default=True, help="Timed batches of each kind.")
def speed(config: Path, batches: int) -> None:
    """Time training by kind of batch, and print a line of JSON for each, with the share of the GPU's peak."""
    for row in measure_run(prepare(read_config(config)), batches):
        print(json.dumps(asdict(row)), flush=True)


@main.command()
@click.argument("log", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The picture: .png, .svg or .pdf.")
def plot(log: Path, out: Path) -> None:
    """Draw a run's log.jsonl: losses, shares of clips found, and the figures on dev photographs."""
    draw(log, out)


if __name__ == "__main__":
    try:
        main()
    except ChunkV2LError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
