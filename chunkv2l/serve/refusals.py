"""Failures that have a status of their own in HTTP."""

from __future__ import annotations

from chunkv2l.errors import ChunkV2LError, InputError


class UnknownMovie(InputError):
    """A movie that isn't in the catalogue, or a part that it doesn't have (404)."""


class NotReady(ChunkV2LError):
    """A movie that can't be asked yet, or can't be at all; an action that another one keeps from starting (409)."""


class Busy(ChunkV2LError):
    """More at once than the server takes (429)."""


class Unavailable(ChunkV2LError):
    """A server that is about to stop (503)."""


class TooSlow(ChunkV2LError):
    """An answer that took longer than it may (504)."""


class Forbidden(ChunkV2LError):
    """An action that this server doesn't do for anybody (403)."""
