"""Measure the reliability of the router's probabilities, and fit their calibration.

    python -m evaluation calibration --images photographs --movie movie.idx --queries movie.jsonl
    python -m evaluation calibration --fit --names .375 --images training_photographs --write calibration.json
    python -m evaluation calibration --fit --selector --names .375 --images training_photographs --write selector.json

A statement's answer is the likeliest segment or "not there", whichever is likelier; its confidence is that probability.
ECE is over 15 bins of equal width; "ECE, equal mass" is over 15 bins with equally many statements.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

import chunkv2l
from chunkv2l.errors import ChunkV2LError, InputError, NothingFound
from chunkv2l.models import Calibration, Model, ModelSpec, load_model
from chunkv2l.models.calibration import SelectorCalibration
from chunkv2l.train.calibrate import Case, Fitted, fit, fit_selector, mean_nll, probabilities
from chunkv2l.train.data.images import ImageSet, load_images
from evaluation.benchmarks.moments import question
from evaluation.benchmarks.observe import SIZES, Observer, make_statements
from evaluation.benchmarks.reliability import at_threshold, bins, brier, calibration_error, separation, trade_off
from evaluation.common import metrics, results
from evaluation.common.options import PhotographSettings, photograph_options
from evaluation.common.table import markdown, share
from evaluation.datasets import qvhighlights
from evaluation.movies.photographs import Encoder, Take
from evaluation.movies.structure import make_structure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def judge(cases: Sequence[Case], calibration: Calibration) -> dict[str, Any]:
    """Return all figures about photograph queries, which the module's docstring defines."""
    said, right, doubt, there, first = [], [], [], [], []
    for case in cases:
        p, absent = probabilities(case, calibration)
        best = int(p.argmax())
        first.append(best in case.right)
        is_there = float(p[best]) >= absent
        said.append(max(float(p[best]), absent))
        right.append(best in case.right if is_there else not case.present)
        doubt.append(absent / max(float(p[best]), 1e-300))
        there.append(1.0 - absent)
    present = [case.present for case in cases]
    shown, gone = [[d for d, p in zip(doubt, present, strict=True) if p is kind] for kind in (True, False)]
    points = trade_off(doubt, present)
    even = min(points, key=lambda point: abs(point.false_alarms - point.misses))
    by_width = bins(said, right)
    return {
        "queries": len(cases),
        "absent": len(gone),
        "ECE": calibration_error(by_width),
        "ECE, equal mass": calibration_error(bins(said, right, equal="mass")),
        "ECE of there": calibration_error(bins(there, present)),
        "Brier": brier(said, right),
        "Brier of there": brier(there, present),
        "accuracy": sum(right) / len(right),
        "confidence": sum(said) / len(said),
        "R@1 where present": sum(f for f, p in zip(first, present, strict=True) if p) / len(shown),
        "not scored": sum(case.present and not case.right for case in cases),
        "nll": mean_nll(cases, calibration),
        "by segments": _by_size(cases, said, right),
        "bins": [asdict(bin_) for bin_ in by_width],
        "false alarms": at_threshold(shown, gone, 1.0).false_alarms,
        "misses": at_threshold(shown, gone, 1.0).misses,
        "equal error": (even.false_alarms + even.misses) / 2,
        "separation": separation(doubt, present),
        "trade-off": [[point.false_alarms, point.misses] for point in points],
    }


def _by_size(cases: Sequence[Case], said: Sequence[float], right: Sequence[bool]) -> dict[str, dict[str, float]]:
    figures = {}
    for size in sorted({case.segments for case in cases}):
        rows = [i for i, case in enumerate(cases) if case.segments == size]
        figures[str(size)] = {
            "queries": len(rows),
            "accuracy": sum(right[i] for i in rows) / len(rows),
            "confidence": sum(said[i] for i in rows) / len(rows),
        }
    return figures


def judge_movie(path: Path, queries: Path, model: Model, folder: Path) -> dict[str, Any]:
    """Return reliability figures of the best span's score over a movie's queries; right is IoU ≥ .5.

    Args:
        path: an index, or a movie, whose index is built in `folder` and kept there.
    """
    if path.suffix != ".idx":
        index_path = folder / f"{path.stem}.idx"
        folder.mkdir(parents=True, exist_ok=True)
        chunkv2l.build(path, index_path, model=model, speech="off", screen_text="off")
        path = index_path
    said, right, absent = [], [], []
    rows = qvhighlights.read_queries(queries)
    rows = [row for row in rows if row.vid in ("", path.stem)] or rows
    with chunkv2l.open(path, model=model) as index:
        for row in tqdm(rows, unit="query", desc=path.stem, disable=None, leave=False):
            try:
                answer = index.ask(question(row.query))
            except NothingFound:
                continue
            span = answer.spans[0]
            said.append(min(1.0, span.score))
            right.append(metrics.best_iou((span.start, span.end), row.windows) >= 0.5)
            absent.append(answer.not_there or 0.0)
    if not said:
        raise InputError(f"None of the queries in {queries.name} can be asked.")
    return {
        "queries": len(said),
        "Brier": brier(said, right),
        "ECE": calibration_error(bins(said, right)),
        "R1@0.5": sum(right) / len(right),
        "confidence": sum(said) / len(said),
        "said not to be there": sum(a > s for a, s in zip(absent, said, strict=True)) / len(said),
    }


