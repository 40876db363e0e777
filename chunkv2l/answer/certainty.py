"""Tell whether a generated answer is about something that the movie may well not show. No torch here."""

from __future__ import annotations

from chunkv2l.defaults import UNSURE_BELOW


def is_unsure(key_evidence: float | None) -> bool:
    """Return whether no segment's key is near enough to what the question looks for.

    Args:
        key_evidence: the highest of the segments searched (`Scoring.key_evidence`); None where it isn't known.
    """
    return key_evidence is not None and key_evidence < UNSURE_BELOW


def mark_unsure(text: str, unsure: bool) -> str:
    """Return an answer's text as people read it, with the doubt in front.

    >>> mark_unsure("A candle.", True), mark_unsure("A candle.", False)
    ('Unsure: A candle.', 'A candle.')
    """
    return f"Unsure: {text}" if unsure else text
