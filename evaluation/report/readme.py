"""Write the README's table of measurements from `readme.json` beside this file: numbers, and the runs that made them.

`python -m evaluation report --collect` takes numbers from results into the JSON, `--readme` writes the table from it; a
test fails where they differ. This module has each line's text and format, the JSON has the numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chunkv2l.errors import InputError
from evaluation.common import results
from evaluation.common.table import markdown, share

DATA: Final = Path(__file__).parent / "readme.json"
README: Final = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- TABLE: `python -m evaluation report --readme` writes it from readme.json -->", "<!-- /TABLE -->"

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        source: the command whose result has its numbers.
        pick: returns the line's numbers by name from a result's figures; KeyError where they are missing.
        show: returns the cell of the numbers.
    """

    text: str
    source: str
    pick: Callable[[Values], dict[str, Any]]
    show: Callable[[Values], str]


def _first(figures: Values) -> Values:
    """Return the row of chunkv2l's own policy or way."""
    rows = figures["rows"]
    row: Values = next(rows[name] for name in ("default", "route", "chunkv2l ask", *rows) if name in rows)
    return row


def _longest(figures: Values) -> Values:
    """Return the build of the longest movie."""
    build: Values = max(figures["builds"], key=lambda build: build["minutes"])
    return build


def _hour(figures: Values) -> Values:
    """Return the build of an hour; KeyError if there is none."""
    longest = _longest(figures)
    if longest["minutes"] < 59:
        raise KeyError("an hour")
    return longest


def _largest(figures: Values) -> dict[str, Any]:
    """Return segments and seconds of asking the largest index."""
    largest: Values = max(figures["asked"], key=lambda index: index["segments"])
    return {key: largest[key] for key in ("segments", "ask")}


def _recalls(way: str) -> Callable[[Values], dict[str, Any]]:
    return lambda figures: {key: figures["rows"][way][key] for key in ("R1@0.5", "R5@0.5", "n")}


def _both(values: Values) -> str:
    return f"{share(values['R1@0.5'])} / {share(values['R5@0.5'])}"


LINES: Final[Mapping[str, Line]] = {
    "moments-first": Line(
        "moments found, first of the list (R1@0.5; what perfect routing would reach)",
        "moments",
        lambda figures: {key: _first(figures)[key] for key in ("R1@0.5", "ceiling", "n")},
        lambda values: f"{share(values['R1@0.5'])} ({share(values['ceiling'])})",
    ),
    "moments-five": Line(
        "moments found, among the first five (R5@0.5)",
        "moments",
        lambda figures: {key: _first(figures)[key] for key in ("R5@0.5", "n")},
        lambda values: share(values["R5@0.5"]),
    ),
    "moments-words": Line(
        "the same by full-text search over the captions (first / among five)",
        "baselines",
        _recalls("captions, full text"),
        _both,
    ),
    "moments-meaning": Line(
        "the same by searching the captions' embeddings (MiniLM)",
        "baselines",
        _recalls("captions, embeddings"),
        _both,
    ),
    "moments-frames": Line(
        "the same by every segment's frames in context: a prefill a segment",
        "baselines",
        _recalls("every segment's frames in context"),
        _both,
    ),
    "build-realtime": Line(
        "building, times faster than the movie plays (captions included)",
        "build",
        lambda figures: {"realtime": _longest(figures)["realtime"]["total"], "minutes": _longest(figures)["minutes"]},
        lambda values: f"{values['realtime']:.1f}",
    ),
    "build-memory": Line(
        "memory at most while building an hour (the model included)",
        "build",
        lambda figures: {"peak_bytes": _hour(figures)["peak_bytes"]},
        lambda values: f"{values['peak_bytes'] / 1e9:.1f} GB",
    ),
    "ask-seconds": Line(
        "an answer's first token, model loaded / from a cold shell (the longest movie)",
        "latency",
        lambda figures: {**_largest(figures), "cold_s": figures["cold_s"]},
        lambda values: f"{_seconds(values['ask'])} / {_seconds(values['cold_s'])} ({values['segments']} segments)",
    ),
    "frames-seconds": Line(
        "the same with 64 frames in context, features not stored",
        "latency",
        lambda figures: {"frames_s": next(row["frames_s"] for row in figures["in_context"] if row["frames"] == 64)},
        lambda values: _seconds(values["frames_s"]),
    ),
    "index-bytes": Line(
        "index, a segment (`--codes int8`, the default)",
        "build",
        lambda figures: {"bytes": _longest(figures)["index_bytes"] / _longest(figures)["segments"]},
        lambda values: f"{values['bytes'] / 1000:.0f} KB",
    ),
}


def read(path: Path = DATA) -> dict[str, Any]:
    """Return {line's name: {"values": {…}, "run": its run, or None where it wasn't recorded}}."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def collect(out: Path, path: Path = DATA) -> list[str]:
    """Copy each line's numbers from the results in `out`; return the names of the lines that were found."""
    data = read(path) if path.is_file() else {}
    taken = []
    for name, line in LINES.items():
        file = out / f"{line.source}.json"
        if not file.is_file():
            continue
        result = results.read(file)
        try:
            values = line.pick(result["figures"])
        except (KeyError, StopIteration):
            continue
        run = {key: result[key] for key in ("command", "hardware", "versions", "seed")}
        data[name] = {"values": values, "run": run}
        taken.append(name)
    if taken:
        ordered = {name: data[name] for name in LINES if name in data}
        path.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return taken


def table(data: Mapping[str, Any]) -> str:
    """Return the README's table, without the lines that have no numbers."""
    rows = [[line.text, line.show(data[name]["values"])] for name, line in LINES.items() if name in data]
    return markdown(["", "`mini`, 2 CPU cores"], rows)


def section(text: str) -> str:
    """Return the text between the README's marks.

    Raises:
        InputError: the README has no marks.
    """
    marked = re.search(rf"{re.escape(BEGIN)}\n(.*?)\n{re.escape(END)}", text, re.DOTALL)
    if marked is None:
        raise InputError(f"The README has no place for the table: it needs the lines {BEGIN} and {END}.")
    return marked[1]


def rewrite(readme: Path = README, path: Path = DATA) -> bool:
    """Put the table of `path` between the README's marks; return True if that changed anything.

    Raises:
        InputError: the README has no marks.
    """
    text = readme.read_text(encoding="utf-8")
    old, new = section(text), table(read(path))
    if old == new:
        return False
    readme.write_text(text.replace(f"{BEGIN}\n{old}\n{END}", f"{BEGIN}\n{new}\n{END}"), encoding="utf-8")
    return True


def _seconds(value: float) -> str:
    return f"{share(value, 1)} s"
