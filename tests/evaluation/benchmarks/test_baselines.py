"""What one would do instead, on a tiny random SmolVLM: every way goes, is scored alike, and does what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import chunkv2l
from chunkv2l.ask import Index
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.indexing.build import build
from chunkv2l.models.sentence import minilm
from evaluation.__main__ import main
from evaluation.benchmarks import answers, baseline_ways, baselines, in_context, qa
from evaluation.benchmarks.baseline_ways import ANSWERING, FINDING, Movie
from evaluation.common import results
from evaluation.datasets.qa_files import Question
from tests.helpers import tiny_smolvlm
from tests.helpers.movies import block_movie
from tests.helpers.written import write_index

CHOICE = Question("c", "5s", "What is it?", ("a dog", "a house of wood"), ("a dog",))
OPEN = Question("o", "5s", "What does the dog do?", (), ("runs",))


Run = Callable[..., Result]


def by_letters(texts: Sequence[str]) -> torch.Tensor:
    """An embedding by hand: how often each letter occurs, at length 1."""
    counts = torch.tensor([[text.lower().count(chr(97 + i)) + 1e-6 for i in range(26)] for text in texts])
    return torch.nn.functional.normalize(counts.float(), dim=-1)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    return build(tiny_smolvlm.video(5), folder / "5s.idx", model=tiny_smolvlm.model(), detector="fixed:2").index


@pytest.fixture
def movie(built: Path) -> Iterator[Movie]:
    with Index(built, tiny_smolvlm.model()) as index:
        yield Movie(index, tiny_smolvlm.video(5), by_letters)


@pytest.fixture
def run(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(
        chunkv2l, "open", lambda path, model=None, device="auto": Index(path, model or tiny_smolvlm.model())
    )
    monkeypatch.setattr(baseline_ways, "MAX_NEW_TOKENS", 4)
    monkeypatch.setattr(minilm, "fetch", lambda source: tmp_path)
    monkeypatch.setattr(minilm, "MiniLM", lambda folder, device: by_letters)

    def go(*arguments: object) -> Result:
        words = ["baselines", "--index", built, "--out", tmp_path / "results", *arguments]
        return CliRunner().invoke(main, list(map(str, words)))

    return go


def test_every_way_finds_moments_and_is_scored_like_ours(run: Run, built: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text(
        '{"qid": 1, "vid": "5s", "query": "A dog runs", "relevant_windows": [[0, 4]]}\n'
        '{"qid": 2, "vid": "5s", "query": "A red ball", "relevant_windows": [[2, 4]]}\n'
    )
    result = run("--queries", queries, "--movie", tiny_smolvlm.video(5), "--exhaustive", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["moments"]
    assert list(found["rows"]) == list(FINDING) and found["skipped"] == {}
    for row in found["rows"].values():
        assert row["n"] == 2 and row["ceiling"] == 1.0 and row["seconds"] >= 0
        assert 0 <= row["R1@0.5"] <= row["R5@0.5"] <= 1
    whole = found["rows"]["one adapter for the whole movie"]
    assert whole["R1@0.5"] == 0.5  # [0, 5) against [0, 4) is .8, against [2, 4) .4
    assert whole["mIoU"] == pytest.approx((0.8 + 0.4) / 2)
    assert found["rows"]["captions, embeddings"]["R5@0.5"] == 1.0  # three segments, all given
    figures = results.read(tmp_path / "results" / "baselines.json")["figures"]
    assert figures["questions"]["captions, embeddings"].keys() == {"1", "2"}
    table = (tmp_path / "results" / "baselines.md").read_text()
    assert "seconds a query" in table and "Not run" not in table

    less = run("--queries", queries)
    assert less.exit_code == 0, less.output
    assert "Not run: uniform frames in context (give --movie)." in less.stdout
    assert "Not run: every segment's frames in context (give --exhaustive, and time; give --movie)." in less.stdout
    assert "one adapter for the whole movie" in less.stdout


def test_every_way_answers(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mlvu.json"
    row = {"video": "5s.mp4", "question": CHOICE.question, "candidates": CHOICE.options, "answer": "a dog"}
    path.write_text(json.dumps([row]))
    result = run("--questions", path, "--movie", tiny_smolvlm.video(5), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["answers"]
    assert list(found["rows"]) == list(ANSWERING) and found["chance"] == 0.5
    assert all(row["accuracy"] in (0, 1) and row["n"] == 1 for row in found["rows"].values())
    assert (tmp_path / "results" / "baselines-answers.json").exists()
    assert not (tmp_path / "results" / "baselines.json").exists()


def test_open_questions_get_an_f1_each_way(movie: Movie, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (baseline_ways, qa):
        monkeypatch.setattr(module, "MAX_NEW_TOKENS", 3)
    for way in ANSWERING.values():
        scores = way.run(movie, OPEN, "mean")
        assert set(scores) == {"F1", "exact"} and 0 <= scores["F1"] <= 1


def test_an_adapter_for_the_whole_movie_is_the_hypernetworks_for_its_frames(movie: Movie) -> None:
    hypernet = movie.index.model.hypernet
    with torch.inference_mode():
        expected = hypernet(*movie.vlm.encode([movie.clip]))
    rank = hypernet.config.rank
    assert movie.adapter.A.shape[-2] == 2 * rank  # and the bias, once
    assert torch.allclose(movie.adapter.A[:, :rank], expected.A[0][:, :rank], atol=1e-5)
    assert torch.allclose(movie.adapter.A[:, rank:], hypernet.bias.A)


def test_frames_of_every_segment_are_those_of_the_build(movie: Movie) -> None:
    """What each segment's frames in context add to a statement, against `score_from_frames` on the segments' clips."""
    spans = [(segment.start, segment.end) for segment in movie.index.segments]
    clips = in_context.segment_clips(tiny_smolvlm.video(5), movie.vlm, spans)
    expected = movie.family.score_from_frames(clips, ["A dog runs."])[:, 0] - movie.vlm.score(["A dog runs."])[0, 0]
    best = int(expected.argmax())
    first = baseline_ways.every_segment(movie, "A dog runs")[0]
    assert first[0] <= spans[best][0] and spans[best][1] <= first[1]


def test_options_behind_frames_are_scored_as_the_model_sees_them(movie: Movie) -> None:
    """At the caption prompt, for which there is a scorer of its own; the question's prompt only has other words."""
    nats = in_context.option_nats(movie.family, movie.clip, "", ["A dog.", "Two cats sleep."])
    expected = movie.family.score_from_frames([movie.clip], ["A dog.", "Two cats sleep."])[0]
    assert [one.total for one in nats] == pytest.approx(expected.tolist(), abs=1e-4)
    asked = in_context.option_nats(movie.family, movie.clip, "Who runs?", ["A dog."])
    assert asked[0].total != pytest.approx(nats[0].total)


