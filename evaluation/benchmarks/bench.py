"""Time our adapter algebra against PEFT's (`make bench`), on random weights of SmolVLM2-500M's shape.

Two things are timed: composing many adapters into one, and a batch in which every row has an adapter of its own. First
the logits of both sides are compared, which must be equal and differ from the bare model's. Ours runs on the model as
it is, PEFT's on a copy with its layers.
"""

from __future__ import annotations

import copy
import json
import platform
import tempfile
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from chunkv2l.errors import ChunkV2LError
from evaluation.common.options import json_option
from evaluation.common.timing import Times, Way, interleaved

HIDDEN, INTERMEDIATE, RANK, SCALING = 960, 2560, 16, 128.0
TOLERANCE = 1e-3  # largest difference of logits, relative to the adapters' largest effect on them


@click.command("bench")
@click.option("--layers", default=8, show_default=True, help="Text blocks; the real model has 32.")
@click.option("--adapters", default=32, show_default=True, help="Adapters composed into one.")
@click.option("--rows", default=48, show_default=True, help="Rows of a batch, each with its own adapter.")
@click.option("--tokens", default=24, show_default=True, help="Tokens in a row.")
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=7,
    show_default=True,
    help="Rounds, after one to warm up; medians count.",
)
@json_option
def command(layers: int, adapters: int, rows: int, tokens: int, repeat: int, as_json: bool) -> None:
    """Time composing and mixed batches against PEFT, on this machine's CPU."""
    result = measure(layers, adapters, rows, tokens, repeat)
    if as_json:
        click.echo(json.dumps(result))
        return
    compose, batch = result["compose"], result["rows"]
    click.echo(
        f"{adapters} adapters composed: {_shown(compose, 'ours')}; PEFT's add_weighted_adapter (cat)"
        f" {_shown(compose, 'peft')}\n"
        f"{rows} rows with {rows} adapters in one forward: {_shown(batch, 'ours')}; one by one"
        f" {_shown(batch, 'single')}; PEFT's mixed batch {_shown(batch, 'peft')}; no adapter"
        f" {_shown(batch, 'bare')}\n"
        f"(medians of {repeat} rounds in which all take turns; {layers} blocks of {HIDDEN} x {INTERMEDIATE}, rank"
        f" {RANK}, {tokens} tokens a row, {result['threads']} threads, torch {result['torch']}, peft"
        f" {result['peft']}, {result['machine']})"
    )


def measure(layers: int, adapters: int, rows: int, tokens: int, repeat: int) -> dict[str, Any]:
    """Return each way's seconds by the clock (`_s`) and of CPUs (`_cpu_s`), and their ratio to ours (`_over_ours`).

    Raises:
        ChunkV2LError: PEFT and chunkv2l compute different logits.
    """
    import torch
    from peft import PeftModel

    from chunkv2l.adapter.algebra import Adapter, concat, stack
    from chunkv2l.adapter.inject import inject

    torch.manual_seed(0)
    model = _llama(layers)
    targets = [block.mlp.down_proj for block in model.model.layers]
    ids = torch.randint(0, model.config.vocab_size, (rows, tokens))
    count = max(adapters, rows)
    made = [
        Adapter(
            torch.randn(layers, RANK, INTERMEDIATE) / INTERMEDIATE**0.5,
            torch.randn(layers, RANK, HIDDEN) / (SCALING * RANK**0.5),
            SCALING,
        )
        for _ in range(count)
    ]
    names = [f"segment{i}" for i in range(count)]
    stacked = stack(made[:rows])

    def forward(which: Any, batch: Any) -> Any:
        with inject(targets, which):
            return model(batch, use_cache=False).logits

    with torch.inference_mode(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        for name, adapter in zip(names, made, strict=True):
            adapter.save_pretrained(Path(folder) / name)
        peft = PeftModel.from_pretrained(copy.deepcopy(model), str(Path(folder) / names[0]), adapter_name=names[0])
        for name in names[1:]:
            peft.load_adapter(str(Path(folder) / name), adapter_name=name)
        peft.eval()

        def delete_sum() -> None:
            if "sum" in peft.peft_config:
                peft.delete_adapter("sum")

        def add_sum() -> None:
            peft.add_weighted_adapter(names[:adapters], [1.0] * adapters, "sum", combination_type="cat")

        def mixed() -> Any:
            return peft(input_ids=ids, adapter_names=names[:rows], use_cache=False).logits

        bare = forward(None, ids)
        _check("a mixed batch", forward(stacked, ids), mixed(), bare)
        add_sum()
        peft.set_adapter("sum")
        _check(
            "a composition", forward(concat(made[:adapters]), ids), peft(input_ids=ids, use_cache=False).logits, bare
        )
        peft.set_adapter(names[0])
        compose = interleaved({"ours": Way(lambda: concat(made[:adapters])), "peft": Way(add_sum, delete_sum)}, repeat)
        delete_sum()
        batch = interleaved(
            {
                "ours": Way(lambda: forward(stacked, ids)),
                "peft": Way(mixed),
                "single": Way(lambda: [forward(stacked[i], ids[i : i + 1]) for i in range(rows)]),
                "bare": Way(lambda: forward(None, ids)),
            },
            repeat,
        )
    return {
        "compose": {"adapters": adapters, **_numbers(compose)},
        "rows": {"rows": rows, "tokens": tokens, **_numbers(batch)},
        "layers": layers,
        "repeat": repeat,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "peft": version("peft"),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _numbers(times: Mapping[str, Times]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, taken in times.items():
        numbers |= {f"{name}_s": taken.wall_s, f"{name}_cpu_s": taken.cpu_s}
        if name != "ours":
            numbers[f"{name}_over_ours"] = taken.over(times["ours"])
    return numbers


def _llama(layers: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=1024,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=layers,
        num_attention_heads=15,
        num_key_value_heads=5,
    )
    model: Any = LlamaForCausalLM(config)
    return model.eval()


def _check(what: str, ours: Any, theirs: Any, bare: Any) -> None:
    size = float((theirs - bare).abs().max())
    off = float((ours - theirs).abs().max())
    if not off <= TOLERANCE * size:
        raise ChunkV2LError(f"PEFT and chunkv2l differ on {what}, by {off:.1e} of {size:.1e}: the times mean nothing.")


def _shown(numbers: Mapping[str, float], name: str) -> str:
    text = f"{_ms(numbers[f'{name}_s'])} ({_ms(numbers[f'{name}_cpu_s'])} of CPU)"
    return text if name == "ours" else f"{text}, {numbers[f'{name}_over_ours']:.2g} x as long"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.01 else f"{1000 * seconds:.1f} ms"
