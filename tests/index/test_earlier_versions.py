"""An index that an earlier version built is opened, shown, verified and asked as that version did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import chunkv2l
from chunkv2l.index.file import IndexFile
from chunkv2l.index.overview import index_json
from chunkv2l.index.verify import verify
from tests.helpers import tiny_smolvlm

FOLDER = Path(__file__).parents[1] / "fixtures" / "indexes"
INDEX = FOLDER / "before_rooms.idx"
RECORDED: dict[str, Any] = json.loads((FOLDER / "before_rooms.json").read_text())


def test_it_is_shown_as_it_was() -> None:
    with IndexFile(INDEX) as index:
        shown = index_json(index)
        assert {key: shown[key] for key in RECORDED["show"]} == RECORDED["show"]
        assert [list(pair) for pair in index.similar()] == RECORDED["similar"]
        assert [[cue.start, cue.end, cue.text] for cue in index.subtitles()] == RECORDED["subtitles"]


def test_it_is_sound_and_stays_as_it_is() -> None:
    before = INDEX.read_bytes()
    assert verify(INDEX) == []
    assert INDEX.read_bytes() == before


@pytest.mark.parametrize("recorded", RECORDED["asked"], ids=lambda recorded: f"{recorded['question']}")
def test_it_is_answered_as_it_was(recorded: dict[str, Any]) -> None:
    expected = {key: value for key, value in recorded.items() if key != "options"}
    with chunkv2l.open(INDEX, tiny_smolvlm.model()) as index:
        answered = index.ask(recorded["question"], **recorded["options"]).to_json()
    assert {key: answered[key] for key in expected if key not in ("spans", "not_there")} == {
        key: value for key, value in expected.items() if key not in ("spans", "not_there")
    }
    assert answered["not_there"] == pytest.approx(expected["not_there"], abs=1e-4)
    assert [{**span, "score": pytest.approx(span["score"], abs=1e-4)} for span in expected["spans"]] == answered[
        "spans"
    ]