def test_captions_are_found_by_meaning_and_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = tiny_smolvlm.model()
    config = tiny.hypernet.config
    codes = torch.randn(5, config.num_layers, config.rank, config.latent_size)
    captions = ["zzz", "a red dog", "", "the dog is red.", "qqq"]
    with Index(write_index(tmp_path / "m.idx", codes, captions, model=tiny), tiny) as index:
        movie = Movie(index, None, by_letters)
        order = list(movie.by_meaning("When is a red dog there?"))
        assert set(order[:2]) == {1, 3}
        assert movie.by_meaning("red dog")[2] == 0  # no caption, no meaning
        windows = baseline_ways.embeddings(movie, "A red dog")
        assert windows[0][:2] == (4, 8) and len(windows) == 5
        assert list(movie.by_words("Is a dog red?")) == [1, 3] or list(movie.by_words("Is a dog red?")) == [3, 1]
        prompts: list[str] = []

        def said(self: object, questions: Sequence[str], *_: object) -> list[str]:
            prompts.extend(questions)
            return ["red"]

        monkeypatch.setattr(type(movie.vlm), "generate", said)
        baseline_ways.read_words(movie, Question("x", "m", "Is a dog red?", (), ("red",)), "mean")
        assert prompts == ["This is what a video shows: a red dog. the dog is red. Is a dog red?"]
        prompts.clear()
        assert baseline_ways.read_words(movie, Question("x", "m", "Xerxes?", (), ("red",)), "mean")["F1"] == 1
        assert prompts == ["Xerxes?"]
        monkeypatch.undo()
        choice = Question("x", "m", "Is a dog red?", ("a dog", "a cat"), ("a dog",))
        scores = baseline_ways.read_meaning(movie, choice, "gain")
        nats = answers.nats(
            movie.family, baseline_ways.with_captions("Is a dog red?", _best(movie, 4)), choice.options, None, None
        )
        bare = answers.nats(movie.family, "Is a dog red?", choice.options, None, None)
        gain = [a.total - b.total for a, b in zip(nats, bare, strict=True)]
        assert scores["accuracy by gain"] == float(gain[0] >= gain[1])


