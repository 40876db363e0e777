"""Reduce questions that only ask for a thing to its bare name: "is there a dog in the video?", "do we see a dog?" and
"when does a dog appear?" all look for "a dog", as a caption has it.
"""

from __future__ import annotations

import re

AUXILIARIES = "(?:do|does|did|is|are|was|were|has|have)"
"""Pattern of the auxiliaries that a question inverts."""
HAPPENS = (
    r"(?:happens|happened|occurs|occurred|goes on|went on|takes place|took place|"
    r"(?:is|was) (?:happening|going on|occurring|taking place))"
)
"""Pattern of the verbs of "what happens", which name nothing to look for."""
_MOVIE = r"(?:in|of) (?:the |this )?(?:whole |entire )?(?:video|movie|film|clip|footage|recording)"
_SCREEN = rf"(?:{_MOVIE}|(?:on|in) (?:the )?(?:screen|camera|view|picture))"
_LEADING = re.compile(
    r"there (?:any |some )?(?=\w)"
    r"|(?:(?:can|could|do|does|did) )?(?:we|you|i|one) (?:see|spot|notice|find)(?: any| some)?(?:\s+|$)"
    r"|(?:(?:can|could) )?(?:(?:we|you|i|one) watch|(?:they|it) shows?)$",
    re.IGNORECASE,
)
_BE = r"(?:(?:(?:can|to) )?be|is|are|was|were)"
_TRAILING = re.compile(
    rf"(?:^|\s+)(?:(?:can |do |does |did )?(?:appear|show up|turn up|come into view)(?: {_SCREEN})?"
    rf"|(?:{_BE} )?(?:seen|shown|visible)(?: {_SCREEN})?|(?:{_BE} )?on screen|(?:{_BE} )?{_MOVIE}|{_BE} there)$",
    re.IGNORECASE,
)


def without_leading(text: str) -> str:
    """Return a text without the "there" or "we see" that it begins with, once the question words are off.

    >>> without_leading("there any dogs"), without_leading("can you see a dog"), without_leading("a dog barks")
    ('dogs', 'a dog', 'a dog barks')
    """
    match = _LEADING.match(text)
    return text[match.end() :] if match else text


def without_trailing(text: str) -> str:
    """Return a text without the "appear" or "in the video" that it ends with.

    >>> without_trailing("a dog appear in the movie"), without_trailing("a dog visible"), without_trailing("it appears")
    ('a dog', 'a dog', 'it appears')
    """
    return _TRAILING.sub("", text)
