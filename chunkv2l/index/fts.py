"""Turn a user's words into a full-text query in which nothing is taken as syntax."""

from __future__ import annotations

import re
from typing import Final

MAX_WORDS: Final = 64
"""Words of a text that are searched for."""

_STOP_WORDS = """
a an and are as at be been by do does did for from had has have he her his how i in is it its of on or she that the
their there they this to was we were what when where which who will with you
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS.split())
"""Words that most captions have and that say nothing about what is searched for."""


def content_words(text: str) -> list[str]:
    """Return the words of a text that are searched for, each once: no stop words, unless there are no others."""
    words = list(dict.fromkeys(re.findall(r"\w+", text.lower())))
    return ([word for word in words if word not in STOP_WORDS] or words)[:MAX_WORDS]


def make_fts_query(text: str) -> str:
    """Return an FTS5 query that finds any of a text's `content_words`, each quoted; "" for a text without words."""
    return " OR ".join(f'"{word}"' for word in content_words(text))
