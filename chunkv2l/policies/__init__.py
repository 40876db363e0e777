"""Policies choose the segments that a question composes, and their weights. No torch here.

A policy is a plain function `policy(graph, query) -> {node: weight}`: `graph` is the segment graph (chunkv2l.graph),
`query` the question with `query.score(nodes)` (the router) and `query.search()` (full text over captions and
subtitles). Weights multiply the adapters of segments, or of groups (chapters, "g0" …); they may be negative; nodes left
out weigh nothing. Where the model has a selector, `query.select(nodes)` compares instead of scoring, and a weight may
also be an array [L, r]: one number for each rank slot of the node. A keyword `top_k` makes a policy listen to --top-k.

Your own: `--policy path/to/file.py:function`, or the function itself from Python. Five lines are enough:

    def best_and_next(graph, query):
        scores = query.score(segments(graph))
        best = max(scores, key=scores.get)
        return {best: 0.7, **{node: 0.3 for node in neighbours(graph, best, "next")}}

(`segments` and `neighbours` are chunkv2l.graph's.)

`choose` takes a built-in by the kind of question; each one's docstring says when to use it.
"""

from __future__ import annotations

from chunkv2l.graph import pick_evenly as spread  # its name in this package's API
from chunkv2l.policies.built_in import (
    Policy,
    best,
    chapters,
    concat,
    diffuse,
    fts,
    mean,
    quote,
    route,
    select,
    shares,
    timeline,
    weighed,
    window,
)
from chunkv2l.policies.loading import BUILT_IN, check, load, run
from chunkv2l.policies.temporal import order
from chunkv2l.query.parse import Parsed

__all__ = [
    "BUILT_IN",
    "Policy",
    "best",
    "chapters",
    "check",
    "choose",
    "concat",
    "diffuse",
    "fts",
    "load",
    "mean",
    "order",
    "quote",
    "route",
    "run",
    "select",
    "shares",
    "spread",
    "timeline",
    "weighed",
    "window",
]


def choose(question: Parsed, spoken: bool = False, selects: bool = False) -> str:
    """Return the name of the policy for a question.

    `order` for order in time ("what happens after …", "how many times …"), `timeline` where a question names nothing to
    look for ("what is this movie about?"), `fts` for what is said, where subtitles have it, `select` for the rest, or
    `route` where the model has no selector.

    Args:
        spoken: the question asks for words that are said, and subtitles have some of them.
        selects: the model has a selector.
    """
    if question.relation is not None and question.relation.kind != "within":
        return "order"
    if not question.statement:
        return "timeline"
    if spoken:
        return "fts"
    return "select" if selects else "route"
