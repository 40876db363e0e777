"""`python -m evaluation moments`, with an index that remembers what it was asked and answers by rote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

import chunkv2l
from chunkv2l.answer.trace import Route
from chunkv2l.ask import Index
from chunkv2l.errors import InputError
from chunkv2l.indexing.build import build
from chunkv2l.query.parse import statement
from chunkv2l.routing.trace import Candidate, StatementTrace
from evaluation.__main__ import main
from evaluation.benchmarks import moments
from evaluation.common import results
from evaluation.datasets import qvhighlights
from tests.helpers import tiny_smolvlm
from tests.helpers.fake_vlm import FakeModel, fake_model
from tests.helpers.written import random_codes, write_index

ROWS: list[dict[str, Any]] = [
    {"qid": 7, "vid": "park", "query": "A dog runs", "relevant_windows": [[0, 6]], "duration": 30},
    {"qid": 8, "vid": "park", "query": "A child waves", "relevant_windows": [[2, 4], [20, 30]]},
    {"qid": 9, "vid": "park", "query": "When does it rain?", "relevant_windows": [[8, 16]]},
    {"qid": 10, "vid": "park", "query": "What is on the table?", "relevant_windows": [[0, 1]]},
]
SPANS = {  # best first; by question
    "A dog runs": [(0, 5), (10, 20)],  # IoU 5/6
    "A child waves": [(5, 10), (20, 26)],  # first 0, second .6
    "When does it rain?": [(10, 20)],  # IoU 6/12
    "Find the moment when What is on the table?": [],
}


class ByRote:
    """An index of park.idx (or another name) with four segments."""

    made: list[ByRote]

    def __init__(self, path: Path, model: str | None = None, device: str = "auto") -> None:
        self.path, self.given, self.device = path, model, device
        self.segments = [SimpleNamespace(start=s, end=s + 5.0) for s in (0.0, 5.0)]
        self.segments += [SimpleNamespace(start=s, end=s + 10.0) for s in (10.0, 20.0)]
        self.model = "the model"
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.open = True
        self.made.append(self)

    def __enter__(self) -> ByRote:
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    def ask(self, question: str, **options: Any) -> SimpleNamespace:
        assert self.open
        self.asked.append((question, options))
        spans = [SimpleNamespace(start=s, end=e, score=1 / (n + 2)) for n, (s, e) in enumerate(SPANS[question])]
        return SimpleNamespace(spans=tuple(spans), route=None)


@pytest.fixture
def by_rote(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ByRote]]:
    ByRote.made = []
    monkeypatch.setattr(chunkv2l, "open", ByRote)
    yield ByRote.made
    assert not any(index.open for index in ByRote.made)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "park.idx").touch()
    write(tmp_path / "queries.jsonl", *ROWS)
    return tmp_path


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@pytest.fixture(autouse=True)
def out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where results go: nothing is written into the project."""
    option = next(option for option in moments.command.params if option.name == "out")
    monkeypatch.setattr(option, "default", tmp_path / "results")
    return tmp_path / "results"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["moments", *map(str, arguments)])


def test_json_has_the_five_keys_and_the_numbers_worked_by_hand(by_rote: list[ByRote], folder: Path) -> None:
    result = run("--index", folder / "park.idx", "--queries", folder / "queries.jsonl", "--json")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    assert list(numbers) == ["R1@0.5", "R5@0.5", "mIoU", "n", "ceiling"]
    assert numbers["n"] == 4
    assert numbers["R1@0.5"] == pytest.approx(2 / 4)  # the dog and the rain, the latter just so
    assert numbers["R5@0.5"] == pytest.approx(3 / 4)
    assert numbers["mIoU"] == pytest.approx((5 / 6 + 0 + 0.5 + 0) / 4)
    assert numbers["ceiling"] == pytest.approx(
        3 / 4
    )  # [0, 5) dog, [20, 30) child, rain [8, 16) & [10, 20) = .6; not [0, 1)
    (asking, cuts) = by_rote
    assert [question for question, _ in asking.asked] == list(SPANS)
    assert cuts.asked == []


