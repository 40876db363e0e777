"""Time building and asking on a GPU with SmolVLM2's exact shape, with and without the optimisations for GPUs.

    python -m evaluation gpu --work FOLDER --clips CLIPS --images STEM

The movie and a model of random weights (`random-smolvlm`: times of the real one, captions of the greatest length) are
made in FOLDER, unless an earlier run has made them. "Before" builds the movie's beginning with one
reader and asks without CUDA graphs, codes read from the file; "after" builds the whole movie and asks as `chunkv2l`
does.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any
from unittest import mock

import click
import torch

from chunkv2l.cli import streams as terminal
from chunkv2l.cli.options import BudgetType
from chunkv2l.defaults import AUTO_BUDGET
from chunkv2l.errors import InputError
from chunkv2l.models.family import require_family
from chunkv2l.query.query import BudgetChoice
from chunkv2l.video.parallel import coordinator
from evaluation.benchmarks import latency
from evaluation.benchmarks.build_cost import STAGES, head
from evaluation.common import results, table
from evaluation.common.options import captions_option, device_option, out_option
from evaluation.movies import gpu_movie, random_smolvlm

if TYPE_CHECKING:
    from chunkv2l.answer.answer import Answer
    from chunkv2l.ask import Index
    from chunkv2l.indexing.progress import BuildReport
    from chunkv2l.models import Model

_CHECKED = ("What does the tall man carry?", "What is under the old bridge?", "When does a bird sit on a fence?")
WARM_UP = 12
"""Questions before those that are timed: codes are read with the second, and graphs are recorded on repetition."""
STEPS = ("words", "codes", "expand", "score", "compose", "generate")
"""Steps of a question, as `--explain` names them; "score" waits for kernels launched before it."""


@contextmanager
def as_before(model: Model) -> Iterator[None]:
    """Run the block with one reader, without graphs, and with codes read from the file for each question."""
    vlm = require_family(model.vlm)
    kept = vlm.decoder
    vlm.decoder = dataclasses.replace(kept, use_graphs=False)
    from chunkv2l.ask import Index

    try:
        with (
            mock.patch.object(coordinator, "count_workers", lambda: 1),
            mock.patch.object(Index, "_codes", property(lambda index: index.file.codes)),
        ):
            yield
    finally:
        vlm.decoder = kept


def built(movie: Path, out: Path, model: Model, captions: bool) -> dict[str, Any]:
    """Build once and return {"minutes", "segments", "realtime": by stage and "total", "seconds", "gpu_bytes"}."""
    from chunkv2l.indexing.build import build

    on_gpu = model.vlm.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    started = perf_counter()
    report: BuildReport = build(movie, out, model=model, captions=captions, force=True, speech="off", screen_text="off")
    seconds = perf_counter() - started
    duration = report.movie["duration"]
    stages = {name: spent for name, spent in report.stages.items() if name != "load" and spent > 0}
    return {
        "minutes": duration / 60,
        "segments": report.segments,
        "seconds": seconds,
        "stages": stages,
        "realtime": {**{name: duration / spent for name, spent in stages.items()}, "total": duration / seconds},
        "gpu_bytes": torch.cuda.max_memory_allocated() if on_gpu else 0,
    }


def asked(index: Index, fresh: Iterator[str], count: int, budget: BudgetChoice) -> dict[str, Any]:
    """Ask after a warm-up and return medians of the first token, the whole answer and the steps, seconds."""
    answers = [index.ask(question, budget=budget) for question in islice(fresh, WARM_UP + count)][WARM_UP:]
    steps = [dict(answer.route.seconds) if answer.route else {} for answer in answers]
    firsts = [answer.timing.first_token_s for answer in answers]
    return {
        "first_token_s": statistics.median(firsts),
        "slowest_s": max(firsts),
        "total_s": statistics.median(answer.timing.total_s for answer in answers),
        "steps": {name: statistics.median(step.get(name, 0.0) for step in steps) for name in STEPS},
    }


def build_rows(before: dict[str, Any], after: dict[str, Any]) -> list[list[str]]:
    """Return rows of times real time by stage; "read" is the time of all readers together."""
    rows = []
    for name in (*STAGES, "chapters", "total"):
        pair = [one["realtime"].get(name) for one in (before, after)]
        if any(value is not None for value in pair):
            rows.append([name, *("" if value is None else f"{value:.0f}" for value in pair)])
    return rows


def ask_rows(before: dict[str, Any], after: dict[str, Any]) -> list[list[str]]:
    """Return rows in milliseconds."""
    rows = [[name, *(f"{1e3 * one['steps'][name]:.1f}" for one in (before, after))] for name in STEPS]
    for name, label in (("first_token_s", "first token"), ("slowest_s", "slowest"), ("total_s", "whole answer")):
        rows.append([label, *(f"{1e3 * one[name]:.1f}" for one in (before, after))])
    return rows


@click.command("gpu", short_help="Building and asking on a GPU with SmolVLM2's exact shape, before and after.")
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), required=True, help="For movie and model.")
@click.option("--clips", type=click.Path(path_type=Path), help="A folder of videos, to make the movie of.")
@click.option("--images", type=click.Path(path_type=Path), metavar="STEM", help="Photographs, likewise.")
@click.option("--movie", type=click.Path(path_type=Path), help="A movie that is there, instead.")
@click.option("--minutes", type=click.FloatRange(min=0.1), default=60.0, show_default=True)
@click.option("--made", type=click.FloatRange(min=0.1), default=14.0, show_default=True, help="Minutes that differ.")
@click.option("--parts", type=click.IntRange(min=1), default=14, show_default=True, help="Processes that make them.")
@click.option("--size", default="1280x720", show_default=True)
@click.option("--before-minutes", type=click.FloatRange(min=0.1), default=3.0, show_default=True)
@click.option("--shape", type=click.Choice(sorted(random_smolvlm.SHAPES)), default="smolvlm2-500m", show_default=True)
@click.option("--segments", type=click.IntRange(min=2), default=600, show_default=True, help="That are asked over.")
@click.option("--questions", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--budget", type=BudgetType(), default=AUTO_BUDGET, show_default=True, help="As in `chunkv2l ask`.")
@captions_option
@device_option
@out_option
def command(
    work: Path, clips: Path | None, images: Path | None, movie: Path | None, minutes: float, made: float, parts: int,
    size: str, before_minutes: float, shape: str, segments: int, questions: int, budget: BudgetChoice, captions: bool,
    device: str, out: Path,
) -> None:  # fmt: skip
    """Build a long movie's index and ask it, before and after what is done for GPUs, in one run."""
    from chunkv2l.models import ModelSpec, load_model

    work.mkdir(parents=True, exist_ok=True)
    movie = movie or _movie(work, clips, images, minutes, made, parts, size)
    folder = work / shape
    if not (folder / random_smolvlm.HYPERNET).is_file():
        random_smolvlm.make(folder, random_smolvlm.SHAPES[shape])
    model = load_model(ModelSpec(str(folder), str(folder / random_smolvlm.HYPERNET), device))
    short = work / f"short{movie.suffix}"
    head(movie, short, min(60 * before_minutes, 60 * minutes))
    terminal.say("Building …")
    built(short, work / "short.idx", model, captions)  # libraries set themselves up, kernels are chosen
    with as_before(model):
        builds = [built(short, work / "short.idx", model, captions)]
    builds.append(built(movie, work / "movie.idx", model, captions))
    terminal.say("Asking …")
    answers, count = _asked(model, work, movie, builds[1], segments, questions, budget)
    header = ["times real time", f"before, {builds[0]['minutes']:.0f} min", f"after, {builds[1]['minutes']:.0f} min"]
    text = table.markdown(header, build_rows(*builds))
    text += "\n\n" + table.markdown([f"ms, {count} segments", "before", "after"], ask_rows(*answers))
    text += f"\n\n{_device_name(model)}; {builds[1]['segments']} segments built, "
    text += f"{builds[1]['gpu_bytes'] / 1e9:.1f} GB at most; "
    text += f"scores before and after are {answers[1]['nats_apart']:.2g} nats apart at most."
    figures = {"shape": shape, "device": _device_name(model), "captions": captions, "budget": budget,
        "segments": count,
               "precision": str(require_family(model.vlm).decoder.precision),
               "builds": builds, "asked": answers}  # fmt: skip
    results.write("gpu", figures, text, out=out)
    terminal.emit(text)


