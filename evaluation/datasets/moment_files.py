"""Read moment retrieval's public datasets, in the files in which they are published, as queries with true windows.

| format       | a file of                                             | the format is from                     |
|--------------|-------------------------------------------------------|----------------------------------------|
| qvhighlights | JSONL `{"qid", "query", "vid", "relevant_windows"}`   | jayleicn/moment_detr, line/lighthouse  |
| charades     | text `VID START END##sentence.`                       | jiyanggao/TALL                         |
| activitynet  | JSON `{VID: {"duration", "timestamps", "sentences"}}` | ranjaykrishna/densevid_eval            |
| timelens     | JSON `{VID: {"duration", "spans", "queries"}}`        | TencentARC/TimeLens, timelens_data.py  |
| mad          | JSON `{ID: {"movie", "sentence", "ext_timestamps"}}`  | Soldelli/MAD, VLG-Net's mad.py         |
| momentseeker | JSON `[{"qry_text", "candidate_video_list", …}]`      | yhy-2000/MomentSeeker                  |

lighthouse's JSONL of Charades-STA and ActivityNet is `qvhighlights` too, and so is a plain JSONL of your own,
`{"movie", "query", "windows"}`. Queries without an id are numbered by their line (Charades-STA), or called VID#0,
VID#1, … (ActivityNet, TimeLens); predictions use the same ids.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from chunkv2l.cli import streams as terminal
from chunkv2l.errors import InputError
from evaluation.common.metrics import Window
from evaluation.common.text_files import read_text
from evaluation.datasets.qvhighlights import MomentQuery, read_queries


def read(path: Path, format: str = "auto", truths: bool = True) -> list[MomentQuery]:
    """Read the queries of a file; "auto" detects the format from the content.

    Windows without length (both Charades-STA and ActivityNet Captions have some) are left out, and a line on stderr
    counts them; in QVHighlights' own format they are an error.

    Args:
        truths: require windows of every query; False reads QVHighlights' test split, which has none.

    Raises:
        InputError: the file can't be read, isn't in the format, or has no query; the sentence names the line.
    """
    if format == "auto":
        format = guess(path)
    if format not in FORMATS:
        raise InputError(f'There is no format "{format}"; choose one of {", ".join(FORMATS)}.')
    return read_queries(path, truths) if format == "qvhighlights" else FORMATS[format](path)


def guess(path: Path) -> str:
    """Return the name in `FORMATS` of a file's format."""
    text = read_text(path).lstrip()
    first = text.split("\n", 1)[0]
    if "##" in first and not first.startswith("{"):
        return "charades"
    if first.startswith("{") and isinstance(row := _first_value(text), dict):
        if {"timestamps", "sentences"} <= row.keys():
            return "activitynet"
        if {"spans", "queries"} <= row.keys():
            return "timelens"
        if {"movie", "sentence"} <= row.keys():
            return "mad"
    if text.startswith("[") and text[1:].lstrip().startswith("{"):
        return "momentseeker"
    return "qvhighlights"


def charades(path: Path) -> list[MomentQuery]:
    """Read Charades-STA: `VID START END##sentence.` a line, seconds; a query's id is its line's number."""

    def rows() -> Iterator[tuple[int, str, str, Any]]:
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            if not line.strip():
                continue
            head, separator, sentence = line.partition("##")
            words = head.split()
            if not separator or len(words) != 3 or not all(_number(word) for word in words[1:]):
                raise InputError(f'{path}, line {number} isn\'t "VID START END##sentence", as Charades-STA has it.')
            yield number, words[0], sentence, [float(word) for word in words[1:]]

    return _queries(path, rows())


def activitynet(path: Path) -> list[MomentQuery]:
    """Read ActivityNet Captions: `{VID: {"duration", "timestamps": [[start, end], …], "sentences": […]}}`."""
    return _queries(path, _by_video(path, "timestamps", "sentences"))


def timelens(path: Path) -> list[MomentQuery]:
    """Read TimeLens-Bench: `{VID: {"duration", "spans": [[start, end], …], "queries": […]}}`, one span a query."""
    return _queries(path, _by_video(path, "spans", "queries"))


def mad(path: Path) -> list[MomentQuery]:
    """Read MAD: `{ID: {"movie", "sentence", "ext_timestamps": [start, end]}}`; "timestamps" where those are missing."""
    rows = _parse(path)
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise InputError(f'{path} isn\'t a JSON object of sentences, each with "movie", "sentence" and times.')
    return _queries(
        path,
        (
            (qid, str(row.get("movie", "")), row.get("sentence"), row.get("ext_timestamps", row.get("timestamps")))
            for qid, row in rows.items()
        ),
    )