def pool_of(images: ImageSet, count: int, seed: int) -> tuple[int, ...]:
    """Return the photographs of the movies: those of `longmovie` with so many segments, or any captioned ones."""
    captioned = [i for i, image in enumerate(images.described) if image.captions]
    count = min(count, len(captioned))
    try:
        return make_structure(
            images.described, count, random.Random(f"longmovie {seed} {count} 0"), captioned
        ).photographs
    except InputError:
        return tuple(random.Random(f"calibration {seed}").sample(captioned, count))


def observed(
    images: ImageSet, model: Model, cache: Path, *, photographs: int, sizes: Sequence[int], count: int, absent: float,
    seed: int, mu: bool, names: float = 0.0, selects: bool = False,
) -> list[Case]:  # fmt: skip
    """Return cases of so many statements over movies of a set's photographs (`evaluation.benchmarks.observe`)."""
    pool = pool_of(images, photographs, seed)
    fitting = [size for size in sizes if size <= len(pool)]
    if not fitting:
        raise InputError(f"{images.name} has {len(pool)} photographs with captions: ask for smaller --sizes.")
    statements = make_statements(images, pool, fitting, count, absent, random.Random(f"calibration {seed}"), names)
    encoded = Encoder(model, cache, seed).takes([Take(images.jpegs[number]) for number in pool])
    observer = Observer(model, dict(zip(pool, encoded, strict=True)), mu)
    return [observer.case(statement, selects=selects) for statement in tqdm(statements, unit="statement", disable=None)]


def fit_figures(fitted: Fitted, cases: Sequence[Case]) -> dict[str, Any]:
    """Return a fit's figures, and its own cases judged by it."""
    return {
        "calibration": asdict(fitted.calibration),
        "nll": fitted.nll,
        "nll unfitted": fitted.before,
        "nll held out": {name or "tau gamma beta": value for name, value in fitted.held_out.items()},
        "fitted to": fitted.cases,
        "left out": fitted.left_out,
        "photographs": judge(cases, fitted.calibration),
    }


def _calibrated(model: Model, path: Path | None, selects: bool) -> Model:
    if path is None:
        return model
    try:
        text = path.read_text(encoding="utf-8")
        if selects:
            return replace(model, selector_calibration=SelectorCalibration.from_text(text))
        return replace(model, calibration=Calibration.from_text(text))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read ({error}).") from None


def _checked(movie: Path | None, queries: Path | None, fitting: bool, write: Path | None) -> None:
    if (movie is None) != (queries is None):
        raise InputError("A movie and its queries go together: give both --movie and --queries, or neither.")
    if write is not None and not fitting:
        raise InputError("--write is where --fit puts the calibration: add --fit.")


SHOWN = (
    "ECE",
    "ECE, equal mass",
    "ECE of there",
    "Brier",
    "Brier of there",
    "accuracy",
    "confidence",
    "R@1 where present",
    "false alarms",
    "misses",
    "equal error",
    "separation",
)


def write_results(name: str, figures: Mapping[str, Any], out: Path, seed: int) -> None:
    """Write NAME.json, NAME.md and NAME.png."""
    results.write(name, figures, table_of(figures), partial(draw, figures=figures), out=out, seed=seed)


def table_of(figures: Mapping[str, Any]) -> str:
    """Return tables of the calibration, the photograph queries, the same by size, and the movie's queries."""
    photographs = figures["photographs"]
    numbers = figures["calibration"]
    blocks = [markdown(list(numbers), [[f"{value:.4g}" for value in numbers.values()]])]
    if "nll held out" in figures:
        rows = [[name, f"{value:.3f}"] for name, value in figures["nll held out"].items()]
        rows.append(["chosen, on its own cases", f"{figures['nll']:.3f}"])
        rows.append(["unfitted", f"{figures['nll unfitted']:.3f}"])
        blocks.append(markdown(["fit", "NLL of the outcome, held out"], rows))
    rows = [[name, share(photographs[name], 3)] for name in SHOWN]
    rows.append(["NLL of the outcome", f"{photographs['nll']:.3f}"])
    blocks.append(markdown([f"{photographs['queries']} queries, {photographs['absent']} absent", "value"], rows))
    rows = [
        [size, share(row["accuracy"]), share(row["confidence"]), str(row["queries"])]
        for size, row in photographs["by segments"].items()
    ]
    blocks.append(markdown(["segments", "accuracy", "confidence", "queries"], rows))
    if "movie" in figures:
        rows = [[name, share(value, 3)] for name, value in figures["movie"].items() if name != "queries"]
        blocks.append(markdown([f"{figures['movie']['queries']} queries of the movie", "value"], rows))
    return "\n\n".join(blocks)


