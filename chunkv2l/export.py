"""Taking adapters out of an index, as folders that PEFT and vLLM load, and a model that they can be loaded on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chunkv2l import policies
from chunkv2l.defaults import AUTO_BUDGET
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.files import write_text
from chunkv2l.graph import Node, Weight
from chunkv2l.policies import Policy
from chunkv2l.query.parse import Parsed, clean_question, parse_question
from chunkv2l.query.query import BudgetChoice, Limits, parse_budget
from chunkv2l.sanitize import number_range, quoted

if TYPE_CHECKING:
    from chunkv2l.adapter.algebra import Adapter
    from chunkv2l.ask import Index
    from chunkv2l.models import Model

Precision = Literal["fp32", "fp16", "bf16"]
MANIFEST = "adapters.json"


@dataclass(frozen=True)
class Exported:
    """An adapter that was written.

    Attributes:
        name: of its folder; for vLLM, of the adapter.
        folder: with adapter_config.json and adapter_model.safetensors.
        rank: R, the bias's ranks included where they are in.
        weights: the nodes that it is made of; empty for the bias alone.
        error: relative error of BᵀA where it was compressed, else 0.
    """

    name: str
    folder: Path
    rank: int
    weights: Mapping[Node, Weight]
    error: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the adapter as JSON has it: plain values only."""
        weights = {
            str(node): weight if isinstance(weight, float | int) else weight.tolist()
            for node, weight in self.weights.items()
        }
        return {
            "name": self.name,
            "folder": self.folder.name,
            "rank": self.rank,
            "weights": weights,
            "error": self.error,
        }


def parse_segments(text: str, count: int) -> list[int]:
    """Return segment numbers from "3,5-9" (both ends included), in the order given, each once.

    Raises:
        InputError: something that isn't a number or a range, segments that a movie of `count` doesn't have, or a list
            that repeats itself over and over.
    """
    numbers: dict[int, None] = {}
    named = 0
    for part in text.split(","):
        match = re.fullmatch(r"\s*0*(\d{1,9})\s*(?:-\s*0*(\d{1,9})\s*)?", part, re.ASCII)
        if match is None:
            raise InputError(f'"{quoted(part.strip())}" names no segments; write numbers and ranges, as in 3,5-9.')
        first = int(match[1])
        last = int(match[2] or first)
        if last < first:
            raise InputError(f"The range {first}-{last} runs backwards; write {last}-{first}.")
        if last >= count:
            raise InputError(f"There is no segment {last}: this index has {number_range('segment', 0, count - 1)}.")
        named += last - first + 1
        if named > 10 * count + 1000:
            raise InputError("The list names the same segments many times; write each once.")
        numbers.update(dict.fromkeys(range(first, last + 1)))
    return list(numbers)


def export_adapters(
    index: Index,
    out: str | Path,
    segments: str | Sequence[int] | None = None,
    *,
    policy: str | Policy | None = None,
    question: str = "",
    top_k: int | None = None,
    budget: BudgetChoice = AUTO_BUDGET,
    bias: bool = True,
    max_rank: int | None = None,
    precision: Precision = "fp32",
    base_model: str | None = None,
) -> list[Exported]:
    """Write one adapter a segment, or, with a policy, one composed adapter; each as a PEFT folder inside `out`.

    The hypernetwork's bias is in every adapter once, as it is when a question is answered. Without it (`bias=False`)
    the adapters can be added to each other, and the bias is written beside them as an adapter of its own.

    Args:
        index: opened; its model is loaded.
        out: made if it isn't there; adapters of the same names in it are replaced. `adapters.json` lists what is there.
        segments: "3,5-9", numbers, or None for all.
        policy: as in `ask`; it sees only `segments`.
        question: what a policy that scores segments scores them by.
        max_rank: compress to so many ranks (vLLM takes 1, 8, 16, 32, 64, 128, 256, 320 or 512 at most).
        precision: of the numbers in the files.
        base_model: what the adapters' configuration says that they belong to; None for the model's own name.

    Raises:
        InputError: unknown segments, a bad policy or question, or a place that can't be written to.
    """
    out = Path(out)
    numbers = parse_segments(segments, len(index)) if isinstance(segments, str) else _numbers(segments, len(index))
    if max_rank is not None and max_rank < 1:
        raise InputError(f"Adapters need at least one rank, not {max_rank}.")
    if precision not in ("fp32", "fp16", "bf16"):
        raise InputError(f"Adapters are written as fp32, fp16 or bf16, not as {precision!r}.")
    if policy is None and (question or top_k is not None):
        raise InputError("Without --policy every segment is exported alone: a question or --top-k changes nothing.")
    limits = parse_budget(budget)
    _make(out)
    written = []
    for name, weights, adapter in _adapters(index, numbers, policy, question, top_k, limits, bias):
        made, lost = _shaped(adapter, max_rank, precision)
        base = index.model.vlm.adapter_base
        try:
            made.save_pretrained(
                out / name, base.module_path, base_model=base_model if base_model is not None else base.name
            )
        except OSError as error:
            raise ChunkV2LError(f"Can't write {out / name} ({error.strerror}).") from error
        written.append(Exported(name, out / name, made.rank, weights, lost))
    text = json.dumps([_described(item, index) for item in written], indent=2, ensure_ascii=False)
    write_text(out / MANIFEST, text + "\n")
    return written


