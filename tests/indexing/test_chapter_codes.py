"""The last pass of a build: which frames a chapter is made of, what is stored of it, and what is left behind."""

from __future__ import annotations

import errno
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from chunkv2l.errors import ChunkV2LError
from chunkv2l.index import tensors as packing
from chunkv2l.index.file import IndexFile
from chunkv2l.index.verify import verify
from chunkv2l.indexing import chapter_codes as grouping
from chunkv2l.indexing.build import build
from chunkv2l.indexing.chapter_codes import FRAMES, Pictures
from chunkv2l.indexing.chapters import find_chapters, pool_code, similar_pairs
from chunkv2l.video.clip import Clip
from chunkv2l.video.detectors import Segment
from tests.helpers.fake_vlm import HIDDEN, LATENT, LAYERS, RANK, FakeModel, fake_model
from tests.helpers.indexes import rows_of
from tests.helpers.keyed import by_words, random_keys
from tests.helpers.movies import block_movie

SCENES = 6
SEGMENTS = 5 * SCENES


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return block_movie(tmp_path_factory.mktemp("movie") / "scenes.mp4", [10.0] * SCENES)


def make(movie: Path, out: Path, model: Any, **options: Any) -> Path:
    return build(movie, out, model=model, **{"detector": "fixed:2", **options}).index


@pytest.fixture(scope="module")
def built(movie: Path) -> Path:
    return make(movie, movie.with_name("built.idx"), fake_model())


def clip_of(count: int, seed: int) -> Clip:
    frames = np.random.default_rng(seed).integers(0, 256, (count, 6, 10, 3), dtype=np.uint8)
    return Clip(tuple(frames), tuple(0.5 * i for i in range(count)), 0.5 * count, 25.0)


# ---- pictures


def filled(folder: Path, counts: Sequence[int]) -> tuple[Pictures, list[Clip]]:
    """Pictures of segments whose clips have so many frames, half a second each; and the clips."""
    pictures, start, clips = Pictures(folder), 0.0, []
    for seed, count in enumerate(counts):
        clips.append(clip_of(count, seed))
        pictures.add(Segment(start, start + clips[-1].duration), clips[-1])
        start += clips[-1].duration
    return pictures, clips


def test_a_chapters_frames_are_the_models_own_to_the_pixel(tmp_path: Path) -> None:
    pictures, clips = filled(tmp_path, [4, 8, 1, 2])
    with pictures:
        whole, last = pictures.clip(0, 3), pictures.clip(2, 3)
    wanted = [clips[0].frames[1], clips[0].frames[3], clips[1].frames[2], clips[1].frames[6]]
    wanted += [clips[2].frames[0], clips[3].frames[0], clips[3].frames[1]]
    assert len(whole.frames) == 7 and all(map(np.array_equal, whole.frames, wanted))
    assert whole.times == (0.5, 1.5, 3.0, 5.0, 6.0, 6.5, 7.0) and whole.duration == 7.5 and whole.fps == 25.0
    assert all(map(np.array_equal, last.frames, wanted[4:])) and last.times == (0.0, 0.5, 1.0)


def test_no_more_frames_than_there_should_be_spread_evenly(tmp_path: Path) -> None:
    pictures, _ = filled(tmp_path, [4] * 24)
    with pictures:
        clip = pictures.clip(0, 23)
        assert len(clip.frames) == FRAMES and clip.duration == 48.0
        assert all(5.0 <= after - before <= 7.0 for before, after in pairwise(clip.times))
        assert not list(tmp_path.iterdir())


def test_nothing_is_left_even_of_pictures_that_nobody_closed(tmp_path: Path) -> None:
    pictures, _ = filled(tmp_path, [2])
    assert not list(tmp_path.iterdir())
    del pictures


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EIO, "choose another place")])
def test_a_disk_that_fails_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    pictures = Pictures(tmp_path)
    monkeypatch.setattr(pictures._file, "write", lambda _: (_ for _ in ()).throw(OSError(number, "it failed")))
    with pytest.raises(ChunkV2LError, match=words):
        pictures.add(Segment(0.0, 1.0), clip_of(2, 0))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: (_ for _ in ()).throw(OSError(number, "it failed")))
    with pytest.raises(ChunkV2LError, match=words):
        Pictures(tmp_path)


# ---- what is stored


def test_chapters_and_similar_segments_are_those_of_the_stored_codes(built: Path) -> None:
    with IndexFile(built) as index:
        vectors = np.stack([pool_code(code.numpy()) for code in index.codes()])
        chapters = [(chapter.first, chapter.last) for chapter in index.chapters()]
        assert chapters == find_chapters(vectors) == [(5 * i, 5 * i + 4) for i in range(SCENES)]
        assert list(index.similar()) == similar_pairs(vectors) and len(index.similar()) > SEGMENTS
    assert verify(built) == []


