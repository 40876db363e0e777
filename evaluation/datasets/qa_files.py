"""Read video question answering's public datasets, in the files in which they are published.

| format         | a file of                                                                | the format is from |
|----------------|--------------------------------------------------------------------------|--------------------|
| nextqa         | CSV, multiple choice `video,…,question,answer (0–4),qid,type,a0,…,a4`    | doc-doc/NExT-QA    |
|                | CSV, open `video,…,question,answer,qid,type`                             | doc-doc/NExT-OE    |
| videomme       | JSON `[{"video_id", "questions": [{"question_id", "options", "answer"}]}]` | Video-MME        |
|                | or one row a question, with "videoID", as a list or JSONL                | its hub's rows     |
| mlvu           | JSON `[{"video", "question", "candidates", "answer", "question_type"}]`  | JUNJIE99/MLVU      |
| lvbench        | JSONL `{"key", "qa": [{"uid", "question", "answer", "time_reference"}]}` | THUDM/LVBench      |
| longvideobench | JSON `[{"id", "video_id", "question", "candidates", "correct_choice"}]`  | LongVideoBench     |
| egoschema      | JSON `[{"q_uid", "question", "option 0", …, "option 4"}]`, and answers   | egoschema/EgoSchema |

LVBench writes the options into the question, a line each, "(A) …"; Video-MME writes "A. …". The letters are removed.
Rows as a hub's viewer exports them (parquet turned into JSONL) are read if they differ only in how rows are listed.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from chunkv2l.errors import InputError
from evaluation.common.metrics import Window
from evaluation.common.text_files import read_text

LETTERS = "ABCDEFGHIJ"
_LETTER = re.compile(r"^\s*\(?([A-J])[.):]\)?\s*")
_IN_LINE = re.compile(r"^\s*\(([A-J])\)\s*(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Question:
    """A question about one movie.

    Attributes:
        vid: the movie's id: the name of its index without ".idx".
        options: the options of multiple choice; () for an open question.
        answers: the right one of `options`, or the reference answers of an open question.
        type: the dataset's own task or question type; "" where it has none.
        evidence: windows with the answer, seconds; () where the dataset has none.
    """

    id: str
    vid: str
    question: str
    options: tuple[str, ...]
    answers: tuple[str, ...]
    type: str = ""
    evidence: tuple[Window, ...] = ()

    @property
    def correct(self) -> int:
        """Return the right option's number."""
        return self.options.index(self.answers[0])


Rows = Sequence[Mapping[str, Any]]


def read(path: Path, format: str = "auto", answers: Path | None = None) -> list[Question]:
    """Read the questions of a file; "auto" detects the format from the content.

    Args:
        answers: EgoSchema's subset_answers.json (default: the one beside the file; questions without an answer in it
            are left out), or NExT-QA's further references for open answers, `{video: {qid: answer}}`.

    Raises:
        InputError: the file can't be read, isn't in the format, or has no question with an answer in it.
    """
    rows = _rows(path)
    if format == "auto":
        format = guess(path, rows)
    if format not in FORMATS:
        raise InputError(f'There is no format "{format}"; choose one of {", ".join(FORMATS)}.')
    if format == "egoschema" and answers is None:
        answers = path.with_name("subset_answers.json")
    further = _json(answers) if answers is not None else {}
    questions: list[Question] = []
    for number, row in enumerate(rows, start=1):
        try:
            questions += FORMATS[format](row, number, further)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{path}, row {number} isn't in the format {format}: {reason}.") from None
    if twice := [id for id, times in Counter(question.id for question in questions).items() if times > 1]:
        raise InputError(f"{path}: the id {twice[0]} is used twice.")
    if not questions:
        raise InputError(f"{path} has no question with an answer in it.")
    return questions


def guess(path: Path, rows: Rows) -> str:
    """Return the name in `FORMATS` of the rows' format.

    Raises:
        InputError: it is none of them.
    """
    keys = set(rows[0]) if rows else set()
    for format, needed in SIGNS:
        if needed <= keys:
            return format
    raise InputError(f"The format of {path} can't be detected: name it with --format.")


def nextqa(row: Mapping[str, Any], number: int, further: Any) -> list[Question]:
    """Read NExT-QA: options a0 … a4 and the right one's number, or an open answer, perhaps with further references."""
    vid, qid = str(row["video"]), str(row.get("qid", number))
    options = tuple(_text(row[f"a{i}"]) for i in range(5)) if "a0" in row else ()
    if options:
        return [_choice(f"{vid}_{qid}", vid, row["question"], options, int(row["answer"]), row.get("type", ""))]
    more = [row.get("additional_ref_answer"), further.get(vid, {}).get(qid)]
    references = (_text(row["answer"]), *(_text(text) for text in more if text))
    return [Question(f"{vid}_{qid}", vid, _text(row["question"]), (), references, str(row.get("type", "")))]


def videomme(row: Mapping[str, Any], number: int, further: Any) -> list[Question]:
    """Read Video-MME: a video with its questions, or a row a question; options "A. …", the answer's letter."""
    vid = str(row.get("videoID") or row["video_id"])
    return [
        _choice(
            str(q["question_id"]), vid, q["question"], _bare(q["options"]), str(q["answer"]), q.get("task_type", "")
        )
        for q in row.get("questions", [row])
    ]


def mlvu(row: Mapping[str, Any], number: int, further: Any) -> list[Question]:
    """Read MLVU: candidates, and the right one as text; its generation tasks (sub-scene, summary) have an answer
    alone."""
    vid = PurePosixPath(str(row["video"])).stem
    task = str(row.get("question_type", ""))
    id = str(row.get("question_id", f"{task}#{number}"))
    if not row.get("candidates"):
        return [Question(id, vid, _text(row["question"]), (), (_text(row["answer"]),), task)]
    options = _bare(row["candidates"])
    answer = _LETTER.sub("", str(row["answer"])) if str(row["answer"]) not in options else str(row["answer"])
    return [_choice(id, vid, row["question"], options, answer, task)]


