"""Measure what a composition keeps: answers from 1, 2, 4 … 64 parts, against answers from the right part alone.

    python -m evaluation composition --images photographs

The first rows are the paper's protocol: a clip is cut into two halves, each is internalised alone, and their
composition is compared with one adapter for the whole clip. The other rows are movies of so many photographs with a
question that one of them answers ("What happens in the scene with the dog?"), asked as a user asks, under every policy.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import networkx as nx
from tqdm import tqdm

import chunkv2l
from chunkv2l import policies
from chunkv2l.adapter.algebra import Adapter
from chunkv2l.answer.answer import Answer
from chunkv2l.ask import Index
from chunkv2l.errors import InputError, NothingFound
from chunkv2l.graph import Node, Weight
from chunkv2l.models import Model, ModelSpec, load_model
from chunkv2l.query.query import Query
from chunkv2l.train.data.images import ImageSet, load_images
from chunkv2l.train.data.questions import Described, scene_row_apart
from evaluation.benchmarks import answers
from evaluation.common import results
from evaluation.common.options import PhotographSettings, photograph_options, policies_or_all_option
from evaluation.common.table import markdown, share
from evaluation.common.token_f1 import best_f1
from evaluation.movies.photographs import Encoder, Take, halves, write_movie

if TYPE_CHECKING:
    from matplotlib.figure import Figure


PARTS: Final = (1, 2, 4, 8, 16, 32, 64)
WHOLE_SECONDS: Final = 8.0
"""Length of the clip that is cut into halves."""
TOKENS: Final = 40
"""Tokens of an answer in the paper's protocol, at most."""


@dataclass(frozen=True)
class Group:
    """Photographs, of which `target` alone has the noun that `question` asks for.

    Attributes:
        answer: a caption of the target that mentions the noun.
        references: all captions of the target.
        target: the target's number.
        others: numbers of photographs without that noun; movies of more parts have more of them.
    """

    question: str
    answer: str
    references: tuple[str, ...]
    target: int
    others: tuple[int, ...]

    def movie(self, parts: int, seed: int) -> tuple[list[int], int]:
        """Return the photographs of a movie of so many parts, and the target's position."""
        position = random.Random(f"{seed} {self.target} {parts}").randrange(parts)
        numbers = list(self.others[: parts - 1])
        return [*numbers[:position], self.target, *numbers[position:]], position


def make_groups(described: Sequence[Described], groups: int, most: int, rng: random.Random) -> list[Group]:
    """Return groups of `most` photographs, each with another target.

    Raises:
        InputError: too few photographs.
    """
    order = [i for i, image in enumerate(described) if image.captions]
    rng.shuffle(order)
    made: list[Group] = []
    for target in order:
        apart = scene_row_apart(described, target, order, rng)
        if apart is None:
            continue
        (question, answer), others = apart
        if len(others) >= most - 1:
            chosen = tuple(rng.sample(others, most - 1))
            made.append(Group(question, answer, described[target].captions, target, chosen))
        if len(made) == groups:
            return made
    raise InputError(
        f"{len(described)} photographs give {len(made)} groups of {most} with a question that one of them answers, "
        f"not {groups}: give more photographs with captions, or ask for fewer --groups or --parts."
    )


def recorded(policy: policies.Policy, weights: dict[Node, Weight]) -> policies.Policy:
    """Return a policy that also copies its result into `weights`."""

    def run(graph: nx.DiGraph, query: Query) -> Mapping[Node, Weight]:
        chosen = policy(graph, query)
        weights.clear()
        weights.update(chosen)
        return chosen

    return run


def ask_group(index: Index, group: Group, named: Mapping[str, policies.Policy]) -> dict[str, AnswerScore]:
    """Ask a group's question under every policy; if nothing is found, the answer is empty and scored under the bias."""
    scores = {}
    for name, policy in named.items():
        weights: dict[Node, Weight] = {}
        try:
            answer: Answer = index.ask(group.question, policy=recorded(policy, weights))
            text, adapter = answer.answer, index.compose(weights)
        except NothingFound:
            text, adapter = "", index.model.hypernet.bias
        scores[name] = AnswerScore(best_f1(text, group.references), _nll(index.model, group, adapter))
    return scores


