"""Several movies' indexes as one source of segments, for `ask.Asker`: numbers, graph, codes, search, sentences.

Numbers of segments go on from movie to movie, with one left out between two, so that no two segments of different
movies are adjacent. Times stay those of each movie.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import networkx as nx
import torch
from torch import Tensor

from chunkv2l.answer.answer import Answer, PartialAnswer
from chunkv2l.answer.spans import Span
from chunkv2l.ask import Asker, Index
from chunkv2l.graph import Node, groups, join_graphs
from chunkv2l.index.rows import SegmentRow

if TYPE_CHECKING:
    from chunkv2l.channels.cues import Sentence
    from chunkv2l.index.meta import Meta
    from chunkv2l.models import Model


@dataclass(frozen=True)
class MovieSegment(SegmentRow):
    """A segment of a movie; one without length stands for the number that is left out between two movies."""

    movie: str = ""


GAP = MovieSegment(-1, -1.0, -1.0, "")


class OpenedMovie:
    """A movie's opened index, and its name in the library."""

    def __init__(self, name: str, index: Index) -> None:
        self.name, self.index = name, index

    @cached_property
    def keys(self) -> Tensor | None:
        """The learned keys [n, K], read once."""
        return self.index.file.keys()


@dataclass(frozen=True)
class Part:
    """An opened movie within a joined source; `first` is the number of its first segment there."""

    first: int
    opened: OpenedMovie

    @property
    def movie(self) -> str:
        """The movie's name."""
        return self.opened.name

    @property
    def index(self) -> Index:
        """The movie's index."""
        return self.opened.index

    @property
    def last(self) -> int:
        """The number of its last segment."""
        return self.first + len(self.index) - 1


class JoinedFile:
    """Reads several indexes like one (`ask.Source`)."""

    def __init__(self, movies: Sequence[OpenedMovie], speaking: Collection[str]) -> None:
        """
        Args:
            movies: of one model; at least one.
            speaking: names of those whose sentences are read; the others count as if they had none.
        """
        self._speaking = speaking
        self.parts: list[Part] = []
        segments: list[SegmentRow] = []
        for movie in movies:
            if segments:
                segments.append(GAP)
            self.parts.append(Part(len(segments), movie))
            segments += [
                MovieSegment(row.id, row.start, row.end, row.caption, row.speech, row.mu, movie.name)
                for row in movie.index.segments
            ]
        self.segments: Sequence[SegmentRow] = segments

    @property
    def meta(self) -> Meta:
        """The first index's; model and shape of codes are those of all."""
        return self.parts[0].index.file.meta

    def __len__(self) -> int:
        return len(self.segments)

    def graph(self) -> nx.DiGraph:
        """Return the joined graph, frozen."""
        return join_graphs((part.movie, part.first, part.index.graph) for part in self.parts)

    @cached_property
    def _chapters(self) -> dict[str, tuple[Part, str]]:
        named = [(part, group) for part in self.parts for group in groups(part.index.graph)]
        return {f"g{k}": chapter for k, chapter in enumerate(named)}

    def codes(self, nodes: Sequence[Node]) -> Tensor:
        """Return nodes' codes, float32 [n, L, r, d]."""
        located_in: dict[int, list[tuple[int, Node]]] = {}
        for position, node in enumerate(nodes):
            part, local = self._locate(node)
            located_in.setdefault(part.first, []).append((position, local))
        codes = torch.empty(len(nodes), *self.meta.code_shape)
        for part in self.parts:
            if located := located_in.get(part.first):
                codes[[position for position, _ in located]] = part.index.file.codes([node for _, node in located])
        return codes

    def _locate(self, node: Node) -> tuple[Part, Node]:
        if isinstance(node, str):
            return self._chapters[node]
        part = self.part_of(node)
        return part, node - part.first

    def part_of(self, number: int) -> Part:
        """Return the part that a segment belongs to."""
        return next(part for part in self.parts if number <= part.last)

    def keys(self) -> Tensor | None:
        """Return all keys [n, K], zeros between movies; None where a movie has none."""
        rows: list[Tensor] = []
        for part in self.parts:
            keys = part.opened.keys
            if keys is None or (rows and rows[0].shape[1] != keys.shape[1]):
                return None
            if rows:
                rows.append(torch.zeros(1, keys.shape[1]))
            rows.append(keys)
        return torch.cat(rows)

    def sentences(self) -> tuple[Sentence, ...]:
        """Return all movies' sentences, each with its movie."""
        return self._sentences

    @cached_property
    def _sentences(self) -> tuple[Sentence, ...]:
        return tuple(
            replace(sentence, movie=part.movie)
            for part in self._speaking_parts
            for sentence in part.index.file.sentences()
        )

    @property
    def _speaking_parts(self) -> list[Part]:
        return [part for part in self.parts if part.movie in self._speaking]

    def sentence_vectors(self) -> Tensor | None:
        """Return the sentences' vectors [n, D]; None where a movie's have none."""
        with_sentences = [part.index.file for part in self._speaking_parts if part.index.file.sentences()]
        vectors = [file.sentence_vectors() for file in with_sentences]
        known = [tensor for tensor in vectors if tensor is not None]
        if not known or len(known) < len(vectors) or len({tensor.shape[1] for tensor in known}) > 1:
            return None
        return torch.cat(known)

    def search(self, text: str, limit: int = 32, within: tuple[int, int] | None = None) -> list[tuple[int, float]]:
        """Search captions, subtitles and tags, as `IndexFile.search` does, in every movie."""
        begin, end = within or (0, len(self))
        hits: list[tuple[int, float]] = []
        for part in self.parts:
            first, last = max(begin, part.first), min(end, part.last)
            if first <= last:
                local = part.index.file.search(text, limit, (first - part.first, last - part.first))
                hits += [(part.first + number, relevance) for number, relevance in local]
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))[:limit]


class JoinedAsker(Asker):
    """Asks the joined indexes of the movies that were chosen for a question."""

    def __init__(self, joined: JoinedFile, model: Model, segments: int, sentences: int, opening_s: float = 0.0) -> None:
        """
        Args:
            joined: the indexes.
            segments, sentences: of all movies that the question is about, opened or not.
            opening_s: as for `Asker`.
        """
        self.joined = joined
        super().__init__(self.joined, model, opening_s)
        self._sentences = sentences
        self._scale = segments / sum(len(part.index) for part in joined.parts)

    @property
    def sentence_scale(self) -> float:
        """The sentences of all movies for each of those that were opened."""
        return max(1.0, self._sentences / max(1, len(self.joined.sentences())))

    def population(self, graph: nx.DiGraph) -> int:
        """Return N: the graph's segments, and as large a part of those of the movies that weren't opened."""
        return round(self._scale * sum(isinstance(node, int) for node in graph))

    def localise(self, answer: Answer) -> Answer:
        """Return an answer whose spans have their segments' numbers within their movies."""
        return replace(answer, spans=self._localise(answer.spans))

    def localise_partial(self, answer: PartialAnswer) -> PartialAnswer:
        """Return the same of an answer that is being made."""
        return replace(answer, spans=self._localise(answer.spans))

    def _localise(self, spans: Sequence[Span]) -> tuple[Span, ...]:
        return tuple(
            replace(span, segments=tuple(n - self.joined.part_of(n).first for n in span.segments)) for span in spans
        )
