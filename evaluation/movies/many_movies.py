"""Make a library of a thousand hours out of one short movie's index: what a question costs depends on numbers alone.

    python -m evaluation.movies.many_movies movie.idx folder --movies 1000

Each hour is a hard link to one index: the short movie's segments, repeated, and sentences of the standard library's
docstrings. Their keys, words and vectors in library.keys and library.text differ from movie to movie: keys are drawn
from a normal distribution with mean and covariance of the short movie's, sentences' vectors are those of docstrings'
sentences, two and two mixed. Beside them lie the ten texts of `evaluation.benchmarks.channels`, a small index each.
"""

from __future__ import annotations

import ast
import os
import random
import re
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
from numpy.typing import NDArray

from chunkv2l.channels.cues import ChannelCue, Sentence
from chunkv2l.index import tensors as packing
from chunkv2l.index.file import IndexFile
from chunkv2l.index.tensors import key_to_bytes, sentence_vector_to_bytes
from chunkv2l.index.writer import NewSegment, Writer
from chunkv2l.library.contents import list_indexes, read_contents
from chunkv2l.library.keys_file import NAME, Entry, digest, write_keys
from chunkv2l.library.text_file import NAME as TEXT_NAME
from chunkv2l.library.text_file import MovieTexts, update_text
from chunkv2l.models.sentence.minilm import Lazy
from evaluation.benchmarks.channels import Text, read_texts

Vectors = NDArray[np.float32]

SEGMENTS: Final = 620
SENTENCES: Final = 1_000
"""Of an hour; both as docs/measurements.md has them."""
DOCSTRINGS: Final = 2_000
"""Sentences of docstrings that are embedded."""
HOUR: Final = "hour-0000.idx"


