"""Measure text recognition on the screen: character recall by the height of the letters, and cost a frame.

    python -m evaluation screen
    python -m evaluation screen --movie wild.mp4        # half of the texts are drawn over its frames

Twenty pictures of 1280 × 720 are drawn for each height: titles, slides and credits of known content, over plain, shaded
and noisy grounds, or over frames of a movie. Recall: letters and digits of the text that are read, in order (the
longest common subsequence), over all of them; case and spaces don't count.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from chunkv2l.errors import InputError
from chunkv2l.graph import pick_evenly
from chunkv2l.screen_text import is_installed
from chunkv2l.screen_text.recogniser import RapidTextRecogniser
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import read_frames
from evaluation.common import results
from evaluation.common.options import json_option, out_option, seed_option
from evaluation.common.table import markdown

Picture = NDArray[np.uint8]
SIZE: Final = (1280, 720)
HEIGHTS: Final = (32, 16)
"""Pixels of the letters' font."""
COUNT: Final = 20
TEXTS: Final = (
    ("Quarterly review 2024", "Costs by department", "Research 41 %, sales 33 %, office 26 %"),
    ("The Lighthouse Keeper", "A film by Ingrid Sommer"),
    ("Chapter 3: Sampling theorem", "f(t) is known from 2B samples per second", "Shannon 1949, Nyquist 1928"),
    ("Directed by Paulo Reis", "Music: Agnes Holm", "Camera: Jun Takahashi", "Sound: Maria Petrova"),
    ("No swimming beyond this point", "Lifeguards on duty 10 am to 6 pm"),
    ("Platform 7  Krakow 10:42", "Platform 9  Vienna 11:05", "Platform 2  delayed 15 minutes"),
    ("AWAY Luggage Carry-On", "$225", "10,000 mAh battery included"),
    ("Homework 3, due on Monday", "Read pages 112 to 140", "Questions: forum or office hours"),
    ("BREAKING NEWS", "Storm warning for the northern coast", "Schools stay closed until Thursday"),
    ("SELECT name, year FROM films", "WHERE year BETWEEN 1960 AND 1975", "ORDER BY year DESC;"),
)


def draw_text(ground: Picture, lines: Sequence[str], height: int, generator: random.Random) -> Picture:
    """Return a picture with lines of text of this height drawn on it, at a place drawn at random."""
    image = Image.fromarray(ground)
    pen = ImageDraw.Draw(image)
    font = ImageFont.truetype(str(_font()), height)
    width = max(pen.textlength(line, font=font) for line in lines)
    left = generator.uniform(20, max(21, SIZE[0] - width - 20))
    top = generator.uniform(20, SIZE[1] - 2 * height * len(lines) - 20)
    is_dark = float(ground.mean()) < 128
    fill, edge = ((250, 250, 250), (0, 0, 0)) if is_dark else ((15, 15, 15), (255, 255, 255))
    for number, line in enumerate(lines):
        place_of_line = (left, top + 2 * height * number)
        pen.text(place_of_line, line, font=font, fill=fill, stroke_width=max(1, height // 16), stroke_fill=edge)
    return np.asarray(image)


def _font() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def make_grounds(movie: Path | None, generator: random.Random) -> list[Picture]:
    """Return twenty grounds: plain, shaded and noisy ones; every second one a frame of the movie, if there is one."""
    noise = np.random.default_rng(generator.randrange(1 << 30))
    grounds: list[Picture] = []
    for number in range(COUNT):
        ground = np.full((SIZE[1], SIZE[0], 3), generator.choice((20, 60, 200, 240)), np.float64)
        if number % 3 == 1:
            ground += np.linspace(-15, 15, SIZE[0])[None, :, None]
        elif number % 3 == 2:
            ground += noise.normal(0, 6, ground.shape)
        grounds.append(np.clip(ground, 0, 255).astype(np.uint8))
    if movie is not None:
        for number, frame in zip(range(1, COUNT, 2), _frames(movie, COUNT // 2), strict=False):
            grounds[number] = np.asarray(Image.fromarray(frame).resize(SIZE))
    return grounds


def _frames(movie: Path, count: int) -> list[Picture]:
    info = probe(movie)
    times = pick_evenly([info.duration * i / 100 for i in range(100)], count)
    frames: list[Picture] = []
    for frame in read_frames(info, "pyav"):
        if len(frames) < count and frame.time >= times[len(frames)]:
            frames.append(frame.picture())
    return frames


def count_read(text: str, read: str) -> tuple[int, int]:
    """Return how many letters and digits of a text were read in order, and how many it has."""
    expected, letters = _letters(text), _letters(read)
    row = [0] * (len(letters) + 1)
    for letter in expected:
        diagonal = 0
        for i, other in enumerate(letters, 1):
            diagonal, row[i] = row[i], diagonal + 1 if letter == other else max(row[i], row[i - 1])
    return row[-1], len(expected)


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


@click.command("screen")
@click.option("--movie", type=click.Path(path_type=Path), help="Draw every second text over a frame of this movie.")
@seed_option("Of places and grounds.")
@out_option
@json_option
def command(movie: Path | None, seed: int, out: Path, as_json: bool) -> None:
    """Measure text recognition on the screen."""
    if not is_installed():
        raise InputError("rapidocr isn't installed: pip install 'chunkv2l[screen]'.")
    recogniser = RapidTextRecogniser()
    figures: dict[str, dict[str, float | int]] = {}
    for height in HEIGHTS:
        generator = random.Random(seed)
        right = letters = 0
        walls, cpus = [], []
        for number, ground in enumerate(make_grounds(movie, generator)):
            lines = TEXTS[number % len(TEXTS)]
            picture = draw_text(ground, lines, height, generator)
            wall, cpu = perf_counter(), process_time()
            read = recogniser.read(picture)
            walls.append(perf_counter() - wall)
            cpus.append(process_time() - cpu)
            hits, count = count_read(" ".join(lines), " ".join(line.text for line in read))
            right, letters = right + hits, letters + count
        figures[f"{height} px"] = {
            "recall": round(right / letters, 4),
            "letters": letters,
            "frames": COUNT,
            "seconds a frame": round(float(np.median(walls)), 3),
            "CPU seconds a frame": round(float(np.median(cpus)), 3),
        }
    columns = list(figures[f"{HEIGHTS[0]} px"])
    rows = [[name, *(str(row[key]) for key in columns)] for name, row in figures.items()]
    table = markdown(["letters' height", *columns], rows)
    results.write("screen", figures, table, out=out, seed=seed)
    click.echo(json.dumps(figures, indent=1) if as_json else table)
