"""Make a long movie out of a folder of clips and a set of photographs, with hard cuts and dissolves.

    python -m evaluation hour-movie --clips FOLDER --images STEM --minutes 60 --size 1280x720 -o hour.mp4

Any folder of videos will do; photographs are as `chunkv2l.train` reads them (STEM.npz, STEM.jsonl). MOVIE.jsonl
beside MOVIE.mp4 has the sources' captions and their windows in QVHighlights' format, MOVIE.shots.jsonl every shot.
The same sources and seed give the same frames.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import click
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from chunkv2l.cli import streams as terminal
from chunkv2l.errors import InputError
from chunkv2l.files import atomic_write
from chunkv2l.train.data.images import load_images
from chunkv2l.video.container import create_container
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import read_frames
from evaluation.common.options import seed_option
from evaluation.movies import hour_plan
from evaluation.movies.hour_plan import Shot, Source, View

MOVIES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v")
_THREADS = "4"  # of the encoder; fixed, because its output depends on it
_NOISES, _SHIFTS = 8, 64

Picture = NDArray[np.uint8]  # [H, W, 3], RGB
Open = Callable[[Source], "Path | bytes"]
"""Returns the content of a source: a clip's file, or a photograph's bytes."""


def find_clips(folder: Path) -> dict[Source, Path]:
    """Return a folder's videos, with captions from its JSON lists of {"file", "caption"} or its JSONL files.

    Raises:
        InputError: no such folder, or no video in it.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    captions = _captions(folder)
    clips = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in MOVIES:
            clips[Source(path.name, "clip", captions.get(path.name, ()), probe(path).duration)] = path
    if not clips:
        raise InputError(f"{folder} holds no video ({', '.join(MOVIES)}).")
    return clips


def _captions(folder: Path) -> dict[str, tuple[str, ...]]:
    captions: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.glob("*.json*")):
        try:
            text = path.read_text(encoding="utf-8")
            rows: Any = json.loads(text) if path.suffix == ".json" else [json.loads(x) for x in text.splitlines() if x]
        except ValueError:
            raise InputError(f"{path} isn't JSON.") from None
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict) and isinstance(row.get("file"), str):
                sentences = row.get("captions") or [row.get("caption")]
                captions[row["file"]] = tuple(str(sentence) for sentence in sentences if sentence)
    return captions


def find_photographs(stem: Path) -> dict[Source, bytes]:
    """Return a set of photographs, with their captions.

    Raises:
        InputError: there is no such set.
    """
    images = load_images(stem)
    return {
        Source(f"{images.name}/{number}", "photograph", described.captions): jpeg
        for number, (jpeg, described) in enumerate(zip(images.jpegs, images.described, strict=True))
    }


def movie(shots: Sequence[Shot], size: tuple[int, int], fps: int, of: Open) -> Iterator[Picture]:
    """Yield the movie's frames in order, of `size` (width, height). At most a dissolve's frames are in memory."""
    tail: list[Picture] = []  # the previous shot's frames that are blended with this one's
    for shot, following in zip(shots, [*shots[1:], None], strict=True):
        kept = following.dissolve if following else 0
        new_tail: list[Picture] = []
        for k, frame in enumerate(_frames(shot, size, fps, of)):
            if k < shot.dissolve:
                over = (k + 1) / (shot.dissolve + 1)
                frame = np.asarray(cv2.addWeighted(tail[k], 1 - over, frame, over, 0), dtype=np.uint8)
            if k >= shot.frames - kept:
                new_tail.append(frame)
            else:
                yield frame
        tail = new_tail


def write(path: Path, frames: Iterator[Picture], size: tuple[int, int], fps: int, crf: int) -> int:
    """Encode frames of YUV 4:2:0, [H · 3/2, W], with libx264 (veryfast) into `path`, whole or not at all.

    Returns:
        number of frames.

    Raises:
        InputError: this PyAV has no libx264.
    """
    if "libx264" not in av.codecs_available:
        raise InputError("This PyAV was built without libx264; install one from a wheel.")
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with (
        atomic_write(path) as part,
        create_container(part, "mp4", {"movflags": "+faststart"}) as container,
    ):
        options = {"crf": str(crf), "preset": "veryfast", "threads": _THREADS}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height = size
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, fps)
        for count, picture in enumerate(frames, start=1):
            raw: Any = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            raw.pts, raw.time_base = count - 1, Fraction(1, fps)
            container.mux(stream.encode(raw))
        container.mux(stream.encode())
    return count


def _frames(shot: Shot, size: tuple[int, int], fps: int, of: Open) -> Iterator[Picture]:
    for k, picture in enumerate(_pictures(shot, fps, of)):
        at = k / max(shot.frames - 1, 1)
        at = at * at * (3 - 2 * at)  # the camera starts and stops gently
        (x, y, zoom), (x1, y1, zoom1) = ((view.x, view.y, view.zoom) for view in shot.views)
        view = View(x + at * (x1 - x), y + at * (y1 - y), zoom + at * (zoom1 - zoom))
        yield show_window(picture, view, size, shot.mirrored)


def _pictures(shot: Shot, fps: int, of: Open) -> Iterator[Picture]:
    """Yield the source's picture at each of the shot's frames."""
    content = of(shot.source)
    if isinstance(content, bytes):
        photograph = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        yield from (photograph for _ in range(shot.frames))
        return
    times = [shot.begin + k / fps * shot.speed + 1e-6 for k in range(shot.frames)]
    given, last = 0, None
    for frame in read_frames(probe(content)):
        while last is not None and given < len(times) and frame.time > times[given]:
            yield last
            given += 1
        if given == len(times):
            return
        last = frame.picture() if given + 1 < len(times) or frame.time <= times[given] else last
    if last is None:
        raise InputError(f"{content} has no picture that can be decoded.")
    yield from (last for _ in range(len(times) - given))  # the file ends before its header says


