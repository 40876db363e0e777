"""The choices and limits of a server."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chunkv2l.defaults import HOST, PORT
from chunkv2l.errors import InputError
from chunkv2l.models import ModelSpec

MIN_TOKEN: Final = 16
"""Characters of the shortest token that may be chosen."""
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Limits:
    """Amounts that one client, or all of them together, may use.

    Attributes:
        movies: files that the catalogue lists.
        waiting: questions that wait for the model; beyond them the answer is 429.
        question_seconds: time from a question's arrival to its answer.
        body: bytes of a request's body.
        header_seconds, body_seconds: time in which a request's header and its body must arrive.
        answer_seconds: time in which a client takes some 64 KB of its answer; a player that waits longer asks again.
        connections: open at once.
        clip_seconds: length of the longest clip.
    """

    movies: int = 10_000
    waiting: int = 64
    question_seconds: float = 120.0
    body: int = 256 << 10
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    answer_seconds: float = 60.0
    connections: int = 256
    clip_seconds: float = 600.0


@dataclass(frozen=True)
class ServeSettings:
    """The choices of a server.

    Attributes:
        paths: indexes, movies, and folders of them; nothing outside is served.
        token: the secret that every request must carry; None where the machine's own users need none.
        hosts: names by which the server may be called, beside those of the loopback interface and IP addresses.
        read_only: no builds, and no clips written beside movies.
        spec: the model, if it isn't the one that the indexes name.
    """

    paths: tuple[Path, ...]
    host: str = HOST
    port: int = PORT
    token: str | None = None
    hosts: tuple[str, ...] = ()
    read_only: bool = False
    spec: ModelSpec = field(default_factory=ModelSpec)
    limits: Limits = field(default_factory=Limits)


def is_loopback(host: str) -> bool:
    """Return whether an address or a name is of the loopback interface."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def choose_token(host: str, token: str | None) -> str | None:
    """Return the token that requests must carry: the given one, a new one where others can reach the host, or None.

    Raises:
        InputError: the given one is easily guessed, or can't stand in a header.
    """
    if token is None:
        return None if is_loopback(host) else secrets.token_urlsafe(24)
    if len(token) < MIN_TOKEN:
        raise InputError(f"A token needs at least {MIN_TOKEN} characters: choose a longer --token, or leave it out.")
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise InputError("A token consists of letters, digits and signs of ASCII, without spaces: choose another.")
    return token
