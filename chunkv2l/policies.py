"""Policies: which segments a question composes, and with which weights. No torch here.

A policy is a plain function `policy(graph, query) -> {node: weight}`: `graph` is the segment graph (chunkv2l.graph),
`query` the question with `query.score(nodes)` (the router) and `query.search()` (full text over captions and
subtitles). Weights multiply the segments' adapters; they may be negative; nodes left out weigh nothing. A keyword
`top_k` makes a policy listen to --top-k.

Your own: `--policy path/to/file.py:function`, or the function itself from Python. Five lines are enough:

    def best_and_next(graph, query):
        scores = query.score(graph.nodes)
        best = max(scores, key=scores.get)
        return {best: 0.7, **{node: 0.3 for node in graph.successors(best)}}
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias, cast

import networkx as nx

from chunkv2l.errors import ChunkV2LError, InputError, NothingFound
from chunkv2l.graph import segments
from chunkv2l.query import Node, Query

Policy: TypeAlias = Callable[[nx.DiGraph, Query], Mapping[Node, float]]


def route(graph: nx.DiGraph, query: Query, top_k: int = 4) -> dict[Node, float]:
    """The router's best `top_k` segments, each weighted with its share of their belief. The default: use it first."""
    if not query.statement:
        return timeline(graph, query, top_k)
    return shares(best(query.score(segments(graph)), top_k))


def concat(graph: nx.DiGraph, query: Query, top_k: int | None = None) -> dict[Node, float]:
    """Every segment (or the router's best `top_k`) with weight 1: the paper's composition. Fades beyond a few."""
    return dict.fromkeys(_all_or_best(graph, query, top_k), 1.0)


def mean(graph: nx.DiGraph, query: Query, top_k: int | None = None) -> dict[Node, float]:
    """The average of every segment's adapter (or of the router's best `top_k`): blurred, but it never blows up."""
    nodes = _all_or_best(graph, query, top_k)
    return dict.fromkeys(nodes, 1.0 / len(nodes))


def fts(graph: nx.DiGraph, query: Query, top_k: int = 4) -> dict[Node, float]:
    """Full-text search over captions and subtitles, no router: a baseline, and good for names that were spoken."""
    hits = query.search()
    if not hits:
        raise NothingFound(
            f'No caption or subtitle shares a word with "{query.text}"; use other words, or --policy route.'
        )
    return shares(best(hits, top_k))


def timeline(graph: nx.DiGraph, query: Query, top_k: int = 4) -> dict[Node, float]:
    """`top_k` segments spread evenly over the movie, averaged: for "what is this movie about?"."""
    nodes = spread(segments(graph), top_k)
    return dict.fromkeys(nodes, 1.0 / len(nodes))


BUILT_IN: Mapping[str, Policy] = {policy.__name__: policy for policy in (route, concat, mean, fts, timeline)}


def best(scores: Mapping[Node, float], k: int) -> dict[Node, float]:
    """The `k` highest-scored nodes, best first; of equals, the earlier in `scores`."""
    return dict(sorted(scores.items(), key=lambda item: -item[1])[:k])


def shares(scores: Mapping[Node, float]) -> dict[Node, float]:
    """Absolute values divided by their sum; equal shares when all are 0."""
    total = sum(abs(score) for score in scores.values())
    return {node: abs(score) / total if total > 0 else 1.0 / len(scores) for node, score in scores.items()}


def spread(nodes: list[int], k: int) -> list[int]:
    """At most `k` of `nodes`, evenly spread: the middles of k equal stretches."""
    k = min(k, len(nodes))
    return [nodes[(2 * i + 1) * len(nodes) // (2 * k)] for i in range(k)]


def _all_or_best(graph: nx.DiGraph, query: Query, top_k: int | None) -> list[Node]:
    nodes = segments(graph)
    return list(nodes) if top_k is None else list(best(query.score(nodes), top_k))


def load(spec: str | Policy, top_k: int | None = None) -> tuple[str, Policy]:
    """A policy and its name, from a built-in's name, "FILE.py:function" or a function.

    Args:
        top_k: handed to the policy's own `top_k`; None leaves the policy's default.

    Raises:
        InputError: an unknown name, a file that can't be read or run, no such function, or a `top_k` that isn't
            positive or that the policy doesn't take.
    """
    if callable(spec):
        name, policy = getattr(spec, "__name__", type(spec).__name__), spec
    elif spec in BUILT_IN:
        name, policy = spec, BUILT_IN[spec]
    elif ":" in spec:
        name, policy = spec, _from_file(spec)
    else:
        raise InputError(
            f'There is no policy "{spec}"; choose one of {", ".join(BUILT_IN)}, or name your own as FILE.py:function.'
        )
    if top_k is None:
        return name, policy
    if top_k < 1:
        raise InputError(f"--top-k must be at least 1, not {top_k}.")
    if "top_k" not in _parameters(policy):
        raise InputError(
            f"The policy {name} takes no top_k; leave --top-k out, or give the function a parameter top_k."
        )
    return name, cast(Policy, partial(cast(Callable[..., Any], policy), top_k=top_k))


def run(name: str, policy: Policy, graph: nx.DiGraph, query: Query) -> dict[Node, float]:
    """A policy's weights, checked: finite numbers for known nodes, not all 0 (zeros are dropped).

    Raises:
        InputError: the policy failed, or its result can't be composed; the sentence says why.
    """
    try:
        result: Any = policy(graph, query)
    except ChunkV2LError:
        raise
    except (Exception, SystemExit) as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(at.filename).name}, line {at.lineno}"
        raise InputError(f"The policy {name} failed with {type(error).__name__}: {error} ({place}).") from error
    return check(name, result, graph)


def check(name: str, result: Any, graph: nx.DiGraph) -> dict[Node, float]:
    """See `run`."""
    if not isinstance(result, Mapping):
        raise InputError(f"The policy {name} returned {type(result).__name__}; it must return a dict {{node: weight}}.")
    weights: dict[Node, float] = {}
    for node, weight in result.items():
        if node not in graph:
            known = f"segments 0 to {len(segments(graph)) - 1}"
            raise InputError(f"The policy {name} weighs the node {node!r}, which is not in the graph ({known}).")
        try:
            value = float(weight)
        except (TypeError, ValueError):
            raise InputError(
                f"The policy {name} gives node {node!r} the weight {weight!r}, which is no number."
            ) from None
        if not math.isfinite(value):
            raise InputError(f"The policy {name} gives node {node!r} the weight {value}; weights must be finite.")
        if value:
            weights[node if isinstance(node, str) else int(node)] = value
    if not weights:
        raise InputError(f"The policy {name} chose no segment: it must give at least one node a weight other than 0.")
    return weights


def _from_file(spec: str) -> Policy:
    file, _, function = spec.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise InputError(
            f'There is no file "{file}" to load the policy {function or spec!r} from; name it as FILE.py:function.'
        )
    policy = getattr(_run_file(path), function, None)
    if not callable(policy):
        raise InputError(f'The file "{file}" has no function "{function}"; name the policy as FILE.py:function.')
    return policy  # type: ignore[no-any-return]


def _run_file(path: Path) -> ModuleType:
    """Run a Python file as a module of its own, never looked up by name: it can't stand in for an installed one."""
    name = f"chunkv2l_policy_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f'A policy\'s file must be Python (.py), which "{path}" is not.')
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles inside the file look themselves up here
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f'The policy file "{path}" can\'t be run: {type(error).__name__}: {error}.') from error
    return module


def _parameters(policy: Policy) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(policy).parameters
    except (TypeError, ValueError):
        return {}