def _answer(model: Model, group: Group, adapter: Adapter) -> AnswerScore:
    text = model.vlm.generate([group.question], adapter)[0]
    return AnswerScore(best_f1(text, group.references), _nll(model, group, adapter))


def _nll(model: Model, group: Group, adapter: Adapter) -> float:
    return answers.nll(model, group.question, [group.answer], adapter)


def controls(index: Index, group: Group, right: int, wrong: int) -> dict[str, AnswerScore]:
    """Answer under the right clip alone, the bias alone, and a wrong clip."""
    adapters = {
        "right clip": index.compose({right: 1.0}),
        "bias alone": index.model.hypernet.bias,
        "wrong clip": index.compose({wrong: 1.0}),
    }
    return {name: _answer(index.model, group, adapter) for name, adapter in adapters.items()}


def two_halves(
    encoder: Encoder, images: ImageSet, numbers: Sequence[int], folder: Path
) -> dict[str, list[AnswerScore]]:
    """Run the paper's protocol on clips of one photograph each, asked for a caption.

    Returns:
        answers under "whole", "concat" (weight 1 each), "mean", "first half", "bias alone" and "wrong clip", scored
        against the photograph's captions.
    """
    model = encoder.model
    clips = [encoder.film(Take(images.jpegs[number], seconds=WHOLE_SECONDS)) for number in numbers]
    parts = [part for clip in clips for part in (clip, *halves(clip))]
    path = write_movie(folder / "halves.idx", model, encoder.encode(parts), seconds=WHOLE_SECONDS)
    scores: dict[str, list[AnswerScore]] = {}
    with chunkv2l.open(path, model=model) as index:
        for row, number in enumerate(tqdm(numbers, desc="two halves", unit="clip", disable=None, leave=False)):
            whole, first, second = (3 * row + part for part in range(3))
            weights: dict[str, dict[Node, float]] = {
                "whole": {whole: 1.0},
                "concat": {first: 1.0, second: 1.0},
                "mean": {first: 0.5, second: 0.5},
                "first half": {first: 1.0},
                "wrong clip": {(whole + 3) % len(parts): 1.0},
            }
            adapters = {name: index.compose(parts_of) for name, parts_of in weights.items()}
            captions = images.described[number].captions
            for name, adapter in {**adapters, "bias alone": model.hypernet.bias}.items():
                text = model.vlm.generate([model.vlm.caption_question], adapter, TOKENS)[0]
                nats = answers.nll(model, model.vlm.caption_question, captions, adapter)
                scores.setdefault(name, []).append(AnswerScore(best_f1(text, captions), nats))
    return scores


PAPER: Final = {"SmolVLM2-500M": 0.931, "SmolVLM2-2.2B": 0.862}
"""Share of token-F1 that the paper's two halves keep (its section 5.6; VDC, 12 frames an adapter)."""


@dataclass(frozen=True)
class AnswerScore:
    """Token-F1 of a generated answer, and −log p a token of the true one, nats."""

    f1: float
    nll: float


@dataclass(frozen=True)
class Measured:
    """Means over groups."""

    f1: float
    nll: float
    n: int

    @classmethod
    def of(cls, scores: Sequence[AnswerScore]) -> Measured:
        """Return the means of scores."""
        count = len(scores)
        return cls(sum(score.f1 for score in scores) / count, sum(score.nll for score in scores) / count, count)


def kept(measured: Measured, right: Measured, bias: Measured) -> dict[str, float | None]:
    """Return the kept shares of the right clip's token-F1, of its gain in F1 over the bias, and of its gain in NLL.

    A share is None where there is no gain.
    """

    def part(value: float, base: float, whole: float) -> float | None:
        return (value - base) / (whole - base) if abs(whole - base) > 1e-9 else None

    return {
        "f1_kept": part(measured.f1, 0.0, right.f1),
        "f1_gain_kept": part(measured.f1, bias.f1, right.f1),
        "nll_gain_kept": part(bias.nll - measured.nll, 0.0, bias.nll - right.nll),
    }


