"""Captions that a segment's own key doesn't support are marked, in the file, by `show`, and the same after a resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chunkv2l.cli import main as cli
from chunkv2l.defaults import UNCERTAIN_BELOW
from chunkv2l.index.file import IndexFile
from chunkv2l.index.meta import pack_numbers, parse_meta
from chunkv2l.index.overview import index_json
from chunkv2l.index.schema import Malformed
from chunkv2l.index.tensors import key_to_bytes
from chunkv2l.indexing.uncertain import find_uncertain
from chunkv2l.models.calibration import Calibration
from tests.helpers.indexes import write_index
from tests.helpers.keyed import by_words, random_keys

KEYS = random_keys(8)
CAPTIONS = ["A brown dog.", "Two men swim in a lake.", "", "A red car."]


def model(key: float = 40.0, epsilon: float = 0.0) -> Any:
    """Return what is needed of a model: keys, a sentence encoder, a calibration, and tokens that are words."""
    vlm = SimpleNamespace(count_tokens=lambda text: len(text.split()))
    calibration = Calibration(key=key, epsilon=epsilon)
    return cast(Any, SimpleNamespace(keys=KEYS, sentences=by_words, calibration=calibration, vlm=vlm))


def supporting(captions: list[str], *, against: set[int]) -> list[tuple[str, bytes | None]]:
    """Return rows whose keys are what the captions ask for, or the opposite."""
    rows: list[tuple[str, bytes | None]] = []
    for number, caption in enumerate(captions):
        query = KEYS.of_sentences(by_words([caption or "x"]))[0]
        rows.append((caption, key_to_bytes(-query if number in against else query)))
    return rows


def test_captions_against_their_keys_are_uncertain() -> None:
    assert find_uncertain(model(), supporting(CAPTIONS, against={1, 2})) == [1]
    assert find_uncertain(model(), supporting(CAPTIONS, against=set())) == []


def test_the_bar_is_the_routers_key_evidence() -> None:
    rows = supporting(["A brown dog."], against=set())  # cosine 1, three tokens
    assert find_uncertain(model(UNCERTAIN_BELOW + 0.01), rows) == []
    assert find_uncertain(model(UNCERTAIN_BELOW - 0.01), rows) == [0]
    assert find_uncertain(model(UNCERTAIN_BELOW * 3**0.5 + 0.01, epsilon=0.5), rows) == []
    assert find_uncertain(model(UNCERTAIN_BELOW * 3**0.5 - 0.01, epsilon=0.5), rows) == [0]


def test_many_captions_are_judged_alike() -> None:
    rows = supporting([f"Thing {number}." for number in range(150)], against={3, 64, 149})
    assert find_uncertain(model(), rows) == [3, 64, 149]


def test_without_keys_nothing_is_known() -> None:
    rows = supporting(CAPTIONS, against={0})
    without = model()
    without.keys = None
    assert find_uncertain(without, rows) is None
    unfitted = model()
    unfitted.calibration = replace(unfitted.calibration, key=0.0)
    assert find_uncertain(unfitted, rows) is None


def test_numbers_come_back_from_the_file() -> None:
    described = {"movie": '{"name": "m.mp4", "sha256": "", "duration": 9.0}', "model": '"mini"', "identity": "{}"}
    rows = {**described, "settings": '{"codes": "int8"}', "code_shape": "[1, 1, 1]", "segments": "70"}

    def read(value: str) -> frozenset[int] | None:
        return parse_meta([*rows.items(), ("uncertain", f'"{value}"')]).uncertain

    assert read(pack_numbers([0, 5, 69])) == frozenset({0, 5, 69})
    assert read(pack_numbers([])) == frozenset()
    assert parse_meta(rows.items()).uncertain is None
    for damaged in (pack_numbers([70]), "0", "g", "f" * 5000):
        with pytest.raises(Malformed, match="uncertain"):
            read(damaged)


def test_an_uncertain_caption_is_shown_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_index(tmp_path / "a.idx", ("A dog.", "A cat.", "A car."), uncertain=[1])
    with IndexFile(path) as file:
        assert [segment["uncertain"] for segment in index_json(file)["segments"]] == [False, True, False]
    assert cli.run(["show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "A cat. (uncertain)" in shown and "A dog. (uncertain)" not in shown


def test_an_index_without_the_mark_says_nothing(tmp_path: Path) -> None:
    with IndexFile(write_index(tmp_path / "a.idx")) as file:
        assert all("uncertain" not in segment for segment in index_json(file)["segments"])
