"""Time the first token: asking an index, against the same frozen model with the movie's frames in its context.

    python -m evaluation latency --movie hour.mp4 --index hour.idx

The ways take turns in one run, with the same weights in the same precision, after a warm-up; medians count. Two more
rows speed up frames in context: stored vision features, which only the language model reads, and a kept key-value
cache, with its memory. Decoding the movie isn't counted. `amortised` divides work that is done once (here:
internalising every segment) among questions.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import cycle, islice, product
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from chunkv2l.cli import streams as terminal
from chunkv2l.cli.options import BudgetType
from chunkv2l.defaults import AUTO_BUDGET
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.graph import Node
from chunkv2l.models.family import require_family
from chunkv2l.query.query import BudgetChoice
from evaluation.common import results, table
from evaluation.common.options import device_option, hypernet_option, out_option

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from chunkv2l.ask import Index
    from chunkv2l.models import Model
    from chunkv2l.models.base import VLM
    from evaluation.benchmarks.contexts import Look, Prompt, Reader


_CLIPS = 16  # of the movie's first segments, whose frames are used
_SUBJECTS = ("man in a red shirt", "brown dog", "woman with a hat", "small child", "white car", "group of people")
_PLACES = ("near the water", "on the street", "in the snow", "at the table", "in the forest", "on a stage", "in a room")


def questions() -> list[str]:
    """Return different questions of about one length: the router caches the scores of earlier ones."""
    verbs = ("doing", "holding", "looking at", "wearing", "waiting for")
    return [f"What is the {who} {where} {verb}?" for verb, where, who in product(verbs, _PLACES, _SUBJECTS)]


def in_turns(ways: Mapping[str, Callable[[], float]], rounds: int, patience: float) -> dict[str, float]:
    """Return the median seconds that each way returns, over rounds in which all take turns, after one to warm up.

    Args:
        patience: seconds after which no further round begins; one round always counts.
    """
    seconds_of: dict[str, list[float]] = {name: [] for name in ways}
    started = perf_counter()
    for number in range(rounds + 1):
        if number > 1 and perf_counter() - started > patience:
            break
        for name, way in ways.items():
            seconds = way()
            if number:
                seconds_of[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in seconds_of.items()}


def first_token(vlm: VLM, question: str, adapter: Any) -> float:
    """Return the seconds until `generate` has its first token."""
    times: list[float] = []
    started = perf_counter()
    vlm.generate([question], adapter, 1, on_first_token=lambda: times.append(perf_counter()))
    return times[0] - started


def asking(index: Index, fresh: Sequence[str], budget: BudgetChoice) -> dict[str, Callable[[], float]]:
    """Return the two ways of asking; each call takes the next question."""
    each = cycle(fresh)
    weights: dict[Node, float] = {node: 1.0 / 3 for node in range(min(3, len(index)))}
    adapter = index.compose(weights)
    return {
        "ask": lambda: index.ask(next(each), budget=budget).timing.first_token_s,
        "follow_up": lambda: first_token(index.model.vlm, next(each), adapter),
    }


def in_context(
    looks: Sequence[Look], index: Index, rounds: int, patience: float, budget: BudgetChoice
) -> tuple[list[InContext], Asked]:
    """Time every number of frames, in turns with asking the index."""
    from evaluation.benchmarks import contexts

    reader = contexts.Reader(require_family(index.model.vlm))
    fresh = questions()
    ours = asking(index, fresh, budget)
    contexts_timed, asked = [], []
    for look in looks:
        prompt = reader.look(look, fresh[0])
        cache = reader.keep(prompt)
        ways = {**ours, **_reading(reader, look, prompt, cache, fresh[0])}
        medians = in_turns(ways, rounds, patience)
        asked.append(Asked(len(index), medians.pop("ask"), medians.pop("follow_up")))
        size = reader.bytes_of(cache)
        contexts_timed.append(InContext(len(look.frames), len(prompt.frames), kept_bytes=size, **medians))
        del prompt, cache
    middle = [statistics.median(values) for values in zip(*((one.ask, one.follow_up) for one in asked), strict=True)]
    return contexts_timed, Asked(len(index), *middle)


def _reading(reader: Reader, look: Look, prompt: Prompt, cache: Any, question: str) -> dict[str, Callable[[], float]]:
    return {
        "frames_s": lambda: reader.seconds(lambda: reader.read(reader.look(look, question))),
        "stored_s": lambda: reader.seconds(lambda: reader.read(prompt)),
        "kept_s": lambda: reader.seconds(lambda: reader.go_on(prompt, cache)),
    }


def internalising(model: Model, clips: Sequence[Any], rounds: int) -> float:
    """Return seconds a segment for states and code, in batches as `build` makes them."""
    import torch

    from chunkv2l.indexing.segments import CLIPS_AT_ONCE

    def run() -> float:
        started = perf_counter()
        with torch.inference_mode():
            for first in range(0, len(clips), CLIPS_AT_ONCE):
                states, mask = model.vlm.encode(clips[first : first + CLIPS_AT_ONCE])
                model.hypernet.encode(states, mask).cpu()
        return (perf_counter() - started) / len(clips)

    return in_turns({"": run}, min(rounds, 3), 120.0)[""]


COLD = 3
"""Number of cold starts; the median counts."""


def cold(index: Path, question: str, extra: Sequence[str]) -> float:
    """Return the seconds from starting the command to the answer's first token."""
    command = [sys.executable, "-m", "chunkv2l", "ask", str(index), question, "--json", *extra]
    started = perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    wall = perf_counter() - started
    if done.returncode:
        raise ChunkV2LError("`chunkv2l ask` failed; its messages above say why.")
    timing: dict[str, float] = json.loads(done.stdout)["timing"]
    return wall - (timing["total_s"] - timing["load_s"] - timing["first_token_s"])


