"""Notes: what was chosen, repaired or left out while a movie was read, for the summary at the end of a build."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock

logger = logging.getLogger("chunkv2l")

MOST_OF_A_KIND = 20
"""Notes of one kind that are kept about one movie; the last one says that further ones are left out."""


@dataclass(frozen=True)
class Note:
    """One thing that a user should know about how a movie was read.

    Attributes:
        kind: "stream" (which video stream was chosen), "pictures" (some can't be decoded), "clock" (a jump was
            mended), "file" (it was touched while it was read), "length" (the pictures end elsewhere than the file
            says), "reader" (one was given up), "subtitles" (an encoding was guessed, or cues were left out).
        text: a sentence.
    """

    kind: str
    text: str


def log_note(note: Note) -> None:
    """Log a note as a warning."""
    logger.warning("%s", note.text)


class Notes:
    """Collects notes, each once, from any thread. Iterate over it to read them.

    Args:
        report: called with each new note; logs it by default.
    """

    def __init__(self, report: Callable[[Note], None] = log_note) -> None:
        self._report = report
        self._notes: list[Note] = []
        self._lock = Lock()

    def add(self, topic: str, text: str) -> None:
        """Add a note, unless the same is there already or there are `MOST_OF_A_KIND`."""
        with self._lock:
            count = sum(note.kind == topic for note in self._notes)
            if count >= MOST_OF_A_KIND or any((note.kind, note.text) == (topic, text) for note in self._notes):
                return
            if count == MOST_OF_A_KIND - 1:
                text += " (Further warnings of this kind are left out.)"
            note = Note(topic, text)
            self._notes.append(note)
        self._report(note)

    def __iter__(self) -> Iterator[Note]:
        return iter(tuple(self._notes))
