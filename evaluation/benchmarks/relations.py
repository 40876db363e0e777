"""Ask about order in time, on movies of known order: before, after, while, first, last, how many times, within.

    python -m evaluation relations --images photographs

Each question is asked as a user asks it, and with `concat`; a further column says how often the router alone finds the
event that the question refers to.
"""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from num2words import num2words
from tqdm import tqdm

import chunkv2l
from chunkv2l.answer.spans import Span
from chunkv2l.ask import Index
from chunkv2l.errors import NothingFound
from chunkv2l.models import ModelSpec, load_model
from chunkv2l.train.data.images import load_images
from evaluation.common import metrics, results
from evaluation.common.options import PhotographSettings, photograph_options
from evaluation.common.table import markdown, share
from evaluation.movies.photographs import SECONDS, Encoder, Take, write_movie
from evaluation.movies.relation_cases import LEAST, RELATIONS, Ordered, Question, make_ordered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WAYS = ("ask", "concat")
_NUMBERS = {num2words(number): number for number in range(1, 21)} | {"once": 1, "twice": 2, "no": 0, "never": 0}


@dataclass(frozen=True)
class Outcome:
    """The result of one question.

    Attributes:
        right: by way, True if the answer's first span is the right segment (IoU ≥ .5); for "count", an occurrence.
        anchor: True if the router's first span for the anchor's statement is one of its occurrences.
        counted: for "count", the number in the answer to `ask`; None if it has none.
    """

    question: Question
    right: Mapping[str, bool]
    anchor: bool
    counted: int | None


def hits(spans: Sequence[Span], segments: Sequence[int]) -> bool:
    """Return True if the first span has IoU ≥ .5 with one of these segments."""
    truths = [(SECONDS * i, SECONDS * (i + 1)) for i in segments]
    return bool(spans) and metrics.best_iou((spans[0].start, spans[0].end), truths) >= 0.5


def number_in(text: str) -> int | None:
    """Return the first number in a text, in digits or words; None if there is none.

    >>> number_in("It happens three times."), number_in("2 times"), number_in("A dog.")
    (3, 2, None)
    """
    for word in re.findall(r"\d+|[a-z-]+", text.lower()):
        if word.isdigit():
            return int(word)
        if word in _NUMBERS:
            return _NUMBERS[word]
    return None


def ask(index: Index, question: Question) -> Outcome:
    """Ask a question in both ways, and its anchor with the router alone."""
    right, counted = {}, None
    for way in WAYS:
        spans, text = _asked(index, question.text, None if way == "ask" else way)
        right[way] = hits(spans, question.right)
        if way == "ask" and question.relation == "count":
            counted = number_in(text)
    anchor, _ = _asked(index, question.anchor, "route")
    return Outcome(question, right, hits(anchor, question.occurrences), counted)


def _asked(index: Index, text: str, policy: str | None) -> tuple[Sequence[Span], str]:
    try:
        answer = index.ask(text, policy=policy)
    except NothingFound:
        return (), ""
    return answer.spans, answer.answer


def figures_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return shares by relation, by relation and type of event, and over all."""
    groups: dict[str, list[Outcome]] = {kind: [] for kind in RELATIONS}
    for outcome in outcomes:
        groups[outcome.question.relation].append(outcome)
        if outcome.question.event != "anchor":
            groups.setdefault(f"{outcome.question.relation}, {outcome.question.event}", []).append(outcome)
    return {**{name: _shares(own) for name, own in sorted(groups.items()) if own}, "all": _shares(outcomes)}


def _shares(outcomes: Sequence[Outcome]) -> dict[str, float | int | None]:
    count = len(outcomes)
    figures: dict[str, float | int | None] = {
        way: sum(outcome.right[way] for outcome in outcomes) / count for way in WAYS
    }
    figures["anchor R@1"] = sum(outcome.anchor for outcome in outcomes) / count
    figures["n"] = count
    asked = [outcome for outcome in outcomes if outcome.question.relation == "count"]
    true = [len(outcome.question.occurrences) for outcome in asked]
    figures["count exact"] = (
        sum(outcome.counted == k for outcome, k in zip(asked, true, strict=True)) / len(asked) if asked else None
    )
    said = [(outcome.counted, k) for outcome, k in zip(asked, true, strict=True) if outcome.counted is not None]
    figures["count off by"] = sum(abs(number - k) for number, k in said) / len(said) if said else None
    return figures


def table_of(figures: Mapping[str, Any]) -> str:
    """Return a table with a row a relation."""
    rows = [
        [
            name,
            share(figure["ask"]),
            share(figure["anchor R@1"]),
            share(figure["concat"]),
            share(figure["count exact"]),
            "–" if figure["count off by"] is None else f"{figure['count off by']:.1f}",
            str(figure["n"]),
        ]
        for name, figure in figures.items()
    ]
    header = ["question", "right segment", "router's R@1 on the anchor", "concat", "count exact", "off by", "questions"]
    return markdown(header, rows)


def draw(figure: Figure, figures: Mapping[str, Any]) -> None:
    """Draw a group of bars for each relation."""
    axes = figure.subplots()
    names = [name for name in figures if "," not in name]
    for offset, (key, label) in enumerate(
        (("ask", "asked"), ("anchor R@1", "router's R@1 on the anchor"), ("concat", "concat"))
    ):
        places = [i + 0.27 * (offset - 1) for i in range(len(names))]
        axes.bar(places, [figures[name][key] for name in names], width=0.25, label=label)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("share answered from the right segment")
    axes.set_ylim(0, 1)
    axes.legend()


@click.command("relations")
@click.option("--movies", default=6, show_default=True, type=click.IntRange(min=1), help="25 questions each.")
@click.option("--segments", default=32, show_default=True, type=click.IntRange(min=LEAST), help="Of each movie.")
@photograph_options
def command(
    movies: int,
    segments: int,
    settings: PhotographSettings,
) -> None:
    """Share of questions about order in time that are answered from the right segment, by kind of question.

    First, last, how many and within ask for events that occur 2 to 5 times: a scene that is filmed anew, or photographs
    that share a noun no other segment has. Results are written after every movie.
    """
    images = load_images(settings.stem, settings.limit)
    made: list[Ordered] = [
        make_ordered(images.described, segments, random.Random(f"relations {settings.seed} {number}"))
        for number in range(movies)
    ]
    encoder = Encoder(load_model(ModelSpec(settings.model, device=settings.device)), settings.cache, settings.seed)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder, tqdm(total=movies, unit="movie", disable=None) as bar:
        for movie in made:
            pairs = zip(movie.photographs, movie.takes, strict=True)
            takes = [Take(images.jpegs[number], take) for number, take in pairs]
            encoded = encoder.takes(takes)
            groups = encoder.groups(takes, encoded, Path(folder))
            path = write_movie(Path(folder) / "movie.idx", encoder.model, encoded, groups)
            with chunkv2l.open(path, model=encoder.model) as index:
                outcomes += [ask(index, question) for question in movie.questions]
            figures = figures_of(outcomes)
            results.write(
                "relations",
                figures,
                table_of(figures),
                partial(draw, figures=figures),
                out=settings.out,
                seed=settings.seed,
            )
            bar.update()
    click.echo(table_of(figures_of(outcomes)))
