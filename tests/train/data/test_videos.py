"""Folders of videos as training reads them: rows, bad rows, intervals, and `mini`'s bank of their frames."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from chunkv2l.errors import InputError
from chunkv2l.models.mini.connector import GRID, SIZE, VisionFeatures
from chunkv2l.train.clips.bank import build_bank
from chunkv2l.train.data.images import Motion, load_images
from chunkv2l.train.data.material import AnySet, load_set
from chunkv2l.train.data.videos import VideoInterval, VideoSet, load_videos
from chunkv2l.video.frame_sampling import FrameSampling
from tests.helpers import media
from tests.helpers.photograph_sets import write_set

RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of red, two of green, two of blue; a clock that starts at 3 s, and a gap in the frame rate."""
    folder = tmp_path_factory.mktemp("videos")
    frames = media.joined(media.plain(c, 20) for c in (RED, GREEN, BLUE))
    times = [i / 10 for i in range(60)]
    media.write(folder / "three.mp4", frames, times, fps=10, start=3.0)
    return folder


def written(folder: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def row(**changes: Any) -> dict[str, Any]:
    return {"file": "three.mp4", "captions": ["All is red ."], **changes}


def test_rows_become_intervals(folder: Path) -> None:
    videos = load_set(written(folder, row(), "", row(captions=["Green", ""], start=2, end=4)))
    assert isinstance(videos, VideoSet) and len(videos) == 2 and videos.name == folder.name
    assert videos.intervals[0].start == 0.0 and videos.intervals[0].end == pytest.approx(6.0, abs=0.05)
    assert [one.captions for one in videos.described] == [("All is red.",), ("Green.",)]
    clip = videos.intervals[1].clip(FrameSampling(media.at(0.0, 1.9), media.whole))
    assert [media.colour(frame)[1] > 200 for frame in clip.frames] == [True, True] and clip.duration == 2.0
    assert len(load_videos(folder, limit=1)) == 1


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("{", "line 2: it isn't JSON"),
        ("[1]", "line 2: a row must be an object"),
        (row(begin=3), "line 2: a row has no begin; it has captions, end, file, start"),
        (row(file=7), 'line 2: its "file" must be'),
        (row(file="no.mp4"), r"line 2: .*no\.mp4"),
        (row(file="captions.jsonl"), r"line 2: .*captions\.jsonl"),
        (row(captions="A dog."), 'line 2: its "captions" must be a list'),
        (row(start="1"), "line 2: its \"start\" must be seconds, not '1'"),
        (row(end=True), 'line 2: its "end" must be seconds'),
        (row(start=3, end=2), "line 2: it ends at 2 s, which isn't after its start at 3 s"),
        (row(start=-1), "isn't after its start at -1 s"),
        (row(start=7, end=9), r"line 2: it starts at 7 s, but three\.mp4 is 6\.\d+ s long"),
        (row(start=1, end=9), r"line 2: it ends at 9 s, but three\.mp4 is 6\.\d+ s long"),
    ],
)
def test_bad_rows_get_a_sentence(folder: Path, bad: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_videos(written(folder, row(), bad))


def test_a_folder_without_rows_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs a captions\.jsonl"):
        load_videos(tmp_path)
    with pytest.raises(InputError, match="has no rows"):
        load_videos(written(tmp_path, ""))


def test_parts_lie_within_their_stretch() -> None:
    interval, rng = VideoInterval(Path("x"), 4.0, 14.0), random.Random(0)
    for part in (interval.part(0.5, rng) for _ in range(50)):
        assert 4.0 <= part.start < part.end <= 14.0 and part.seconds >= 5.0
    middle = interval.middle(0.5)
    assert (middle.start, middle.end) == (6.5, 11.5)


class _Vision:
    """Sees a picture's mean colour and nothing else."""

    class embeddings:
        cls_token = torch.zeros(1)


def _see(vision: Any, pixels: torch.Tensor) -> VisionFeatures:
    assert pixels.shape[1:] == (3, SIZE, SIZE)
    mean = pixels.float().mean((2, 3))  # [N, 3]
    return VisionFeatures(mean[:, None, None].expand(-1, GRID, GRID, -1), mean)


def test_the_bank_has_a_videos_own_frames(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chunkv2l.train.clips.bank.see", _see)
    photographs = load_images(write_set(tmp_path, 20), 3)
    videos = load_videos(written(folder, row(), row(start=2, end=4)))
    vision: Any = _Vision()
    sets: list[tuple[AnySet, int, Motion]] = [(photographs, 2, Motion()), (videos, 2, Motion(least=0.9))]
    bank = build_bank(vision, sets, dtype=torch.float32, cuts=[(0, 3), (4, 1, 3)])
    assert bank.keyframes.tolist() == [4, 4, 4, 6, 2] and len(bank) == 5
    generator = torch.Generator().manual_seed(0)
    for drawn in (None, *[generator] * 8):  # the movie is never played backwards
        seen = bank.clips(torch.tensor([3]), 3, drawn).cls[0]
        assert seen.argmax(-1).tolist() == [0, 1, 2]
    assert bank.clips(torch.tensor([4]), 2, generator).cls[0].argmax(-1).tolist() == [1, 1]

    def mean(image: int) -> torch.Tensor:
        return bank.clips(torch.tensor([image]), 1).cls[0, 0]

    cut = bank.clips(torch.tensor([5, 6]), 4).cls  # of two and of three, four frames each
    assert torch.allclose(cut[0, :2], mean(0), atol=2) and cut[0, 2:].argmax(-1).tolist() == [0, 2]
    assert cut[1, :2].argmax(-1).tolist() == [1, 1] and torch.allclose(cut[1, 2], mean(1), atol=2)
    assert cut[1, 3].argmax() == 0
