"""Compute token-F1 of a free answer against references, as SQuAD's evaluator defines it."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def words(text: str) -> list[str]:
    """Return lower-case words without punctuation and articles.

    >>> words("The dog's ball, a red one.")
    ['dogs', 'ball', 'red', 'one']
    """
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def token_f1(answer: str, reference: str) -> float:
    """Return the harmonic mean of the shares of common words; 1 if neither text has a word, 0 if one of them has none.

    >>> token_f1("A dog runs.", "The dog sleeps")
    0.5
    """
    ours, theirs = words(answer), words(reference)
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))


def best_f1(answer: str, references: Iterable[str]) -> float:
    """Return the token-F1 of the reference that fits best; 0 if there is none."""
    return max((token_f1(answer, reference) for reference in references), default=0.0)