def draw(figure: Figure, figures: Mapping[str, Any]) -> None:
    """Draw the share of right answers over confidence (left), and misses over false alarms (right)."""
    left, right = figure.subplots(1, 2)
    photographs = figures["photographs"]
    most = max(row["count"] for row in photographs["bins"])
    left.plot([0, 1], [0, 1], ":", color="grey")
    left.scatter(
        [row["said"] for row in photographs["bins"]],
        [row["right"] for row in photographs["bins"]],
        s=[8 + 120 * row["count"] / most for row in photographs["bins"]],
    )
    left.set_xlabel("confidence")
    left.set_ylabel("share right (size: how many queries)")
    left.set_title(f"ECE {photographs['ECE']:.3f} over 15 bins")
    right.step([alarms for alarms, _ in photographs["trade-off"]], [m for _, m in photographs["trade-off"]])
    right.plot(photographs["false alarms"], photographs["misses"], "o", label="in use: p(not there) > p(best)")
    right.set_xlabel("false alarms: absent, said to be there")
    right.set_ylabel("misses: present, said not to be there")
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)


@click.command("calibration")
@click.option("--fit", "fitting", is_flag=True, help="Fit the calibration to these photographs.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Where --fit puts it, as JSON.")
@click.option("--calibration", "given", type=click.Path(path_type=Path), help="Judge this JSON, not the model's own.")
@click.option("--count", default=510, show_default=True, type=click.IntRange(min=2), help="Photograph queries.")
@click.option("--absent", default=1 / 3, show_default="1/3", type=click.FloatRange(0.05, 0.95), help="Share of them.")
@click.option("--names", default=0.0, show_default=True, type=click.FloatRange(0, 0.9), help="Share of bare names.")
@click.option("--photographs", default=512, show_default=True, type=click.IntRange(min=2), help="Encoded in all.")
@click.option("--sizes", multiple=True, type=click.IntRange(min=2), help="Segments of the movies; may be repeated.")
@click.option("--mu/--no-mu", default=True, show_default=True, help="Whether --fit tries μ.")
@click.option("--selector", "selects", is_flag=True, help="The selector's calibration instead of the router's.")
@click.option("--movie", type=click.Path(exists=True, path_type=Path), help="Index or movie, to be asked too.")
@click.option("--queries", type=click.Path(path_type=Path), help="The movie's queries, QVHighlights' JSONL.")
@photograph_options
def command(
    fitting: bool,
    write: Path | None,
    given: Path | None,
    count: int,
    absent: float,
    names: float,
    photographs: int,
    sizes: tuple[int, ...],
    mu: bool,
    selects: bool,
    movie: Path | None,
    queries: Path | None,
    settings: PhotographSettings,
) -> None:
    """Reliability of the router's probabilities: ECE, Brier score, false alarms against misses; or fit them anew.

    A third of the photograph queries ask for something that the movie hasn't.
    """
    _checked(movie, queries, fitting, write)
    images = load_images(settings.stem, settings.limit)
    model = _calibrated(load_model(ModelSpec(settings.model, device=settings.device)), given, selects)
    cases = observed(
        images,
        model,
        settings.cache,
        photographs=photographs,
        sizes=sizes or SIZES,
        count=count,
        absent=absent,
        seed=settings.seed,
        mu=not selects and (mu if fitting else model.calibration.mu),
        names=names,
        selects=selects,
    )
    if selects:
        selecting = fit_selector(cases) if fitting else model.selector_calibration
        model = replace(model, selector_calibration=selecting)
        figures = {"calibration": asdict(selecting), "photographs": judge(cases, selecting.form)}
        if write is not None:
            _write(write, selecting)
    elif fitting:
        fitted = fit(cases, settings.seed)
        model = replace(model, calibration=fitted.calibration)
        figures = fit_figures(fitted, cases)
        if write is not None:
            _write(write, fitted.calibration)
    else:
        figures = {"calibration": asdict(model.calibration), "photographs": judge(cases, model.calibration)}
    if movie is not None and queries is not None:
        figures["movie"] = judge_movie(movie, queries, model, settings.cache / "movies")
    write_results("calibration-fit" if fitting else "calibration", figures, settings.out, settings.seed)
    click.echo(table_of(figures))


def _write(path: Path, calibration: Calibration | SelectorCalibration) -> None:
    try:
        path.write_text(calibration.to_text() + "\n", encoding="utf-8")
    except OSError as error:
        raise ChunkV2LError(f"{path} can't be written ({error.strerror}).") from None
