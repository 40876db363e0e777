"""Make a long movie with many processes at once, for `evaluation gpu`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Any

from chunkv2l.errors import ChunkV2LError
from chunkv2l.files import atomic_write
from chunkv2l.video.container import choose_video_stream, create_container, open_container, packets, timeline
from chunkv2l.video.probe import probe


def make(target: Path, clips: Path | None, images: Path | None, minutes: float, parts: int, size: str) -> None:
    """Make `parts` movies with `evaluation hour-movie`, each with another seed, and join them.

    Raises:
        ChunkV2LError: one of them failed.
    """
    files = [target.with_name(f"{target.stem}.{number}{target.suffix}") for number in range(parts)]
    sources = [*(("--clips", clips.resolve()) if clips else ()), *(("--images", images.resolve()) if images else ())]
    running = []
    for seed, file in enumerate(files):
        options = ["--minutes", minutes / parts, "--size", size, "--seed", seed, "-o", file.resolve()]
        command = [sys.executable, "-m", "evaluation", "hour-movie", *map(str, [*sources, *options])]
        running.append(subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL))
    if any([process.wait() for process in running]):
        raise ChunkV2LError("Making the movie failed; the messages above say why.")
    join(files, target, sum(probe(file).duration for file in files))
    for file in files:
        for left in (file, file.with_suffix(".jsonl"), file.with_suffix(".shots.jsonl")):
            left.unlink(missing_ok=True)


def join(files: Sequence[Path], target: Path, seconds: float) -> None:
    """Join movies of the same coding in turn until `seconds` are reached, without decoding them."""
    with atomic_write(target) as part, create_container(part) as made:
        copy: Any = None
        shift = 0.0
        for file in cycle(files):
            with closing(open_container(file)) as given:
                stream: Any = choose_video_stream(given)
                copy = copy or made.add_stream_from_template(stream)
                begin, last, step = timeline(given, stream).origin, 0.0, 0.0
                for packet in packets(given, stream):
                    if packet.dts is None:
                        continue
                    base = packet.time_base
                    if shift + float(packet.dts * base - begin) >= seconds:
                        break
                    last = max(last, float(packet.pts * base - begin))
                    step = float(packet.duration * base) or step
                    moved = round((shift - float(begin)) / base)
                    packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                    packet.stream = copy
                    made.mux(packet)
            shift += last + step
            if shift >= seconds - 1e-3:
                break
