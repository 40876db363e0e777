"""Question answering's datasets in their published formats: ten questions in each, written for these tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chunkv2l.errors import InputError
from evaluation.datasets import qa_files

FOLDER = Path(__file__).parents[2] / "fixtures" / "datasets"
FILES = {
    "nextqa": FOLDER / "nextqa_mc.csv",
    "videomme": FOLDER / "videomme.json",
    "mlvu": FOLDER / "mlvu.json",
    "lvbench": FOLDER / "lvbench.jsonl",
    "longvideobench": FOLDER / "longvideobench.json",
    "egoschema": FOLDER / "egoschema" / "questions.json",
}
IDS = {
    "nextqa": ("park_2", "park", "DO"),
    "videomme": ("park-2", "park", "Object Recognition"),
    "mlvu": ("needle#3", "park", "needle"),
    "lvbench": ("2", "park", "entity recognition"),
    "longvideobench": ("park_2", "park", "S2E"),
    "egoschema": ("00000002-0000-4000-8000-000000000002", "00000002-0000-4000-8000-000000000002", ""),
}


@pytest.mark.parametrize("format", FILES)
def test_every_format_is_told_and_read(format: str) -> None:
    questions = qa_files.read(FILES[format])
    assert questions == qa_files.read(FILES[format], format)
    assert len(questions) == (8 if format == "egoschema" else 10)  # two of whose answers aren't published
    third = questions[2]
    assert (third.id, third.vid, third.type) == IDS[format]
    assert third.question.lower().rstrip("?") == "what does the woman pour into the cup"
    said = [option.lower().removeprefix("c ").rstrip(".") for option in third.options]
    assert said == ["milk", "coffee", "tea", "juice", "sand"][: len(said)]
    assert len(said) == (5 if format in ("nextqa", "longvideobench", "egoschema") else 4)
    assert third.correct == 2 and third.answers == (third.options[2],)
    assert third.evidence == (((11, 19),) if format == "lvbench" else ())
    assert all(0 <= question.correct < len(question.options) for question in questions)


def test_open_answers_with_further_references() -> None:
    questions = qa_files.read(FOLDER / "nextqa_oe.csv")
    assert [question.answers for question in questions[:2]] == [("run after the ball",), ("with a key",)]
    assert not any(question.options for question in questions)
    more = qa_files.read(FOLDER / "nextqa_oe.csv", answers=FOLDER / "add_reference_answer.json")
    assert more[0].answers == ("run after the ball", "chase a ball")
    assert more[1].answers == ("with a key",)
    assert more[7].answers == ("rainy", "it rains")


def test_rows_as_a_hub_exports_them(tmp_path: Path) -> None:
    """One row a question, as JSONL: Video-MME by the video's own id, LongVideoBench with option0 … and N/A."""
    path = tmp_path / "rows.jsonl"
    row = {"video_id": "001", "videoID": "fFjv93ACGo8", "question_id": "001-1", "task_type": "Counting Problem"}
    path.write_text(json.dumps({**row, "question": "How many?", "options": ["A. 1.", "B. 2."], "answer": "B"}) + "\n")
    (found,) = qa_files.read(path)
    assert (found.vid, found.options, found.answers) == ("fFjv93ACGo8", ("1.", "2."), ("2.",))
    options = {"option0": "a dog", "option1": "a cat", "option2": "N/A", "option3": "N/A", "option4": "N/A"}
    path.write_text(
        json.dumps({"id": "x_0", "video_path": "x.mp4", "question": "Who?", "correct_choice": 1, **options})
    )
    (found,) = qa_files.read(path)
    assert (found.vid, found.options, found.answers) == ("x", ("a dog", "a cat"), ("a cat",))


def test_letters_are_taken_off_only_where_every_option_has_its_own() -> None:
    base = {"video": "a/x.y.mp4", "question": "Which?", "question_type": "order"}
    (found,) = qa_files.mlvu({**base, "candidates": ["(A) one", "(B) two"], "answer": "(B) two"}, 1, {})
    assert (found.vid, found.options, found.correct) == ("x.y", ("one", "two"), 1)
    (found,) = qa_files.mlvu(
        {**base, "candidates": ["A. Lincoln", "B. Lincoln", "A. Smith"], "answer": "A. Smith"}, 1, {}
    )
    assert (found.options[0], found.correct) == ("A. Lincoln", 2)
    (found,) = qa_files.mlvu({**base, "candidates": ["one", "two"], "answer": "B"}, 1, {})
    assert found.correct == 1


