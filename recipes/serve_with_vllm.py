"""Scenes as adapters of a vLLM server: every request names the scene that it asks about.

    python recipes/serve_with_vllm.py demo/movie.idx served
    python recipes/serve_with_vllm.py demo/movie.idx served --question "What is on the table?" --question "Who talks?"

Writes one adapter a scene and one, composed, a question; for `mini` the frozen model, too (the others are published).
Prints the command that serves them, and a request.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

import chunkv2l
from chunkv2l.export import Exported, export_adapters, export_base

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's --max-lora-rank takes."""


def export(index: chunkv2l.Index, out: Path, questions: Sequence[str] = ()) -> tuple[str, dict[str, Exported]]:
    """Return the base model's folder or name, and each adapter by the name that requests call it by."""
    adapter_base = index.model.vlm.adapter_base
    base = adapter_base.name
    if adapter_base.save is not None:
        base = str(out / "base" if (out / "base").is_dir() else export_base(index.model, out / "base"))
    named = {f"scene-{next(iter(one.weights))}": one for one in export_adapters(index, out / "scenes", base_model=base)}
    for i, question in enumerate(questions):
        folder = out / f"question-{i}"
        (one,) = export_adapters(index, folder, policy="route", question=question, max_rank=RANKS[-1], base_model=base)
        named[folder.name] = one
    return base, named


def command(base: str, named: dict[str, Exported]) -> str:
    """`vllm serve …`: the smallest rank that all adapters fit into, all of them kept in memory, eight in a batch."""
    rank = next(rank for rank in RANKS if rank >= max(one.rank for one in named.values()))
    words = ["vllm", "serve", base, "--enable-lora", "--max-lora-rank", str(rank)]
    words += ["--max-loras", str(min(8, len(named))), "--max-cpu-loras", str(len(named)), "--lora-modules"]
    return shlex.join([*words, *(f"{name}={one.folder}" for name, one in named.items())])


@click.command()
@click.argument("path")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--question", "questions", multiple=True, help="Compose the scenes that answer this; as often as needed.")
def main(path: str, out: Path, questions: tuple[str, ...]) -> None:
    """Write the scenes of the index PATH as adapters into the folder OUT, and print how vLLM serves them."""
    with chunkv2l.open(path) as index:
        click.echo(command(*export(index, out, questions)))
    body = '{"model": "scene-0", "messages": [{"role": "user", "content": "What do you see?"}]}'
    click.echo(f"curl localhost:8000/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'")


if __name__ == "__main__":
    main()
