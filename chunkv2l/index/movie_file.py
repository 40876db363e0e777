"""Find the movie that an index is of, by its name and its content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chunkv2l.errors import InputError

if TYPE_CHECKING:
    from chunkv2l.index.file import IndexFile


def movie_beside(index: IndexFile) -> Path | None:
    """Return the file beside an index that is named like its movie, or like the index; its content isn't looked at."""
    name = str(index.meta.movie["name"])
    beside = index.path.parent / Path(name).name
    renamed = index.path.with_suffix(Path(name).suffix or ".mp4")
    return next((candidate for candidate in (beside, renamed) if candidate.is_file()), None)


def find_movie(index: IndexFile, movie: str | Path | None = None) -> Path:
    """Return the path of an index's movie: the file named, or the one beside the index, if its content is the movie's.

    Raises:
        InputError: there is none, it can't be read, or it is another movie.
    """
    name = str(index.meta.movie["name"])
    if movie is None:
        path = movie_beside(index)
        if path is None:
            raise InputError(f"The movie {name} isn't beside {index.path}: say where it is with --movie FILE.")
    else:
        path = Path(movie)
        if not path.is_file():
            raise InputError(f"There is no movie {path}: name the file that {index.path} is of ({name}).")
    if not is_movie_of(path, index):
        raise InputError(
            f"{path} isn't the movie that {index.path} is of (its content differs): name the right file with --movie."
        )
    return path


def is_movie_of(path: Path, index: IndexFile) -> bool:
    """Return whether a file's content is that of an index's movie.

    Raises:
        InputError: it can't be read.
    """
    from chunkv2l.video.fingerprint import fingerprint

    recorded = index.meta.movie
    try:
        return path.stat().st_size == recorded.get("size") and fingerprint(path)["sha256"] == recorded["sha256"]
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}).") from error
