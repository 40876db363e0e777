"""Compare ways to choose what is composed: by segments, by rank slots, signed or not, without a question.

    python -m evaluation composition --selectors --images photographs --limit 512

Movies of N photographs are asked a question that one of them answers ("What happens in the scene with the dog?"). Kept
is the gain in likelihood of the true answer over the bias alone, as a share of what the right clip's adapter gains.
Beside it, captions look for their photograph among N.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from chunkv2l.graph import Node, Weight
from chunkv2l.hypernet.compose import SLOTS_KEPT, compose, expand
from chunkv2l.policies import weighed
from chunkv2l.policies.built_in import SELECTED
from chunkv2l.query.parse import statement
from chunkv2l.routing.probability import evidences, share_out
from chunkv2l.train.data.questions import Described, scene_row_apart
from chunkv2l.train.stages.measure import Ratio, SceneQuestion
from evaluation.benchmarks.answers import nll
from evaluation.benchmarks.mini_lines import interval
from evaluation.common.table import markdown, share
from evaluation.movies.coded import Coded, CodedMovie

SIZES: Final = (8, 64, 256)
ROUTED: Final = 4
"""Segments that `route` composes."""
TEXTS_A_QUESTION: Final = 4
"""Captions that look for their photograph, for each question about a composition; the router looks for a quarter."""
SLOTS, UNSIGNED, SEGMENTS = "slot weights", "slot weights, no gate below 0", "segment weights only"
KEYS, ROUTE, NORM, UNIFORM = "keys only", "route", "slots picked by norm", "uniform"


def measure(
    coded: Coded, described: Sequence[Described], sizes: Sequence[int], groups: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield the figures after each number of parts: {"kept": {N: {way: …}}, "R@1": {N: {way: …}}}."""
    figures: dict[str, Any] = {"kept": {}, "R@1": {}}
    for size in sizes:
        rng = random.Random(f"selectors {seed} {size}")
        questions = list(islice(scene_questions(described, size, rng), groups))
        figures["kept"][str(size)] = _figures(shares_kept(coded, questions))
        figures["R@1"][str(size)] = _figures(first_of(coded, described, size, groups, rng))
        yield figures


def scene_questions(described: Sequence[Described], size: int, rng: random.Random) -> Iterator[SceneQuestion]:
    """Yield questions about photographs, each by a noun that one of them alone shows.

    The others are drawn among those without the noun.
    """
    captioned = [i for i, image in enumerate(described) if image.captions]
    for _ in range(50 * len(captioned)):
        right = rng.choice(captioned)
        apart = scene_row_apart(described, right, captioned, rng)
        if apart is None:
            continue
        row, others = apart
        if len(others) >= size - 1:
            clips = rng.sample(others, size - 1)
            position = rng.randrange(size)
            yield SceneQuestion((*clips[:position], right, *clips[position:]), position, *row)


@torch.inference_mode()
def shares_kept(coded: Coded, questions: Sequence[SceneQuestion]) -> dict[str, Ratio]:
    """Return the shares of the right clip's gain over the bias that every way keeps."""
    model, gains, kept = coded.model, [], dict[str, list[float]]()
    for question in tqdm(questions, desc="compositions", unit="question", disable=None, leave=False):
        movie = coded.movie(question.clips)
        right: dict[int, Weight] = {question.right: 1.0}
        alone = nll(model, question.question, [question.answer], model.hypernet.bias)
        gains.append(alone - _nll(movie, question, right))
        for way, weights in compositions(movie, statement(question.question)).items():
            kept.setdefault(way, []).append(alone - _nll(movie, question, weights))
    return {way: Ratio(tuple(values), tuple(gains)) for way, values in kept.items()}


def _nll(movie: CodedMovie, question: SceneQuestion, weights: Mapping[int, Weight]) -> float:
    model = movie.router.model
    return nll(model, question.question, [question.answer], compose(model.hypernet, movie.read, weights))


def compositions(movie: CodedMovie, text: str) -> dict[str, dict[int, Weight]]:
    """Return the weights that every way gives for a statement; the selector's only where the model has one."""
    count = len(movie.codes)
    ways: dict[str, dict[int, Weight]] = {}
    if movie.router.model.selector is not None:
        selected = movie.scoring(text).select(range(count))
        weight = weighed({node: segment.p for node, segment in selected.items()}, SELECTED)
        ways[SLOTS] = {node: weight[node] * selected[node].gates for node in weight}
        ways[UNSIGNED] = {node: weight[node] * np.maximum(selected[node].gates, np.float32(0)) for node in weight}
        ways[SEGMENTS] = dict(weight)
    if (p := by_keys(movie, text)) is not None:
        ways[KEYS] = dict(weighed(p, SELECTED))
    scores = {node: p for node, p in movie.scoring(text).score(range(count)).items() if isinstance(node, int)}
    ways[ROUTE] = dict(weighed(scores, ROUTED))
    ways[NORM] = pick_by_norm(movie)
    ways[UNIFORM] = dict.fromkeys(range(count), 1.0 / count)
    return ways