SHARED_BY = (1, 2, 5, 10, 20, 50, 100, 200)
"""Numbers of questions that share the work done once."""


@dataclass(frozen=True)
class Asked:
    """Times of asking an index, medians in seconds.

    Attributes:
        ask: with routing, every question a new one.
        follow_up: another question to an adapter that is already composed.
    """

    segments: int
    ask: float
    follow_up: float


@dataclass(frozen=True)
class InContext:
    """Times with so many frames in context, medians in seconds.

    Attributes:
        tokens: visual tokens, the text between the frames included.
        frames_s: vision features of the frames and prefill.
        stored_s: prefill with stored features.
        kept_s: the question alone, on a kept key-value cache.
        kept_bytes: size of that cache.
    """

    frames: int
    tokens: int
    frames_s: float
    stored_s: float
    kept_s: float
    kept_bytes: int


def amortised(once: float, each: float) -> list[float]:
    """Return seconds a question, for each of `SHARED_BY`."""
    return [once / count + each for count in SHARED_BY]


def rows(context: Sequence[InContext], asked: Sequence[Asked]) -> list[list[str]]:
    """Return the table: asking, then frames in context, each over the median of asking the largest index."""
    ours = asked[-1].ask
    lines = []
    for index in asked:
        lines.append([f"ask, {index.segments} segments", "0", _s(index.ask), f"{index.ask / ours:.2f}×", ""])
        lines.append(
            [f"follow-up, {index.segments} segments", "0", _s(index.follow_up), f"{index.follow_up / ours:.2f}×", ""]
        )
    for held in context:
        for name, seconds, memory in (
            ("in context", held.frames_s, ""),
            ("features stored", held.stored_s, ""),
            ("cache kept", held.kept_s, f"{held.kept_bytes / 1e6:.0f} MB"),
        ):
            lines.append(
                [f"{held.frames} frames, {name}", str(held.tokens), _s(seconds), f"{seconds / ours:.2f}×", memory]
            )
    return lines


