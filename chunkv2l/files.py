"""Files that appear under their final name only when they are complete."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield the path of a new, empty file beside `path`, which takes its name when the block ends well.

    The temporary file has the same suffix and a random name, at which nobody can have put a link. After an exception it
    is removed, and what was there under `path` stays.

    Raises:
        OSError: the folder can't be written to, or `path` is one.
    """
    part = path.with_name(f".{path.stem[:32]}.{secrets.token_hex(8)}.part{path.suffix[:16]}")
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    permissions = os.fstat(descriptor).st_mode & 0o777  # as the umask has them; some writers make files of their own
    os.close(descriptor)
    try:
        yield part
        os.chmod(part, permissions)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, whole or not at all.

    Raises:
        OSError: as `atomic_write`.
    """
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A folder to fill, which gets the name `final` only when the block ends well.

    Another process may have finished the same folder meanwhile; then its is kept.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        yield part
        try:
            os.replace(part, final)
        except OSError:
            if not final.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
