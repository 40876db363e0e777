"""Make the index of a long movie out of a short one's, its segments repeated: what a question costs depends on their
number alone.

    python -m evaluation.movies.repeated movie.idx 96 long.idx
"""

from __future__ import annotations

import sys
from pathlib import Path

from chunkv2l.index import tensors as packing
from chunkv2l.index.file import IndexFile
from chunkv2l.index.tensors import key_to_bytes
from chunkv2l.index.writer import NewChapter, NewSegment, Writer


def write(source: Path, times: int, target: Path) -> int:
    """Write an index with the segments, chapters and similar pairs of another, so many times; return its segments.

    Cues, sentences and tags are left out.

    Raises:
        InputError: `source` isn't an index, or another build writes `target`.
    """
    with IndexFile(source) as index, Writer(target, anew=True) as writer:
        rows, length, count = index.segments, index.segments[-1].end, len(index)
        codes = [packing.to_bytes(code, index.meta.codes) for code in index.codes()]
        stored = index.keys()
        keys = [None] * count if stored is None else [key_to_bytes(key) for key in stored]
        thumbnails = [index.thumbnail(number) for number in range(count)]
        chapter_codes = [packing.to_bytes(code, index.meta.codes) for code in index.chapter_codes()]
        origin = index.meta.origin()
        writer.write(meta={**origin, "movie": {**origin["movie"], "duration": times * length}})
        for number in range(times):
            shift = number * length
            writer.write(
                number * count,
                [
                    NewSegment(row.start + shift, row.end + shift, row.caption, code, thumbnail, mu=row.mu, key=key)
                    for row, code, thumbnail, key in zip(rows, codes, thumbnails, keys, strict=True)
                ],
            )
        writer.write_chapters(
            0,
            [
                NewChapter(chapter.first + number * count, chapter.last + number * count, code)
                for number in range(times)
                for chapter, code in zip(index.chapters(), chapter_codes, strict=True)
            ],
        )
        pairs = [(a + number * count, b + number * count, c) for number in range(times) for a, b, c in index.similar()]
        writer.finish(pairs)
        return times * count


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
