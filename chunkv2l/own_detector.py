"""A scene detector of the user's own on the command line: `build --detector FILE.py:CLASS`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from scenedetect.detector import SceneDetector

from chunkv2l.errors import InputError


def named(spec: str) -> str | SceneDetector:
    """What `build` takes as a detector: a fresh one of the class that "FILE.py:CLASS" names; any other name as it is.

    Raises:
        InputError: no such file or class, one that isn't a SceneDetector, or one that can't be made without arguments.
    """
    file, _, name = spec.rpartition(":")
    if not file.endswith(".py"):
        return spec
    path = Path(file).expanduser()
    if not path.is_file():
        raise InputError(f'There is no file "{file}" to load the detector {name} from; name it as FILE.py:CLASS.')
    place = importlib.util.spec_from_file_location(f"chunkv2l_detector_{path.stem}", path)
    assert place is not None and place.loader is not None  # a name that ends in .py has both
    module = importlib.util.module_from_spec(place)
    sys.modules[place.name] = module  # dataclasses and copies of the detector look themselves up here
    try:
        place.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"The detector's file \"{path}\" can't be run: {type(error).__name__}: {error}.") from error
    kind = getattr(module, name, None)
    if not (isinstance(kind, type) and issubclass(kind, SceneDetector)):
        raise InputError(f'"{name}" in {file} is no class that derives from PySceneDetect\'s SceneDetector.')
    try:
        return kind()
    except Exception as error:
        raise InputError(
            f"The detector {name} can't be made without arguments ({type(error).__name__}: {error}): "
            "give its parameters defaults."
        ) from error
