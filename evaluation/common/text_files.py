"""Read the text files of datasets."""

from __future__ import annotations

from pathlib import Path

from chunkv2l.errors import InputError


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Raises:
        InputError: it can't be read, or isn't text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} isn't text.") from None