def _s(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds < 10 else f"{seconds:.1f} s"


def draw(
    figure: Figure, context: Sequence[InContext], asked: Sequence[Asked], shared: Mapping[str, list[float]]
) -> None:
    """Draw the first token over frames, and seconds a question over the number of questions."""
    over, among = figure.subplots(1, 2)
    frames = [one.frames for one in context]
    for label, values in (
        ("in context", [one.frames_s for one in context]),
        ("features stored", [one.stored_s for one in context]),
        ("cache kept", [one.kept_s for one in context]),
    ):
        over.plot(frames, values, "o-", label=label)
    over.axhline(asked[-1].ask, color="black", label=f"ask, {asked[-1].segments} segments")
    over.axhline(asked[-1].follow_up, color="black", linestyle="--", label="follow-up")
    over.set(xscale="log", yscale="log", xlabel="frames in context", ylabel="seconds to the first token")
    over.set_xticks(frames, [str(number) for number in frames])
    over.set_xticks([], minor=True)
    over.legend(fontsize="small")
    for label, seconds in shared.items():
        among.plot(SHARED_BY, seconds, "o-", label=label)
    among.set(xscale="log", yscale="log", xlabel="questions", ylabel="seconds a question, with what is done once")
    among.legend(fontsize="small")


@click.command("latency", short_help="Seconds to the first token, against the movie's frames in context.")
@click.option("--movie", type=click.Path(path_type=Path), required=True, help="Frames come from its first segments.")
@click.option(
    "--index", "paths", type=click.Path(path_type=Path), multiple=True, required=True,
    help="Its index; several, of other lengths, show how asking grows.",
)  # fmt: skip
@click.option(
    "--frames", type=click.IntRange(min=1), multiple=True, default=(8, 16, 32, 64, 128, 256), show_default=True
)
@click.option("--limit/--no-limit", default=True, show_default=True, help="Also as many as the context holds.")
@click.option("--budget", type=BudgetType(), default=AUTO_BUDGET, show_default=True, help="As in `chunkv2l ask`.")
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True)
@click.option("--patience", default=240.0, show_default=True, help="Seconds for the rounds of one number of frames.")
@click.option(
    "--cold/--no-cold", "with_cold", default=True, show_default=True, help="Also `chunkv2l ask` from a shell."
)
@click.option("--model", metavar="NAME|FOLDER", help="Where the index doesn't know.")
@hypernet_option
@device_option
@out_option
def command(
    movie: Path, paths: tuple[Path, ...], frames: tuple[int, ...], limit: bool, budget: BudgetChoice, rounds: int,
    patience: float, with_cold: bool, model: str | None, hypernet: str | None, device: str, out: Path,
) -> None:  # fmt: skip
    """Time the first token of answers from indexes and from frames in context, in one run."""
    import chunkv2l
    from chunkv2l.video.segmentation import cut
    from evaluation.benchmarks.contexts import Look, Reader

    with closing(chunkv2l.open(paths[0], model, hypernet=hypernet, device=device)) as first:
        loaded = first.model
    vlm = require_family(loaded.vlm)
    with closing(cut(movie, vlm.sampling)) as cut_segments:
        clips = [item.clip for item in islice(cut_segments, _CLIPS)]
    pictures = [picture for clip in clips for picture in clip.frames]
    reader = Reader(vlm)
    most = reader.most_frames(pictures, questions()[0])
    counts = sorted({count for count in frames if count <= most} | ({most} if limit else set()))
    if not counts:
        raise InputError(f"{vlm.name}'s context holds {most} frames at most: give a smaller --frames.")
    looks = [Look(tuple(islice(cycle(pictures), count)), float(count)) for count in counts]
    indexes = sorted((chunkv2l.open(path, loaded) for path in paths), key=len)
    try:
        asked = []
        for index in indexes[:-1]:
            medians = in_turns(asking(index, questions(), budget), rounds, patience)
            asked.append(Asked(len(index), medians["ask"], medians["follow_up"]))
        context, largest = in_context(looks, indexes[-1], rounds, patience, budget)
        asked.append(largest)
        each = internalising(loaded, clips, rounds)
        once, segments, last = each * len(indexes[-1]), len(indexes[-1]), indexes[-1].path
    finally:
        for index in indexes:
            index.close()
    shared = {f"ask, {segments} segments": amortised(once, largest.ask)}
    shared |= {f"{one.frames} frames in context": amortised(0.0, one.frames_s) for one in (context[0], context[-1])}
    shared[f"{context[-1].frames} frames, cache kept"] = amortised(context[-1].frames_s, context[-1].kept_s)
    figures: dict[str, Any] = {
        "model": vlm.name,
        "precision": str(vlm.decoder.precision).removeprefix("torch."),
        "device": str(vlm.device),
        "budget": budget,
        "asked": [asdict(one) for one in asked],
        "in_context": [asdict(one) for one in context],
        "internalise_segment_s": each,
        "internalise_movie_s": once,
        "questions": list(SHARED_BY),
        "amortised_s": shared,
    }
    text = table.markdown(["", "visual tokens", "first token", "of ask's", "memory"], rows(context, asked))
    text += f"\n\nInternalising takes {each:.3f} s a segment, {once:.0f} s in all."
    if with_cold:
        extra = [
            *(("--model", model) if model else ()),
            *(("--hypernet", hypernet) if hypernet else ()),
            "--device",
            device,
        ]
        figures["cold_s"] = statistics.median(cold(last, questions()[-1], extra) for _ in range(COLD))
        text += f" From a shell, the first token takes {figures['cold_s']:.2f} s."
    results.write("latency", figures, text, lambda figure: draw(figure, context, asked, shared), out=out)
    terminal.emit(text)