def test_full_adds_the_rest_and_the_table_is_for_people(by_rote: list[ByRote], folder: Path) -> None:
    arguments = ("--index", folder / "park.idx", "--queries", folder / "queries.jsonl", "--full")
    numbers = json.loads(run(*arguments, "--json").stdout)
    assert set(moments.BRIEF) < set(numbers)
    assert numbers["R1@0.3"] == pytest.approx(2 / 4)
    assert numbers["R1@0.7"] == pytest.approx(1 / 4)
    # AP@.5: dog 1; child: its second window first found at rank 2, precision 1/2 at recall 1/2 → 1/4; rain 1; table 0.
    assert numbers["mAP@0.5"] == pytest.approx((1 + 1 / 4 + 1 + 0) / 4)
    assert numbers["mAP@0.75"] == pytest.approx(1 / 4)
    table = run(*arguments).stdout
    assert "R1@0.5      0.500\n" in table
    assert "n           4\n" in table
    assert "ceiling  0.750\n" in run(*arguments[:4]).stdout


def test_results_hold_every_querys_own_numbers(by_rote: list[ByRote], folder: Path, out: Path) -> None:
    arguments = ("--index", folder / "park.idx", "--queries", folder / "queries.jsonl")
    assert run(*arguments, "--policy", "route", "--policy", "fts").exit_code == 0
    figures = results.read(out / "moments.json")["figures"]
    assert list(figures["rows"]) == list(figures["questions"]) == ["route", "fts"]
    row, each = figures["rows"]["route"], figures["questions"]["route"]
    assert list(each) == ["7", "8", "9", "10"]
    for measure in ("R1@0.3", "R1@0.5", "R1@0.7", "R5@0.5", "mIoU", "mAP"):
        assert row[measure] == pytest.approx(sum(scores[measure] for scores in each.values()) / 4)
    assert each["8"]["R1@0.5"] == 0 and each["8"]["R5@0.5"] == 1
    # The dog's and the child's first windows are at most 10 s, the rain's 8 too; the child's second is 10 as well.
    assert row["mAP-short"] is not None and row["mAP-middle"] is row["mAP-long"] is None
    assert "| route  |" in (out / "moments.md").read_text()
    assert (out / "moments.png").stat().st_size > 1000
    one = run(*arguments, "--policy", "route", "--policy", "fts", "--predictions", folder / "p.jsonl")
    assert one.exit_code == 2 and "give --policy once" in one.stderr


def test_options_reach_ask(by_rote: list[ByRote], folder: Path) -> None:
    arguments = ("--index", folder / "park.idx", "--queries", folder / "queries.jsonl", "--device", "cpu")
    assert run(*arguments, "--policy", "concat", "--top-k", 3, "--budget", "all").exit_code == 0
    assert by_rote[0].asked[0][1] == {"policy": "concat", "top_k": 3, "budget": "all"}
    assert by_rote[0].device == "cpu"
    assert run(*arguments, "--budget", "12").exit_code == 0
    assert by_rote[2].asked[0][1] == {"policy": None, "top_k": None, "budget": 12}


def test_saliency_is_what_each_scored_segment_got() -> None:
    def scored(node: int | str, start: float, end: float, p: float) -> Candidate:
        return Candidate(1, node, start, end, ("all",), None, 0.0, p, 0.0)

    looks = (
        StatementTrace("A dog.", 3, 4, 0.1, (scored(0, 0, 3, 0.7), scored(2, 5, 9, 0.2), scored("g0", 0, 9, 0.9))),
        StatementTrace("A cat.", 3, 4, 0.1, (scored(0, 0, 3, 0.1), scored(3, 9, 11, 0.4))),
    )
    answer: Any = SimpleNamespace(route=Route(None, None, 4, looks, (), ()), spans=())
    # the middles of two seconds each: 1, 3, 5, 7, 9, 11
    assert moments.saliency(answer, 11.5) == (0.7, 0.0, 0.2, 0.2, 0.4, 0.0)