def figures_of(
    halves_scores: Mapping[str, list[AnswerScore]], scores: Mapping[int, Mapping[str, list[AnswerScore]]]
) -> dict[str, Any]:
    """Return the figures: the paper's protocol, the controls, and every policy at every number of parts."""
    figures: dict[str, Any] = {"paper": PAPER}
    if halves_scores:
        means = {name: Measured.of(values) for name, values in halves_scores.items()}
        figures["two halves"] = {
            name: {**vars(one), **kept(one, means["whole"], means["bias alone"])} for name, one in means.items()
        }
    sums = {parts: {name: Measured.of(values) for name, values in rows.items()} for parts, rows in scores.items()}
    if 0 in sums:
        base = sums.pop(0)
        right, bias = base["right clip"], base["bias alone"]
        figures["controls"] = {name: {**vars(one), **kept(one, right, bias)} for name, one in base.items()}
        figures["parts"] = {
            str(parts): {name: {**vars(one), **kept(one, right, bias)} for name, one in rows.items()}
            for parts, rows in sums.items()
        }
    return figures


def table_of(figures: Mapping[str, Any]) -> str:
    """Return tables of the two halves, the controls, and the shares that every policy keeps."""
    blocks = []
    if "two halves" in figures:
        rows = [
            [name, share(row["f1"], 3), f"{row['nll']:.2f}", share(row["f1_kept"]), share(row["nll_gain_kept"])]
            for name, row in figures["two halves"].items()
        ]
        rows += [[f"the paper's, {name}", "–", "–", share(value, 3), "–"] for name, value in PAPER.items()]
        header = ["two halves of a clip", "token-F1", "NLL a token", "F1 kept", "NLL gain kept"]
        blocks.append(markdown(header, rows))
    if "parts" in figures:
        rows = [[name, share(row["f1"], 3), f"{row['nll']:.2f}"] for name, row in figures["controls"].items()]
        blocks.append(markdown(["row of many, controls", "token-F1", "NLL a token"], rows))
        names = list(next(iter(figures["parts"].values()), {}))
        for key, title in (("f1_kept", "token-F1 kept"), ("nll_gain_kept", "NLL gain kept")):
            rows = [[name, *(share(row[name][key]) for row in figures["parts"].values())] for name in names]
            blocks.append(markdown([f"{title}, of parts", *figures["parts"]], rows))
    return "\n\n".join(blocks)


