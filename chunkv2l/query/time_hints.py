"""Words and signs without which no text names a time: cheap to look for, before the grammar of times is imported."""

from __future__ import annotations

import re

HINT = re.compile(
    r"\d|[½⅓⅔¼¾⅛]|\b(?:milli)?(?:sec|second|min|minute|hr|hour)s?\b|\b(?:half|third|quarter|fourth|fifth|sixth|eighth|"
    r"tenth)s?\b|way\b|\b(?:begin|start|open|end|finish|clos|mid|cent(?:er|re)|outset|initial|first|last|final|earl|late|stop|over\b)"
    r"|\bch(?:ap)?\b|\b(?:chapter|part|section|piece|portion)s?\b|\b(?:oh|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty)\b"
    r"|\b(?:day|night|week|month|year)\b|percent|per cent|o['’]clock|noon\b|midnight\b",
    re.IGNORECASE,
)
"""Every phrase of the grammar, and every quantity, has one of these."""
