"""Assign cues to segments, one segment after the other, while the movie is still being read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from chunkv2l.sanitize import MAX_TEXT
from chunkv2l.video.detectors import Segment
from chunkv2l.video.subtitles.cues import Cue


class Speech:
    """Cues of a movie, by the segments that they are spoken in."""

    def __init__(self, cues: Iterable[Cue]) -> None:
        self._cues = sorted(cues, key=lambda cue: cue.middle)
        self._middles = [cue.middle for cue in self._cues]

    def within(self, segment: Segment) -> str:
        """Return the text spoken in a segment, on one line: the cues whose middle lies in it, in order.

        Of two segments that a cue spans, that is the one that it overlaps most, and the movie's other segments needn't
        be known for it.
        """
        first, behind = bisect_left(self._middles, segment.start), bisect_left(self._middles, segment.end)
        return " ".join(cue.text for cue in self._cues[first:behind])[:MAX_TEXT].strip()