def _movie(
    work: Path, clips: Path | None, images: Path | None, minutes: float, made: float, parts: int, size: str
) -> Path:
    source, movie = work / "made.mp4", work / "movie.mp4"
    if not source.exists():
        if clips is None and images is None:
            raise InputError("There is nothing to make a movie of: give --clips, --images or --movie.")
        terminal.say("Making the movie …")
        gpu_movie.make(source, clips, images, min(made, minutes), parts, size)
    gpu_movie.join([source], movie, 60 * minutes)
    return movie


def _asked(
    model: Model, work: Path, movie: Path, build: dict[str, Any], segments: int, questions: int, budget: BudgetChoice
) -> tuple[list[dict[str, Any]], int]:
    """Ask before and after, over an index of at least so many segments, of equal length if the movie has fewer."""
    import chunkv2l

    path = work / "movie.idx"
    if build["segments"] < segments:
        path = work / "equal.idx"
        seconds = max(1.0, int(100 * 60 * build["minutes"] / segments) / 100)
        chunkv2l.build(
            movie,
            path,
            model=model,
            captions=False,
            force=True,
            detector=f"fixed:{seconds:g}",
            speech="off",
            screen_text="off",
        )
    fresh = iter(latency.questions())
    with as_before(model), chunkv2l.open(path, model) as index:
        answers = [index.ask(question, budget=budget) for question in _CHECKED]
        before = asked(index, fresh, questions, budget)
    with chunkv2l.open(path, model) as index:
        after = asked(index, fresh, questions, budget)
        apart = max(differences(one, index.ask(_CHECKED[n], budget=budget)) for n, one in enumerate(answers))
        return [before, {**after, "nats_apart": apart}], len(index)


def differences(before: Answer, after: Answer) -> float:
    """Return the greatest difference of a question's scores, nats, among segments that were scored both times."""
    nats = [
        {one.node: one.nats or 0.0 for look in answer.route.looks for one in look.candidates} if answer.route else {}
        for answer in (before, after)
    ]
    return max((abs(nats[0][node] - nats[1][node]) for node in nats[0].keys() & nats[1].keys()), default=0.0)


def _device_name(model: Model) -> str:
    device = model.vlm.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
