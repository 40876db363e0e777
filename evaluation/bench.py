"""`make bench`: our adapter algebra against PEFT's, as ratios in one run, on random weights of SmolVLM2-500M's shape.

Two things are timed: composing many adapters into one, and a batch in which every row has an adapter of its own. Times
count only if both sides compute the same: their logits are compared, and must differ from the bare model's.
"""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from chunkv2l.errors import ChunkV2LError

HIDDEN, INTERMEDIATE, RANK, SCALING = 960, 2560, 16, 128.0
TOLERANCE = 1e-3  # largest difference of logits, relative to the adapters' largest effect on them


@click.command("bench")
@click.option("--layers", default=8, show_default=True, help="Text blocks; the real model has 32.")
@click.option("--adapters", default=32, show_default=True, help="Adapters composed into one.")
@click.option("--rows", default=48, show_default=True, help="Rows of a batch, each with its own adapter.")
@click.option("--tokens", default=24, show_default=True, help="Tokens in a row.")
@click.option("--repeat", default=5, show_default=True, help="Runs, after one to warm up; the median counts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(layers: int, adapters: int, rows: int, tokens: int, repeat: int, as_json: bool) -> None:
    """Time composing and mixed batches against PEFT, on this machine's CPU."""
    result = measure(layers, adapters, rows, tokens, repeat)
    if as_json:
        click.echo(json.dumps(result))
        return
    compose, batch = result["compose"], result["rows"]
    click.echo(
        f"{adapters} adapters composed: {_ms(compose['ours_s'])}; PEFT's add_weighted_adapter (cat)"
        f" {_ms(compose['peft_s'])}, {compose['peft_s'] / compose['ours_s']:.1f} x as long\n"
        f"{rows} rows with {rows} adapters in one forward: {_ms(batch['ours_s'])}; one by one {_ms(batch['single_s'])},"
        f" {batch['single_s'] / batch['ours_s']:.1f} x as long; PEFT's mixed batch {_ms(batch['peft_s'])},"
        f" {batch['peft_s'] / batch['ours_s']:.1f} x as long; no adapter {_ms(batch['bare_s'])}\n"
        f"({layers} blocks of {HIDDEN} x {INTERMEDIATE}, rank {RANK}, {tokens} tokens a row,"
        f" {result['threads']} threads, torch {result['torch']}, peft {result['peft']}, {result['machine']})"
    )


def measure(layers: int, adapters: int, rows: int, tokens: int, repeat: int) -> dict[str, Any]:
    """Seconds for each way, by name. Raises ChunkV2LError if PEFT and we don't compute the same."""
    import torch
    from peft import PeftModel

    from chunkv2l.adapter import Adapter, concat, stack
    from chunkv2l.inject import inject

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
    own = stack(made[:rows])

    def forward(which: Any, batch: Any) -> Any:
        with inject(targets, which):
            return model(batch, use_cache=False).logits

    with torch.inference_mode(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        composed = concat(made[:adapters])
        bare, expected_sum, expected_rows = (forward(which, ids) for which in (None, composed, own))
        seconds = {
            "compose": _median(lambda: concat(made[:adapters]), repeat),
            "rows": _median(lambda: forward(own, ids), repeat),
            "single": _median(lambda: [forward(own[i], ids[i : i + 1]) for i in range(rows)], repeat),
            "bare": _median(lambda: forward(None, ids), repeat),
        }
        for name, adapter in zip(names, made, strict=True):
            adapter.save_pretrained(Path(folder) / name)
        peft = PeftModel.from_pretrained(model, str(Path(folder) / names[0]), adapter_name=names[0])
        for name in names[1:]:
            peft.load_adapter(str(Path(folder) / name), adapter_name=name)
        peft.eval()

        def add() -> None:
            if "sum" in peft.peft_config:
                peft.delete_adapter("sum")
            peft.add_weighted_adapter(names[:adapters], [1.0] * adapters, "sum", combination_type="cat")

        seconds["peft compose"] = _median(add, repeat)
        peft.set_adapter("sum")
        _check("a composition", expected_sum, peft(input_ids=ids, use_cache=False).logits, bare)

        def mixed() -> Any:
            return peft(input_ids=ids, adapter_names=names[:rows], use_cache=False).logits

        _check("a mixed batch", expected_rows, mixed(), bare)
        seconds["peft rows"] = _median(mixed, repeat)
    return {
        "compose": {"adapters": adapters, "ours_s": seconds["compose"], "peft_s": seconds["peft compose"]},
        "rows": {
            "rows": rows,
            "tokens": tokens,
            "ours_s": seconds["rows"],
            "single_s": seconds["single"],
            "peft_s": seconds["peft rows"],
            "bare_s": seconds["bare"],
        },
        "layers": layers,
        "repeat": repeat,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "peft": version("peft"),
        "machine": f"{platform.system()} {platform.machine()}",
    }


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


def _median(call: Callable[[], object], repeat: int) -> float:
    call()
    seconds = []
    for _ in range(repeat):
        started = perf_counter()
        call()
        seconds.append(perf_counter() - started)
    return statistics.median(seconds)


def _check(what: str, ours: Any, theirs: Any, bare: Any) -> None:
    size = float((theirs - bare).abs().max())
    off = float((ours - theirs).abs().max())
    if not off <= TOLERANCE * size:
        raise ChunkV2LError(f"PEFT and chunkv2l differ on {what}, by {off:.1e} of {size:.1e}: the times mean nothing.")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.01 else f"{1000 * seconds:.1f} ms"
