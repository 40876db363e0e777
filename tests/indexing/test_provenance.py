"""Which movie an index is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkv2l.indexing import provenance as origin
from chunkv2l.indexing.provenance import differences, fingerprint


def test_a_small_movie_is_known_by_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    data = bytes(range(256)) * 100
    seen = set()
    for place in (0, 1, 12_345, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        seen.add(fingerprint(path)["sha256"])
    path.write_bytes(data)
    seen.add(fingerprint(path)["sha256"])
    assert len(seen) == 5 and fingerprint(path)["size"] == len(data)
    assert fingerprint(path) == fingerprint(path)


@pytest.mark.parametrize("place", [0, -1, "between"])
def test_a_large_movie_is_known_by_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int | str) -> None:
    monkeypatch.setattr(origin, "WHOLE", 10_000)
    monkeypatch.setattr(origin, "SAMPLE", 10)
    path = tmp_path / "m.mp4"
    data = bytearray(20_000)
    path.write_bytes(data)
    before = fingerprint(path)
    data[15 if place == "between" else int(place)] ^= 1
    path.write_bytes(data)
    after = fingerprint(path)
    assert (after == before) == (place == "between")
    path.write_bytes(data + b"\0")
    assert fingerprint(path) != after


def test_differences_are_named() -> None:
    one = {
        "movie": {"name": "a", "size": 1, "sha256": "x", "duration": 1.0},
        "model": "mini",
        "identity": {"hypernet": "1"},
        "settings": {"codes": "fp16", "min_length": 1.0},
        "code_shape": [1, 2, 3],
    }
    assert differences(one, one) == []
    assert differences(one, {**one, "movie": {**one["movie"], "name": "b", "duration": 1.1}}) == []  # type: ignore[dict-item]
    assert differences(one, {**one, "movie": {"name": "a", "size": 1, "sha256": "y"}}) == ["movie"]
    assert differences(one, {**one, "identity": {"hypernet": "2"}, "code_shape": [1]}) == ["model"]
    assert differences(one, {**one, "settings": {"codes": "int8", "batch": 8}}) == ["batch", "codes", "min length"]
    assert differences(one, {**one, "subtitles": "z"}) == ["subtitles"]
