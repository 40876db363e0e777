"""Read TVR-Ranking: queries whose moments in several videos have a relevance from 0 to 4 (Ranking-VMR/TVR-Ranking)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chunkv2l.errors import InputError
from evaluation.datasets.qvhighlights import MomentQuery, rows_of


@dataclass(frozen=True)
class Truth:
    """A true window of a query, seconds, in one of the corpus's movies, and how relevant it is."""

    vid: str
    start: float
    end: float
    relevance: float = 1.0


@dataclass(frozen=True)
class RankedQuery:
    """A query about a corpus, and its true windows."""

    qid: int | str
    query: str
    truths: tuple[Truth, ...]

    @property
    def vid(self) -> str | None:
        """The movie that it is about; None where these are several."""
        vids = {truth.vid for truth in self.truths}
        return vids.pop() if len(vids) == 1 else None


def rank_all_alike(query: MomentQuery) -> RankedQuery:
    """Return a query about one movie, whose windows are all as relevant."""
    return RankedQuery(query.qid, query.query, tuple(Truth(query.vid, *window) for window in query.windows))


def read(path: Path) -> list[RankedQuery]:
    """Read `{"query_id", "query", "video_name", "timestamp": [start, end], "relevance"}` a line, a moment each.

    Moments of relevance 0 are left out, and queries without others.

    Raises:
        InputError: no such file, no query in it, or a line that isn't in the format.
    """
    texts: dict[int | str, str] = {}
    truths: dict[int | str, list[Truth]] = {}
    for number, row in rows_of(path):
        qid, query, vid, window = (row.get(key) for key in ("query_id", "query", "video_name", "timestamp"))
        relevance = row.get("relevance", 1.0)
        is_sound = (
            isinstance(qid, int | str)
            and isinstance(query, str)
            and isinstance(vid, str)
            and isinstance(window, list)
            and len(window) == 2
            and all(isinstance(value, int | float) for value in (*window, relevance))
        )
        if not is_sound:
            raise InputError(f"{path}, line {number} isn't a moment as TVR-Ranking has them.")
        assert isinstance(qid, int | str) and isinstance(window, list)
        texts[qid] = str(query)
        if relevance > 0 and window[1] > window[0]:
            truths.setdefault(qid, []).append(Truth(str(vid), float(window[0]), float(window[1]), float(relevance)))
    if not truths:
        raise InputError(f"{path} has no query in it.")
    return [RankedQuery(qid, texts[qid], tuple(of_query)) for qid, of_query in truths.items()]
