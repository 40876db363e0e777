"""Several scenes in one batch, with PEFT alone: every row of the batch wears an adapter of its own.

    python recipes/mixed_batch.py demo/movie.idx "What do you see?" --segments 1,3,10

chunkv2l exports the adapters and the frozen model; from there on it is plain transformers and PEFT (`adapter_names`),
as a program of yours would have it. Each answer is the one that `Index.ask` gives with that scene alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import chunkv2l
from chunkv2l.export import Exported, export_adapters, export_base


def ask_each(base: Path, adapters: Sequence[Exported], question: str, tokens: int = 32) -> list[str]:
    """The answer under each adapter, all in one `generate`.

    Args:
        base: a folder with the frozen language model, as `export_base` (or `chunkv2l export --base`) writes it.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    first, *others = adapters
    frozen: Any = AutoModelForCausalLM.from_pretrained(base)
    model: Any = PeftModel.from_pretrained(frozen, first.folder, adapter_name=first.name)
    for other in others:
        model.load_adapter(other.folder, other.name)
    chats = [[{"role": "user", "content": question}] for _ in adapters]
    rows = tokenizer.apply_chat_template(chats, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    names = [adapter.name for adapter in adapters]
    out = model.eval().generate(**rows, adapter_names=names, max_new_tokens=tokens, do_sample=False)
    said: list[str] = tokenizer.batch_decode(out[:, rows["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in said]


@click.command()
@click.argument("path")
@click.argument("question")
@click.option("--segments", default="0-3", show_default=True, help="Which scenes, as in 3,5-9.")
def main(path: str, question: str, segments: str) -> None:
    """Ask each of some scenes of the index PATH the same question, in one batch."""
    with TemporaryDirectory() as folder, chunkv2l.open(path) as index:
        base = export_base(index.model, Path(folder, "base"))
        adapters = export_adapters(index, Path(folder, "scenes"), segments)
        for adapter, answer in zip(adapters, ask_each(base, adapters, question), strict=True):
            click.echo(f"{adapter.name}: {answer}")


if __name__ == "__main__":
    main()
