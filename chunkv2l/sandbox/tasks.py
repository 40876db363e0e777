"""The tasks of a sandboxed process: functions of JSON values that return JSON values.

Each task's module is imported before the limits are set, and the file is read afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, Final

Task = Callable[[str], Any]


def _verify_index() -> Task:
    from chunkv2l.index.verify import verify

    return verify


def _describe_index() -> Task:
    from chunkv2l.index.file import IndexFile

    def describe(path: str) -> dict[str, Any]:
        with IndexFile(path) as index:
            segments = [asdict(segment) for segment in index.segments]
            chapters = [asdict(chapter) for chapter in index.chapters()]
            return {**index.meta.origin(), "segments": segments, "chapters": chapters, "similar": index.similar()}

    return describe


def _describe_movie() -> Task:
    from chunkv2l.video.probe import probe

    def describe(path: str) -> dict[str, Any]:
        info = probe(Path(path))
        return {"duration": info.duration, "fps": info.fps, "width": info.width, "height": info.height}

    return describe


def _read_subtitles() -> Task:
    from chunkv2l.video.subtitles import read_subtitles

    def read(path: str) -> dict[str, Any]:
        subtitles = read_subtitles(Path(path))
        return {"sha256": subtitles.sha256, "cues": [asdict(cue) for cue in subtitles.cues]}

    return read


PREPARE: Final[Mapping[str, Callable[[], Task]]] = {
    "verify index": _verify_index,
    "describe index": _describe_index,
    "describe movie": _describe_movie,
    "read subtitles": _read_subtitles,
}
"""The tasks by name: functions that import what a task needs, and return it. A task takes the path of a file."""


def prepare(name: str) -> Task:
    """Return a task by its name among these, or as MODULE:FUNCTION where a room of this package has it."""
    if name in PREPARE:
        return PREPARE[name]()
    module, _, function = name.partition(":")
    if not module.startswith("chunkv2l."):
        raise ValueError(f"there is no task {name!r}")
    task: Task = getattr(import_module(module), function)
    return task
