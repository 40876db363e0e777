"""Further knowledge about a set's photographs, kept beside it: detected things, captions, relations, actions.

A notes file is JSON lines, matched to the set's rows by `file`; several rows may speak of one photograph. What a row
says is told by its fields:

- `captions`: sentences about it;
- `counts`: {name: at least how many}, with `maybe`, names that may be there. Any other name of a detector's lexicon is
  probably, not surely, absent;
- `caption` with `true` (and `relation`): a sentence that is true or false of it;
- `actions`: {verb: how many do it}.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chunkv2l.errors import InputError


@dataclass
class Notes:
    """Collect what notes files say of one photograph."""

    captions: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    maybe: set[str] = field(default_factory=set)
    true: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)


def read_notes(paths: Iterable[Path]) -> Mapping[str, Notes]:
    """Return what the files say, by the photographs' `file`.

    Raises:
        InputError: a file is missing, or a row isn't an object that names its photograph.
    """
    notes: dict[str, Notes] = {}
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError:
            raise InputError(f"There are no notes at {path}.") from None
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                _add(notes.setdefault(str(row["file"]), Notes()), row)
            except (ValueError, KeyError, TypeError, AttributeError):
                raise InputError(f"{path}, line {number}: these aren't notes about a photograph.") from None
    return notes


def _add(notes: Notes, row: Mapping[str, object]) -> None:
    captions, counts, maybe, actions = (row.get(name) or () for name in ("captions", "counts", "maybe", "actions"))
    assert isinstance(captions, list | tuple) and isinstance(maybe, list | tuple)
    notes.captions += [str(text) for text in captions]
    notes.maybe |= {str(name) for name in maybe}
    if isinstance(counts, Mapping):
        notes.counts |= {str(name): int(number) for name, number in counts.items()}
    if isinstance(actions, Mapping):
        notes.actions += [str(verb).replace("_", " ") for verb in actions]
    if "true" in row:
        (notes.true if row["true"] else notes.false).append(str(row["caption"]))
