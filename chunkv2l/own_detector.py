"""A scene detector of the user's own on the command line: `build --detector FILE.py:CLASS`."""

from __future__ import annotations

from scenedetect.detector import SceneDetector

from chunkv2l.errors import InputError
from chunkv2l.user_code import load_from_file


def named(spec: str) -> str | SceneDetector:
    """What `build` takes as a detector: a fresh one of the class that "FILE.py:CLASS" names; any other name as it is.

    Raises:
        InputError: no such file or class, one that isn't a SceneDetector, or one that can't be made without arguments.
    """
    file, _, name = spec.rpartition(":")
    if not file.endswith(".py"):
        return spec
    detector = load_from_file(spec, "detector", "FILE.py:CLASS")
    if not (isinstance(detector, type) and issubclass(detector, SceneDetector)):
        raise InputError(f'"{name}" in {file} is no class that derives from PySceneDetect\'s SceneDetector.')
    try:
        return detector()
    except Exception as error:
        raise InputError(
            f"The detector {name} can't be made without arguments ({type(error).__name__}: {error}): "
            "give its parameters defaults."
        ) from error
