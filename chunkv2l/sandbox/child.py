"""The sandboxed process: one task from stdin, one answer to stdout, both JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.sandbox.confinement import confine, leave_network
from chunkv2l.sandbox.limits import Limits, set_limits
from chunkv2l.sandbox.tasks import prepare


def main() -> None:
    """Do the task that stdin names, and write {"result": …} or {"error": …, "is_input": …} to stdout."""
    is_offline = leave_network()  # before any import starts a thread
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    order = json.load(sys.stdin)
    task = prepare(order["task"])
    set_limits(Limits(**order["limits"]))
    confine(order["path"])
    answers.write(json.dumps({**_answer(task, order["path"]), "is_offline": is_offline}).encode())
    answers.flush()
    os._exit(0)  # whatever the file has done to the process, nothing of it runs any more


def _answer(task: Any, path: str) -> dict[str, Any]:
    try:
        return {"result": task(path)}
    except InputError as error:
        return {"error": str(error), "is_input": True}
    except ChunkV2LError as error:
        return {"error": str(error), "is_input": False}
    except MemoryError:
        return {"error": "Reading it takes more memory than it may.", "is_input": True}
