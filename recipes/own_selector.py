"""A selector of one's own: a weight for each rank slot of the best scenes, instead of one number a scene.

chunkv2l ask demo/movie.idx "What is on the table?" --policy recipes/own_selector.py:upper_half --explain

A scene is 30 layers of 8 ranks in `mini`. `query.select` says for each of them how much it answers to the question (its
gate; below 0 the rank is turned around). This policy composes those alone that say more than most of their layer do,
and none below the middle of the model. Of all slots that get a weight, the 64 largest of each layer are composed.
"""

from __future__ import annotations

import networkx as nx
import numpy as np

from chunkv2l.graph import segments
from chunkv2l.policies import weighed
from chunkv2l.query import Node, Query, Weight


def upper_half(graph: nx.DiGraph, query: Query, top_k: int = 8) -> dict[Node, Weight]:
    """The best scenes' slots in the upper half of the layers whose gates are above their layer's median."""
    selected = query.select(segments(graph))
    shares = weighed({scene: found.p for scene, found in selected.items()}, top_k)
    weights: dict[Node, Weight] = {}
    for scene, share in shares.items():
        gates = selected[scene].gates.copy()  # [layers, ranks]
        gates[gates < np.median(gates, axis=1, keepdims=True)] = 0.0
        gates[: len(gates) // 2] = 0.0
        weights[scene] = share * gates
    return weights
