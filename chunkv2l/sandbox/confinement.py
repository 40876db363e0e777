"""Take rights from this process for good, as far as Linux lets it: its network, other files, and all changes.

Landlock bounds which files it reads, and forbids to change any; a seccomp filter forbids what Landlock doesn't know:
changes of permissions, owners, times and attributes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, Final

_CLONE_NEWNET: Final = 0x40000000  # sched.h
_CLONE_NEWUSER: Final = 0x10000000
_PR_SET_PDEATHSIG: Final = 1  # prctl.h
_PR_SET_NO_NEW_PRIVS: Final = 38
_SIGKILL: Final = 9

_LANDLOCK_CREATE: Final = 444  # the numbers of these calls are the same on all machines
_LANDLOCK_ADD: Final = 445
_LANDLOCK_RESTRICT: Final = 446
_LANDLOCK_VERSION: Final = 1  # linux/landlock.h
_PATH_BENEATH: Final = 1
_READ_FILE: Final = 1 << 2
_READ_FOLDER: Final = 1 << 3
_FILE_RIGHTS: Final = ((1, 0x1FFF), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
"""Rights to files that Landlock can take, by the version that knows them."""
_KNOWS_EMPTYING: Final = 3
_TCP: Final = 3
_SCOPES: Final = 3  # abstract sockets, signals
_SYSTEM: Final = (
    *("/usr", "/lib", "/lib64", "/nix/store", "/gnu/store", "/home/linuxbrew/.linuxbrew"),
    *("/etc/ld.so.cache", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system"),
    *("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"),
)
"""Libraries, and what they ask about the machine."""
_MOST_LINKS: Final = 1000  # of a folder's files that may be links to elsewhere

_SET_FILTER: Final = 1  # linux/seccomp.h
_ALL_THREADS: Final = 1
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
_FOREIGN_CALLS: Final = 0x40000000  # from here on, x86-64's calls are those of another ABI
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # linux/bpf_common.h
_NUMBER_AT, _MACHINE_AT = 0, 4  # in what a filter sees of a call
_CHANGES: Final[Mapping[str, tuple[int, int, tuple[int, ...]]]] = {
    # of permissions, then of owners, times, attributes; io_uring, which makes calls that no filter sees
    "x86_64": (
        0xC000003E,
        317,
        (
            *(90, 91, 268, 452),
            *(92, 93, 94, 260),
            *(132, 235, 261, 280),
            *(188, 189, 190, 197, 198, 199, 463, 466, 469),
            425,
        ),
    ),
    "aarch64": (
        0xC00000B7,
        277,
        (*(52, 53, 452), *(54, 55), 88, *(5, 6, 7, 14, 15, 16, 463, 466, 469), 425),
    ),
}
"""By machine: its number (linux/audit.h), that of the call `seccomp`, and those of the calls that are refused."""


class _Beneath(ctypes.Structure):
    """Landlock's rule for a folder and all in it, or for a file."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


class _Program(ctypes.Structure):
    """A filter: how many instructions of eight bytes it has, and where they lie."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def leave_network() -> bool:
    """Leave this process without a network, unable to gain rights, and ended with its parent, as far as Linux lets it.

    To be called while the process has a single thread.

    Returns:
        Whether the network is gone: some systems let only root do that.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL(None, use_errno=True)
        library.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(library.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)
    except (AttributeError, OSError):  # another C library
        return False


def confine(path: str) -> bool:
    """Let this process read one file or folder besides Python's own, and change, run and signal nothing, from now on.

    Files that are open stay so. Landlock does it, from Linux 5.13 on as far as each version can.

    Returns:
        Whether the content of files is safe.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        call = ctypes.CDLL(None, use_errno=True).syscall
        _refuse_calls(call)
        return _restrict_files(call, [*_SYSTEM, *_python_folders(), *_with_links(path)])
    except (AttributeError, OSError):  # another C library
        return False


def _python_folders() -> Iterator[str]:
    yield from (sys.prefix, sys.base_prefix, sys.exec_prefix)
    yield from (entry for entry in sys.path if os.path.isabs(entry))


def _with_links(path: str) -> Iterator[str]:
    """Yield a file or folder, and the files that links in the folder lead to, as in the cache of a hub."""
    yield path
    with suppress(OSError), os.scandir(path) as entries:
        for entry in islice(entries, _MOST_LINKS):
            if entry.is_symlink() and entry.is_file():
                yield entry.path


def _restrict_files(call: Any, readable: Iterable[str]) -> bool:
    version = call(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(_LANDLOCK_VERSION))
    if version < 1:
        return False
    rights = sum(since_rights for since, since_rights in _FILE_RIGHTS if version >= since)
    values = [rights] + [every for since, every in ((4, _TCP), (6, _SCOPES)) if version >= since]
    ruleset = call(
        _LANDLOCK_CREATE,
        (ctypes.c_uint64 * len(values))(*values),
        ctypes.c_size_t(8 * len(values)),
        ctypes.c_uint(0),
    )
    if ruleset < 0:
        return False
    try:
        for path in dict.fromkeys(readable):
            with suppress(OSError, ValueError):  # not every system has all of them
                _allow_reading(call, ruleset, path)
        return bool(
            call(_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint(0)) == 0 and version >= _KNOWS_EMPTYING
        )
    finally:
        os.close(ruleset)


def _allow_reading(call: Any, ruleset: int, path: str) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = _READ_FILE | (_READ_FOLDER if os.path.isdir(path) else 0)
        rule = _Beneath(allowed, descriptor)
        call(_LANDLOCK_ADD, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint(0))
    finally:
        os.close(descriptor)


def _refuse_calls(call: Any) -> None:
    """Have the system answer calls that change more of files than their content with "not permitted"."""
    if platform.machine() not in _CHANGES or sys.maxsize < 1 << 32:  # a program of 32 bits makes other calls
        return
    machine, number_of_call, refused = _CHANGES[platform.machine()]
    last = len(refused) + 1  # instructions from the first comparison to the one that refuses
    instructions = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_IF_EQUAL, 0, last + 2, machine),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_IF_AT_LEAST, last, 0, _FOREIGN_CALLS),
        *((_IF_EQUAL, last - 1 - i, 0, number) for i, number in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    program = _Program(len(instructions), code)
    call(number_of_call, ctypes.c_uint(_SET_FILTER), ctypes.c_uint(_ALL_THREADS), ctypes.byref(program))
