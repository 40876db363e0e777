"""Choose which segments are scored: pure functions on numbers that cost almost nothing to come by. No torch.

A question scores at most so many segments (its budget), however long the movie is. They are chosen in rounds:

1. first the segments whose learned keys are nearest to the statement, and those whose captions or subtitles share
   words with it; where there are no keys, also members of the best chapters and an even spread over the movie;
2. then the neighbours, along `next` both ways and `similar`, of what scored well so far, best first; what is left of
   the budget goes on down the lists of the first round, as far as it could still matter (`scoring.FAINT`).

With keys, most of the budget is theirs, and the few neighbours are for moments that last longer than their best
segment. Without keys, the second step is a search of its own: it gets most of the budget and two rounds. Both ways of
sharing the budget were compared with others (docs/measurements.md#candidates).

A movie with no more segments than the budget is scored whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import networkx as nx

from chunkv2l.graph import Node, neighbours, pick_evenly

FIRST: Final = {True: 1 / 2, False: 1 / 4}
"""Share of the budget that the first round gets, with keys and without."""
AROUND: Final = {True: 1 / 12, False: 1}
"""Share that neighbours may fill, likewise."""
ROUNDS: Final = {True: 1, False: 2}
"""Rounds in which neighbours are looked for, likewise."""
BY_WORDS: Final = {True: 1 / 12, False: 1 / 6}
"""Share that full-text hits may fill in the first round, likewise; keys fill the rest: 40 of the default 48."""
BY_CHAPTERS: Final = 1 / 6
"""Share for chapters where there are no keys: half of it scores chapters, the other half the best ones' members."""
LONG: Final = 2
"""Chapters are scored where the movie has so many budgets of segments."""
SEEDS: Final = 3
"""Best-scored segments whose neighbours are looked at."""


@dataclass
class Choice:
    """Segments chosen so far, in the order of choice, and every list that named each: "key 3", "words 1" …

    Attributes:
        most: how many may be chosen.
        wanted: what may be chosen at all.
    """

    most: int
    wanted: Collection[int]
    sources: dict[int, list[str]] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return self.most - len(self.sources)

    def take(self, named: Iterable[tuple[int, str]], most: int) -> list[int]:
        """Add at most `most` new ones, in order; those that are there already only get another name."""
        new: list[int] = []
        for node, source in named:
            if node in self.sources:
                if source not in self.sources[node]:
                    self.sources[node].append(source)
            elif node in self.wanted and len(new) < most and self.left > 0:
                self.sources[node] = [source]
                new.append(node)
        return new


def named(nodes: Iterable[int], source: str) -> Iterator[tuple[int, str]]:
    """Each with its source and its place in the list, counted from 1."""
    return ((node, f"{source} {place}") for place, node in enumerate(nodes, 1))


def first_look(
    choice: Choice,
    keys: Sequence[int],
    words: Sequence[int],
    members: Sequence[tuple[int, str]],
) -> list[int]:
    """Choose a first batch.

    Args:
        keys: segments by their learned keys, nearest first; none where there are no keys.
        words: full-text hits, best first.
        members: segments of the best chapters, with their source.

    Returns:
        The newly chosen, ascending.
    """
    room = min(choice.left, max(1, round(choice.most * FIRST[bool(keys)])))
    new = choice.take(named(words, "words"), min(room, max(1, round(choice.most * BY_WORDS[bool(keys)]))))
    new += choice.take(named(keys, "key"), room - len(new))
    new += choice.take(members, room - len(new))
    if not keys:
        rest = [node for node in sorted(choice.wanted) if node not in choice.sources]
        new += choice.take(((node, "spread") for node in pick_evenly(rest, room - len(new))), room - len(new))
    return sorted(new)


def second_look(
    choice: Choice,
    graph: nx.DiGraph,
    scores: Mapping[int, float],
    rest: Iterable[tuple[int, str]],
    most: int,
    keyed: bool = False,
) -> list[int]:
    """Choose `most` more: neighbours of the best-scored, then the rest of other lists.

    Args:
        scores: of what was chosen so far; more is better.
        rest: what to fill up with, with its source.
        keyed: there are keys, and few neighbours are enough.

    Returns:
        The newly chosen, ascending.
    """
    best = sorted(scores, key=lambda node: (-scores[node], node))[:SEEDS]
    room = max(1, round(choice.most * AROUND[keyed])) if most else 0
    new = choice.take(_by_turns([_around(graph, seed) for seed in best]), min(room, most))
    new += choice.take(rest, most - len(new))
    return sorted(new)


def _by_turns(lists: Sequence[Sequence[tuple[int, str]]], each: int = 2) -> Iterator[tuple[int, str]]:
    """Two of the first list, two of the second …, then the next two of each."""
    for start in range(0, max(map(len, lists), default=0), each):
        for one in lists:
            yield from one[start : start + each]


def _around(graph: nx.DiGraph, seed: int) -> list[tuple[int, str]]:
    """A segment's neighbours: what follows, what comes before, then what looks like it, most alike first."""
    found: list[tuple[Node, str]] = [(node, f"after {seed}") for node in neighbours(graph, seed, "next")]
    found += [(node, f"before {seed}") for node in graph.predecessors(seed) if "next" in graph[node][seed]]
    alike = sorted(neighbours(graph, seed, "similar"), key=lambda node: -graph[seed][node]["similar"])
    found += [(node, f"like {seed}") for node in alike]
    return [(node, source) for node, source in found if isinstance(node, int)]


def best_members(
    graph: nx.DiGraph, scores: Mapping[str, float], likeness: Mapping[int, float] | None
) -> list[tuple[int, str]]:
    """The members of chapters, best chapter first; within one by their keys, or evenly spread where there are none.

    Args:
        scores: of chapters; more is better.
        likeness: of each segment's key.
    """
    found: list[tuple[int, str]] = []
    for group in sorted(scores, key=lambda group: -scores[group]):
        data = graph.nodes[group]
        inside = [node for node in range(data["first"], data["last"] + 1) if node in graph]
        if likeness is not None:
            inside.sort(key=lambda node: -likeness[node])
        found += [(node, f"in {group}") for node in inside]
    return found
