"""Find and open the indexes of questions, and ask what a policy composes for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import networkx as nx

import chunkv2l
from chunkv2l import policies
from chunkv2l.adapter.algebra import Adapter
from chunkv2l.ask import Index
from chunkv2l.errors import ChunkV2LError, InputError, NothingFound
from chunkv2l.graph import Node, Weight
from chunkv2l.models import Model
from chunkv2l.query.parse import parse
from chunkv2l.query.query import Query
from evaluation.common.metrics import Window


class About(Protocol):
    """Anything about a movie."""

    @property
    def vid(self) -> str: ...


def indexes(path: Path, queries: Sequence[About]) -> dict[str, Path]:
    """Return the index of each movie of the queries: `path` itself, or `path`/VID.idx if it is a folder.

    Raises:
        InputError: a movie without an index, or one index for queries about several movies, none of which has its name.
    """
    vids = list(dict.fromkeys(query.vid for query in queries))
    if path.is_dir():
        files_of = {vid: path / f"{vid}.idx" for vid in vids}
        missing = [str(file) for file in files_of.values() if not file.is_file()]
        if missing:
            raise InputError(
                f"There is no {missing[0]}; {len(missing)} of the queries' {len(vids)} movies lack an index."
            )
        return files_of
    if len(vids) == 1:
        return {vids[0]: path}
    if path.stem in vids:
        return {path.stem: path}
    raise InputError(
        f"The queries are about {len(vids)} movies, and {path.name} is named like none of them: give a folder with an"
        f" index for each ({vids[0]}.idx, …) as --index."
    )


def opened(files: Mapping[str, Path], device: str = "auto", model: Model | None = None) -> Iterator[tuple[str, Index]]:
    """Open each movie's index in turn; they share one model, loaded once."""
    for vid, path in files.items():
        with chunkv2l.open(path, model=model, device=device) as index:
            yield vid, index
            model = index.model


def segments(path: Path) -> list[Window]:
    """Return the segments of an index; no model is loaded."""
    with chunkv2l.open(path) as index:
        return [(segment.start, segment.end) for segment in index.segments]


class _Weighed(ChunkV2LError):
    """Stop an ask after its policy: nothing is composed or generated."""

    def __init__(self, weights: Mapping[Node, Weight]) -> None:
        super().__init__("weighed")
        self.weights = dict(weights)


def weights(
    index: Index, question: str, policy: str | None = None, top_k: int | None = None, **options: Any
) -> dict[Node, Weight]:
    """Return a policy's weights for a question; {} if nothing is found.

    Args:
        policy: None chooses by the kind of question, as `ask` does.
    """
    selects = index.model.selector is not None
    _, function = policies.load(policy or policies.choose(parse(question), selects=selects), top_k)

    def stop(graph: nx.DiGraph, query: Query) -> Mapping[Node, Weight]:
        raise _Weighed(function(graph, query))

    try:
        index.ask(question, policy=stop, **options)
    except NothingFound:
        return {}
    except _Weighed as stopped:
        return stopped.weights
    raise AssertionError("ask ran no policy")


def prompt(question: str, policy: str | None = None) -> str:
    """Return the model's prompt under a policy's composition, without the order in time that the adapter stands for."""
    parsed = parse(question)
    ordered = policies.choose(parsed) == "order"
    return parsed.prompt(question, ordered and policy in (None, "order"))


def adapter(index: Index, weights: Mapping[Node, Weight]) -> Adapter | None:
    """Return the composed adapter; None, for the bias alone, without weights."""
    return index.compose(weights) if weights else None
