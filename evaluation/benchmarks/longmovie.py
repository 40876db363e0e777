"""Find one photograph among many, in movies with structure: recall of every policy, and seconds a query.

    python -m evaluation longmovie --images photographs --segments 32 --segments 128 --queries 200

A movie of N segments is N photographs, filmed for 4 s each, in runs that share a noun (`evaluation.movies.structure`).
A query is a caption of one of them. Budgeted is what `ask` does by default; exhaustive scores every segment.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click
import networkx as nx
from tqdm import tqdm

import chunkv2l
from chunkv2l import policies
from chunkv2l.ask import Index
from chunkv2l.defaults import AUTO_BUDGET
from chunkv2l.errors import NothingFound
from chunkv2l.graph import Node
from chunkv2l.graph import segments as segments_of
from chunkv2l.models import Model, ModelSpec, load_model
from chunkv2l.query.query import Query
from chunkv2l.train.data.images import ImageSet, load_images
from evaluation.common import metrics, results
from evaluation.common.options import PhotographSettings, photograph_options, policies_or_all_option
from evaluation.common.table import markdown, share
from evaluation.movies.photographs import SECONDS, Encoder, Take, write_movie
from evaluation.movies.structure import Structure, make_structure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Mode = Literal["budgeted", "exhaustive"]
SIZES: Final = (32, 128, 512)


@dataclass(frozen=True)
class Asked:
    """A caption, and the segment that it describes."""

    statement: str
    segment: int


@dataclass(frozen=True)
class QueryResult:
    """The result of one query.

    Attributes:
        rank: of the first span with IoU ≥ .5 with the segment, from 0; None if there is none.
        seconds: until the spans were known; None if the index had cached scores of earlier queries.
    """

    rank: int | None
    seconds: float | None


@dataclass(frozen=True)
class CandidateRecall:
    """Recall of the budgeted candidates for one query.

    Attributes:
        first: exhaustive scoring puts the right segment first.
        candidate: the budgeted candidates include it.
    """

    first: bool
    candidate: bool


def make_movies(
    images: ImageSet, segments: int, queries: int, seed: int, allowed: Sequence[int] | None = None
) -> list[tuple[Structure, list[Asked]]]:
    """Return movies of so many segments, with so many queries in all, each about another segment of its movie.

    Args:
        allowed: photographs to choose from; all captioned ones if None.

    Raises:
        InputError: too few photographs.
    """
    captioned = [i for i, one in enumerate(images.described) if one.captions]
    usable = captioned if allowed is None else [i for i in captioned if i in set(allowed)]
    made: list[tuple[Structure, list[Asked]]] = []
    while queries > 0:
        rng = random.Random(f"longmovie {seed} {segments} {len(made)}")
        movie = make_structure(images.described, segments, rng, usable)
        chosen = sorted(rng.sample(range(segments), min(queries, segments)))
        rng.shuffle(chosen)
        made.append((movie, [Asked(rng.choice(images.described[movie.photographs[i]].captions), i) for i in chosen]))
        queries -= len(chosen)
    return made


def ask(index: Index, asked: Asked, policy: policies.Policy, mode: Mode, cold: bool) -> QueryResult:
    """Ask one query under one policy; `cold` means that the index has no cached score of the statement."""
    try:
        answer = index.ask(asked.statement, policy=policy, budget=AUTO_BUDGET if mode == "budgeted" else "all")
    except NothingFound:
        return QueryResult(None, None)
    true = (SECONDS * asked.segment, SECONDS * (asked.segment + 1))
    ranks = [rank for rank, span in enumerate(answer.spans) if metrics.iou((span.start, span.end), true) >= 0.5]
    return QueryResult(ranks[0] if ranks else None, answer.timing.first_token_s if cold else None)


def candidates(index: Index, statement: str) -> set[int]:
    """Return the segments that `route` scores for a statement within the default budget."""
    route = index.ask(statement, policy="route").route
    looks = route.looks if route is not None else ()
    return {one.node for look in looks for one in look.candidates if isinstance(one.node, int)}


def first_of_all(index: Index, statement: str) -> int:
    """Return the segment that exhaustive scoring puts first."""
    best: list[int] = []

    def look(graph: nx.DiGraph, query: Query) -> dict[Node, float]:
        scores = policies.best(query.score(segments_of(graph)), 1)
        best.extend(node for node in scores if isinstance(node, int))
        return dict.fromkeys(scores, 1.0)

    index.ask(statement, policy=look, budget="all")
    return best[0]


class Movie:
    """Ask one movie's indexes. An index caches scores, so that cold times need an index opened for each policy.

    Args:
        path: the index with learned keys, where the model has them.
        bare: the same index without keys; None if the model has none.
    """

    def __init__(self, path: Path, bare: Path | None, model: Model, named: Mapping[str, policies.Policy]) -> None:
        self._path, self._bare, self._model, self._named = path, bare, model, named

    def run(
        self, queries: Sequence[Asked], timed: int, exhaustive: int
    ) -> Iterator[tuple[dict[tuple[Mode, str], QueryResult], dict[str, CandidateRecall]]]:
        """Yield each query's results by scoring and policy, and its candidates' recall with and without keys.

        Args:
            timed: number of queries that are timed, with an index of its indexes for every policy.
            exhaustive: number of queries that are also asked exhaustively.
        """
        with ExitStack() as stack:

            def opened(path: Path) -> Index:
                index = stack.enter_context(chunkv2l.open(path, model=self._model))
                _ = index.graph, index.router  # made once for an index
                return index

            indexes = {name: opened(self._path) for name in self._named} if timed else {}
            shared, whole = opened(self._path), opened(self._path)
            bare = opened(self._bare) if self._bare else None
            for number, asked in enumerate(queries):
                cold = number < timed
                results: dict[tuple[Mode, str], QueryResult] = {}
                for name, policy in self._named.items():
                    results["budgeted", name] = ask(indexes[name] if cold else shared, asked, policy, "budgeted", cold)
                kept: dict[str, CandidateRecall] = {}
                if number < exhaustive:
                    for name, policy in sorted(self._named.items(), key=lambda item: item[0] != "route"):
                        first = name == "route"
                        results["exhaustive", name] = ask(whole, asked, policy, "exhaustive", cold and first)
                    right = first_of_all(whole, asked.statement) == asked.segment
                    kept["with keys" if bare else "without keys"] = CandidateRecall(
                        right, asked.segment in candidates(shared, asked.statement)
                    )
                    if bare:
                        kept["without keys"] = CandidateRecall(
                            right, asked.segment in candidates(bare, asked.statement)
                        )
                yield results, kept


def summary(
    results_by_query: Sequence[Mapping[tuple[Mode, str], QueryResult]], kept: Sequence[Mapping[str, CandidateRecall]]
) -> dict[str, Any]:
    """Return the figures of one N: {mode: {policy: R@1, R@5, n, seconds}}, and the candidates' recall by index."""
    figures: dict[str, Any] = {"queries": len(results_by_query)}
    for mode in ("budgeted", "exhaustive"):
        rows: dict[str, list[QueryResult]] = {}
        for results_of in results_by_query:
            for (row_mode, name), value in results_of.items():
                if row_mode == mode:
                    rows.setdefault(name, []).append(value)
        figures[mode] = {name: _line(values) for name, values in rows.items()}
    figures["candidates"] = {}
    for variant in ("with keys", "without keys"):
        firsts = [query[variant] for query in kept if variant in query and query[variant].first]
        if any(variant in query for query in kept):
            share = sum(first.candidate for first in firsts) / len(firsts) if firsts else None
            figures["candidates"][variant] = {"share": share, "n": len(firsts)}
    return figures