def test_predictions_are_written_and_scored_again_without_a_model(by_rote: list[ByRote], folder: Path) -> None:
    queries, out = folder / "queries.jsonl", folder / "predictions.jsonl"
    asked = run("--index", folder / "park.idx", "--queries", queries, "--predictions", out, "--full", "--json")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    named = {"qid", "query", "vid", "pred_relevant_windows", "pred_saliency_scores"}
    assert [set(row) for row in rows] == [named] * 4
    assert [len(row["pred_saliency_scores"]) for row in rows] == [15] * 4 and not any(rows[3]["pred_saliency_scores"])
    assert rows[0]["pred_relevant_windows"] == [[0, 5, 0.5], [10, 20, 1 / 3]]
    assert rows[0]["pred_saliency_scores"][:11] == [0.5, 0.5, 0, 0, 0, *[0.333333] * 5, 0]
    by_rote.clear()
    scored = run("--score", out, "--queries", queries, "--full", "--json")
    assert scored.exit_code == 0, scored.output
    assert by_rote == []
    assert json.loads(scored.stdout) == {**json.loads(asked.stdout), "ceiling": None}
    with_index = run("--score", out, "--queries", queries, "--index", folder / "park.idx", "--full", "--json")
    assert json.loads(with_index.stdout) == json.loads(asked.stdout)
    assert [index.asked for index in by_rote] == [[]]


def test_a_split_without_answers_is_predicted_and_not_scored(by_rote: list[ByRote], folder: Path, out: Path) -> None:
    bare = [{key: value for key, value in row.items() if key != "relevant_windows"} for row in ROWS]
    queries, predictions = write(folder / "test.jsonl", *bare), folder / "submission.jsonl"
    result = run("--index", folder / "park.idx", "--queries", queries, "--predictions", predictions)
    assert result.exit_code == 0, result.output
    assert result.stdout == "" and "4 queries have no true windows, so nothing is scored" in result.stderr
    assert [json.loads(line)["qid"] for line in predictions.read_text().splitlines()] == [7, 8, 9, 10]
    assert not out.exists()
    for arguments in (("--index", folder / "park.idx"), ("--score", predictions)):
        refused = run("--queries", queries, *arguments)
        assert refused.exit_code == 2 and '"relevant_windows" must be a list' in refused.stderr


def test_a_folder_of_indexes_shares_one_model(by_rote: list[ByRote], folder: Path) -> None:
    (folder / "beach.idx").touch()
    rows = [ROWS[0], {**ROWS[1], "vid": "beach"}, ROWS[2]]
    queries, out = write(folder / "two.jsonl", *rows), folder / "predictions.jsonl"
    assert run("--index", folder, "--queries", queries, "--predictions", out).exit_code == 0
    park, beach = by_rote[:2]
    assert (park.path.name, beach.path.name) == ("park.idx", "beach.idx")
    assert (park.given, beach.given) == (None, "the model")
    assert len(park.asked) == 2
    assert len(beach.asked) == 1
    assert [json.loads(line)["qid"] for line in out.read_text().splitlines()] == [7, 8, 9]

    one = run("--index", folder / "beach.idx", "--queries", queries, "--json")  # only the rows about this movie
    assert json.loads(one.stdout)["n"] == 1
    (folder / "beach.idx").rename(folder / "sea.idx")
    for index, words in ((folder / "sea.idx", "named like none"), (folder, "There is no")):
        result = run("--index", index, "--queries", queries)
        assert result.exit_code == 2
        assert words in result.stderr


