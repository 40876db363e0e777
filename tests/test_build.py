"""Building an index: what is stored, and that a second build has nothing to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chunkv2l.build import Progress, build
from chunkv2l.errors import InputError
from chunkv2l.index import IndexFile
from tests.fake_vlm import fake_model
from tests.movies import block_movie


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return block_movie(tmp_path_factory.mktemp("movie") / "blocks.mp4", [2.0] * 20)


def test_an_index_has_what_the_model_made_of_each_segment(movie: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    report = build(
        movie, tmp_path / "a.idx", model=fake_model(), detector="fixed:2", codes="fp32", progress=seen.append
    )
    with IndexFile(report.index) as index:
        assert [(s.start, s.end) for s in index.segments] == [(2.0 * i, 2.0 * i + 2) for i in range(20)]
        codes = index.codes()
        assert codes.shape == (20, 2, 2, 8)
        torch.testing.assert_close(codes.norm(dim=-1), torch.ones(20, 2, 2))
        assert len({tuple(code.flatten().tolist()) for code in codes}) == 20
        assert len({s.caption for s in index.segments}) > 3
        assert index.thumbnail(7).startswith(b"\xff\xd8")
        assert {i for i, _ in index.search("a rocket!", 20)} == {
            s.id for s in index.segments if {"a", "rocket"} & set(s.caption.split())
        }
    assert not report.nothing_to_do and report.segments == 20
    assert {"read", "encode", "hypernet", "captions", "write"} <= report.stages.keys()
    assert seen[-1].done == 40.0 and seen[-1].segments == 20
    assert not list(tmp_path.glob("*.part*"))


def test_unchanged_there_is_nothing_to_do(movie: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.idx"
    build(movie, out, model=fake_model(), detector="fixed:2")
    before = out.read_bytes()
    assert build(movie, out, model=fake_model(), detector="fixed:2").nothing_to_do
    assert out.read_bytes() == before


def test_something_else_is_never_replaced(movie: Path, tmp_path: Path) -> None:
    precious = tmp_path / "letter.txt"
    precious.write_text("Dear reader, " * 20)
    with pytest.raises(InputError, match="isn't replaced"):
        build(movie, precious, model=fake_model(), force=True)
    with pytest.raises(InputError, match="would replace the movie"):
        build(movie, movie, model=fake_model(), force=True)
    assert precious.read_text().startswith("Dear")