def momentseeker(path: Path) -> list[MomentQuery]:
    """Read MomentSeeker: a list of queries, each with candidate clips `…/MOVIE/START_END.mp4` and which are right.

    Queries with a picture or a clip are left out, and a line on stderr counts them.
    """
    rows = _parse(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f'{path} isn\'t a JSON list of queries with "qry_text" and "candidate_video_list".')
    queries: list[MomentQuery] = []
    for number, row in enumerate(rows):
        if row.get("qry_img_path") or row.get("qry_video_path"):
            continue
        text = row.get("qry_text")
        try:
            clips = [str(row["candidate_video_list"][i]["output_path"]) for i in row["gt_indices"]]
            windows = [_window(Path(clip).stem.split("_")[:2]) for clip in clips]
        except (KeyError, IndexError, TypeError):
            clips, windows = [], []
        if not isinstance(text, str) or not text.strip() or not clips or None in windows:
            raise InputError(f"{path}: the query {number} lacks its text, or clips that say when they are.")
        movie = Path(clips[0]).parent.name
        right = [
            window for clip, window in zip(clips, windows, strict=True) if Path(clip).parent.name == movie and window
        ]
        queries.append(MomentQuery(number, movie, " ".join(text.split()), tuple(right)))
    if len(queries) < len(rows):
        terminal.say(
            f"{path.name}: {len(rows) - len(queries)} of {len(rows)} queries have a picture or a clip; left out."
        )
    if not queries:
        raise InputError(f"{path} has no query in it.")
    return queries


FORMATS: Mapping[str, Callable[[Path], list[MomentQuery]]] = {
    "qvhighlights": read_queries,
    "charades": charades,
    "activitynet": activitynet,
    "timelens": timelens,
    "mad": mad,
    "momentseeker": momentseeker,
}


def _parse(path: Path) -> object:
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError):
        raise InputError(f"{path} isn't JSON.") from None


def _by_video(path: Path, spans: str, sentences: str) -> Iterator[tuple[str, str, str, Any]]:
    videos = _parse(path)
    if not isinstance(videos, dict):
        raise InputError(f'{path} isn\'t a JSON object of videos, each with "{spans}" and "{sentences}".')
    for vid, row in videos.items():
        values = [row.get(key) if isinstance(row, dict) else None for key in (spans, sentences)]
        lists = [value for value in values if isinstance(value, list)]
        if len(lists) != 2 or len(lists[0]) != len(lists[1]):
            raise InputError(f'{path}: "{vid}" needs "{spans}" and "{sentences}", two lists of one length.')
        for number, (window, sentence) in enumerate(zip(*lists, strict=True)):
            yield f"{vid}#{number}", vid, sentence, window


def _queries(path: Path, rows: Iterator[tuple[int | str, str, Any, Any]]) -> list[MomentQuery]:
    """Return queries of (id, vid, sentence, [start, end]) rows; windows without length are left out."""
    queries: list[MomentQuery] = []
    empty = 0
    for qid, vid, sentence, window in rows:
        if not isinstance(sentence, str) or not sentence.strip():
            raise InputError(f"{path}: the query {qid} isn't a sentence, but {json.dumps(sentence)[:80]}.")
        span = _window(window)
        if span is None:
            raise InputError(f"{path}: the query {qid} has {json.dumps(window)[:80]}, where [start, end] is needed.")
        if span[1] <= max(0.0, span[0]):
            empty += 1
            continue
        queries.append(MomentQuery(qid, vid, " ".join(sentence.split()), ((max(0.0, span[0]), span[1]),)))
    if empty:
        terminal.say(f"{path.name}: {empty} of {empty + len(queries)} queries have a moment without length; left out.")
    if not queries:
        raise InputError(f"{path} has no query in it.")
    return queries


def _window(value: Any) -> Window | None:
    if not isinstance(value, list) or len(value) != 2 or not all(_number(x) for x in value):
        return None
    return float(value[0]), float(value[1])


def _number(x: Any) -> bool:
    try:
        return not isinstance(x, bool) and math.isfinite(float(x))
    except (TypeError, ValueError):
        return False


def _first_value(text: str) -> Any:
    """Return the value of a JSON object's first key, without reading the others; None if that fails."""
    decoder = json.JSONDecoder()
    try:
        key, end = decoder.raw_decode(text, text.index('"'))
        return decoder.raw_decode(text[end:].lstrip().removeprefix(":").lstrip())[0] if isinstance(key, str) else None
    except (ValueError, RecursionError):
        return None
