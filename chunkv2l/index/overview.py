"""Return an index as JSON: its origin, segments and chapters, as `show --json` and the server give them."""

from __future__ import annotations

from typing import Any

from chunkv2l.graph import places
from chunkv2l.index.file import IndexFile


def index_json(file: IndexFile) -> dict[str, Any]:
    """Return an index as `show --json` prints it; segments have "tags" where a classifier has named any.

    Where the model has keys, "uncertain" says of each caption whether the segment's own key doesn't support it.
    """
    meta, tags = file.meta, file.tags()
    has_tags = any(tags)
    return {
        "index": str(file.path),
        "movie": dict(meta.movie),
        "model": meta.model,
        "identity": dict(meta.identity),
        "settings": dict(meta.settings),
        "code_shape": list(meta.code_shape),
        "notes": [dict(note) for note in meta.notes],
        "segments": [
            {
                **{"id": s.id, "start": s.start, "end": s.end, "caption": s.caption, "speech": s.speech},
                **({} if meta.uncertain is None else {"uncertain": s.id in meta.uncertain}),
                **({"tags": [{"name": tag.name, "p": tag.p} for tag in tags[s.id]]} if has_tags else {}),
            }
            for s in file.segments
        ],
        "chapters": chapters_json(file),
    }


def chapters_json(file: IndexFile) -> list[dict[str, Any]]:
    """Return the chapters, with the names and places that the segment graph has for them."""
    chapters = file.chapters()
    numbers = places([(chapter.first, chapter.last) for chapter in chapters], file.similar())
    return [
        {
            "group": f"g{chapter.id}",
            "first": chapter.first,
            "last": chapter.last,
            "start": file.segments[chapter.first].start,
            "end": file.segments[chapter.last].end,
            "place": number,
        }
        for chapter, number in zip(chapters, numbers, strict=True)
    ]
