"""Load a user's own code, named as FILE.py:NAME on the command line: policies and scene detectors."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from chunkv2l.errors import InputError


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