def draw(figures: Mapping[str, Any]) -> Callable[[Figure], None]:
    """Return a plot of the shares of F1 and NLL gain that each policy keeps, over the number of parts."""

    def plot(figure: Figure) -> None:
        sides = figure.subplots(1, 2)
        for axes, key, title in zip(
            sides, ("f1_kept", "nll_gain_kept"), ("token-F1 kept", "NLL gain over the bias kept"), strict=True
        ):
            rows = figures.get("parts", {})
            for name in next(iter(rows.values()), {}):
                values = [(int(parts), one[name][key]) for parts, one in rows.items() if one[name][key] is not None]
                axes.plot([v[0] for v in values], [v[1] for v in values], marker="o", markersize=3, label=name)
            controls = figures.get("controls", {})
            for name, style in (("bias alone", ":"), ("wrong clip", "--")):
                if name in controls and controls[name][key] is not None:
                    axes.axhline(controls[name][key], linestyle=style, color="grey", label=name)
            axes.set_xscale("log", base=2)
            axes.set_xlabel("parts")
            axes.set_ylabel(title)
            axes.set_ylim(-0.3, 1.3)
        figure.legend(*sides[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)

    return plot


@click.command("composition")
@click.option("--parts", multiple=True, type=click.IntRange(min=1), help="Numbers of parts; may be repeated.")
@click.option("--groups", default=32, show_default=True, type=click.IntRange(min=1), help="Questions.")
@click.option("--clips", default=64, show_default=True, type=click.IntRange(min=0), help="Clips of the two halves.")
@click.option("--selectors", is_flag=True, help="Compare ways to choose rank slots instead.")
@policies_or_all_option
@photograph_options
def command(
    parts: tuple[int, ...],
    groups: int,
    clips: int,
    selectors: bool,
    policy_names: tuple[str, ...],
    settings: PhotographSettings,
) -> None:
    """Retention against the number of parts, for every policy; the paper's two halves first.

    Kept is token-F1 (against the best of the photograph's captions) over the right clip's own, and the gain in NLL of
    the true answer over the bias alone. With --selectors: the gain that segment weights, rank slots' weights and others
    keep, and how often a caption finds its photograph; of 8, 64 and 256 parts if no --parts are given.
    """
    images = load_images(settings.stem, settings.limit)
    if selectors:
        _compare_selectors(images, parts, groups, settings)
        return
    sizes = sorted(set(parts or PARTS))
    if sizes[-1] < 2:
        raise InputError("--parts needs a number above 1: with one part there is no wrong clip to compare with.")
    chosen = dict(policies.load(one) for one in policy_names or policies.BUILT_IN)
    rng = random.Random(f"composition {settings.seed}")
    made = make_groups(images.described, groups, sizes[-1], rng)
    captioned = [i for i, one in enumerate(images.described) if one.captions]
    encoder = Encoder(load_model(ModelSpec(settings.model, device=settings.device)), settings.cache, settings.seed)
    scores: dict[int, dict[str, list[AnswerScore]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sample = rng.sample(captioned, min(clips, len(captioned)))
        halves_scores = two_halves(encoder, images, sample, Path(folder)) if sample else {}

        def report() -> None:
            figures = figures_of(halves_scores, scores)
            results.write(
                "composition", figures, table_of(figures), draw(figures), out=settings.out, seed=settings.seed
            )

        for group in tqdm(made, desc="composition", unit="question", disable=None):
            for size in sizes:
                for key, values in _asked(encoder, images, group, size, chosen, Path(folder), settings.seed).items():
                    for policy, value in values.items():
                        scores.setdefault(key, {}).setdefault(policy, []).append(value)
            report()
    click.echo(table_of(figures_of(halves_scores, scores)))


def _compare_selectors(images: ImageSet, parts: Sequence[int], groups: int, settings: PhotographSettings) -> None:
    from evaluation.benchmarks import selectors
    from evaluation.movies.coded import Coded

    sizes = sorted(set(parts or selectors.SIZES))
    captioned = sum(bool(image.captions) for image in images.described)
    if captioned < 2 * sizes[-1]:
        raise InputError(f"Movies of {sizes[-1]} need {2 * sizes[-1]} photographs with captions, not {captioned}.")
    encoder = Encoder(load_model(ModelSpec(settings.model, device=settings.device)), settings.cache, settings.seed)
    coded, table = Coded.of(encoder, images.jpegs), ""
    for figures in selectors.measure(coded, images.described, sizes, groups, settings.seed):
        table = selectors.table_of(figures)
        results.write("selectors", figures, table, out=settings.out, seed=settings.seed)
    click.echo(table)


def _asked(
    encoder: Encoder,
    images: ImageSet,
    group: Group,
    size: int,
    named: Mapping[str, policies.Policy],
    folder: Path,
    seed: int,
) -> dict[int, dict[str, AnswerScore]]:
    """Answer a group's question at one number of parts; the key 0 has the controls, at the largest number only."""
    numbers, position = group.movie(size, seed)
    takes = [Take(images.jpegs[number]) for number in numbers]
    encoded = encoder.takes(takes)
    path = write_movie(folder / "parts.idx", encoder.model, encoded, encoder.groups(takes, encoded, folder))
    with chunkv2l.open(path, model=encoder.model) as index:
        scores = {size: ask_group(index, group, named)}
        if size == len(group.others) + 1:
            scores[0] = controls(index, group, position, (position + 1) % size)
    return scores
