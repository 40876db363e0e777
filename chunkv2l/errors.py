"""The exceptions that reach a user. Each message is a sentence that says what is wrong and what to do."""

from __future__ import annotations


class ChunkV2LError(Exception):
    """A failure on the way (exit code 1)."""

    exit_code = 1


class InputError(ChunkV2LError):
    """Input that can't be used: a file, an option, a question (exit code 2)."""

    exit_code = 2


class NothingFound(InputError):
    """A question that is well formed, but by which nothing can be looked for or found; others may do."""
