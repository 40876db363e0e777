"""Starts Python processes that read movies, apart from the current folder, and ends them with the process that did."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Final

import chunkv2l

DECODER_MEMORY: Final = 1250 << 20
"""Bytes that a process may take for decoding on the CPU: for forty pictures of 4K, or for those that a camera's 8K
needs."""
_BOOT: Final = """
import importlib, importlib.util, sys
package, target, *paths = sys.argv[1:]
sys.path += paths
source = package + "/__init__.py"
spec = importlib.util.spec_from_file_location("chunkv2l", source, submodule_search_locations=[package])
sys.modules["chunkv2l"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["chunkv2l"])
importlib.import_module(target).main()
"""
_PR_SET_PDEATHSIG: Final = 1  # prctl.h


def python_command(module: str) -> list[str]:
    """Return the command that runs the `main` of one of this package's modules in another process.

    The process imports this very package, and what it needs from where this process may import it, except from the
    current folder: a `cv2.py` that lies beside a movie isn't run.
    """
    here = os.path.realpath(os.getcwd())
    paths = [path for path in sys.path if os.path.isabs(path) and os.path.realpath(path) != here]
    package = str(Path(str(chunkv2l.__file__)).resolve().parent)
    return [sys.executable, "-I", "-c", _BOOT, package, module, *paths]


def end_with_parent(parent: int) -> None:
    """Have the system kill this process when the thread that started it ends, even if this process is stopped.

    Args:
        parent: the number of the process that started this one; if it is gone already, this one ends.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


def limit_open_files(count: int) -> None:
    """Let this process have at most `count` files or sockets open at a time besides those open now, for good."""
    import resource

    try:
        lowest_free = os.open(os.devnull, os.O_RDONLY)
    except OSError:  # the limit is reached already
        lowest_free = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    else:
        os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + count, lowest_free + count))