def show_window(picture: Picture, view: View, size: tuple[int, int], mirrored: bool) -> Picture:
    """Return a window of a picture, scaled to the movie's size; it has the movie's proportions and lies in the
    picture."""
    height, width = picture.shape[:2]
    wide = min(width, height * size[0] / size[1]) / view.zoom
    scale = wide / size[0]
    left, top = view.x * (width - wide), view.y * (height - scale * size[1])
    across = (-scale, left + wide - scale / 2 - 0.5) if mirrored else (scale, left + scale / 2 - 0.5)
    # from the movie's pixels to the picture's
    back = np.array([[across[0], 0.0, across[1]], [0.0, scale, top + scale / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, back, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


def add_grain(frames: Iterator[Picture], deviation: float, seed: int) -> Iterator[Picture]:
    """Yield frames as YUV 4:2:0 [H · 3/2, W], with sensor noise of `deviation` grey levels added to the brightness.

    The noise is one of a few fields, shifted by a random amount for each frame.
    """
    fields: list[NDArray[np.int8]] = []
    random = np.random.default_rng((seed, 1))
    for number, frame in enumerate(frames):
        height, width = frame.shape[:2]
        planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
        if deviation and not fields:
            shape = (_NOISES, height + _SHIFTS, width + _SHIFTS)
            fields = list(random.normal(0, deviation, shape).round().clip(-127, 127).astype(np.int8))
        if deviation:
            y, x = random.integers(0, _SHIFTS, 2)
            field = fields[number % _NOISES][y : y + height, x : x + width]
            cv2.add(planes[:height], field, planes[:height], dtype=cv2.CV_8U)
        yield np.asarray(planes, dtype=np.uint8)


def rows(shots: Sequence[Shot], fps: int) -> Iterator[dict[str, object]]:
    """Yield a row for every shot: its window (seconds), its source and its camera."""
    for shot, (start, end) in zip(shots, hour_plan.windows(shots, fps), strict=True):
        camera = {key: value for key, value in asdict(shot).items() if key not in ("source", "frames", "dissolve")}
        source = {"source": shot.source.name, "kind": shot.source.type, "words": list(shot.source.captions)}
        yield {"start": start, "end": end, "dissolve": shot.dissolve / fps, **source, **camera}


def _size(_: click.Context, __: click.Parameter, text: str) -> tuple[int, int]:
    width, x, height = text.lower().partition("x")
    if not (x and width.isdigit() and height.isdigit() and 16 <= int(width) <= 7680 and 16 <= int(height) <= 4320):
        raise click.BadParameter(f"{text!r} isn't a size such as 1280x720")
    if int(width) % 2 or int(height) % 2:
        raise click.BadParameter("width and height must be even")
    return int(width), int(height)


@click.command("hour-movie", short_help="Make a long movie from clips and photographs, with its true windows.")
@click.option("--clips", type=click.Path(path_type=Path), help="A folder of videos.")
@click.option("--images", type=click.Path(path_type=Path), metavar="STEM", help="Photographs: STEM.npz and STEM.jsonl.")
@click.option("--minutes", type=click.FloatRange(min=0.05), default=60.0, show_default=True)
@click.option("--size", callback=_size, default="1280x720", show_default=True, metavar="WxH")
@click.option("--fps", type=click.IntRange(1, 120), default=25, show_default=True)
@click.option("--grain", type=click.FloatRange(0, 32), default=3.0, show_default=True, help="Noise, grey levels.")
@click.option("--crf", type=click.IntRange(0, 51), default=23, show_default=True, help="x264's quality.")
@seed_option()
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("hour.mp4"))
def command(
    clips: Path | None,
    images: Path | None,
    minutes: float,
    size: tuple[int, int],
    fps: int,
    grain: float,
    crf: int,
    seed: int,
    out: Path,
) -> None:
    """Make a long movie from a folder of videos, a set of photographs, or both."""
    if clips is None and images is None:
        raise InputError("There is nothing to make a movie of: give --clips FOLDER, --images STEM, or both.")
    contents: Mapping[Source, Path | bytes] = {
        **({} if clips is None else find_clips(clips)),
        **({} if images is None else find_photographs(images)),
    }
    shots = hour_plan.plan(list(contents), 60 * minutes, fps, seed)
    total = hour_plan.starts(shots)[-1] + shots[-1].frames
    frames = add_grain(movie(shots, size, fps, contents.__getitem__), grain, seed)
    bar = tqdm(frames, total=total, unit="frame", desc=out.name, leave=False, disable=None)
    count = write(out, iter(bar), size, fps, crf)
    _write_rows(out.with_suffix(".jsonl"), hour_plan.queries(shots, fps, out.stem))
    _write_rows(out.with_suffix(".shots.jsonl"), rows(shots, fps))
    dissolves = sum(shot.dissolve > 0 for shot in shots)
    terminal.emit(
        f"{out}: {count / fps / 60:.2f} minutes, {size[0]}x{size[1]}, {fps} fps, {out.stat().st_size / 1e6:.0f} MB; "
        f"{len(shots)} shots, {dissolves} of them dissolve in; {out.with_suffix('.jsonl').name} and "
        f"{out.with_suffix('.shots.jsonl').name} say what they show"
    )


def _write_rows(path: Path, lines: Sequence[dict[str, object]] | Iterator[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines), encoding="utf-8")
