"""Long movies: their plan, their pictures, and what is written beside them."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from chunkv2l.errors import InputError
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import read_frames
from chunkv2l.video.segmentation import detect
from evaluation.datasets import qvhighlights
from evaluation.movies import hour_movie, hour_plan
from evaluation.movies.hour_plan import Shot, Source, View
from tests.helpers.media import joined, plain, scene, write

STILL = (View(0.5, 0.5, 1.0), View(0.5, 0.5, 1.0))
CLIPS = [Source(f"{n}.mp4", "clip", (f"clip {n}",), 4.0 + n) for n in range(5)]
PHOTOGRAPHS = [Source(f"set/{n}", "photograph", (f"photograph {n}", "more")) for n in range(30)]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two videos, one of them described."""
    folder = tmp_path / "clips"
    folder.mkdir()
    write(folder / "a.mp4", scene(1, 100, (96, 64)))
    write(folder / "b.mp4", scene(2, 80, (64, 64)))
    (folder / "words.json").write_text(json.dumps([{"file": "a.mp4", "caption": "A thing moves."}, {"file": "c.mp4"}]))
    return folder


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Six of them, with captions."""
    jpegs = []
    for n in range(6):
        out = io.BytesIO()
        pixels = np.random.default_rng(n).integers(0, 255, (6, 6, 3), np.uint8)
        Image.fromarray(pixels).resize((96, 96), Image.Resampling.NEAREST).save(out, "JPEG")
        jpegs.append(np.frombuffer(out.getvalue(), np.uint8))
    offsets = np.cumsum([0, *map(len, jpegs)])
    np.savez(tmp_path / "set.npz", jpeg=np.concatenate(jpegs), offsets=offsets)
    rows = [json.dumps({"file": f"{n}.jpg", "captions": [f"Squares of kind {n}."]}) for n in range(6)]
    (tmp_path / "set.jsonl").write_text("\n".join(rows))
    return tmp_path / "set"


def test_a_plan_is_as_long_as_asked_and_its_windows_cover_it() -> None:
    shots = hour_plan.plan([*CLIPS, *PHOTOGRAPHS], 600, 25, seed=3)
    windows = hour_plan.windows(shots, 25)
    assert windows[0][0] == 0 and 600 <= windows[-1][1] < 600 + hour_plan.LONGEST
    assert all(a[1] == b[0] for a, b in pairwise(windows))
    assert all(start < end for start, end in windows)
    total = sum(shot.frames - shot.dissolve for shot in shots)
    assert windows[-1][1] == total / 25
    kinds = [shot.source.type for shot in shots]
    assert 0.25 < kinds.count("clip") / len(kinds) < 0.55
    dissolves = [shot for shot in shots if shot.dissolve]
    assert 0.12 < len(dissolves) / len(shots) < 0.4
    assert all(a.frames >= 2 * max(a.dissolve, b.dissolve) for a, b in pairwise(shots)), "both ends of a shot are whole"


def test_repeats_differ_and_come_in_rounds() -> None:
    shots = hour_plan.plan(CLIPS, 400, 25, seed=0)
    named = [shot.source.name for shot in shots]
    assert len(named) > 3 * len(CLIPS)
    assert all(a != b for a, b in pairwise(named))
    assert all(len(set(named[i : i + 5])) == 5 for i in range(0, len(named) - 5, 5))
    own = [shot for shot in shots if shot.source is CLIPS[0]]
    assert len({(shot.begin, shot.speed, shot.views) for shot in own}) == len(own)
    for shot in shots:
        assert shot.begin + shot.frames / 25 * shot.speed <= shot.source.seconds + 1e-6


def test_the_seed_decides() -> None:
    same, again, other = (hour_plan.plan(PHOTOGRAPHS, 60, 25, seed) for seed in (1, 1, 2))
    assert same == again != other


def test_a_source_has_one_query_with_all_its_windows() -> None:
    shots = [Shot(source, 50, STILL) for source in (CLIPS[0], CLIPS[1], CLIPS[0], Source("mute", "clip"))]
    rows = hour_plan.queries(shots, 25, "m")
    assert [(row["query"], row["relevant_windows"]) for row in rows] == [
        ("clip 0", [[0.0, 2.0], [4.0, 6.0]]),
        ("clip 1", [[2.0, 4.0]]),
    ]
    assert rows[0]["duration"] == 8.0


def test_a_window_never_leaves_the_picture_and_may_be_mirrored() -> None:
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 4, 36, 0).repeat(3, 2)
    whole = hour_movie.show_window(ramp, STILL[0], (64, 36), mirrored=False)
    assert np.abs(whole.astype(int) - ramp).max() <= 1
    mirrored = hour_movie.show_window(ramp, STILL[0], (64, 36), mirrored=True)
    assert np.abs(mirrored.astype(int) - ramp[:, ::-1]).max() <= 1
    for x, first, last in ((0.0, 0, 32), (1.0, 32, 64)):
        part = hour_movie.show_window(ramp, View(x, 0.5, 2.0), (64, 36), mirrored=False)
        assert abs(int(part[0, 0, 0]) - 4 * first) <= 2 and abs(int(part[0, -1, 0]) - 4 * (last - 1)) <= 2


def test_a_clip_plays_at_its_speed_and_a_dissolve_blends(tmp_path: Path) -> None:
    path = write(tmp_path / "grey.mp4", joined(plain((2 * n + 20,) * 3) for n in range(100)))
    clip, photograph = Source("grey.mp4", "clip", (), 4.0), Source("p", "photograph")
    white = io.BytesIO()
    Image.new("RGB", (64, 48), (240, 240, 240)).save(white, "PNG")
    of: dict[Source, Path | bytes] = {clip: path, photograph: white.getvalue()}
    shots = [Shot(clip, 40, STILL, begin=0.4, speed=2.0), Shot(photograph, 30, STILL, dissolve=10)]
    frames = list(hour_movie.movie(shots, (64, 48), 25, of.__getitem__))
    assert len(frames) == 60
    greys = [float(frame.mean()) for frame in frames]
    for k in range(30):
        assert abs(greys[k] - (20 + 2 * (10 + 2 * k))) <= 3
    under = 20 + 2 * (10 + 2 * 35)
    assert abs(greys[35] - (under + 6 / 11 * (240 - under))) <= 4
    assert all(abs(grey - 240) <= 2 for grey in greys[40:])


def test_grain_is_noise_of_the_deviation_asked_for_and_differs_from_frame_to_frame() -> None:
    grey = [np.full((48, 64, 3), 128, np.uint8)] * 3
    (plain_one, *_) = hour_movie.add_grain(iter(grey), 0.0, 0)
    made = [frame.astype(int) for frame in hour_movie.add_grain(iter(grey), 4.0, 0)]
    assert plain_one.shape == (72, 64) and all(frame.shape == (72, 64) for frame in made)
    for frame in made:
        assert 3.5 < (frame - plain_one)[:48].std() < 4.5
        assert (frame[48:] == plain_one[48:]).all(), "colour stays"
    assert not (made[0] == made[1]).all()


def test_the_command_writes_a_movie_that_is_cut_where_it_says(clips: Path, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "long.mp4"
    arguments = ["--clips", str(clips), "--images", str(photographs), "--minutes", "0.4", "--size", "128x72"]
    result = CliRunner().invoke(hour_movie.command, [*arguments, "-o", str(out)])
    assert result.exit_code == 0, result.output
    info = probe(out)
    shots = [json.loads(line) for line in out.with_suffix(".shots.jsonl").read_text().splitlines()]
    assert (info.width, info.height) == (128, 72) and abs(info.duration - shots[-1]["end"]) < 0.05
    assert sum(1 for _ in read_frames(info)) == round(shots[-1]["end"] * 25)
    found = [segment.start for segment in detect(out)]
    hard = [shot["start"] for shot in shots if not shot["dissolve"]]
    assert len(hard) > 1 and all(min(abs(cut - start) for start in found) < 0.1 for cut in hard)
    queries = qvhighlights.read_queries(out.with_suffix(".jsonl"))
    said = {shot["words"][0] for shot in shots if shot["words"]}
    assert {query.query for query in queries} == said
    assert not list(tmp_path.glob("*.part"))
    again = tmp_path / "again.mp4"
    assert CliRunner().invoke(hour_movie.command, [*arguments, "-o", str(again)]).exit_code == 0
    assert again.read_bytes() == out.read_bytes()


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    for arguments, text in (
        ([], "nothing to make a movie of"),
        (["--clips", str(tmp_path / "none")], "no folder"),
        (["--clips", str(tmp_path)], "holds no video"),
        (["--images", str(tmp_path / "none")], "No image set"),
    ):
        result = CliRunner().invoke(hour_movie.command, arguments)
        assert isinstance(result.exception, InputError) and text in str(result.exception)
    for size in ("720", "15x20", "1281x720", "axb"):
        assert CliRunner().invoke(hour_movie.command, ["--clips", ".", "--size", size]).exit_code == 2
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match="isn't JSON"):
        hour_movie.find_clips(tmp_path)