def test_mlvus_generation_tasks_are_open_questions(tmp_path: Path) -> None:
    path = tmp_path / "9_summary.json"
    row = {"video": "v1.mp4", "question": "What happens?", "answer": "A dog runs.", "question_type": "summary"}
    path.write_text(json.dumps([row]))
    (found,) = qa_files.read(path)
    assert (found.vid, found.options, found.answers, found.type) == ("v1", (), ("A dog runs.",), "summary")


def test_clocks_in_seconds() -> None:
    assert qa_files.windows("00:15-00:19") == ((15, 19),)
    assert qa_files.windows("1:00:15 - 1:00:19, 02:00-02:00") == ((3615, 3619), (120, 121))
    assert qa_files.windows("07:30") == ((450, 451),)
    assert qa_files.windows("whole video") == ()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.json", "[]", "can't be detected"),
        ("x.json", '[{"a": 1}]', "can't be detected"),
        ("x.json", "[1]", "isn't a list of JSON objects"),
        ("x.json", "[" * 100_000, "nested too deeply"),
        ("x.json", '{"a": 1}\n{', "neither JSON nor one JSON object a line"),
        ("x.json", '[{"video": "v", "candidates": ["a", "b"], "answer": "a"}]', "lacks 'question'"),
        ("x.json", '[{"video": "v", "candidates": ["a", "b"], "answer": "c", "question": "q"}]', "none of the options"),
        ("x.json", '[{"video": "v", "candidates": ["a"], "answer": "a", "question": "q"}]', "1 options"),
        ("x.json", '[{"video": "v", "candidates": ["a", ""], "answer": "a", "question": "q"}]', "2 options"),
        ("x.json", '[{"video": "v", "candidates": ["a", "b"], "answer": "a", "question": 3}]', "isn't text"),
        ("x.json", '[{"id": "x", "video_id": "v", "candidates": ["a", "b"], "correct_choice": "@", "question": "q"}]',
         "answers aren't published"),
        ("x.json", '[{"id": "x", "video_id": "v", "candidates": ["a", "b"], "correct_choice": 2, "question": "q"}]',
         "option 2 of 2"),
        ("x.jsonl", '{"key": "v", "qa": 3}', "row 1 isn't in the format lvbench"),
        ("x.jsonl", '{"key": "v", "qa": [{"uid": 1, "question": "q", "answer": "A"}]}', "0 options"),
        ("x.csv", "video,question,answer,qid,type,a0,a1,a2,a3,a4\nv,q,7,0,T,a,b,c,d,e\n", "option 7 of 5"),
        ("x.csv", "video,question,answer,qid,type,a0,a1,a2,a3,a4\nv,q,one,0,T,a,b,c,d,e\n", "the format nextqa"),
        ("x.csv", "video,question,answer,qid\nv,q,a,0\nv,q,a,0\n", "the id v_0 is used twice"),
        ("x.csv", "", "can't be detected"),
    ],
)  # fmt: skip
def test_bad_files_get_a_sentence(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        qa_files.read(tmp_path / name)
    assert words in str(caught.value)


def test_answers_from_another_file(tmp_path: Path) -> None:
    questions = tmp_path / "questions.json"
    questions.write_text(FILES["egoschema"].read_text())
    with pytest.raises(InputError, match=r"subset_answers.json can't be read"):
        qa_files.read(questions)
    answers = tmp_path / "a.json"
    for text, words in (("{}", "no question with an answer"), ("[]", "isn't a JSON object"), ("{", "isn't JSON")):
        answers.write_text(text)
        with pytest.raises(InputError, match=words):
            qa_files.read(questions, answers=answers)
    with pytest.raises(InputError, match='no format "nonsense"'):
        qa_files.read(questions, "nonsense")
