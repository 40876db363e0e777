"""Moment datasets in their published formats: ten queries in each, the same ten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from chunkv2l.errors import InputError
from evaluation.__main__ import main
from evaluation.datasets import moment_files, qvhighlights

FOLDER = Path(__file__).parents[2] / "fixtures" / "datasets"
FILES = {
    "qvhighlights": FOLDER / "qvhighlights.jsonl",
    "charades": FOLDER / "charades_sta.txt",
    "activitynet": FOLDER / "activitynet_captions.json",
    "timelens": FOLDER / "timelens.json",
}


@pytest.mark.parametrize("format", FILES)
def test_every_format_is_told_and_read(format: str) -> None:
    queries = moment_files.read(FILES[format])
    assert queries == moment_files.read(FILES[format], format)
    assert moment_files.guess(FILES[format]) == format
    assert len(queries) == 10
    fourth = queries[3]
    prefix = "v_" if format == "activitynet" else ""
    ids = {"qvhighlights": 103, "charades": 4, "activitynet": "v_park#3", "timelens": "park#3"}
    assert (fourth.qid, fourth.vid) == (ids[format], f"{prefix}park")
    assert fourth.query.lower().rstrip(".") == "two children jump on a bed"
    assert fourth.windows == (((20, 28),) if format == "qvhighlights" else ((20, 27.3),))
    assert queries[9].vid == f"{prefix}house"


@pytest.mark.parametrize("format", FILES)
def test_predictions_go_round_in_the_submission_format(format: str, tmp_path: Path) -> None:
    """Perfect predictions of every dataset, written as a submission, read again and scored: all ones."""
    queries = moment_files.read(FILES[format])
    perfect = [
        qvhighlights.Prediction(q.qid, q.vid, q.query, tuple((*w, 1.0 - i) for i, w in enumerate(q.windows)))
        for q in queries
    ]
    qvhighlights.write_predictions(tmp_path / "p.jsonl", perfect)
    row = json.loads((tmp_path / "p.jsonl").read_text().splitlines()[0])
    assert list(row) == ["qid", "query", "vid", "pred_relevant_windows"]
    arguments = ["moments", "--queries", FILES[format], "--score", tmp_path / "p.jsonl", "--full", "--json"]
    result = CliRunner().invoke(main, [*map(str, arguments), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    assert numbers.pop("n") == 10 and numbers.pop("ceiling") is None
    assert {key: value for key, value in numbers.items() if value is not None} == dict.fromkeys(
        [key for key, value in numbers.items() if value is not None], 1.0
    )
    assert numbers["mAP"] == 1.0


def test_moments_without_length_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.txt"
    path.write_text(
        "\ufeffAB1 3.0 3.0##nothing.\n\nAB1 -1.5 4##a  person eats.\nAB1 9 2##backwards.\n", encoding="utf-8"
    )
    (query,) = moment_files.read(path)
    assert (query.qid, query.query, query.windows) == (3, "a person eats.", ((0, 4),))
    assert "2 of 3 queries" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "format", "words"),
    [
        ("AB1 0 1 2##x", "auto", 'line 1 isn\'t "VID START END##sentence"'),
        ("AB1 0 nan##x", "auto", "line 1 isn't"),
        ("AB1 0 1##  ", "auto", "isn't a sentence"),
        ("AB1 3 3##x", "auto", "has no query in it"),
        ('{"v": {"timestamps": [[0, 1]], "sentences": []}}', "auto", "two lists of one length"),
        ('{"v": {"spans": [[0, "x"]], "queries": ["a"]}}', "auto", "where [start, end] is needed"),
        ('{"v": {"spans": [[0, true]], "queries": ["a"]}}', "auto", "where [start, end] is needed"),
        ('{"v": {"spans": [[0, 1]], "queries": [3]}}', "auto", "isn't a sentence, but 3"),
        ('{"v": {"spans": 3}}', "timelens", "two lists of one length"),
        ("[]", "activitynet", "isn't a JSON object of videos"),
        ("[" * 100_000, "activitynet", "isn't JSON"),
        ("{" * 100_000, "auto", "isn't JSON"),
        ("", "auto", "has no query in it"),
        ("x", "nonsense", 'There is no format "nonsense"'),
    ],
)
def test_bad_files_get_a_sentence(text: str, format: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        moment_files.read(path, format)
    assert words in str(caught.value)


def test_unreadable_files_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        moment_files.read(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="isn't text"):
        moment_files.read(tmp_path / "binary")


def test_mads_sentences_have_the_times_that_its_baselines_use(tmp_path: Path) -> None:
    path = tmp_path / "mad.json"
    row = {"movie": "10", "sentence": "She  smiles.", "timestamps": [1.0, 2.0], "ext_timestamps": [1, 4]}
    path.write_text(json.dumps({"5": row, "6": {"movie": "11", "sentence": "He runs.", "timestamps": [3, 5]}}))
    assert moment_files.guess(path) == "mad"
    assert moment_files.read(path) == [
        qvhighlights.MomentQuery("5", "10", "She smiles.", ((1.0, 4.0),)),
        qvhighlights.MomentQuery("6", "11", "He runs.", ((3.0, 5.0),)),
    ]


def test_momentseekers_right_candidates_are_the_windows(tmp_path: Path) -> None:
    path = tmp_path / "ms.json"
    clips = [{"output_path": f"/share/clips/ego_3/{start}.00_{start + 10}.00.mp4"} for start in (0, 10, 20)]
    asked = {"qry_text": "A cup falls.", "qry_img_path": "", "qry_video_path": "", "candidate_video_list": clips}
    path.write_text(
        json.dumps([{**asked, "gt_indices": [0, 2]}, {**asked, "qry_img_path": "x.png", "gt_indices": [0]}])
    )
    assert moment_files.guess(path) == "momentseeker"
    assert moment_files.read(path) == [
        qvhighlights.MomentQuery(0, "ego_3", "A cup falls.", ((0.0, 10.0), (20.0, 30.0)))
    ]


@pytest.mark.parametrize("rows", [[{"qry_text": "A cup."}], [3], [{"qry_text": "A cup.", "gt_indices": [9]}], {"a": 1}])
def test_what_is_no_list_of_candidates_is_refused(rows: object, tmp_path: Path) -> None:
    (tmp_path / "ms.json").write_text(json.dumps(rows))
    with pytest.raises(InputError, match=r"ms\.json"):
        moment_files.read(tmp_path / "ms.json", "momentseeker")
