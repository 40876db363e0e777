"""Start a sandboxed process for a task, and take its answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.sandbox.limits import Limits
from chunkv2l.sanitize import quoted

STARTING_SECONDS: Final = 120.0
"""Time that imports may take, on a busy machine."""
_CLOSING_SECONDS: Final = 1.0
_PACKAGE: Final = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class Answer:
    """A task's result, and whether its process had no network."""

    result: Any
    is_offline: bool


def run_task(task: str, path: str | Path, limits: Limits | None = None) -> Answer:
    """Do a task with a file, in a process of its own.

    Args:
        task: one of `tasks.PREPARE`, or MODULE:FUNCTION of this package: a function of a path that returns JSON values.
        path: the file; it may say anything.
        limits: what the task may use.

    Raises:
        InputError: what the task says about the file, or that it used more than it may.
        ChunkV2LError: the process can't be started, or gave no answer.
    """
    limits = limits or Limits()
    order = {"task": task, "path": os.path.abspath(path), "limits": asdict(limits)}
    process = _start()
    try:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None
        answer = _converse(process, stdin, stdout, json.dumps(order).encode(), limits)
        if len(answer) <= limits.answer:
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    if len(answer) > limits.answer:
        raise InputError(f"{path} can't be read: what is in it takes more than {limits.answer} bytes to say.")
    return _parse(answer, process.returncode, str(path))


def verify_index(path: str | Path, limits: Limits | None = None) -> list[str]:
    """Return the findings of `index.verify.verify`, found in a sandboxed process.

    Raises:
        InputError, ChunkV2LError: as `run_task`.
    """
    findings = run_task("verify index", path, limits).result
    if not (isinstance(findings, list) and all(isinstance(finding, str) for finding in findings)):
        raise ChunkV2LError(f"{path} can't be read: the process that read it gave no findings.")
    return [quoted(finding) if not finding.isprintable() else finding for finding in findings]


def _start() -> subprocess.Popen[bytes]:
    """Start the child isolated: neither the current folder nor the user's packages or variables decide what is run."""
    program = f"import sys; sys.path.insert(0, {_PACKAGE!r}); from chunkv2l.sandbox.child import main; main()"
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    except OSError as error:
        raise ChunkV2LError(f"Can't start {sys.executable} ({error.strerror}).") from error


def _converse(
    process: subprocess.Popen[bytes], stdin: IO[bytes], stdout: IO[bytes], order: bytes, limits: Limits
) -> bytes:
    """Send the order and return the answer, at most one byte more than it may have; the process is ended in time.

    A thread reads, as the process may leave others behind that keep its output open after its end.
    """
    blocks: list[bytes] = []

    def read() -> None:
        with suppress(OSError):
            blocks.append(stdout.read(limits.answer + 1))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with suppress(BrokenPipeError):
        stdin.write(order)
        stdin.close()
    reader.join(STARTING_SECONDS + 10 * limits.seconds)
    if reader.is_alive():
        process.kill()
        reader.join(_CLOSING_SECONDS)
    return blocks[0] if blocks else b""


def _parse(answer: bytes, code: int, path: str) -> Answer:
    try:
        values = json.loads(answer)
        if not (isinstance(values, dict) and isinstance(values.get("is_offline"), bool)):
            raise ValueError("no answer")
    except (ValueError, RecursionError):
        limits = (-getattr(signal, "SIGXCPU", 24), -int(getattr(signal, "SIGKILL", 9)))
        if code in limits:
            raise InputError(f"{path} can't be read: it takes longer than it may.") from None
        raise ChunkV2LError(f"{path} can't be read: the process that read it ended with code {code}.") from None
    if "result" in values:
        return Answer(values["result"], values["is_offline"])
    error = quoted(values.get("error")) if len(str(values.get("error"))) > 2000 else str(values.get("error"))
    raise (InputError if values.get("is_input") is True else ChunkV2LError)(error)