def test_a_query_is_asked_so_that_times_are_the_answer() -> None:
    for unchanged in ("A dog runs", "When does a dog run?", "Show me a dog", "Find the moment when a dog runs"):
        assert moments.question(unchanged) == unchanged
    assert statement("A dog runs") == "A dog runs."
    for turned in ("What is on the table?", "Where is the dog?", "Does it rain?"):
        assert statement(moments.question(turned)) == statement(turned)
        assert moments.question(moments.question(turned)) == moments.question(turned)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "has no query in it"),
        (["{"], "line 1 isn't JSON"),
        ([ROWS[0], "[1]"], "line 2 isn't a JSON object"),
        ([{"relevant_windows": [[0, 1]]}], '"query" must be a sentence, not null'),
        ([{"query": " ", "relevant_windows": [[0, 1]]}], '"query" must be a sentence'),
        ([{"query": "A dog"}], '"relevant_windows" must be a list of [start, end]'),
        ([{"query": "A dog", "relevant_windows": []}], "is empty"),
        ([{"query": "A dog", "relevant_windows": [[0, 1, 2]]}], "has [0, 1, 2], where [start, end]"),
        ([{"query": "A dog", "relevant_windows": [["0", 1]]}], "where [start, end] in seconds is needed"),
        (['{"query": "A dog", "relevant_windows": [[0, NaN]]}'], "where [start, end] in seconds is needed"),
        ([{"query": "A dog", "relevant_windows": [[3, 3]]}], "has no length"),
        ([{"query": "A dog", "relevant_windows": [[-1, 3]]}], "negative time"),
        ([ROWS[0], ROWS[0]], 'line 2: the "qid" 7 has been used before'),
        ([{**ROWS[0], "qid": [1]}], '"qid" must be a number or a string'),
        (["[" * 100_000], "line 1 isn't JSON"),
    ],
)
def test_bad_queries_get_a_sentence(folder: Path, lines: list[object], words: str) -> None:
    result = run("--index", folder / "park.idx", "--queries", write(folder / "bad.jsonl", *lines))
    assert result.exit_code == 2
    assert words in result.stderr
    assert "bad.jsonl" in result.stderr
    assert result.stderr.count("\n") == 1


def test_bad_files_get_a_sentence(folder: Path) -> None:
    (folder / "binary").write_bytes(b"\xff\xfe\x00")
    for name, words in (
        ("none.jsonl", "can't be read: No such file"),
        ("binary", "isn't text"),
        (".", "can't be read"),
    ):
        result = run("--index", folder / "park.idx", "--queries", folder / name)
        assert result.exit_code == 2
        assert words in result.stderr
    queries = folder / "queries.jsonl"
    nothing = run("--queries", queries)
    assert (nothing.exit_code, nothing.stdout) == (2, "")
    assert "give --index" in nothing.stderr
    for row, words in (
        ({"qid": 99, "pred_relevant_windows": []}, "none with the qid 99"),
        ({"qid": 7, "pred_relevant_windows": [[1]]}, "[start, end] or [start, end, score]"),
        ({"qid": 7}, "must be a list"),
    ):
        result = run("--queries", queries, "--score", write(folder / "predictions.jsonl", row))
        assert result.exit_code == 2
        assert words in result.stderr
    twice = write(folder / "predictions.jsonl", *[{"qid": 7, "pred_relevant_windows": []}] * 2)
    assert "has been predicted before" in run("--queries", queries, "--score", twice).stderr


def test_predictions_without_scores_keep_their_order_and_gaps_count_as_nothing(tmp_path: Path) -> None:
    queries = qvhighlights.read_queries(write(tmp_path / "queries.jsonl", *ROWS))
    path = write(tmp_path / "predictions.jsonl", {"qid": 8, "pred_relevant_windows": [[20, 30], [9, 3]]})
    predictions = qvhighlights.read_predictions(path, queries)
    assert [p.windows for p in predictions] == [(), ((20, 30, 0), (9, 3, -1)), (), ()]
    assert moments.score(queries, predictions)["R1@0.5"] == pytest.approx(1 / 4)