def test_a_chapters_code_is_the_hypernetworks_of_its_frames(
    movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fake_model()
    encode, seen = model.vlm.encode, list[Clip]()

    def watched(clips: Sequence[Clip], looked: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        seen.extend(clips)
        return encode(clips, looked)

    monkeypatch.setattr(model.vlm, "encode", watched)
    with IndexFile(make(movie, tmp_path / "a.idx", model, codes="fp32")) as index:
        own, clips = index.chapter_codes(), seen[SEGMENTS:]
        assert own.shape[0] == len(clips) == SCENES
        for clip, chapter in zip(clips, index.chapters(), strict=True):
            assert len(clip.frames) == FRAMES and clip.duration == 10.0
            frames = [frame for part in seen[chapter.first : chapter.last + 1] for frame in part.frames]
            assert all(any(np.array_equal(frame, one) for one in frames) for frame in clip.frames)
        with torch.inference_mode():
            torch.testing.assert_close(own, model.hypernet.encode(*encode(clips)))


def test_an_index_has_no_holes(built: Path) -> None:
    with closing(sqlite3.connect(built)) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    assert [path.name for path in built.parent.iterdir() if path.suffix != ".mp4"] == ["built.idx"]


@pytest.mark.parametrize("found", [[(0, 9), (10, 29)], [(5 * i, 5 * i + 4) for i in range(4)]])
def test_chapters_that_are_there_are_kept_only_if_they_are_the_same(
    movie: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: list[tuple[int, int]]
) -> None:
    """As if another version of a library, or this one, had been interrupted between its batches."""
    out, calls = tmp_path / "a.idx", list[int]()
    store, stop_at = grouping._store, 2

    def watched(*arguments: Any) -> None:
        calls.append(arguments[1])
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        store(*arguments)

    monkeypatch.setattr(grouping, "_store", watched)
    with pytest.raises(KeyboardInterrupt):
        make(movie, out, fake_model())
    with closing(sqlite3.connect(out.with_name("a.idx.part"))) as connection:
        assert connection.execute("SELECT count(*) FROM chapters").fetchone() == (grouping.BATCH,)
        connection.executemany(
            "UPDATE chapters SET first = ?, last = ? WHERE id = ?", [(*f, i) for i, f in enumerate(found)]
        )
        connection.commit()
    calls.clear()
    stop_at = 0
    make(movie, out, fake_model())
    assert calls == ([4] if len(found) == 4 else [0, 4])
    assert rows_of(out) == rows_of(built)


def test_short_movies_are_one_chapter(tmp_path: Path) -> None:
    movie = block_movie(tmp_path / "short.mp4", [2.0])
    for seconds, segments in ((2, 1), (1, 2)):
        with IndexFile(make(movie, tmp_path / f"{seconds}.idx", fake_model(), detector=f"fixed:{seconds}")) as index:
            assert len(index) == segments
            assert [(chapter.first, chapter.last) for chapter in index.chapters()] == [(0, segments - 1)]
            assert index.chapter_codes().shape[0] == 1 and index.similar() == ()


# ---- learned keys


def with_keys(model: FakeModel) -> FakeModel:
    return replace(model, keys=random_keys(HIDDEN, 12), sentences=by_words)


def test_learned_keys_are_those_of_the_clips(
    movie: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_keys(fake_model())
    look = model.vlm.look
    seen: list[Tensor] = []

    def noted(clips: Sequence[Clip]) -> list[Tensor]:
        found = look(clips)
        seen.extend(found)
        return found

    monkeypatch.setattr(model.vlm, "look", noted)
    path = make(movie, tmp_path / "a.idx", model)
    assert model.keys is not None
    with IndexFile(path) as index, IndexFile(built) as without:
        found = index.keys()
        assert found is not None and found.shape == (SEGMENTS, 12) and without.keys() is None
        assert len(seen) == SEGMENTS + SCENES  # chapters follow: nothing is looked at twice
        expected = torch.cat([model.keys.of_clips(features[None]) for features in seen[:SEGMENTS]])
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(SEGMENTS))
        assert len({tuple(key.tolist()) for key in found}) > SEGMENTS // 2
    with closing(sqlite3.connect(path)) as connection:
        code, key = connection.execute("SELECT code, key FROM segments WHERE id = 3").fetchone()
    assert packing.from_bytes(code).shape == (LAYERS, RANK, LATENT)
    assert load(key)["key"].dtype == torch.float32
    assert verify(path) == []
