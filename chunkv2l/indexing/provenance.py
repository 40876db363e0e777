"""Describe what an index is made from and how; builds know by this description whether they go on with each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chunkv2l.indexing.settings import BuildSettings
from chunkv2l.sanitize import one_line
from chunkv2l.video.fingerprint import fingerprint
from chunkv2l.video.probe import MovieInfo

if TYPE_CHECKING:
    from chunkv2l.models import Model


def describe(
    info: MovieInfo,
    model: Model,
    settings: BuildSettings,
    rules: Mapping[str, int],
    user_files: Sequence[str] = (),
    subtitles: str | None = None,
) -> dict[str, Any]:
    """Return the description of a build that the index records; builds of equal descriptions make equal rows.

    No clock time, host, path or duration of the build is in it; the movie's name is, to be shown.

    Args:
        rules: constants of the build that its rows depend on: segments a batch and the like.
        user_files: as in `Meta`.
        subtitles: the SHA-256 of the subtitle file; None without one.
    """
    config = model.hypernet.config
    return {
        "movie": {
            "name": one_line(os.fsencode(info.path.name).decode("utf-8", "replace")),
            **fingerprint(info.path),
            "duration": info.duration,
            "fps": info.fps,
            "width": info.width,
            "height": info.height,
        },
        "model": model.name,
        "identity": dict(model.identity),
        "settings": {**settings.to_meta(), **rules},
        "code_shape": [config.num_layers, config.rank, config.latent_size],
        "own": list(user_files),
        "subtitles": subtitles,
    }


def differences(recorded: Mapping[str, Any], description: Mapping[str, Any]) -> list[str]:
    """Name in what two descriptions differ; a movie is known by its content, a model by its identity."""
    pairs: list[tuple[str, Any, Any]] = []
    for key in (recorded.keys() | description.keys()) - {"own"}:
        old, new = recorded.get(key), description.get(key)
        if key == "settings" and isinstance(old, dict) and isinstance(new, dict):
            pairs += [(_to_words(name), old.get(name), new.get(name)) for name in old.keys() | new.keys()]
        elif key == "movie" and isinstance(old, dict) and isinstance(new, dict):
            pairs += [("movie", old.get(name), new.get(name)) for name in ("size", "sha256")]
        else:
            pairs.append(("model" if key in ("identity", "code_shape") else _to_words(key), old, new))
    return sorted({words for words, old, new in pairs if old != new})


def _to_words(name: str) -> str:
    return name.replace("_", " ")
