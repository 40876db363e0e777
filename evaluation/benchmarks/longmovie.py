"""Finding one photograph among many, in movies with structure: what every policy finds, and what a query costs.

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
from chunkv2l.defaults import BUDGET
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
    """A caption, and the segment of the movie that it is a caption of."""

    statement: str
    segment: int


@dataclass(frozen=True)
class Found:
    """One answer: the rank (from 0) of the first span that fits the segment (IoU ≥ .5), None where none does; seconds
    until the spans were known, None where earlier answers had left scores behind."""

    rank: int | None
    seconds: float | None


@dataclass(frozen=True)
class Kept:
    """Whether exhaustive scoring puts the right segment first, and whether the budgeted candidates have it."""

    first: bool
    candidate: bool


def make_movies(
    images: ImageSet, segments: int, queries: int, seed: int, allowed: Sequence[int] | None = None
) -> list[tuple[Structure, list[Asked]]]:
    """Movies of so many segments with so many queries in all, each about another segment of its movie.

    Args:
        allowed: the photographs that may be used; all captioned ones if None.

    Raises:
        InputError: the photographs can't fill them.
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


def ask(index: Index, asked: Asked, policy: policies.Policy, mode: Mode, cold: bool) -> Found:
    """One query under one policy; `cold` says that the index has no score of this statement yet."""
    try:
        answer = index.ask(asked.statement, policy=policy, budget=BUDGET if mode == "budgeted" else "all")
    except NothingFound:
        return Found(None, None)
    true = (SECONDS * asked.segment, SECONDS * (asked.segment + 1))
    ranks = [rank for rank, span in enumerate(answer.spans) if metrics.iou((span.start, span.end), true) >= 0.5]
    return Found(ranks[0] if ranks else None, answer.timing.first_token_s if cold else None)


def candidates(index: Index, statement: str) -> set[int]:
    """The segments that `route` scores for a statement within the default budget."""
    route = index.ask(statement, policy="route").route
    looks = route.looks if route is not None else ()
    return {one.node for look in looks for one in look.candidates if isinstance(one.node, int)}


def first_of_all(index: Index, statement: str) -> int:
    """The segment that exhaustive scoring puts first."""
    best: list[int] = []

    def look(graph: nx.DiGraph, query: Query) -> dict[Node, float]:
        scores = policies.best(query.score(segments_of(graph)), 1)
        best.extend(node for node in scores if isinstance(node, int))
        return dict.fromkeys(scores, 1.0)

    index.ask(statement, policy=look, budget="all")
    return best[0]


class Movie:
    """One movie's indexes, opened as often as cold times need: an index remembers the scores of the last statements.

    Args:
        path: the index with learned keys, where the model has them; `bare` is the same without.
    """

    def __init__(self, path: Path, bare: Path | None, model: Model, named: Mapping[str, policies.Policy]) -> None:
        self._path, self._bare, self._model, self._named = path, bare, model, named

    def run(
        self, queries: Sequence[Asked], timed: int, exhaustive: int
    ) -> Iterator[tuple[dict[tuple[Mode, str], Found], dict[str, Kept]]]:
        """What every policy finds for each query, and whether candidates keep what exhaustive scoring finds.

        Args:
            timed: for so many queries every budgeted policy is asked of an index of its own, and `route` exhaustively.
            exhaustive: so many queries are asked exhaustively too.
        """
        with ExitStack() as stack:

            def opened(path: Path) -> Index:
                index = stack.enter_context(chunkv2l.open(path, model=self._model))
                _ = index.graph, index.router  # made once an index, not once a question
                return index

            own = {name: opened(self._path) for name in self._named} if timed else {}
            shared, whole = opened(self._path), opened(self._path)
            bare = opened(self._bare) if self._bare else None
            for number, asked in enumerate(queries):
                cold = number < timed
                found: dict[tuple[Mode, str], Found] = {}
                for name, policy in self._named.items():
                    found["budgeted", name] = ask(own[name] if cold else shared, asked, policy, "budgeted", cold)
                kept: dict[str, Kept] = {}
                if number < exhaustive:
                    for name, policy in sorted(self._named.items(), key=lambda item: item[0] != "route"):
                        first = name == "route"
                        found["exhaustive", name] = ask(whole, asked, policy, "exhaustive", cold and first)
                    right = first_of_all(whole, asked.statement) == asked.segment
                    kept["with keys" if bare else "without keys"] = Kept(
                        right, asked.segment in candidates(shared, asked.statement)
                    )
                    if bare:
                        kept["without keys"] = Kept(right, asked.segment in candidates(bare, asked.statement))
                yield found, kept


