"""A movie is known by its content."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkv2l.video import fingerprint as module
from chunkv2l.video.fingerprint import fingerprint


def test_a_small_movie_is_known_by_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    data = bytes(range(256)) * 100
    digests = set()
    for position in (0, 1, 12_345, len(data) - 1):
        changed = bytearray(data)
        changed[position] ^= 1
        path.write_bytes(changed)
        digests.add(fingerprint(path)["sha256"])
    path.write_bytes(data)
    digests.add(fingerprint(path)["sha256"])
    assert len(digests) == 5 and fingerprint(path)["size"] == len(data)
    assert fingerprint(path) == fingerprint(path)


@pytest.mark.parametrize("position", [0, -1, "between"])
def test_a_large_movie_is_known_by_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, position: int | str
) -> None:
    monkeypatch.setattr(module, "WHOLE", 10_000)
    monkeypatch.setattr(module, "SAMPLE", 10)
    path = tmp_path / "m.mp4"
    data = bytearray(20_000)
    path.write_bytes(data)
    before = fingerprint(path)
    data[15 if position == "between" else int(position)] ^= 1
    path.write_bytes(data)
    after = fingerprint(path)
    assert (after == before) == (position == "between")
    path.write_bytes(data + b"\0")
    assert fingerprint(path) != after
