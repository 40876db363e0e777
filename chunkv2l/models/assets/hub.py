"""Get files from a model hub, or from its cache, held to their pins; without a network that fails within seconds."""

from __future__ import annotations

import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.models.assets import pins
from chunkv2l.models.assets.pins import UNKNOWN, Pin

_PROBE_S = 5.0
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class NoHub(InputError):
    """The files aren't here and no hub can be asked for them."""


def is_repository(name: str) -> bool:
    """Return whether a name can be a hub's OWNER/NAME."""
    return _REPOSITORY.fullmatch(name) is not None


def endpoint() -> str:
    """Return the hub's address (`HF_ENDPOINT`)."""
    return constants.ENDPOINT


def is_reachable() -> bool:
    """Return whether the hub answers within a few seconds; False at once where HF_HUB_OFFLINE is set."""
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return False
    answers: list[bool] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(endpoint(), method="HEAD"), timeout=_PROBE_S):
                answers.append(True)
        except urllib.error.HTTPError:
            answers.append(True)
        except (OSError, ValueError):
            answers.append(False)

    # A resolver that doesn't answer ignores time limits, so the question is asked on a thread that can be left alone.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PROBE_S + 1)
    return bool(answers and answers[0])


def folder(
    repository: str,
    patterns: Sequence[str],
    is_complete: Callable[[Path], bool],
    fetch: bool = True,
    pin: Pin = UNKNOWN,
) -> Path:
    """Return the folder of a repository's files that match: the hub's cache where it is complete, else fetched there.

    Args:
        pin: what is known of the repository; without it, what was fetched first is held to.

    Raises:
        NoHub: not in the cache, and no hub answers (or none is asked, without `fetch`).
        InputError: a file isn't the pinned one, or the one that was fetched first.
        ChunkV2LError: the hub answers, but not with these files.
    """
    allowed = list(patterns)
    revision = pins.choose_revision(repository, pin)
    try:
        chosen = Path(snapshot_download(repository, revision=revision, allow_patterns=allowed, local_files_only=True))
        is_here = is_complete(chosen)
    except (LocalEntryNotFoundError, OSError, ValueError):
        is_here = False
    if not is_here:
        _require_hub(repository, fetch)
        try:
            chosen = Path(snapshot_download(repository, revision=revision, allow_patterns=allowed, endpoint=endpoint()))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            raise _failure(repository, error) from error
    files = [path for path in chosen.iterdir() if any(fnmatch(path.name, pattern) for pattern in allowed)]
    pins.check(repository, (path for path in files if path.is_file()), pin)
    return chosen


def file(
    repositories: Sequence[str], name: str, fetch: bool = True, inspect: Callable[[Path], object] | None = None
) -> Path:
    """Return the path of one file, from the first of the repositories that has it.

    Args:
        inspect: looks at the file when it is used for the first time, and raises what is wrong with it.

    Raises:
        NoHub: not in the cache, and no hub answers (or none is asked, without `fetch`).
        InputError: it isn't the one that was fetched first, or what `inspect` raises.
        ChunkV2LError: the hub answers, but none of them has it.
    """
    for repository in repositories:
        revision = pins.choose_revision(repository, UNKNOWN)
        try:
            chosen = Path(hf_hub_download(repository, name, revision=revision, local_files_only=True))
        except (LocalEntryNotFoundError, OSError, ValueError):
            continue
        pins.check(repository, [chosen], UNKNOWN, inspect)
        return chosen
    _require_hub(repositories[0], fetch)
    for repository in repositories:
        revision = pins.choose_revision(repository, UNKNOWN)
        try:
            chosen = Path(hf_hub_download(repository, name, revision=revision, endpoint=endpoint()))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            failure = _failure(repository, error)
            continue
        pins.check(repository, [chosen], UNKNOWN, inspect)
        return chosen
    raise failure


def _require_hub(repository: str, fetch: bool) -> None:
    if not fetch:
        raise NoHub(f"{repository} isn't on this machine.")
    if not is_reachable():
        raise NoHub(f"{repository} isn't on this machine and {endpoint()} doesn't answer.")


def _failure(repository: str, error: Exception) -> ChunkV2LError:
    return ChunkV2LError(f"Fetching {repository} failed ({str(error).splitlines()[0]}): check its name, or try again.")