def _line(values: Sequence[QueryResult]) -> dict[str, float | int | None]:
    ranks = [value.rank for value in values]
    seconds = [value.seconds for value in values if value.seconds is not None]
    return {
        "R@1": sum(rank == 0 for rank in ranks) / len(ranks),
        "R@5": sum(rank is not None and rank < 5 for rank in ranks) / len(ranks),
        "n": len(ranks),
        "seconds": statistics.median(seconds) if seconds else None,
        "timed": len(seconds),
    }


def write_results(figures: Mapping[str, Any], out: Path, seed: int) -> None:
    """Write longmovie.json, longmovie.md and longmovie.png of what is measured so far."""
    results.write("longmovie", figures, table_of(figures), partial(draw, figures=figures), out=out, seed=seed)


def table_of(figures: Mapping[str, Any]) -> str:
    """Return a table with a row for each N, mode and policy, and row of the candidates' recall."""
    rows = [
        [size, mode, policy, share(row["R@1"]), share(row["R@5"]), _seconds(row["seconds"]), str(row["n"])]
        for size, figures_of in figures.items()
        for mode in ("budgeted", "exhaustive")
        for policy, row in figures_of[mode].items()
    ]
    header = ["segments", "scoring", "policy", "R@1", "R@5", "seconds a query", "queries"]
    blocks = [markdown(header, rows)]
    rows = [
        [size, variant, share(row["share"], 3), str(row["n"])]
        for size, figures_of in figures.items()
        for variant, row in figures_of["candidates"].items()
    ]
    if rows:
        header = [
            "segments",
            "index",
            "share of right segments among the candidates, of those that exhaustive scoring puts first",
            "n",
        ]
        blocks.append(markdown(header, rows))
    return "\n\n".join(blocks)


