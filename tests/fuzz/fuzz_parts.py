"""Fuzzing resumed builds: whatever is in a .part, the build ends with the rows of one that ran through, or a sentence.

    python tests/fuzz/fuzz_parts.py --seconds 60

Mutations are those of fuzz_index: bytes, pages, and SQL.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hypothesis import strategies as st

from chunkv2l.errors import ChunkV2LError
from chunkv2l.index.schema import part_path
from chunkv2l.index.verify import verify
from chunkv2l.indexing import build as indexing
from chunkv2l.indexing.build import build
from chunkv2l.indexing.progress import Progress
from tests.fuzz.fuzz_index import byte_mutations, check_tables, mutate, sql_mutations
from tests.fuzz.harness import Case, main
from tests.helpers.fake_vlm import fake_model
from tests.helpers.indexes import rows_of
from tests.helpers.killed_builds import SUBTITLES, TAGS
from tests.helpers.movies import block_movie

STOPS = ("captions", "write", "chapters", "sentences")
"""Stages before which the builds were interrupted that left the .parts."""


class Target:
    """What interrupted builds of a movie left, and what becomes of mutations of it."""

    def __init__(self, folder: Path) -> None:
        self.movie = block_movie(folder / "blocks.mp4", seconds=(2.0,) * (indexing.BATCH + 4))
        self.movie.with_suffix(".srt").write_text(SUBTITLES)
        self.model = fake_model()
        self.model.vlm.tags = TAGS
        self.out = folder / "mutated.idx"
        self.parts = [self._interrupt(folder / f"{stage}.idx", stage) for stage in STOPS]
        whole = build(self.movie, folder / "whole.idx", model=self.model, detector="fixed:2").index
        check_tables(whole, empty=("similar",))
        self.rows = rows_of(whole)
        self.finished = self.refused = 0

    def _interrupt(self, out: Path, stage: str) -> Path:
        def stop(progress: Progress) -> None:
            if progress.stage == stage and progress.segments >= indexing.BATCH:
                raise KeyboardInterrupt

        try:
            build(self.movie, out, model=self.model, detector="fixed:2", progress=stop)
        except KeyboardInterrupt:
            return part_path(out)
        raise AssertionError(f"the build never came to {stage}")

    def cases(self) -> list[Case]:
        several = st.lists(sql_mutations, max_size=2), st.lists(byte_mutations, max_size=3)
        return [Case(self.part, (st.integers(0, len(STOPS) - 1), *several), 20)]

    def part(self, which: int, in_sql: list[Any], in_bytes: list[Any]) -> None:
        """Mutate a .part and build: equal rows, or a sentence, after which a build with force has them."""
        part = part_path(self.out)
        for left in self.out.parent.glob(f"{self.out.name}*"):
            left.unlink()
        part.write_bytes(self.parts[which].read_bytes())
        mutate(part, in_sql, in_bytes)
        try:
            build(self.movie, self.out, model=self.model, detector="fixed:2")
            self.finished += 1
        except ChunkV2LError as error:
            assert str(part) in str(error) or str(self.out) in str(error), str(error)
            self.refused += 1
            if part.exists():
                assert "remove it" in str(error), str(error)
                part.unlink()
            build(self.movie, self.out, model=self.model, detector="fixed:2")
        assert rows_of(self.out) == self.rows and verify(self.out) == []

    def __str__(self) -> str:
        return f"{self.finished + self.refused} files: {self.refused} refused, {self.finished} built to the end"


if __name__ == "__main__":
    logging.getLogger("chunkv2l").setLevel(logging.ERROR)  # thousands of builds that start over
    main(__doc__, "parts", Target)
