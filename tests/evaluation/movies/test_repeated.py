"""An index with another's segments repeated: it is sound, and each pass has the same codes and keys."""

from __future__ import annotations

from pathlib import Path

import torch

from chunkv2l.index.file import IndexFile
from chunkv2l.index.verify import verify
from evaluation.movies import repeated
from tests.helpers.indexes import write_index
from tests.helpers.keyed import unit_keys


def test_segments_are_repeated(tmp_path: Path) -> None:
    source = write_index(
        tmp_path / "a.idx",
        ("A dog.", "A cat.", "A car."),
        keys=unit_keys(3),
        chapters=[(0, 1), (2, 2)],
        similar=[(0, 2, 0.5)],
    )
    assert repeated.write(source, 4, tmp_path / "long.idx") == 12
    assert verify(tmp_path / "long.idx") == []
    with IndexFile(source) as short, IndexFile(tmp_path / "long.idx") as long:
        keys, once = long.keys(), short.keys()
        assert keys is not None and once is not None
        assert bool((keys == once.repeat(4, 1)).all())
        assert bool((long.codes() == torch.cat([short.codes()] * 4)).all())
        assert [segment.caption for segment in long.segments] == ["A dog.", "A cat.", "A car."] * 4
        assert long.segments[-1].end == 4 * short.segments[-1].end
        assert [(chapter.first, chapter.last) for chapter in long.chapters()][-1] == (11, 11)
        assert long.similar()[-1] == (9, 11, 0.5)
