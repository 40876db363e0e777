"""Which index a question belongs to, and what a policy composes for it."""

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
from chunkv2l.graph import Node
from chunkv2l.models import Model
from chunkv2l.query.parse import parse
from chunkv2l.query.query import Query
from evaluation.common.metrics import Window


class About(Protocol):
    """Anything that is about a movie."""

    @property
    def vid(self) -> str: ...


def indexes(path: Path, queries: Sequence[About]) -> dict[str, Path]:
    """Which index each movie of the queries has: `path` itself, or `path`/VID.idx where it is a folder.

    Raises:
        InputError: a movie without an index, or queries about several movies and one index that isn't named like any.
    """
    vids = list(dict.fromkeys(query.vid for query in queries))
    if path.is_dir():
        found = {vid: path / f"{vid}.idx" for vid in vids}
        missing = [str(file) for file in found.values() if not file.is_file()]
        if missing:
            raise InputError(
                f"There is no {missing[0]}; {len(missing)} of the queries' {len(vids)} movies lack an index."
            )
        return found
    if len(vids) == 1:
        return {vids[0]: path}
    if path.stem in vids:
        return {path.stem: path}
    raise InputError(
        f"The queries are about {len(vids)} movies, and {path.name} is named like none of them: give a folder with an"
        f" index for each ({vids[0]}.idx, …) as --index."
    )


def opened(files: Mapping[str, Path], device: str = "auto", model: Model | None = None) -> Iterator[tuple[str, Index]]:
    """Each movie's index, opened in turn; they share one model, loaded once."""
    for vid, path in files.items():
        with chunkv2l.open(path, model=model, device=device) as index:
            yield vid, index
            model = index.model


def segments(path: Path) -> list[Window]:
    """The segments of an index, without its model."""
    with chunkv2l.open(path) as index:
        return [(segment.start, segment.end) for segment in index.segments]


class _Weighed(ChunkV2LError):
    """Ends an ask where its policy has spoken: nothing is composed or generated."""

    def __init__(self, weights: Mapping[Node, float]) -> None:
        super().__init__("weighed")
        self.weights = dict(weights)


def weights(
    index: Index, question: str, policy: str | None = None, top_k: int | None = None, **options: Any
) -> dict[Node, float]:
    """What a policy composes for a question; none where nothing is found.

    None chooses by the kind of question, as `ask` does.
    """
    _, function = policies.load(policy or policies.choose(parse(question)), top_k)

    def stop(graph: nx.DiGraph, query: Query) -> Mapping[Node, float]:
        raise _Weighed(function(graph, query))

    try:
        index.ask(question, policy=stop, **options)
    except NothingFound:
        return {}
    except _Weighed as found:
        return found.weights
    raise AssertionError("ask ran no policy")


def prompt(question: str, policy: str | None = None) -> str:
    """What the model is asked under what the policy composes: without the order in time that the adapter stands for."""
    parsed = parse(question)
    ordered = policies.choose(parsed) == "order"
    return parsed.prompt(question, ordered and policy in (None, "order"))


def adapter(index: Index, weights: Mapping[Node, float]) -> Adapter | None:
    """The composition; None, for the bias alone, where nothing was found."""
    return index.compose(weights) if weights else None
