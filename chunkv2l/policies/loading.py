"""Load a policy by name, from a file or from a function; run it and check its weights."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import networkx as nx
import numpy as np

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.files import load_from_file
from chunkv2l.graph import Node, Weight, groups, segments
from chunkv2l.policies.built_in import (
    Policy,
    chapters,
    concat,
    diffuse,
    fts,
    mean,
    quote,
    route,
    select,
    timeline,
    window,
)
from chunkv2l.policies.temporal import order
from chunkv2l.query.query import Query
from chunkv2l.sanitize import number_range, quoted

BUILT_IN: Mapping[str, Policy] = {
    policy.__name__: policy
    for policy in (select, route, concat, mean, fts, window, diffuse, chapters, timeline, order, quote)
}

MAX_WEIGHT: Final = 1e6
"""Size of a weight; with larger ones, what the model computes is no longer finite."""


def load(spec: str | Policy, top_k: int | None = None) -> tuple[str, Policy]:
    """Return a policy and its name, from a built-in's name, "FILE.py:function" or a function.

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


def run(
    name: str, policy: Policy, graph: nx.DiGraph, query: Query, slots: tuple[int, int] | None = None
) -> dict[Node, Weight]:
    """Run a policy and return its weights: finite numbers for known nodes, not all 0 (zeros are dropped).

    Args:
        slots: (L, r) of a code, which weights of rank slots must have; None where they can't be composed.

    Raises:
        InputError: the policy failed, or its result can't be composed; the sentence says why.
    """
    try:
        return check(name, policy(graph, query), graph, slots)
    except ChunkV2LError:
        raise
    except (Exception, SystemExit) as error:  # of the policy, or of the values that it returned
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}, line {frame.lineno}"
        raise InputError(f"The policy {name} failed with {type(error).__name__}: {quoted(error)} ({where}).") from error


def check(name: str, result: Any, graph: nx.DiGraph, slots: tuple[int, int] | None = None) -> dict[Node, Weight]:
    """Return a policy's result as weights; raise `InputError` where it can't be composed. See `run`."""
    if not isinstance(result, Mapping):
        raise InputError(f"The policy {name} returned {type(result).__name__}; it must return a dict {{node: weight}}.")
    weights: dict[Node, Weight] = {}
    for node, weight in result.items():
        if node not in graph:
            known = _known(graph)
            raise InputError(f"The policy {name} weighs the node {node!r}, which is not in the graph ({known}).")
        is_array = isinstance(weight, list | tuple) or getattr(weight, "ndim", 0) > 0
        value = _check_slots(name, node, weight, slots) if is_array else _check_number(name, node, weight)
        if np.any(value):
            weights[node if isinstance(node, str) else int(node)] = value
    if not weights:
        raise InputError(f"The policy {name} chose no segment: it must give at least one node a weight other than 0.")
    return weights


def _check_number(name: str, node: Node, weight: Any) -> float:
    try:
        value = float(weight)
    except OverflowError:
        value = math.inf
    except (TypeError, ValueError):
        raise InputError(
            f"The policy {name} gives node {node!r} the weight {quoted(repr(weight))}, which is no number."
        ) from None
    if not math.isfinite(value):
        raise InputError(f"The policy {name} gives node {node!r} the weight {value}; weights must be finite.")
    if abs(value) > MAX_WEIGHT:
        raise InputError(
            f"The policy {name} gives node {node!r} the weight {value:g}; weights lie between "
            f"{-MAX_WEIGHT:,.0f} and {MAX_WEIGHT:,.0f}."
        )
    return value


def _check_slots(name: str, node: Node, weight: Any, slots: tuple[int, int] | None) -> Weight:
    """Return weights of a node's rank slots as a read-only array [L, r] of its own."""
    if slots is None:
        raise InputError(f"The policy {name} gives node {node!r} weights of rank slots, which can't be used here.")
    try:
        values = np.array(weight, dtype=np.float32)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"The policy {name} gives node {node!r} the weight {quoted(repr(weight))}, which is no array of numbers."
        ) from None
    if values.shape != slots:
        raise InputError(
            f"The policy {name} gives node {node!r} weights {list(values.shape)}; the rank slots of this index are "
            f"{list(slots)}: layers, ranks."
        )
    if not bool(np.isfinite(values).all()):
        raise InputError(f"The policy {name} gives node {node!r} weights that aren't finite numbers.")
    if float(np.abs(values).max()) > MAX_WEIGHT:
        raise InputError(
            f"The policy {name} gives node {node!r} a weight of {float(np.abs(values).max()):g}; weights lie between "
            f"{-MAX_WEIGHT:,.0f} and {MAX_WEIGHT:,.0f}."
        )
    values.flags.writeable = False
    return values


def _known(graph: nx.DiGraph) -> str:
    """Return the graph's nodes in words: "segments 0 to 39, groups g0 to g4"."""
    numbers, names = segments(graph), groups(graph)
    text = number_range("segment", numbers[0], numbers[-1])
    if not names:
        return text
    return f"{text}, group {names[0]}" if len(names) == 1 else f"{text}, groups {names[0]} to {names[-1]}"


def _from_file(spec: str) -> Policy:
    policy = load_from_file(spec, "policy", "FILE.py:function")
    if not callable(policy):
        file, _, function = spec.rpartition(":")
        raise InputError(f'The file "{file}" has no function "{function}"; name the policy as FILE.py:function.')
    return policy


def _parameters(policy: Policy) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(policy).parameters
    except (TypeError, ValueError):
        return {}
