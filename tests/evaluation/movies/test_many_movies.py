"""A library of a thousand hours: keys and sentences that are like real ones, and differ from movie to movie."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chunkv2l.index.file import IndexFile
from evaluation.movies.many_movies import draw_keys, mix_sentences, write_movie
from tests.helpers.keyed import unit_keys
from tests.helpers.written import random_codes, write_index


def test_keys_are_drawn_from_the_distribution_of_others() -> None:
    keys = unit_keys(40).numpy() + np.array([2.0, 0, 0, 0, 0, 0], np.float32)
    drawn = draw_keys(keys / np.linalg.norm(keys, axis=1, keepdims=True), np.random.default_rng(0), 500)
    assert np.allclose(np.linalg.norm(drawn, axis=1), 1.0, atol=1e-5) and drawn[:, 0].min() > 0.5
    assert len(np.unique(drawn, axis=0)) == 500


def test_sentences_lie_between_two_others() -> None:
    mixed, vectors = mix_sentences(["a b c d", "e f"], np.eye(2, dtype=np.float32), np.random.default_rng(0), 50)
    assert {"a b f", "e c d", "a b c d", "e f"} >= set(mixed) and len(set(mixed)) > 1
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0) and (vectors >= 0).all()


def test_a_movie_is_repeated_and_speaks(tmp_path: Path) -> None:
    source = write_index(tmp_path / "a.idx", random_codes(3), keys=unit_keys(3))
    lines = ["One line.", "Another line."]
    path = write_movie(source, tmp_path / "b.idx", 7, lines, np.eye(2, dtype=np.float32))
    with IndexFile(path) as index:
        assert len(index) == 7 and [sentence.text for sentence in index.sentences()] == lines
        assert index.sentence_vectors() is not None and index.keys() is not None
        assert index.segments[-1].end == 28.0 and index.meta.movie["name"] == "b.mp4"
