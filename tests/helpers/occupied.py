"""Names that something else has already."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def occupy(path: Path, other: Path) -> Iterator[None]:
    """Yield while a name belongs to a text, to a link to another file, to a FIFO and to a folder, in turn."""
    for make in (
        lambda: path.write_text("Notes of mine, longer than a header."),
        lambda: path.symlink_to(other),
        lambda: os.mkfifo(path),
        lambda: path.mkdir(),
    ):
        make()
        yield
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
