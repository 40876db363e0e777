"""Small indexes written without a movie or a model, and looks into them from outside."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from chunkv2l.channels.cues import ChannelCue, Sentence
from chunkv2l.channels.sentences import join_sentences
from chunkv2l.index import tensors as packing
from chunkv2l.index.digests import COLUMNS, KEY, extend_digest
from chunkv2l.index.tensors import sentence_vector_to_bytes
from chunkv2l.index.writer import NewChapter, NewSegment, Writer

SHAPE = (2, 2, 8)
CAPTIONS = (
    "A dog runs on the grass.",
    "A man reads a book.",
    "A red ball lies on the grass.",
    "The rocket starts.",
    "A woman with a dog and a ball.",
)


def jpeg(colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (32, 24)) -> bytes:
    """A JPEG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="JPEG")
    return buffer.getvalue()


def some_codes(count: int = len(CAPTIONS), seed: int = 0) -> Tensor:
    """Codes [n, L, r, d] as a hypernetwork makes them: vectors of length 1."""
    return torch.nn.functional.normalize(
        torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed)), dim=-1
    )


def origin(codes: str = "fp16", **changed: Any) -> dict[str, Any]:
    """A meta as `describe` makes it."""
    return {
        "movie": {"name": "my movie.mp4", "size": 1, "sha256": "ab" * 32, "duration": 20.0, "fps": 25.0},
        "model": "fake",
        "identity": {"hypernet": "cd" * 32},
        "settings": {"detector": "fixed:4", "min_length": 1.0, "max_length": 16.0, "captions": True, "codes": codes},
        "code_shape": list(SHAPE),
        **changed,
    }


def write_index(
    path: Path,
    captions: Sequence[str] = CAPTIONS,
    *,
    codes: Tensor | None = None,
    kind: str = "fp16",
    keys: Tensor | None = None,
    speech: Mapping[int, str] | None = None,
    tags: Mapping[int, tuple[tuple[str, float], ...]] | None = None,
    meta: dict[str, Any] | None = None,
    finish: bool = True,
    seconds: float = 4.0,
    chapters: Sequence[tuple[int, int]] = (),
    similar: Sequence[tuple[int, int, float]] = (),
    subtitles: Sequence[tuple[float, float, str]] = (),
    cues: Sequence[ChannelCue] = (),
    encoder: Callable[[Sequence[Sentence]], Tensor] | None = None,
    uncertain: Sequence[int] | None = None,
) -> Path:
    """An index of segments of `seconds`, one for each caption; `finish=False` leaves its .part.

    Chapters, (first, last) of each, get codes that no segment has.
    """
    codes = some_codes(len(captions)) if codes is None else codes
    with Writer(path) as writer:
        writer.write(meta=origin(kind) if meta is None else meta)
        rows = [
            NewSegment(
                seconds * i,
                seconds * (i + 1),
                caption,
                packing.to_bytes(codes[i], kind),
                jpeg(),
                key=None if keys is None else save({"key": keys[i].contiguous()}),
                speech=(speech or {}).get(i, ""),
                tags=(tags or {}).get(i, ()),
            )
            for i, caption in enumerate(captions)
        ]
        writer.write(0, rows)
        given = [ChannelCue(*cue, "given") for cue in subtitles]
        if given:
            writer.write_given(given, rows[-1].speech)
        if cues:
            writer.write_cues(cues, {})
        if given or cues:
            sentences = join_sentences([*given, *cues])
            vectors = [None] * len(sentences) if encoder is None else map(sentence_vector_to_bytes, encoder(sentences))
            writer.write_sentences(sentences, list(vectors))
        own = some_codes(len(chapters), seed=1)
        writer.write_chapters(
            0, [NewChapter(*run, packing.to_bytes(code, kind)) for run, code in zip(chapters, own, strict=True)]
        )
        if finish:
            writer.finish(similar, uncertain=uncertain)
    return path


def sign_part(path: Path) -> None:
    """Record the digests of an unfinished index anew, as somebody does who plants one."""
    with closing(sqlite3.connect(path)) as connection:
        digests = {
            table: extend_digest("", connection.execute(f"SELECT {columns} FROM {table} ORDER BY id"))
            for table, columns in COLUMNS.items()
        }
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (KEY, json.dumps(digests)))
        connection.commit()


def rows_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of an index, the full-text index's own included, with the schema and the marks."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE TABLE%'")
        ]
        found = {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in tables}
        found["sqlite_master"] = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        for pragma in ("application_id", "user_version"):
            found[pragma] = connection.execute(f"PRAGMA {pragma}").fetchall()
    return found