def export_base(model: Model, out: str | Path) -> Path:
    """Write the frozen language model, everything of it merged in, as a transformers folder with its tokenizer.

    Raises:
        InputError: the place isn't free, or the model is a published one that needs no export.
    """
    out = Path(out)
    base = model.vlm.adapter_base
    if base.save is None:
        raise InputError(
            f"{model.name} is used as it was published, so there is nothing to export: "
            f"load {base.name} and put the adapters on it."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already: choose a new folder.")
    base.save(out)
    return out


def _numbers(segments: Sequence[int] | None, count: int) -> list[int]:
    if segments is None:
        return list(range(count))
    if not segments:
        raise InputError("No segments were named, so there is nothing to export.")
    return parse_segments(",".join(map(str, segments)), count)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Can't make the folder {folder} ({error.strerror}): choose another place with -o.") from error


def _adapters(
    index: Index,
    segments: Sequence[int],
    policy: str | Policy | None,
    question: str,
    top_k: int | None,
    limits: Limits,
    bias: bool,
) -> Iterator[tuple[str, dict[Node, Weight], Adapter]]:
    """(name, weights, adapter), one at a time."""
    from chunkv2l.hypernet.compose import compose

    hypernet = index.model.hypernet

    def composed(weights: Mapping[Node, Weight]) -> Adapter:
        return compose(hypernet, index.file.codes, weights, bias)

    if policy is None:
        digits = max(4, len(str(len(index) - 1)))
        for number in segments:
            yield f"segment-{number:0{digits}d}", {number: 1.0}, composed({number: 1.0})
    else:
        name, weights = _choose(index, segments, policy, question, top_k, limits)
        yield f"composed-{re.sub(r'[^A-Za-z0-9_-]+', '-', name)}", weights, composed(weights)
    if not bias:
        yield "bias", {}, hypernet.bias.detach()


def _choose(
    index: Index,
    segments: Sequence[int],
    policy: str | Policy,
    question: str,
    top_k: int | None,
    limits: Limits,
) -> tuple[str, dict[Node, Weight]]:
    """A policy's name and weights over some of an index's segments."""
    from chunkv2l.routing.scoring import Budget, Scoring

    name, function = policies.load(policy, top_k)
    parsed = parse_question(clean_question(question)) if question.strip() else Parsed("", "what")
    graph = index.graph.subgraph(segments)

    def search(text: str) -> list[tuple[int, float]]:
        return [(number, score) for number, score in index.file.search(text, len(index)) if number in graph]

    scoring = Scoring(index.router, parsed.statement, Budget(limits), search, graph, excluded=parsed.excluded)
    slots = index.file.meta.code_shape[:2]
    return name, policies.run(name, function, graph, scoring.query(question, parsed.kind), slots)


def _shaped(adapter: Adapter, max_rank: int | None, precision: Precision) -> tuple[Adapter, float]:
    """The adapter on the CPU, in a precision, with at most so many ranks; and the relative error of the latter."""
    import torch

    from chunkv2l.adapter.algebra import compress

    lost = 0.0
    if max_rank is not None and adapter.rank > max_rank:
        adapter, error = compress(adapter, max_rank)
        lost = float(error)
    # With the scaling inside B, lora_alpha is the rank: a whole number, and no loader's reading of it matters.
    adapter = replace(adapter, B=adapter.B * adapter.scaling, scaling=1.0)
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    return adapter.to("cpu", dtype), lost


def _described(item: Exported, index: Index) -> dict[str, Any]:
    """An entry of the manifest; a single segment's with its times and caption."""
    entry = item.to_json()
    numbers = [node for node in item.weights if isinstance(node, int)]
    if len(numbers) == 1 and np.all(item.weights[numbers[0]] == 1.0):
        row = index.segments[numbers[0]]
        entry |= {"start": row.start, "end": row.end, "caption": row.caption}
    return entry
