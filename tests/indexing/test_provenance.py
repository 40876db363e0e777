"""Descriptions of builds: in what two of them differ."""

from __future__ import annotations

from chunkv2l.indexing.provenance import differences


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
