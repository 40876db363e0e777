"""Measure "A but not B": questions about movies of 8 photographs, of which some show A and B, and others A alone.

    python -m evaluation exclusions --images photographs

A and B are nouns of the photographs' captions. A question is right where the segment that is ranked first shows A and
not B, as far as any of its captions says. Ways: keys of the statement A; the router with the whole question as a
statement, with A alone ("unsigned"), and with B excluded ("signed"); and the selector by A alone and with B excluded.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
import torch
from tqdm import tqdm

from chunkv2l.errors import InputError
from chunkv2l.graph import Node
from chunkv2l.models import ModelSpec, load_model
from chunkv2l.query.parse import parse
from chunkv2l.train.data.images import load_images
from chunkv2l.train.data.nouns import with_article
from chunkv2l.train.data.questions import Described
from chunkv2l.train.stages.measure import Ratio
from evaluation.benchmarks.mini_lines import interval
from evaluation.common import results
from evaluation.common.options import PhotographSettings, photograph_options
from evaluation.common.table import markdown, share
from evaluation.movies.coded import Coded, CodedMovie
from evaluation.movies.photographs import Encoder

SEGMENTS: Final = 8
BOTH: Final = 3
"""Photographs of a movie that show A and B."""
ALONE: Final = 2
"""Photographs that show A and not B."""
_LEAST_SHOWN: Final = 5
"""Photographs that show a noun, at least, for it to be asked about."""


@dataclass(frozen=True)
class Exclusion:
    """A question about a movie.

    Attributes:
        photographs: numbers, in the movie's order.
        right: positions of those with A and without B.
    """

    question: str
    photographs: tuple[int, ...]
    right: frozenset[int]


def make_questions(described: Sequence[Described], count: int, rng: random.Random) -> list[Exclusion]:
    """Return so many questions, each about another pair of nouns.

    Raises:
        InputError: too few photographs.
    """
    captioned = [i for i, image in enumerate(described) if image.captions]
    showing: dict[str, set[int]] = {}
    for i in captioned:
        for noun in described[i].nouns:
            showing.setdefault(noun, set()).add(i)
    usual = sorted(noun for noun, numbers in showing.items() if len(numbers) >= _LEAST_SHOWN)
    pairs = [(a, b) for a in usual for b in usual if a != b and a not in b and b not in a]
    rng.shuffle(pairs)
    made: list[Exclusion] = []
    uses: Counter[str] = Counter()
    for a, b in pairs:
        both, alone = sorted(showing[a] & showing[b]), sorted(showing[a] - showing[b])
        others = [i for i in captioned if i not in showing[a]]
        question = f"When is there {with_article(a)} but not {with_article(b)}?"
        enough = len(both) >= BOTH and len(alone) >= ALONE and len(others) >= SEGMENTS - BOTH - ALONE
        if not enough or max(uses[a], uses[b]) >= 6 or not parse(question).excluded:
            continue
        numbers = rng.sample(both, BOTH) + rng.sample(alone, ALONE) + rng.sample(others, SEGMENTS - BOTH - ALONE)
        rng.shuffle(numbers)
        right = frozenset(position for position, number in enumerate(numbers) if number in alone)
        made.append(Exclusion(question, tuple(numbers), right))
        uses.update((a, b))
        if len(made) == count:
            return made
    raise InputError(
        f"{len(captioned)} photographs with captions give {len(made)} questions of {count}: give more photographs, or "
        "ask for fewer --questions."
    )


@torch.inference_mode()
def rank_first(movie: CodedMovie, question: str) -> dict[str, int]:
    """Return the segment that every way ranks first; the selector's only where the model has one."""
    parsed, numbers = parse(question), range(len(movie.codes))
    whole = question.removeprefix("When is there ").removesuffix("?").capitalize() + "."
    ways: dict[str, Mapping[Node, float]] = {}
    if (similarity := movie.router.key_similarity(parsed.statement)) is not None:
        ways["keys only"] = dict(enumerate(similarity))
    ways["route, the question as a statement"] = movie.scoring(whole).score(numbers)
    ways["route, unsigned"] = movie.scoring(parsed.statement).score(numbers)
    ways["route, signed"] = movie.scoring(parsed.statement, parsed.excluded).score(numbers)
    if movie.router.model.selector is not None:
        ways["select, unsigned"] = movie.scoring(parsed.statement).find(numbers)
        ways["select, signed"] = movie.scoring(parsed.statement, parsed.excluded).find(numbers)
    return {way: int(max(p, key=p.__getitem__)) for way, p in ways.items()}


def measure(coded: Coded, questions: Sequence[Exclusion]) -> dict[str, Ratio]:
    """Return each way's share of questions whose first segment is right.

    Args:
        coded: of all photographs, by their numbers in the questions.
    """
    hits: dict[str, list[bool]] = {}
    for question in tqdm(questions, desc="exclusions", unit="question", disable=None):
        for way, first in rank_first(coded.movie(question.photographs), question.question).items():
            hits.setdefault(way, []).append(first in question.right)
    return {way: Ratio.mean(values) for way, values in hits.items()}


def table_of(figures: Mapping[str, Any]) -> str:
    """Return a row a way."""
    rows = []
    for way, figure in figures["right first"].items():
        low, high = figure["interval"]
        rows.append([way, f"{share(figure['value'])} ({share(low)}–{share(high)})"])
    return markdown(["A but not B", "right first"], [*rows, ["chance", share(ALONE / SEGMENTS)]])


@click.command("exclusions")
@click.option("--questions", default=60, show_default=True, type=click.IntRange(min=1))
@photograph_options
def command(questions: int, settings: PhotographSettings) -> None:
    """Questions for A but not B: how often the first segment shows A without B, by keys, router and selector."""
    images = load_images(settings.stem, settings.limit)
    made = make_questions(images.described, questions, random.Random(f"exclusions {settings.seed}"))
    used = sorted({number for question in made for number in question.photographs})
    position = {number: i for i, number in enumerate(used)}
    renumbered = [
        Exclusion(one.question, tuple(position[number] for number in one.photographs), one.right) for one in made
    ]
    encoder = Encoder(load_model(ModelSpec(settings.model, device=settings.device)), settings.cache, settings.seed)
    ratios = measure(Coded.of(encoder, [images.jpegs[number] for number in used]), renumbered)
    first = {way: {"value": r.value, "interval": interval(r), "n": len(r.over)} for way, r in ratios.items()}
    figures = {"right first": first, "questions": [one.question for one in made]}
    table = table_of(figures)
    results.write("exclusions", figures, table, out=settings.out, seed=settings.seed)
    click.echo(table)
