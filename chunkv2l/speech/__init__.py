"""Speech recognition: a movie's sound, decoded in a stream, becomes cues with words and times.

Importing this loads neither a recogniser nor weights.
"""

from __future__ import annotations

from chunkv2l.speech.choice import choose_recogniser, is_installed
from chunkv2l.speech.weights import fetch_recogniser, find_recogniser

__all__ = ["choose_recogniser", "fetch_recogniser", "find_recogniser", "is_installed"]
