"""Notes about a movie: each once, in order, and not too many."""

from __future__ import annotations

import logging

import pytest

from chunkv2l.video.notes import MOST_OF_A_KIND, Note, Notes


def test_each_note_is_kept_and_reported_once() -> None:
    reported: list[Note] = []
    notes = Notes(reported.append)
    for kind, text in (("clock", "It jumps."), ("pictures", "One is lost."), ("clock", "It jumps.")):
        notes.add(kind, text)
    assert list(notes) == reported == [Note("clock", "It jumps."), Note("pictures", "One is lost.")]


def test_notes_are_logged_by_default(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "chunkv2l"):
        Notes().add("length", "Half of it, 50 %s, is missing.")
    assert caplog.messages == ["Half of it, 50 %s, is missing."]


def test_the_last_note_of_a_kind_says_that_more_are_left_out() -> None:
    notes = Notes(lambda note: None)
    for number in range(3 * MOST_OF_A_KIND):
        notes.add("clock", f"It jumps at {number} s.")
        notes.add("clock", f"It jumps at {number} s.")
    notes.add("length", "The rest is missing.")
    assert len(list(notes)) == MOST_OF_A_KIND + 1
    assert [note.text for note in notes if "left out" in note.text] == [
        f"It jumps at {MOST_OF_A_KIND - 1} s. (Further warnings of this kind are left out.)"
    ]
