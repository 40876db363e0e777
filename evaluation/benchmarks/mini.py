"""Measure the default model's shipped weights, on any captioned photographs and any movie with queries.

    python -m evaluation mini --images photographs
    python -m evaluation mini --images photographs --limit 128 --questions 128
    python -m evaluation mini --images photographs --movie movie.mp4 --queries movie.jsonl --json

On a GPU two questions a photograph are asked, 1,000 a line at most. These make 256,000 scored rows in the line of
N = 256. A CPU gets a question for two photographs, and fewer where each is compared with many, unless --questions says
how many; --limit and --largest make it faster still. Lines are written as they are measured.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from tqdm import tqdm

import chunkv2l
from chunkv2l.errors import InputError
from chunkv2l.models import Model, ModelSpec, load_model
from chunkv2l.train.data.images import load_images
from chunkv2l.train.stages.measure import Ratio
from evaluation.benchmarks import mini_lines
from evaluation.benchmarks.mini_lines import Shown, interval
from evaluation.benchmarks.moments import question
from evaluation.common import results
from evaluation.common.metrics import recall
from evaluation.common.options import PhotographSettings, json_option, photograph_options
from evaluation.common.table import markdown
from evaluation.datasets import qvhighlights
from evaluation.movies.photographs import Encoder

QUESTIONS: Final = 1000
"""Questions of every line, at most, unless another number is asked for."""
QUESTIONS_EACH: Final = 2
"""Questions a photograph: more about few photographs say little more, since photographs differ more than questions."""
CPU_ROWS: Final = 1024
"""Scored rows, photographs times statements, of a line on a CPU: two cores take five minutes for all lines of 64
photographs (docs/measurements.md#lines-of-mini)."""
SIZES: Final = (8, 64, 256)
KEPT: Final = (4, 8, 16)
LINES: Final = ("captions", "yesno", "kept", "codes", "find", "route")

Lines = dict[str, Ratio]


def lines_of(
    shown: Shown, chosen: tuple[str, ...], count: int, largest: int, seed: int, most_rows: int | None = None
) -> Iterator[Lines]:
    """Yield the chosen lines as they are measured; a long measurement yields its lines repeatedly.

    Args:
        count: questions of a line.
        most_rows: scored rows of a line, at most; any number if None.
    """

    def rng(name: str) -> random.Random:
        return random.Random(f"mini {name} {seed}")

    def affordable(rows: int) -> int:
        return count if most_rows is None else max(1, min(count, most_rows // rows))

    photographs = len(shown.described)
    if "captions" in chosen:
        yield mini_lines.captions(shown, count)
    if "yesno" in chosen:
        yield mini_lines.yes_no(shown, count, rng("yesno"))
    if "kept" in chosen:
        for size in KEPT:
            if size <= photographs:
                yield mini_lines.share_kept(shown, size, count, rng(f"kept {size}"))
    if "codes" in chosen:
        yield mini_lines.codes(shown, min(count, photographs))
    sizes = [size for size in SIZES if size <= min(largest, photographs)]
    if "find" in chosen and sizes:
        yield from mini_lines.find(shown, affordable(max(sizes)), sizes, rng("find"))
    if "route" in chosen and sizes:
        size = sizes[min(1, len(sizes) - 1)]
        yield mini_lines.best_of(shown, size, affordable(2 * size), rng("route"))


def movie_lines(model: Model, movie: Path, queries: Path, folder: Path) -> Lines:
    """Return R1 and R5 at IoU .5 of a movie's queries; `movie` is an index, or a movie that is built first."""
    asked = qvhighlights.read_queries(queries)
    if movie.suffix != ".idx":
        out = folder / "movie.idx"
        chunkv2l.build(movie, out, model=model, speech="off", screen_text="off")
        movie = out
    predicted, true = [], []
    with chunkv2l.open(movie, model=model) as index:
        for query in tqdm(asked, desc="movie", unit="query", disable=None):
            spans = index.ask(question(query.query)).spans
            predicted.append([(span.start, span.end) for span in spans])
            true.append(list(query.windows))
    lines: Lines = {}
    for top in (1, 5):
        hits = [recall([p], [t], top, 0.5) for p, t in zip(predicted, true, strict=True)]
        lines[f"movie, R{top}@0.5"] = Ratio.mean(hits)
    return lines


def figures_of(lines: Lines) -> dict[str, Any]:
    """Return value, 95 % interval and number of questions of every line."""
    figures = {}
    for name, ratio in lines.items():
        low, high = interval(ratio)
        figures[name] = {"value": ratio.value, "low": low, "high": high, "questions": len(ratio.over)}
    return figures


def table_of(figures: dict[str, Any]) -> str:
    rows = []
    for name, figure in figures.items():
        digits = 0 if "bytes" in name else 3
        value, low, high = (f"{figure[key]:.{digits}f}" for key in ("value", "low", "high"))
        rows.append([name, value, f"{low} … {high}", str(figure["questions"])])
    return markdown(["measure", "value", "95 %", "questions"], rows)


@click.command("mini")
@click.option(
    "--questions",
    type=click.IntRange(min=2),
    help=f"Of every line.  [default: {QUESTIONS_EACH} a photograph, {QUESTIONS} at most; fewer on a CPU]",
)
@click.option(
    "--largest", default=256, show_default=True, type=click.IntRange(min=8), help="Segments searched, at most."
)
@click.option("--line", "chosen", multiple=True, type=click.Choice(LINES), help="May be repeated; all if left out.")
@click.option("--movie", type=click.Path(path_type=Path), help="Movie or index, to be asked --queries.")
@click.option("--queries", type=click.Path(path_type=Path), help="The movie's, QVHighlights' JSONL.")
@json_option
@photograph_options
def command(
    questions: int | None,
    largest: int,
    chosen: tuple[str, ...],
    movie: Path | None,
    queries: Path | None,
    as_json: bool,
    settings: PhotographSettings,
) -> None:
    """Measure the default model's shipped weights on your photographs, and a movie.

    Photographs are filmed (pan and zoom), encoded, and asked about with zero visual tokens; the table also has frames
    in context. Intervals are bootstrapped over questions.
    """
    if (movie is None) != (queries is None):
        raise InputError("--movie and --queries go together: give both, or neither.")
    images = load_images(settings.stem, settings.limit)
    model = load_model(ModelSpec(settings.model, device=settings.device))
    on_cpu = model.vlm.device.type == "cpu"
    most_rows = CPU_ROWS if on_cpu and questions is None else None
    usual = (len(images.jpegs) + 1) // 2 if on_cpu else QUESTIONS_EACH * len(images.jpegs)
    questions = questions or min(QUESTIONS, usual)
    shown = Shown.of(Encoder(model, settings.cache, settings.seed), images)
    lines: Lines = {}

    def report() -> dict[str, Any]:
        figures = figures_of(lines)
        results.write("mini", figures, table_of(figures), out=settings.out, seed=settings.seed)
        return figures

    with tempfile.TemporaryDirectory() as folder:
        for more in lines_of(shown, chosen or LINES, questions, largest, settings.seed, most_rows):
            lines.update(more)
            report()
        if movie is not None and queries is not None:
            lines.update(movie_lines(model, movie, queries, Path(folder)))
    figures = report()
    click.echo(json.dumps(figures, ensure_ascii=False) if as_json else table_of(figures))