def _best(movie: Movie, count: int) -> list[str]:
    chosen = sorted(list(movie.by_meaning("Is a dog red?"))[:count])
    return [caption for i in chosen if (caption := movie.index.segments[i].caption)]


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("From 12 to 15.5 seconds.", (12, 15.5)),
        ("12s - 15s", (12, 15)),
        ("It starts at 0:07 and ends at 1:02.5", (7, 62.5)),
        ("1:00:02 to 1:00:04", None),  # after the movie's end
        ("The 2 dogs run from 5 to 9", (2, 5)),  # taken at its word: the first two numbers
        ("50 to 500", (50, 100)),
        ("15 to 12", None),
        ("At 3 s", None),
        ("The dog runs.", None),
        ("", None),
    ],
)
def test_times_are_read_from_what_a_model_says(text: str, window: tuple[float, float] | None) -> None:
    assert in_context.spoken_window(text, 100) == window


def test_frames_of_the_whole_movie_are_those_at_its_times(tmp_path: Path) -> None:
    path = block_movie(tmp_path / "blocks.mp4", (2.0, 2.0, 2.0))
    vlm = tiny_smolvlm.vlm()
    clip = in_context.whole_movie(path, vlm)
    wanted = vlm.sampling.times(6.0, 10.0)
    assert len(clip.frames) == len(clip.times) == len(wanted)
    assert clip.times == pytest.approx(wanted, abs=0.101)
    colours = {tuple(int(c) for c in np.median(frame.reshape(-1, 3), axis=0) // 16) for frame in clip.frames}
    assert len(colours) == 3  # a scene each
    with pytest.raises(InputError):
        in_context.whole_movie(tmp_path / "none.mp4", vlm)


def test_movies_by_name_and_what_is_missing(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.idx", "b.mkv", "b.jsonl"):
        (tmp_path / name).touch()
    assert baselines.movies(tmp_path, ["a", "b", "c"]) == {"a": tmp_path / "a.mp4", "b": tmp_path / "b.mkv"}
    assert baselines.movies(tmp_path / "a.mp4", ["x"]) == {"x": tmp_path / "a.mp4"}
    assert baselines.movies(None, ["a"]) == {}
    with pytest.raises(InputError, match="about 2 movies"):
        baselines.movies(tmp_path / "a.mp4", ["a", "b"])
    able, skipped = baselines.usable(ANSWERING, {"movie"})
    assert "captions in the prompt, embeddings" in skipped and qa.BLIND in able


def test_without_a_network_the_embeddings_are_left_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(source: Path | None) -> Path:
        raise ChunkV2LError("no network")

    monkeypatch.setattr(minilm, "fetch", fails)
    queries = tmp_path / "queries.jsonl"
    queries.write_text('{"vid": "5s", "query": "A dog runs", "relevant_windows": [[0, 4]]}\n')
    result = run("--queries", queries)
    assert result.exit_code == 0, result.output
    assert "Without embeddings: no network" in result.stderr
    assert "Not run: captions, embeddings (the embeddings' wheel isn't here)." in result.stdout
    nothing = run()
    assert nothing.exit_code == 2 and "give --queries" in nothing.stderr
