"""Read and check a training run's configuration, one JSON file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from chunkv2l.errors import InputError
from chunkv2l.train.core.trainer import Schedule
from chunkv2l.train.data.batches import Mix
from chunkv2l.train.data.images import Motion
from chunkv2l.train.data.sources import DataSettings, Source, Tags
from chunkv2l.train.stages.hypernet_stage import Weights
from chunkv2l.train.stages.selector_stage import SelectorSettings

T = TypeVar("T")


@dataclass(frozen=True)
class RunConfig:
    """The settings of a training run."""

    data: Path
    out: Path
    sources: tuple[Source, ...]
    dev: str
    schedule: Schedule
    mix: Mix
    model: str = ""
    """the VLM that a hypernetwork is trained for: a name, a folder or a hub's OWNER/NAME; "" for `mini`'s own two
    stages"""
    cache: Path | None = None
    """any VLM: folder of encoded clips; `clips` in `out` if not given"""
    tokens: int = 0
    """any VLM: number of a clip's tokens whose states are kept, drawn at random; all if 0"""
    reader: Path | None = None
    """stage 2: the weights that stage 1 wrote"""
    start: Path | None = None
    """weights to start from, of an earlier run of the same stage"""
    lora_rank: int = 8
    hypernet: dict[str, int] = field(default_factory=dict)
    """sizes that differ from `mini`'s, or for another VLM from the released hypernetworks'"""
    rehearsed: int = 32
    """general questions whose bare answers stage 1 rehearses"""
    blur: float = 0.0
    """stage 1: share of vision features that a step leaves out"""
    drop: float = 0.0
    """stage 1: share of the LoRA's ranks that a step leaves out"""
    short: float = 1.0
    """stage 1: weight of the tokens of answers of a word or two"""
    weights: Weights = field(default_factory=Weights)
    """stage 2: of the parts of the loss"""
    tags: Tags = field(default_factory=Tags)
    """a classifier's names in the prompt under which a clip is read; keys then read its probabilities"""
    bank: Path | None = None
    """folder in which the photographs' vision features are kept, for several runs; not kept if None"""
    named: tuple[str, ...] = ()
    """sets with labels, never trained on, whose names are looked for at the end"""
    selector: SelectorSettings = field(default_factory=SelectorSettings)
    """of a selector of rank slots, which is trained for the hypernetwork in `start`"""
    key_dropout: float = 0.0
    """stage 2: dropout of the features that learned keys pool"""
    teachers: tuple[Path, ...] = ()
    """stage 2: hypernetworks of earlier runs, whose keys teach this run's, on the images of sources without texts"""
    compile: bool = True
    workers: int = 8
    dev_images: int = 512
    every: int = 1000
    seed: int = 0
    limit: int | None = None
    """images a set (for rehearsals)"""

    @property
    def data_settings(self) -> DataSettings:
        """Return the part of the configuration that the training data is read by."""
        return DataSettings(self.data, self.sources, self.dev, self.dev_images, self.mix, self.seed, self.limit)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _make(settings: type[T], values: Any, where: str) -> T:
    if not isinstance(values, dict):
        raise InputError(f"{where} must be an object of settings.")
    known = {f.name for f in fields(settings)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise InputError(f"{where} has no setting {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    try:
        return settings(**values)
    except TypeError as error:
        raise InputError(f"{where} is incomplete: {error}.") from None


def read_config(path: Path, overrides: dict[str, Any] | None = None) -> RunConfig:
    """Read a run's JSON.

    Raises:
        InputError: no such file, not JSON, or a setting that doesn't exist.
    """
    try:
        values = json.loads(path.read_text()) | (overrides or {})
    except OSError:
        raise InputError(f"There is no configuration {path}.") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON: {error}.") from None
    values["sources"] = tuple(
        _make(Source, _tuples(row) | {"motion": _make(Motion, row.get("motion", {}), "motion")}, "a source")
        for row in values.get("sources", [])
    )
    values["schedule"] = _make(Schedule, values.get("schedule", {}), "schedule")
    mix = values.get("mix", {})
    values["mix"] = _make(Mix, _tuples(mix), "mix")
    values["weights"] = _make(Weights, _tuples(values.get("weights", {})), "weights")
    values["selector"] = _make(SelectorSettings, values.get("selector", {}), "selector")
    values["tags"] = _make(Tags, values.get("tags", {}), "tags")
    values["named"] = tuple(values.get("named", []))
    for name in ("data", "out", "reader", "start", "cache", "bank"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    values["teachers"] = tuple(Path(file) for file in values.get("teachers", []))
    return _make(RunConfig, values, str(path))
