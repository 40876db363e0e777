"""Choose which segments are worth scoring, by numbers that cost almost nothing. Pure functions; no torch here.

A question scores a limited number of segments (its budget), however long the movie is. They are chosen in rounds:

1. The segments whose keys are nearest to the statement, and those whose captions or subtitles share words with it.
   Where there are no keys, also members of the best chapters, and segments spread evenly over the movie.
2. The neighbours, along `next` both ways and along `similar`, of what scored best so far. What is left of the budget
   goes on down the first round's lists, as far as it could still matter (`scoring.MIN_PROSPECT`). Without keys this
   round is the real search, so it gets most of the budget and is repeated.

With keys, more of the nearest keys serve better than more neighbours; a few neighbours help where a moment lasts longer
than its best segment. docs/measurements.md#candidates has the shares compared.

A movie with no more segments than the budget is scored whole, without any of this.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import networkx as nx

from chunkv2l.graph import Node, neighbours, pick_evenly


@dataclass(frozen=True)
class Shares:
    """Shares of a budget.

    Attributes:
        first_round: share of the budget for the first round.
        words: share that full-text hits may fill in it.
        neighbours: share that neighbours may fill in each later round.
        later_rounds: number of rounds after the first.
    """

    first_round: float
    words: float
    neighbours: float
    later_rounds: int


WITH_KEYS: Final = Shares(first_round=1 / 2, words=1 / 12, neighbours=1 / 12, later_rounds=1)
WITHOUT_KEYS: Final = Shares(first_round=1 / 4, words=1 / 6, neighbours=1.0, later_rounds=2)
COMPARED: Final = 64
"""Segments that the selector compares with a statement, however long the movie is."""
COMPARED_WORDS: Final = 8
"""Of these, how many full-text hits may fill."""
CHAPTER_SHARE: Final = 1 / 6
"""Share for chapters where there are no keys: half of it scores chapters, half the members of the best ones."""
CHAPTERS_FROM: Final = 2
"""Chapters are scored where the movie has at least so many times as many segments as the budget allows."""
SEEDS: Final = 3
"""Best-scored segments whose neighbours are considered."""


@dataclass
class Choice:
    """The segments chosen so far, in the order of choice, with every list that named each: "key 3", "words 1" …

    Attributes:
        limit: number of segments that may be chosen.
        eligible: the segments that may be chosen.
        sources: of each chosen segment, why it was chosen.
    """

    limit: int
    eligible: Collection[int]
    sources: dict[int, list[str]] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """The number of segments that may still be chosen."""
        return self.limit - len(self.sources)

    def take(self, named: Iterable[tuple[int, str]], limit: int) -> list[int]:
        """Choose at most `limit` new segments, in order; those already chosen only get another source.

        Args:
            named: (segment, source), best first.
        """
        new: list[int] = []
        for node, source in named:
            if node in self.sources:
                if source not in self.sources[node]:
                    self.sources[node].append(source)
            elif node in self.eligible and len(new) < limit and self.left > 0:
                self.sources[node] = [source]
                new.append(node)
        return new


def number_sources(nodes: Iterable[int], source: str) -> Iterator[tuple[int, str]]:
    """Yield each node with its source and its position, counted from 1: (17, "key 1"), …"""
    return ((node, f"{source} {position}") for position, node in enumerate(nodes, 1))


def choose_compared(choice: Choice, keys: Sequence[int], words: Sequence[int]) -> list[int]:
    """Choose the segments that the selector compares: full-text hits and the nearest keys, or an even spread.

    Args:
        keys: segments by key similarity, nearest first; empty where there are no keys.
        words: full-text hits, best first.

    Returns:
        The chosen, ascending.
    """
    choice.take(number_sources(words, "words"), COMPARED_WORDS)
    choice.take(number_sources(keys, "key"), choice.left)
    unchosen = [node for node in sorted(choice.eligible) if node not in choice.sources]
    choice.take(((node, "spread") for node in pick_evenly(unchosen, choice.left)), choice.left)
    return sorted(choice.sources)


def choose_first_round(
    choice: Choice,
    keys: Sequence[int],
    words: Sequence[int],
    members: Sequence[tuple[int, str]],
) -> list[int]:
    """Choose the first round's segments.

    Args:
        keys: segments by key similarity, nearest first; empty where there are no keys.
        words: full-text hits, best first.
        members: segments of the best chapters, with their source.

    Returns:
        The newly chosen, ascending.
    """
    shares = WITH_KEYS if keys else WITHOUT_KEYS
    room = min(choice.left, max(1, round(choice.limit * shares.first_round)))
    new = choice.take(number_sources(words, "words"), min(room, max(1, round(choice.limit * shares.words))))
    new += choice.take(number_sources(keys, "key"), room - len(new))
    new += choice.take(members, room - len(new))
    if not keys:
        unchosen = [node for node in sorted(choice.eligible) if node not in choice.sources]
        evenly = pick_evenly(unchosen, room - len(new))
        new += choice.take(((node, "spread") for node in evenly), room - len(new))
    return sorted(new)


def choose_later_round(
    choice: Choice,
    graph: nx.DiGraph,
    scores: Mapping[int, float],
    fillers: Iterable[tuple[int, str]],
    limit: int,
    shares: Shares = WITHOUT_KEYS,
) -> list[int]:
    """Choose `limit` more segments: neighbours of the best-scored, then fillers.

    Args:
        scores: of the segments chosen so far; more is better.
        fillers: (segment, source) to fill up with, best first.
        shares: what neighbours may fill.

    Returns:
        The newly chosen, ascending.
    """
    seeds = sorted(scores, key=lambda node: (-scores[node], node))[:SEEDS]
    room = max(1, round(choice.limit * shares.neighbours)) if limit else 0
    new = choice.take(_by_turns([_neighbours_of(graph, seed) for seed in seeds]), min(room, limit))
    new += choice.take(fillers, limit - len(new))
    return sorted(new)


def _by_turns(lists: Sequence[Sequence[tuple[int, str]]], each: int = 2) -> Iterator[tuple[int, str]]:
    """Yield two items of the first list, two of the second …, then the next two of each."""
    for start in range(0, max(map(len, lists), default=0), each):
        for items in lists:
            yield from items[start : start + each]


def _neighbours_of(graph: nx.DiGraph, seed: int) -> list[tuple[int, str]]:
    """Return a segment's neighbours: what follows, what comes before, then what is similar, most similar first."""
    named: list[tuple[Node, str]] = [(node, f"after {seed}") for node in neighbours(graph, seed, "next")]
    named += [(node, f"before {seed}") for node in graph.predecessors(seed) if "next" in graph[node][seed]]
    similar = sorted(neighbours(graph, seed, "similar"), key=lambda node: -graph[seed][node]["similar"])
    named += [(node, f"like {seed}") for node in similar]
    return [(node, source) for node, source in named if isinstance(node, int)]


def rank_members(
    graph: nx.DiGraph, scores: Mapping[str, float], key_similarity: Mapping[int, float] | None
) -> list[tuple[int, str]]:
    """Return the members of chapters with their source, best chapter first.

    Within a chapter they are ordered by key similarity, or by time where there are no keys.

    Args:
        scores: of chapters; more is better.
        key_similarity: of each segment.
    """
    named: list[tuple[int, str]] = []
    for chapter in sorted(scores, key=lambda chapter: -scores[chapter]):
        data = graph.nodes[chapter]
        inside = [node for node in range(data["first"], data["last"] + 1) if node in graph]
        if key_similarity is not None:
            inside.sort(key=lambda node: -key_similarity[node])
        named += [(node, f"in {chapter}") for node in inside]
    return named
