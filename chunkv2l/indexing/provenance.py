"""What an index was made from and how: the description in its meta, by which builds know each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chunkv2l.indexing.settings import BuildSettings
from chunkv2l.sanitize import one_line
from chunkv2l.video.fingerprint import fingerprint
from chunkv2l.video.probe import MovieInfo

if TYPE_CHECKING:
    from chunkv2l.models import Model


def describe(
    movie: Path,
    info: MovieInfo,
    model: Model,
    settings: BuildSettings,
    rules: Mapping[str, int],
    own: Sequence[str] = (),
    subtitles: str | None = None,
) -> dict[str, Any]:
    """What the index's meta says of its origin; two builds of equal descriptions make equal rows.

    No clock time, host, path or duration of the build is in it; the movie's name is, to be shown.

    Args:
        rules: what a build does that no setting says, but that its rows depend on: segments a batch and the like.
        own: as in `Meta`.
        subtitles: the SHA-256 of the subtitle file; None without one.
    """
    config = model.hypernet.config
    return {
        "movie": {
            "name": one_line(movie.name),
            **fingerprint(movie),
            "duration": info.duration,
            "fps": info.fps,
            "width": info.width,
            "height": info.height,
        },
        "model": model.name,
        "identity": dict(model.identity),
        "settings": {**settings.to_meta(), **rules},
        "code_shape": [config.num_layers, config.rank, config.latent_size],
        "own": list(own),
        "subtitles": subtitles,
    }


def differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """In what two descriptions differ, in words; a movie is known by its content, a model by its identity."""
    pairs: list[tuple[str, Any, Any]] = []
    for key in (there.keys() | wanted.keys()) - {"own"}:
        one, other = there.get(key), wanted.get(key)
        if key == "settings" and isinstance(one, dict) and isinstance(other, dict):
            pairs += [(_words(name), one.get(name), other.get(name)) for name in one.keys() | other.keys()]
        elif key == "movie" and isinstance(one, dict) and isinstance(other, dict):
            pairs += [("movie", one.get(name), other.get(name)) for name in ("size", "sha256")]
        else:
            pairs.append(("model" if key in ("identity", "code_shape") else _words(key), one, other))
    return sorted({words for words, one, other in pairs if one != other})


def _words(name: str) -> str:
    return name.replace("_", " ")
