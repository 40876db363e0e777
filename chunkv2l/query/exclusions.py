"""Things that a question excludes, as it says them: "a dog, but not a ball", "a street without cars".

    A but not B     A, but no B; A but without B; A but there is no B; A and no B; A and not B
    A without B     A without any B; A with no B

B is what stands behind it, to the end: a few words, with no second noun phrase but behind a preposition. Of "A man
without a hat rides a horse" nothing is taken; it is looked for as it stands.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

_EXCLUDING = (
    re.compile(
        r"^(?P<shown>.+?),? (?:but|and|yet|though) (?:there (?:is|are|was|were) )?(?:not|no|without)(?: (?:with|any))?"
        r" (?P<excluded>.+)$",
        re.IGNORECASE,
    ),
    re.compile(r"^(?P<shown>.+?),? (?:without|with no|not with)(?: any)? (?P<excluded>.+)$", re.IGNORECASE),
)
_MOST_WORDS: Final = 8
_DETERMINER = re.compile(r"(?:a|an|the|his|her|its|their|this|that|these|those)", re.IGNORECASE)
_JOINING = re.compile(
    r"(?:in|on|at|of|with|near|by|behind|under|over|beside|between|inside|into|from|to|for|and|or|\w+ing)",
    re.IGNORECASE,
)


def split_exclusion(text: str) -> tuple[str, str] | None:
    """Return a question in two parts: what is to be shown, and what is not; None where it excludes nothing.

    >>> split_exclusion("when is there a dog but not a red ball")
    ('when is there a dog', 'a red ball')
    """
    match = next((match for pattern in _EXCLUDING if (match := pattern.match(text))), None)
    if match is None:
        return None
    words = match["excluded"].split()
    goes_on = any(_DETERMINER.fullmatch(word) and not _JOINING.fullmatch(before) for before, word in pairwise(words))
    return None if goes_on or len(words) > _MOST_WORDS else (match["shown"], match["excluded"])