def draw(figure: Figure, figures: Mapping[str, Any]) -> None:
    """Draw R@1 of every policy and of exhaustive `route` over N (left), and seconds a query (right)."""
    left, right = figure.subplots(1, 2)
    sizes = [int(size) for size in figures]
    policies = list(next(iter(figures.values()))["budgeted"])
    for number, policy in enumerate(policies):
        width = 1 + 0.7 * (len(policies) - number)  # several have the same values: lines below stay visible
        recalls = [figures_of["budgeted"][policy]["R@1"] for figures_of in figures.values()]
        left.plot(sizes, recalls, marker="o", linewidth=width, markersize=2 + width, label=policy)
    for mode in ("budgeted", "exhaustive"):
        whole = {
            int(size): figures_of[mode]["route"] for size, figures_of in figures.items() if "route" in figures_of[mode]
        }
        if not whole:
            continue
        if mode == "exhaustive":
            left.plot(list(whole), [row["R@1"] for row in whole.values()], "k--", label="route, exhaustive")
        timed = {size: row["seconds"] for size, row in whole.items() if row["seconds"] is not None}
        right.plot(list(timed), list(timed.values()), marker="o", label=f"route, {mode}")
    for axes, words in ((left, "R@1"), (right, "seconds a query, median")):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("segments")
        axes.set_ylabel(words)
        axes.legend(fontsize=7)
    left.set_ylim(0, 1)
    right.set_ylim(bottom=0)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


@click.command("longmovie")
@click.option("--segments", "sizes", multiple=True, type=int, help="Segments of a movie; may be repeated.")
@click.option("--queries", default=200, show_default=True, type=click.IntRange(min=1), help="For each size.")
@click.option("--exhaustive", type=click.IntRange(min=0), help="Queries asked exhaustively too; all if left out.")
@click.option("--timed", default=10, show_default=True, type=click.IntRange(min=0), help="Queries of each size timed.")
@policies_or_all_option
@photograph_options
def command(
    sizes: tuple[int, ...],
    queries: int,
    exhaustive: int | None,
    timed: int,
    policy_names: tuple[str, ...],
    settings: PhotographSettings,
) -> None:
    """Text to segment in movies of N photographs: R@1 and R@5 per policy, seconds a query, exhaustive and budgeted.

    A span with IoU ≥ .5 with the photograph's 4 s counts as results_by_query. The smaller movies use the largest one's
    photographs, so that fewer are encoded; codes are kept for the next run. Results are written after every movie.
    """
    images = load_images(settings.stem, settings.limit)
    chosen = dict(policies.load(name) for name in policy_names or policies.BUILT_IN)
    segment_counts = sorted(set(sizes or SIZES), reverse=True)
    allowed: tuple[int, ...] | None = None
    plans = {}
    for size in segment_counts:  # first check that there are photographs for all
        plans[size] = make_movies(images, size, queries, settings.seed, allowed)
        allowed = allowed or plans[size][0][0].photographs
    encoder = Encoder(load_model(ModelSpec(settings.model, device=settings.device)), settings.cache, settings.seed)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in sorted(plans):
            results_by_query: list[Mapping[tuple[Mode, str], QueryResult]] = []
            kept: list[Mapping[str, CandidateRecall]] = []
            with tqdm(total=queries, desc=f"{size} segments", unit="query", disable=None) as bar:
                for movie, asked in plans[size]:
                    takes = [Take(images.jpegs[number]) for number in movie.photographs]
                    made = encoder.takes(takes)
                    groups = encoder.groups(takes, made, Path(folder))
                    path = write_movie(Path(folder) / "movie.idx", encoder.model, made, groups)
                    bare = None
                    if encoder.model.keys is not None:
                        bare = write_movie(Path(folder) / "bare.idx", encoder.model, made, groups, keys=False)
                    left = max(0, (queries if exhaustive is None else exhaustive) - len(results_by_query))
                    runs = Movie(path, bare, encoder.model, chosen).run(
                        asked, max(0, timed - len(results_by_query)), left
                    )
                    for query_results, recall in runs:
                        results_by_query.append(query_results)
                        kept.append(recall)
                        bar.update()
                    figures[str(size)] = {"movies": len(plans[size]), **summary(results_by_query, kept)}
                    write_results(figures, settings.out, settings.seed)
    click.echo(table_of(figures))