def summary(found: Sequence[Mapping[tuple[Mode, str], Found]], kept: Sequence[Mapping[str, Kept]]) -> dict[str, Any]:
    """Figures of one N: {mode: {policy: R@1, R@5, n, seconds}}, and the candidates' share by kind of index."""
    figures: dict[str, Any] = {"queries": len(found)}
    for mode in ("budgeted", "exhaustive"):
        rows: dict[str, list[Found]] = {}
        for one in found:
            for (own, name), value in one.items():
                if own == mode:
                    rows.setdefault(name, []).append(value)
        figures[mode] = {name: _line(values) for name, values in rows.items()}
    figures["candidates"] = {}
    for kind in ("with keys", "without keys"):
        firsts = [one[kind] for one in kept if kind in one and one[kind].first]
        if any(kind in one for one in kept):
            share = sum(one.candidate for one in firsts) / len(firsts) if firsts else None
            figures["candidates"][kind] = {"share": share, "n": len(firsts)}
    return figures


def _line(values: Sequence[Found]) -> dict[str, float | int | None]:
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
    """A row a policy, mode and N; then the candidates' share."""
    rows = [
        [size, mode, policy, share(one["R@1"]), share(one["R@5"]), _seconds(one["seconds"]), str(one["n"])]
        for size, own in figures.items()
        for mode in ("budgeted", "exhaustive")
        for policy, one in own[mode].items()
    ]
    header = ["segments", "scoring", "policy", "R@1", "R@5", "seconds a query", "queries"]
    blocks = [markdown(header, rows)]
    rows = [
        [size, kind, share(one["share"], 3), str(one["n"])]
        for size, own in figures.items()
        for kind, one in own["candidates"].items()
    ]
    if rows:
        header = [
            "segments",
            "index",
            "right one among the candidates, of those first when all are scored",
            "n",
        ]
        blocks.append(markdown(header, rows))
    return "\n\n".join(blocks)


def draw(figure: Figure, figures: Mapping[str, Any]) -> None:
    """R@1 of every budgeted policy over N, `route` exhaustively beside it; seconds a query on the right."""
    left, right = figure.subplots(1, 2)
    sizes = [int(size) for size in figures]
    policies = list(next(iter(figures.values()))["budgeted"])
    for number, policy in enumerate(policies):
        width = 1 + 0.7 * (len(policies) - number)  # several find the same: who is drawn over stays visible
        found = [own["budgeted"][policy]["R@1"] for own in figures.values()]
        left.plot(sizes, found, marker="o", linewidth=width, markersize=2 + width, label=policy)
    for mode in ("budgeted", "exhaustive"):
        whole = {int(size): own[mode]["route"] for size, own in figures.items() if "route" in own[mode]}
        if not whole:
            continue
        if mode == "exhaustive":
            left.plot(list(whole), [one["R@1"] for one in whole.values()], "k--", label="route, exhaustive")
        timed = {size: one["seconds"] for size, one in whole.items() if one["seconds"] is not None}
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

    A span with IoU ≥ .5 with the photograph's 4 s counts as found. The smaller movies are made of the largest one's
    photographs, so that no more than those are encoded; they are kept for the next run. Results are written after
    every movie.
    """
    images = load_images(settings.stem, settings.limit)
    chosen = dict(policies.load(one) for one in policy_names or policies.BUILT_IN)
    wanted = sorted(set(sizes or SIZES), reverse=True)
    allowed: tuple[int, ...] | None = None
    plans = {}
    for size in wanted:  # all of them, before hours are spent on the first
        plans[size] = make_movies(images, size, queries, settings.seed, allowed)
        allowed = allowed or plans[size][0][0].photographs
    encoder = Encoder(load_model(ModelSpec(settings.model, device=settings.device)), settings.cache, settings.seed)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in sorted(plans):
            found: list[Mapping[tuple[Mode, str], Found]] = []
            kept: list[Mapping[str, Kept]] = []
            with tqdm(total=queries, desc=f"{size} segments", unit="query", disable=None) as bar:
                for movie, asked in plans[size]:
                    takes = [Take(images.jpegs[number]) for number in movie.photographs]
                    made = encoder.takes(takes)
                    groups = encoder.groups(takes, made, Path(folder))
                    path = write_movie(Path(folder) / "movie.idx", encoder.model, made, groups)
                    bare = None
                    if encoder.model.keys is not None:
                        bare = write_movie(Path(folder) / "bare.idx", encoder.model, made, groups, keys=False)
                    left = max(0, (queries if exhaustive is None else exhaustive) - len(found))
                    runs = Movie(path, bare, encoder.model, chosen).run(asked, max(0, timed - len(found)), left)
                    for one, candidate in runs:
                        found.append(one)
                        kept.append(candidate)
                        bar.update()
                    figures[str(size)] = {"movies": len(plans[size]), **summary(found, kept)}
                    write_results(figures, settings.out, settings.seed)
    click.echo(table_of(figures))