def by_keys(movie: CodedMovie, text: str) -> dict[int, float] | None:
    """Return p of segments by the router's calibration, without its score; None where there are no keys."""
    router = movie.router
    similarity, calibration = router.key_similarity(text), router.model.calibration
    if similarity is None or not calibration.key:
        return None
    cosines = dict(enumerate(similarity))
    z = evidences(dict.fromkeys(cosines, 0.0), router.tokens(text), calibration, cosines)
    return share_out(z, len(z), calibration.beta)[0]


def pick_by_norm(movie: CodedMovie) -> dict[int, Weight]:
    """Return weights of the rank slots with the largest ‖a‖ · ‖b‖ of every layer, whatever the question is."""
    norms = torch.cat([_norms(movie, codes) for codes in movie.codes.split(64)])  # type: ignore[no-untyped-call]
    count, layers, rank = norms.shape
    kept = norms.transpose(0, 1).flatten(1).topk(min(SLOTS_KEPT, count * rank), dim=1).indices
    mask = torch.zeros(layers, count * rank).scatter_(1, kept, 1.0 / SELECTED)
    weights = mask.view(layers, count, rank).transpose(0, 1).numpy().astype(np.float32)
    return dict(enumerate(weights))


def _norms(movie: CodedMovie, codes: Tensor) -> Tensor:
    adapter = expand(movie.router.model.hypernet, codes)
    a, b = (torch.linalg.vector_norm(factor, dim=-1).cpu() for factor in (adapter.A, adapter.B))
    return torch.mul(a, b)


@torch.inference_mode()
def first_of(
    coded: Coded, described: Sequence[Described], size: int, groups: int, rng: random.Random
) -> dict[str, Ratio]:
    """Return the shares of captions whose photograph is the first of N."""
    captioned = [i for i, image in enumerate(described) if image.captions]
    hits: dict[str, list[bool]] = {}
    total, number = TEXTS_A_QUESTION * groups, 0
    with tqdm(total=total, desc="captions", unit="text", disable=None, leave=False) as bar:
        while number < total:
            block = rng.sample(captioned, size)
            movie = coded.movie(block)
            for right in rng.sample(range(size), min(size, total - number)):
                text = rng.choice(described[block[right]].captions)
                for way, p in _probabilities(movie, text, routed=number % TEXTS_A_QUESTION == 0).items():
                    hits.setdefault(way, []).append(max(p, key=p.__getitem__) == right)
                number += 1
                bar.update()
    return {way: Ratio.mean(values) for way, values in hits.items()}


def _probabilities(movie: CodedMovie, text: str, routed: bool) -> dict[str, Mapping[Node, float]]:
    count, ways = len(movie.codes), dict[str, Mapping[Node, float]]()
    if movie.router.model.selector is not None:
        selected = movie.scoring(text).select(range(count))
        ways["select"] = {node: segment.p for node, segment in selected.items()}
        ways["evidence alone"] = {node: segment.evidence for node, segment in selected.items()}
    if (p := by_keys(movie, text)) is not None:
        ways[KEYS] = {node: value for node, value in p.items()}
    if routed:
        ways[ROUTE] = movie.scoring(text).score(range(count))
    return ways


def _figures(ratios: Mapping[str, Ratio]) -> dict[str, Any]:
    return {way: {"value": r.value, "interval": interval(r), "n": len(r.over)} for way, r in ratios.items()}


def table_of(figures: Mapping[str, Any]) -> str:
    """Return a table of what is kept and one of R@1, a column for each N, 95 % intervals in brackets."""
    blocks = []
    for key, title in (("kept", "share of the right clip's answer kept, of"), ("R@1", "caption → photograph, R@1 of")):
        columns = figures[key]
        ways = list(dict.fromkeys(way for column in columns.values() for way in column))
        rows = [[way, *(_cell(column.get(way)) for column in columns.values())] for way in ways]
        blocks.append(markdown([title, *columns], rows))
    return "\n\n".join(blocks)


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "–"
    low, high = figure["interval"]
    return f"{share(figure['value'])} ({share(low)}–{share(high)})"
