"""Get files from a model hub, or from its cache; without a network that fails within seconds."""

from __future__ import annotations

import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from chunkv2l.errors import ChunkV2LError, InputError

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
    revision: str | None = None,
) -> Path:
    """Return the folder of a repository's files that match: the hub's cache where it is complete, else fetched there.

    Args:
        revision: the commit that is fetched; None for the newest. A complete copy that was fetched before counts, too.

    Raises:
        NoHub: not in the cache, and no hub answers (or none is asked, without `fetch`).
        ChunkV2LError: the hub answers, but not with these files.
    """
    allowed = list(patterns)
    for commit in dict.fromkeys((revision, None)):
        try:
            cached = Path(snapshot_download(repository, revision=commit, allow_patterns=allowed, local_files_only=True))
        except (LocalEntryNotFoundError, OSError, ValueError):
            continue
        if is_complete(cached):
            return cached
    _require_hub(repository, fetch)
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=allowed, endpoint=endpoint()))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise _failure(repository, error) from error


def file(repositories: Sequence[str], name: str, fetch: bool = True) -> Path:
    """Return the path of one file, from the first of the repositories that has it.

    Raises:
        NoHub: not in the cache, and no hub answers (or none is asked, without `fetch`).
        ChunkV2LError: the hub answers, but none of them has it.
    """
    for repository in repositories:
        try:
            return Path(hf_hub_download(repository, name, local_files_only=True))
        except (LocalEntryNotFoundError, OSError, ValueError):
            continue
    _require_hub(repositories[0], fetch)
    for repository in repositories:
        try:
            return Path(hf_hub_download(repository, name, endpoint=endpoint()))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            failure = _failure(repository, error)
    raise failure


def _require_hub(repository: str, fetch: bool) -> None:
    if not fetch:
        raise NoHub(f"{repository} isn't on this machine.")
    if not is_reachable():
        raise NoHub(f"{repository} isn't on this machine and {endpoint()} doesn't answer.")


def _failure(repository: str, error: Exception) -> ChunkV2LError:
    return ChunkV2LError(f"Fetching {repository} failed ({str(error).splitlines()[0]}): check its name, or try again.")
