"""Write files whole or not at all, read those of strangers within bounds, and load a name of a user's Python file."""

from __future__ import annotations

import glob
import importlib.util
import json
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chunkv2l.errors import InputError
from chunkv2l.sanitize import quoted

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MAX_JSON: Final = 16 << 20
"""Bytes of a configuration, an index of shards, or a tokenizer."""
MAX_HEADER: Final = 4 << 20
"""Bytes of a safetensors header; those of large models have some 100 kB."""
_LEFT_FOR: Final = 60.0  # seconds that a folder without a lock is left alone: its process may be about to lock it
_HOLES_FROM: Final = 1 << 20  # bytes; smaller files may lie in a file system's own tables

_ADDRESS: Final = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE | re.DOTALL)
"""An address; as a Path it has lost one slash. A Windows drive has a single letter."""
_HOST: Final = re.compile(
    r"(?:www\d?\.[\w-]+|(?:[\w-]+\.)+(?:com|org|net|tv|be|io|edu|gov|info|app|dev))(?:\.[\w-]+)*(?::\d+)?/.*",
    re.IGNORECASE | re.DOTALL,
)
"""An address without its scheme: "www.example.com/x.mp4"."""
_LIVE: Final = frozenset(("mms", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"))


def local_path(path: str | os.PathLike[str], noun: str) -> Path:
    """Return the path of a file to read, as a user named it; whether it is there is not checked.

    Args:
        noun: what the file is, for error sentences: "movie", "index".

    Raises:
        InputError: the name is empty, "-", or the address of something that isn't a local file.
    """
    text = os.fspath(path)
    if not text.strip():
        raise InputError(f"The name of the {noun} is empty: give the path of a file.")
    local = Path(text)
    if text == "-" and not local.exists():
        raise InputError(f"A {noun} can't be read from standard input: give the path of a file.")
    if (match := _ADDRESS.fullmatch(text)) and not os.path.lexists(local):
        scheme = match[1].lower()
        if scheme == "file":
            raise InputError(f"{text} is an address: give the path alone, /{match[2]}.")
        action = "record" if scheme in _LIVE else "download"
        raise InputError(f"{text} is an address, not a local file: {action} it first, and give that file's path.")
    if _HOST.fullmatch(text) and not os.path.lexists(text.split("/")[0]):
        raise InputError(
            f"{text} looks like an address, and only files are read: download it first, and give that file's path."
        )
    return local


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
    """Yield a new folder to fill, which gets the name `final` when the block ends well.

    If another process has finished the same folder meanwhile, that folder is kept. The folders of processes that were
    killed are removed first.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{final.name}-"
    for leftover in final.parent.glob(f"{glob.escape(prefix)}*"):
        _remove_leftover(leftover)
    part = Path(tempfile.mkdtemp(prefix=prefix, dir=final.parent))
    held = _hold(part)
    try:
        yield part
        try:
            os.replace(part, final)
        except OSError:
            if not final.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if held is not None:
            os.close(held)


def _hold(folder: Path) -> int | None:
    """Lock a folder for as long as this process lives; return the lock's descriptor, None where it can't be locked."""
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_leftover(folder: Path) -> None:
    """Remove a folder that nobody fills any more: not a new one, and not locked by a process that lives."""
    try:
        if folder.is_symlink() or not folder.is_dir() or time.time() - folder.stat().st_mtime < _LEFT_FOR:
            return
        held = _hold(folder)
    except OSError:
        return
    if held is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def load_from_file(spec: str, role: str, form: str) -> object:
    """Run a Python file and return what it calls NAME; None where it has nothing of that name.

    The file becomes a module of its own, never found by `import`: it can't stand in for an installed one.

    Args:
        spec: "FILE.py:NAME".
        role: what NAME is to be, for error sentences: "policy", "detector".
        form: how to name one, likewise: "FILE.py:function".

    Raises:
        InputError: no such file, not a Python file, or one that fails when it is run.
    """
    file, _, name = spec.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise InputError(f'There is no file "{file}" to load the {role} {name or spec!r} from; name it as {form}.')
    module_name = f"chunkv2l_{role}_{path.stem}"
    module_spec = importlib.util.spec_from_file_location(module_name, path)
    if module_spec is None or module_spec.loader is None:
        raise InputError(f'A {role}\'s file must be Python (.py), which "{path}" is not.')
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module  # dataclasses and pickles inside the file look themselves up here
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f'The {role} file "{path}" can\'t be run: {type(error).__name__}: {error}.') from error
    return vars(module).get(name)


# --- files from strangers --------------------------------------------------------------------------------------------


def check_file(path: Path, limit: int) -> None:
    """Refuse a file that would hang or fill the memory of whoever reads it.

    Args:
        limit: bytes that such a file may have.

    Raises:
        InputError: there is none, it isn't a regular file, it is larger, or most of it is a hole.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} isn't a regular file.")
    if status.st_size > limit:
        raise InputError(f"{path} is too large for what it should be: {status.st_size} bytes, {limit} at most.")
    if is_mostly_hole(status):
        raise InputError(f"{path} is damaged: most of its {status.st_size} bytes are a hole. Fetch it again.")


def is_mostly_hole(status: os.stat_result) -> bool:
    """Tell whether most of a file takes no space on the disk, as no file that was written does."""
    stored = getattr(status, "st_blocks", None)  # of 512 bytes; not on Windows
    return stored is not None and status.st_size > _HOLES_FROM and stored * 512 * 4 < status.st_size


def check_safetensors(path: Path, limit: int) -> None:
    """Refuse a safetensors file whose size or header would fill the memory before a tensor of it is read.

    Raises:
        InputError: as `check_file`, or the header is larger than any model's.
    """
    check_file(path, limit)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from None
    if length > MAX_HEADER:
        raise InputError(f"{path} can't be read as a safetensors file: its header is too large. Fetch it again.")


def read_text(path: Path, limit: int = MAX_JSON) -> str:
    """Read a small UTF-8 file.

    Raises:
        InputError: as `check_file`, or it isn't UTF-8.
    """
    check_file(path, limit)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} can't be read: it isn't UTF-8.") from None


def parse_json(text: str) -> object:
    """Return the value of a JSON text from a stranger.

    Raises:
        ValueError: it isn't JSON, or is nested deeper than Python can follow.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path, limit: int = MAX_JSON) -> object:
    """Read a small JSON file.

    Raises:
        InputError: as `read_text`, or it isn't JSON.
    """
    try:
        return parse_json(read_text(path, limit))
    except ValueError as error:
        raise InputError(f"{path} can't be read as JSON ({quoted(error)}).") from None
