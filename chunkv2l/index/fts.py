"""From a user's words to a full-text query: nothing in them is taken as syntax."""

from __future__ import annotations

import re
from typing import Final

MAX_WORDS: Final = 64
"""Words of a text that are searched for."""

_SILENT = """
a an and are as at be been by do does did for from had has have he her his how i in is it its of on or she that the
their there they this to was we were what when where which who will with you
"""
SILENT: Final = frozenset(_SILENT.split())
"""Words that captions are full of and searches don't mean."""


def fts_query(text: str) -> str:
    """An FTS5 query that finds any of a text's words, each quoted so that no syntax gets in; "" where there is none.

    Words that say nothing about what is shown are left out, unless there is no other.
    """
    words = list(dict.fromkeys(re.findall(r"\w+", text.lower())))
    telling = [word for word in words if word not in SILENT] or words
    return " OR ".join(f'"{word}"' for word in telling[:MAX_WORDS])