def test_predictions_that_cannot_be_written_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be written"):
        qvhighlights.write_predictions(tmp_path / "no" / "folder.jsonl", [])


def test_an_error_shows_its_traceback_when_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHUNKV2L_DEBUG", "1")
    assert isinstance(run("--queries", tmp_path / "none.jsonl").exception, InputError)


def test_a_real_index_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = fake_model()
    path = write_index(tmp_path / "movie.idx", random_codes(12))  # segments of 4 seconds

    def opened(path: Path, model: FakeModel | None = None, device: str = "auto") -> Index:
        return Index(path, model or fake, device=device)

    monkeypatch.setattr(chunkv2l, "open", opened)
    texts = ("A dog runs on the grass", "A man reads a book", "When does a rocket start?")
    with Index(path, fake) as index:
        best = [index.ask(text).spans[0] for text in texts]
    rows: list[dict[str, Any]] = [
        {"query": t, "relevant_windows": [[b.start, b.end]]} for t, b in zip(texts, best, strict=True)
    ]
    rows.append({"query": "A woman waves", "relevant_windows": [[100, 104]]})  # after the movie's end
    out = tmp_path / "predictions.jsonl"
    arguments = ("--index", path, "--queries", write(tmp_path / "queries.jsonl", *rows), "--predictions", out)
    numbers = json.loads(run(*arguments, "--json").stdout)
    assert numbers["R1@0.5"] == numbers["R5@0.5"] == numbers["mIoU"] == 3 / 4
    assert numbers["n"] == 4
    for row in map(json.loads, out.read_text().splitlines()):
        windows = row["pred_relevant_windows"]
        assert 5 <= len(windows) <= 10
        assert all(0 <= start < end <= 48 and 0 <= score <= 1 for start, end, score in windows)
    words = json.loads(run(*arguments, "--policy", "fts", "--json").stdout)  # no caption says "waves" or "woman"
    assert list(words) == list(moments.BRIEF) and words["n"] == 4
    assert len(out.read_text().splitlines()) == 4
    assert json.loads(out.read_text().splitlines()[3])["pred_relevant_windows"] == []
    bad = run(*arguments, "--policy", "nonsense")
    assert bad.exit_code == 2
    assert "nonsense" in bad.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    return build(tiny_smolvlm.video(5), folder / "5s.idx", model=tiny_smolvlm.model(), detector="fixed:1").index


@pytest.mark.parametrize("policy", ["route", "concat", "mean", "fts", "timeline"])
def test_a_movie_from_its_file_to_the_numbers(
    policy: str, built: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every policy and kind of query, on a real (tiny, random) SmolVLM: whatever it finds, there are five numbers."""
    tiny, path = tiny_smolvlm.model(), built
    monkeypatch.setattr(chunkv2l, "open", lambda path, model=None, device="auto": Index(path, model or tiny))
    texts = ("A dog runs", "When does a rocket start?", "What is on the table?", "When?", "a b c", "xyzzy", "何")
    rows = [{"query": text, "relevant_windows": [[1, 2.2], [4, 5]]} for text in texts]
    queries = write(tmp_path / "queries.jsonl", *rows)
    out = tmp_path / "predictions.jsonl"
    result = run("--index", path, "--queries", queries, "--policy", policy, "--predictions", out, "--json")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    assert list(numbers) == ["R1@0.5", "R5@0.5", "mIoU", "n", "ceiling"]
    found = [bool(json.loads(line)["pred_relevant_windows"]) for line in out.read_text().splitlines()]
    assert found == [text != "When?" and policy != "fts" for text in texts]  # random captions share no word with any
    assert numbers["n"] == 7 and numbers["ceiling"] == 1.0
    assert 0 <= numbers["R1@0.5"] <= numbers["R5@0.5"] <= 1 and 0 <= numbers["mIoU"] <= 1
