"""Photographs as segments: the same clip from the same seed, encoded once, written as an index that can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import chunkv2l
from chunkv2l.hypernet.keys import Keys
from chunkv2l.indexing.segments import to_jpeg
from chunkv2l.models import Calibration
from chunkv2l.video.clip import Clip
from evaluation.movies.photographs import Encoder, Take, filmed, halves, write_movie
from tests.helpers.fake_vlm import HIDDEN, FakeModel, FakeVLM, fake_model
from tests.helpers.indexes import jpeg, rows_of
from tests.helpers.keyed import by_words, random_keys

TIMES = (0.0, 1.0, 2.0, 3.0)


@dataclass
class Counting:
    """How many clips went through `encode`, and how many were looked at."""

    model: FakeModel
    clips: list[int] = field(default_factory=list)
    looked: list[int] = field(default_factory=list)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain, plain_look = FakeVLM.encode, FakeVLM.look

        def encode(vlm: FakeVLM, clips: Sequence[Clip], seen: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
            self.clips.append(len(clips))
            return plain(vlm, clips, seen)

        def look(vlm: FakeVLM, clips: Sequence[Clip]) -> list[Tensor]:
            self.looked.append(len(clips))
            return plain_look(vlm, clips)

        monkeypatch.setattr(FakeVLM, "encode", encode)
        monkeypatch.setattr(FakeVLM, "look", look)


def test_filming_depends_on_photograph_take_and_seed_alone() -> None:
    take = Take(sides(0, 255))
    first, again = filmed(take, TIMES), filmed(take, TIMES)
    assert all(np.array_equal(a, b) for a, b in zip(first.frames, again.frames, strict=True))
    assert len(first.frames) == 4 and first.times == TIMES and first.duration == 4.0
    assert first.frames[0].shape == (224, 224, 3) and first.frames[0].dtype == np.uint8
    for other in (filmed(Take(take.jpeg, number=1), TIMES), filmed(take, TIMES, seed=1)):
        assert any(not np.array_equal(a, b) for a, b in zip(first.frames, other.frames, strict=True))


def test_halves_share_a_clip_among_them() -> None:
    clip = filmed(Take(jpeg(), seconds=8.0), tuple(float(i) for i in range(8)))
    first, second = halves(clip)
    assert first.duration == second.duration == 4.0
    assert first.times == second.times == TIMES
    assert all(a is b for a, b in zip(clip.frames, (*first.frames, *second.frames), strict=True))


def test_each_clip_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fake_model()
    counting = Counting(model)
    counting.watch(monkeypatch)
    takes = [Take(sides(number, 255)) for number in (10, 80, 160, 240)]
    encoder = Encoder(model, tmp_path)
    made = encoder.takes([*takes, takes[0]])
    assert counting.clips == [4] and torch.equal(made[0].code, made[4].code)
    again = Encoder(model, tmp_path).takes(takes[::-1])
    assert counting.clips == [4]
    assert all(torch.equal(a.code, b.code) and a.caption == b.caption for a, b in zip(made, again[::-1], strict=False))
    Encoder(fake_model(seed=5), tmp_path).takes(takes[:1])
    Encoder(model, tmp_path, seed=1).takes(takes[:1])
    assert counting.clips == counting.looked == [4, 1, 1]  # another model, another pan


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    encoder = Encoder(fake_model(), tmp_path)
    made = encoder.takes([Take(jpeg())])
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(b"nonsense")
    assert torch.equal(encoder.takes([Take(jpeg())])[0].code, made[0].code)


def test_a_movie_of_photographs_is_asked_like_any_other(tmp_path: Path) -> None:
    model = replace(fake_model(), keys=keys(), sentences=by_words)
    made = Encoder(model, tmp_path).takes([Take(jpeg((number, 9, 9))) for number in range(0, 250, 50)])
    path = write_movie(tmp_path / "a.idx", model, made)
    with chunkv2l.open(path, model=model) as index:
        assert [(s.start, s.end) for s in index.segments] == [(4.0 * i, 4.0 * i + 4) for i in range(5)]
        assert [s.caption for s in index.segments] == [one.caption for one in made]
        stored = index.file.keys()
        assert stored is not None and stored.shape == (5, 6)
        assert torch.equal(index.file.codes(), torch.stack([one.code.float() for one in made]))
        spans = index.ask("A dog runs.", policy="concat").spans
        assert spans and all(span.end <= 20 for span in spans)
    before = rows_of(path)
    assert rows_of(write_movie(path, model, made)) == before
    with chunkv2l.open(write_movie(path, model, made[:2], keys=False), model=model) as index:
        assert len(index) == 2 and index.file.keys() is None


def keys() -> Keys:
    return random_keys(HIDDEN)


def sides(left: int, right: int) -> bytes:
    """A JPEG with two grey halves: where it is looked at matters."""
    picture = np.full((64, 64, 3), left, dtype=np.uint8)
    picture[:, 32:] = right
    return to_jpeg(picture)


def test_a_movie_of_photographs_has_chapters_and_similar_segments(tmp_path: Path) -> None:
    model = fake_model()
    encoder = Encoder(model, tmp_path / "cache")
    takes = [Take(sides(15 * i, 10 if i < 8 else 250)) for i in range(16)]
    made = encoder.takes(takes)
    groups = encoder.groups(takes, made, tmp_path)
    before = set((tmp_path / "cache").rglob("*.safetensors"))
    assert groups == encoder.groups(takes, made, tmp_path)
    assert set((tmp_path / "cache").rglob("*.safetensors")) == before
    with chunkv2l.open(write_movie(tmp_path / "a.idx", model, made, groups), model=model) as index:
        chapters = index.file.chapters()
        assert chapters and chapters[-1].last == 15 and index.file.similar() == groups.similar
        assert index.file.chapter_codes().shape[0] == len(chapters)


def test_mu_is_stored_where_the_model_uses_it(tmp_path: Path) -> None:
    model = replace(fake_model(), calibration=Calibration(mu=True))
    made = Encoder(model, tmp_path).takes([Take(jpeg())])
    plain = Encoder(fake_model(), tmp_path).takes([Take(jpeg())])
    assert made[0].mu is not None and plain[0].mu is None and torch.equal(made[0].code, plain[0].code)
    with chunkv2l.open(write_movie(tmp_path / "a.idx", model, made), model=model) as index:
        assert index.segments[0].mu == made[0].mu
