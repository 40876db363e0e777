"""Measure what an index costs to build, by stage and by length of the movie: time, memory, bytes.

    python -m evaluation build --movie hour.mp4 --minutes 5 --minutes 20 --minutes 60

Each length is the movie's beginning (copied, not encoded anew), built in a process of its own, because a peak of memory
counts everything that a process did before. The indexes are deleted. Decoding and detecting run in threads beside the
model, so that their times in a build overlap: they are measured again, alone, on the shortest length.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from tqdm import tqdm

from chunkv2l.cli import streams as terminal
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.video.container import choose_video_stream, create_container, open_container, packets, timeline
from chunkv2l.video.probe import probe
from evaluation.common import results, table
from evaluation.common.options import PICTURES_ONLY, captions_option, device_option, hypernet_option, out_option

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STAGES = ("decode", "detect", "read", "wait", "encode", "hypernet", "scores", "captions", "write")
"""Rows of the table in order; decode and detect are measured alone, the others are from `BuildReport`."""
MEGA = 1e6


@dataclass(frozen=True)
class Cost:
    """The cost of one build.

    Attributes:
        minutes: length of the movie.
        seconds: from the loaded model to the complete index.
        cpu_seconds: the same, of all cores together.
        realtime: seconds of movie a second, by stage and in "total".
        begin_bytes: the process's peak memory with the model loaded, before the first segment.
        peak_bytes: peak memory at the end.
        by_minute: peak memory after each minute of the movie, bytes.
        gpu_bytes: torch's peak memory on the GPU; None without a GPU.
    """

    minutes: float
    segments: int
    seconds: float
    cpu_seconds: float
    realtime: dict[str, float]
    begin_bytes: int
    peak_bytes: int
    index_bytes: int
    code_bytes: int
    by_minute: list[int] = field(default_factory=list)
    gpu_bytes: int | None = None


@dataclass(frozen=True)
class Line:
    """A straight line through points: value = slope · minutes + start."""

    slope: float
    start: float


def fit(minutes: Sequence[float], values: Sequence[float]) -> Line:
    """Return the least-squares line; a flat one through a single point."""
    if len(set(minutes)) < 2:
        return Line(0.0, float(np.mean(values)))
    slope, start = np.polyfit(np.asarray(minutes, float), np.asarray(values, float), 1)
    return Line(float(slope), float(start))


def measure(movie: Path, model: str, hypernet: str | None, device: str, **options: Any) -> Cost:
    """Build `movie`'s index in this process, which should be new, and return its cost."""
    probe(movie)
    from chunkv2l.indexing.build import build
    from chunkv2l.indexing.progress import Progress, peak_memory
    from chunkv2l.models import ModelSpec, load_model

    loaded = load_model(ModelSpec(model, hypernet, device))
    begin = peak_memory() or 0
    marks: dict[int, int] = {}

    def progress(now: Progress) -> None:
        marks.setdefault(int(now.done // 60), peak_memory() or 0)

    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = perf_counter(), process_time()
        report = build(movie, Path(folder) / "a.idx", model=loaded, progress=progress, **{**PICTURES_ONLY, **options})
        wall, cpu = perf_counter() - wall, process_time() - cpu
    gpu = None
    if loaded.vlm.device.type == "cuda":
        import torch

        gpu = torch.cuda.max_memory_allocated(loaded.vlm.device)
    duration = report.movie["duration"]
    realtime = {name: duration / spent for name, spent in report.stages.items() if name != "load" and spent > 0}
    return Cost(
        minutes=duration / 60,
        segments=report.segments,
        seconds=wall,
        cpu_seconds=cpu,
        realtime={**realtime, "total": duration / wall},
        begin_bytes=begin,
        peak_bytes=peak_memory() or 0,
        index_bytes=report.index_bytes,
        code_bytes=report.code_bytes,
        by_minute=[marks[minute] for minute in sorted(marks)],
        gpu_bytes=gpu,
    )


def alone(movie: Path, reader: str = "auto", exact: bool = False) -> dict[str, dict[str, float]]:
    """Time decoding, and all work on frames before the model, each alone.

    Args:
        exact: as the frozen model's `FrameSampling.exact`.

    Returns:
        {"decode", "detect"}: {"realtime", "cpu_seconds" of a minute of movie}; detecting is the difference of the two.
    """
    from chunkv2l.models.mini import vlm as mini
    from chunkv2l.models.smolvlm import inputs as smolvlm_inputs
    from chunkv2l.video.frame_sampling import FrameSampling
    from chunkv2l.video.readers import read_frames
    from chunkv2l.video.segmentation import cut
    from chunkv2l.video.settings import SegmentationSettings

    info = probe(movie)
    walls, cpus = [], []
    sample, shrink = (smolvlm_inputs.sample_times, smolvlm_inputs.shrink) if exact else (mini.sample_times, mini.shrink)
    runs: tuple[Callable[[], int], ...] = (
        lambda: sum(1 for _ in read_frames(info, reader)),
        lambda: sum(1 for _ in cut(movie, FrameSampling(sample, shrink, exact), SegmentationSettings(reader=reader))),
    )
    for run in runs:
        wall, cpu = perf_counter(), process_time()
        run()
        walls.append(perf_counter() - wall)
        cpus.append((process_time() - cpu) * 60 / info.duration)
    return {
        "decode": {"realtime": info.duration / walls[0], "cpu_seconds": cpus[0]},
        "detect": {
            "realtime": info.duration / max(walls[1] - walls[0], 1e-9),
            "cpu_seconds": max(0.0, cpus[1] - cpus[0]),
        },
    }


def head(source: Path, target: Path, seconds: float) -> None:
    """Copy the pictures of a movie's first `seconds` without decoding them.

    Raises:
        InputError: not a movie, or one that is shorter by more than a tenth.
    """
    info = probe(source)
    if info.duration < 0.9 * seconds:
        raise InputError(f"{source} lasts {info.duration / 60:.1f} minutes, less than the {seconds / 60:g} asked for.")
    with closing(open_container(source)) as given, create_container(target) as made:
        stream: Any = choose_video_stream(given)
        start = timeline(given, stream).origin
        copy: Any = made.add_stream_from_template(stream)
        for packet in packets(given, stream):
            if packet.dts is None:
                continue
            if float(packet.dts * packet.time_base - start) >= seconds:
                break
            packet.stream = copy
            made.mux(packet)


def in_process(task: str, movie: Path, **options: Any) -> Any:
    """Run `measure` or `alone` in a process of its own, and return its result as JSON has it."""
    command = [
        sys.executable,
        "-m",
        "evaluation.benchmarks.build_cost",
        json.dumps({"task": task, "movie": str(movie), **options}),
    ]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise ChunkV2LError(f"The build of {movie.name} failed; its messages above say why.")
    return json.loads(done.stdout.splitlines()[-1])


def rows(costs: Sequence[Cost], apart: dict[str, dict[str, float]]) -> list[list[str]]:
    """Return the table's rows: stages and sizes, with a column for each length."""
    lines = []
    for stage in (*STAGES, "total"):
        if stage in apart:
            cells = [f"{apart[stage]['realtime']:.1f}×", *[""] * (len(costs) - 1)]
        elif any(stage in cost.realtime for cost in costs):
            cells = [f"{cost.realtime[stage]:.1f}×" if stage in cost.realtime else "–" for cost in costs]
        else:
            continue
        lines.append([f"{stage}, alone" if stage in apart else stage, *cells])
    sizes: dict[str, Callable[[Cost], str]] = {
        "CPU seconds a minute": lambda cost: f"{cost.cpu_seconds / cost.minutes:.1f}",
        "peak memory, MB": lambda cost: f"{cost.peak_bytes / MEGA:.0f}",
        "of it before the first segment": lambda cost: f"{cost.begin_bytes / MEGA:.0f}",
        "index, MB": lambda cost: f"{cost.index_bytes / MEGA:.1f}",
        "code of a segment, kB": lambda cost: f"{cost.code_bytes / 1e3:.1f}",
        "segments": lambda cost: str(cost.segments),
    }
    if any(cost.gpu_bytes is not None for cost in costs):
        sizes["peak memory of the GPU, MB"] = lambda cost: f"{(cost.gpu_bytes or 0) / MEGA:.0f}"
    return lines + [[name, *map(show, costs)] for name, show in sizes.items()]


def slopes(costs: Sequence[Cost]) -> dict[str, Line]:
    """Fit the growth of peak memory (MB), the index (MB) and the time (seconds) with each minute of movie."""
    minutes = [cost.minutes for cost in costs]
    return {
        "peak_mb": fit(minutes, [cost.peak_bytes / MEGA for cost in costs]),
        "index_mb": fit(minutes, [cost.index_bytes / MEGA for cost in costs]),
        "seconds": fit(minutes, [cost.seconds for cost in costs]),
    }


def draw(figure: Figure, costs: Sequence[Cost], lines: dict[str, Line]) -> None:
    """Draw real time by stage for the longest movie, and memory and index size over length."""
    stages, memory, index = figure.subplots(1, 3)
    longest = max(costs, key=lambda cost: cost.minutes)
    named = [name for name in (*STAGES, "total") if name in longest.realtime and name != "wait"]
    stages.barh(named[::-1], [longest.realtime[name] for name in named[::-1]])
    stages.set(xscale="log", xlabel="times real time", title=f"{longest.minutes:.0f} minutes")
    minutes = [cost.minutes for cost in costs]
    for axes, key, values, label in (
        (memory, "peak_mb", [cost.peak_bytes / MEGA for cost in costs], "peak memory, MB"),
        (index, "index_mb", [cost.index_bytes / MEGA for cost in costs], "index, MB"),
    ):
        line = lines[key]
        axes.plot(minutes, values, "o")
        axes.plot(minutes, [line.start + line.slope * m for m in minutes], "-")
        axes.set(xlabel="minutes of movie", ylabel=label, title=f"{line.slope:+.2f} MB a minute", ylim=(0, None))


@click.command("build", short_help="What a build costs by stage, and how it grows with the movie.")
@click.option("--movie", type=click.Path(path_type=Path), required=True, help="A long one: `hour-movie` makes one.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0.05),
    multiple=True,
    default=(5.0, 20.0, 60.0),
    show_default=True,
    help="Lengths to build; give it again for each.",
)
@click.option("--model", default="mini", show_default=True, metavar="NAME|FOLDER")
@hypernet_option
@device_option
@captions_option
@click.option("--exact", is_flag=True, help="Time reading alone as models do that need the very frames (SmolVLM2).")
@out_option
def command(
    movie: Path,
    minutes: tuple[float, ...],
    model: str,
    hypernet: str | None,
    device: str,
    captions: bool,
    exact: bool,
    out: Path,
) -> None:
    """Build indexes of a movie's beginnings and show time by stage, peak memory and size, with fitted lines."""
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        pieces = []
        for number, length in enumerate(sorted(set(minutes))):
            pieces.append(Path(folder) / f"{number}{movie.suffix}")
            head(movie, pieces[-1], 60 * length)
        given = {"model": model, "hypernet": hypernet, "device": device, "captions": captions}
        apart = in_process("alone", pieces[0].resolve(), exact=exact)
        for piece in tqdm(pieces, desc="builds", leave=False, disable=None):
            costs.append(Cost(**in_process("measure", piece.resolve(), **given)))
    lines = slopes(costs)
    header = ["", *(f"{cost.minutes:.{0 if cost.minutes >= 10 else 1}f} min" for cost in costs)]
    grown = ", ".join(f"{line.slope:+.3f} {name.replace('_mb', ' MB')}" for name, line in lines.items())
    text = f"{table.markdown(header, rows(costs, apart))}\n\nA minute of movie more costs: {grown}."
    figures = {
        "movie": movie.name,
        "model": model,
        "alone": apart,
        "builds": [asdict(cost) for cost in costs],
        "lines": {name: asdict(line) for name, line in lines.items()},
    }
    results.write("build", figures, text, lambda figure: draw(figure, costs, lines), out=out)
    terminal.emit(text)


def _main(text: str) -> None:
    options = json.loads(text)
    task, movie = options.pop("task"), Path(options.pop("movie"))
    result = asdict(measure(movie, **options)) if task == "measure" else alone(movie, **options)
    print(json.dumps(result))


if __name__ == "__main__":
    try:
        _main(sys.argv[1])
    except ChunkV2LError as error:
        terminal.say(f"Error: {error}")
        sys.exit(error.exit_code)