def read_docstrings(most: int = DOCSTRINGS, seed: int = 0) -> list[str]:
    """Return sentences of the docstrings of the standard library's modules, which are read in random order."""
    paths = [path for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")) if _is_library(path)]
    random.Random(seed).shuffle(paths)
    sentences: dict[str, None] = {}
    for path in paths:
        if len(sentences) >= most:
            break
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
                for sentence in re.split(r"(?<=[.!?])\s+", " ".join(text.split())):
                    if 4 <= len(sentence.split()) <= 30 and sentence.isascii() and sentence.isprintable():
                        sentences[sentence] = None
    return list(sentences)[:most]


def _is_library(path: Path) -> bool:
    return not {"site-packages", "test", "tests"} & set(path.parts)


def write_movie(
    source: Path, out: Path, segments: int, lines: Sequence[str], vectors: Vectors, channel_source: str = "heard"
) -> Path:
    """Write an index with a movie's segments, repeated as needed, and sentences spread over its time."""
    with IndexFile(source) as index:
        rows, origin, keys = index.segments, index.meta.origin(), index.keys()
        codes = [packing.to_bytes(code, index.meta.codes) for code in index.codes()]
        stored = [None] * len(rows) if keys is None else [key_to_bytes(key) for key in keys]
        thumbnails = [index.thumbnail(number) for number in range(len(index))]
    numbers = [i % len(rows) for i in range(segments)]
    lengths = np.array([rows[i].end - rows[i].start for i in numbers])
    ends = np.cumsum(lengths)
    with Writer(out, anew=True) as writer:
        movie = {**origin["movie"], "name": f"{out.stem}.mp4", "duration": float(ends[-1])}
        writer.write(meta={**origin, "movie": movie})
        writer.write(
            0,
            [
                NewSegment(
                    float(end - length),
                    float(end),
                    rows[i].caption,
                    codes[i],
                    thumbnails[i],
                    mu=rows[i].mu,
                    key=stored[i],
                )
                for i, length, end in zip(numbers, lengths, ends, strict=True)
            ],
        )
        step = float(ends[-1]) / max(1, len(lines))
        times = [(i * step, (i + 0.9) * step) for i in range(len(lines))]
        is_read = channel_source == "read"
        cues = [
            ChannelCue(*time, line, "read" if is_read else "heard") for time, line in zip(times, lines, strict=True)
        ]
        writer.write_cues(cues, {})
        writer.write_sentences(
            [Sentence(cue.start, cue.end, cue.text, cue.source) for cue in cues],
            [sentence_vector_to_bytes(torch.from_numpy(vector)) for vector in vectors],
        )
        writer.finish([])
    return out


def draw_keys(keys: Vectors, generator: np.random.Generator, count: int) -> Vectors:
    """Return keys of length 1 with the mean and the covariance of others."""
    centred = keys - keys.mean(0)
    drawn = keys.mean(0) + generator.standard_normal((count, len(keys)), np.float32) @ centred / np.sqrt(len(keys))
    return _of_length_one(drawn)


def mix_sentences(
    lines: Sequence[str], vectors: Vectors, generator: np.random.Generator, count: int
) -> tuple[list[str], Vectors]:
    """Return sentences of which each is one's first half and another's second, and whose vectors lie between theirs."""
    a, b = generator.integers(len(lines), size=(2, count))
    mixed = [
        " ".join([*lines[i].split()[: len(lines[i].split()) // 2], *lines[j].split()[len(lines[j].split()) // 2 :]])
        for i, j in zip(a, b, strict=True)
    ]
    share = generator.uniform(0.0, 1.0, (count, 1)).astype(np.float32)
    return mixed, _of_length_one(share * vectors[a] + (1 - share) * vectors[b])


def _of_length_one(vectors: Vectors) -> Vectors:
    normalised: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return normalised


def write_library(source: Path, folder: Path, movies: int, seed: int = 0) -> None:
    """Write the library into a new folder."""
    folder.mkdir(parents=True)
    encoder, generator = Lazy(), np.random.default_rng(seed)
    lines = read_docstrings(seed=seed)
    vectors = encoder(lines).numpy()
    said, said_vectors = mix_sentences(lines, vectors, generator, SENTENCES)
    hour = write_movie(source, folder / HOUR, SEGMENTS, said, said_vectors)
    texts: list[Text] = read_texts()
    for text in texts:
        write_movie(
            source, folder / f"text-{text.name}.idx", 4, text.sentences, encoder(text.sentences).numpy(), text.channel
        )
    contents = read_contents(list_indexes(folder))
    assert contents.text is not None
    first = next(entry for entry in contents.entries if entry.record.index == HOUR)
    others = [entry for entry in contents.entries if entry is not first]
    assert first.keys is not None
    real = np.unique(first.keys, axis=0)
    with IndexFile(hour) as index:
        captions = [segment.caption for segment in index.segments]
    entries: list[Entry] = []
    with update_text(folder / TEXT_NAME, contents.text) as update:
        for number in range(movies):
            path = folder / f"hour-{number:04}.idx"
            if number:
                os.link(hour, path)
            keys = draw_keys(real, generator, SEGMENTS)
            name = f"hour-{number:04}.mp4"
            record = replace(first.record, index=path.name, name=name, sha256=digest(keys))
            entries.append(Entry(record, keys))
            if number:
                spoken, spoken_vectors = mix_sentences(lines, vectors, generator, SENTENCES)
                texts_of = MovieTexts(captions, [("heard", line) for line in spoken], spoken_vectors)
                update.add(path.name, path.stat(), texts_of)
    write_keys(folder / NAME, sorted([*entries, *others], key=lambda entry: entry.record.index))


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--movies", type=click.IntRange(min=1), default=1_000, show_default=True, help="Hours.")
def main(source: Path, folder: Path, movies: int) -> None:
    """Write a library of so many hours into FOLDER, out of the index SOURCE, which has keys."""
    write_library(source, folder, movies)


if __name__ == "__main__":
    sys.exit(main())