def lvbench(row: Mapping[str, Any], number: int, further: Any) -> list[Question]:
    """Read LVBench: a video with its questions, whose options are lines of the question; evidence as clock times."""
    questions = []
    for q in row["qa"]:
        text = str(q["question"])
        options = tuple(_text(option) for _, option in _IN_LINE.findall(text))
        asked = text[: _IN_LINE.search(text).start()] if options else text  # type: ignore[union-attr]
        types = q.get("question_type", "")
        task = ", ".join(types) if isinstance(types, list) else str(types)
        question = _choice(str(q["uid"]), str(row["key"]), asked, options, str(q["answer"]), task)
        questions.append(replace(question, evidence=windows(str(q.get("time_reference", "")))))
    return questions


def longvideobench(row: Mapping[str, Any], number: int, further: Any) -> list[Question]:
    """Read LongVideoBench: candidates (or option0 … option4, "N/A" where there are fewer), the right one's number."""
    listed = row.get("candidates") or [row[f"option{i}"] for i in range(5) if row.get(f"option{i}", "N/A") != "N/A"]
    correct = row["correct_choice"]
    if not isinstance(correct, int) or correct < 0:
        raise ValueError("\"correct_choice\" is missing: the test split's answers aren't published")
    vid = str(row.get("video_id") or PurePosixPath(str(row["video_path"])).stem)
    options = tuple(_text(option) for option in listed)
    return [_choice(str(row["id"]), vid, row["question"], options, correct, row.get("question_category", ""))]


def egoschema(row: Mapping[str, Any], number: int, further: Any) -> list[Question]:
    """Read EgoSchema: five options; the right one's number is in another file, for 500 of the questions."""
    uid = str(row["q_uid"])
    options = tuple(_text(row[f"option {i}"]) for i in range(5))
    return [_choice(uid, uid, row["question"], options, int(further[uid]), "")] if uid in further else []


FORMATS: Mapping[str, Callable[[Mapping[str, Any], int, Any], list[Question]]] = {
    "nextqa": nextqa,
    "videomme": videomme,
    "mlvu": mlvu,
    "lvbench": lvbench,
    "longvideobench": longvideobench,
    "egoschema": egoschema,
}
SIGNS: tuple[tuple[str, set[str]], ...] = (
    ("egoschema", {"q_uid", "option 0"}),
    ("lvbench", {"key", "qa"}),
    ("videomme", {"video_id", "questions"}),
    ("videomme", {"videoID", "question_id", "options"}),
    ("longvideobench", {"id", "correct_choice"}),
    ("mlvu", {"video", "candidates"}),
    ("mlvu", {"video", "question_type"}),
    ("nextqa", {"video", "question", "answer"}),
)


def windows(reference: str) -> tuple[Window, ...]:
    """Return LVBench's time_reference in seconds: "00:15-00:19", "1:02:03-1:02:09"; a single clock is that second.

    >>> windows("00:15-00:19"), windows("01:00:02"), windows("")
    (((15.0, 19.0),), ((3602.0, 3603.0),), ())
    """
    clocks = [
        sum(float(part) * 60**power for power, part in enumerate(reversed(clock.split(":"))))
        for clock in re.findall(r"\d+(?::\d+)+(?:\.\d+)?", reference)
    ]
    if len(clocks) == 1:
        return ((clocks[0], clocks[0] + 1.0),)
    pairs = zip(clocks[::2], clocks[1::2], strict=False)
    return tuple((start, max(end, start + 1.0)) for start, end in pairs)


def _choice(id: str, vid: str, question: Any, options: Sequence[str], correct: int | str, task: Any = "") -> Question:
    """Return a multiple-choice question; `correct` is a number, a letter, or the option itself."""
    if len(options) < 2 or not all(options):
        raise ValueError(f"it has {len(options)} options, and needs two or more with words in them")
    if isinstance(correct, str):
        word = correct.strip()
        if word in options:
            correct = list(options).index(word)
        elif len(letter := word.strip("(). ")) == 1 and letter in LETTERS:
            correct = LETTERS.index(letter)
        else:
            raise ValueError(f"the answer {word[:40]!r} is none of the options")
    if not 0 <= correct < len(options):
        raise ValueError(f"the answer is option {correct} of {len(options)}")
    return Question(id, vid, _text(question), tuple(options), (options[correct],), str(task))


def _bare(options: Sequence[Any]) -> tuple[str, ...]:
    """Return options without "A. ", "(B) ", …, if each begins with its own letter."""
    texts = [str(option) for option in options]
    lettered = all((m := _LETTER.match(text)) and m[1] == LETTERS[i] for i, text in enumerate(texts[: len(LETTERS)]))
    return tuple(_text(_LETTER.sub("", text) if lettered else text) for text in texts)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} isn't text")
    return " ".join(value.split())


def _rows(path: Path) -> Rows:
    text = read_text(path)
    if path.suffix == ".csv" or not text.lstrip().startswith(("{", "[")):
        return list(csv.DictReader(io.StringIO(text)))
    try:
        value = json.loads(text)
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be a list of questions.") from None
    except ValueError:
        try:
            value = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            raise InputError(f"{path} is neither JSON nor one JSON object a line.") from None
    value = [value] if isinstance(value, dict) else value
    if not all(isinstance(row, dict) for row in value):
        raise InputError(f"{path} isn't a list of JSON objects.")
    return list(value)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_text(path))
    except (ValueError, RecursionError):
        raise InputError(f"{path} isn't JSON.") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} isn't a JSON object.")
    return value
