"""Write files whole or not at all, and load what a user's Python file calls by a name (FILE.py:NAME)."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chunkv2l.errors import InputError


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

    If another process has finished the same folder meanwhile, that folder is kept.
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
