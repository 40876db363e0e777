"""A folder of indexes asked as one: movies chosen by keys and words, one answer, hostile folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

import chunkv2l
from chunkv2l.ask import Index
from chunkv2l.channels.cues import ChannelCue, Sentence
from chunkv2l.errors import InputError
from chunkv2l.graph import Node, movies, neighbours, segments
from chunkv2l.index.file import IndexFile
from chunkv2l.library import choice, contents, folder
from chunkv2l.library.choice import Filter, Ranking, choose_movies, rank
from chunkv2l.library.contents import list_indexes, read_contents
from chunkv2l.library.keys_file import MAGIC, NAME, Damaged, Entry, MovieRecord, digest, read_keys, write_keys
from chunkv2l.library.library import Library
from chunkv2l.policies import BUILT_IN
from chunkv2l.query.query import Query
from chunkv2l.routing.sentence_search import SentenceSearch
from tests.helpers.fake_vlm import FakeModel, fake_model
from tests.helpers.keyed import unit_keys
from tests.helpers.occupied import occupy
from tests.helpers.selecting import selective
from tests.helpers.written import random_codes, write_index

WHEN = "When does a dog run?"
CAPTIONS = ("a dog runs", "the cat sits", "a red house")


@pytest.fixture(scope="module")
def model() -> FakeModel:
    return selective()


@pytest.fixture
def movies_folder(tmp_path: Path, model: FakeModel) -> Path:
    for i, caption in enumerate(CAPTIONS):
        count = 6 + i
        chapters = [(0, 2), (3, count - 1)]
        keys = unit_keys(count, seed=i)
        write_index(
            tmp_path / f"m{i}.idx", random_codes(count, i), [caption], model=model, keys=keys, chapters=chapters
        )
    return tmp_path


def test_one_answer_over_all_movies_each_span_with_its_movie(movies_folder: Path, model: FakeModel) -> None:
    with chunkv2l.Library(movies_folder, model) as library:
        answer = library.ask(WHEN)
    assert answer.policy == "select" and answer.not_there is not None
    assert {span.movie for span in answer.spans} <= {"m0.idx", "m1.idx", "m2.idx"}
    assert answer.spans[0].movie in answer.answer
    with Index(movies_folder / answer.spans[0].movie, model) as index:
        rows = index.segments
    first, last = answer.spans[0].segments[0], answer.spans[0].segments[-1]
    assert (rows[first].start, rows[last].end) == (answer.spans[0].start, answer.spans[0].end)
    assert answer.to_json()["spans"][0]["movie"] == answer.spans[0].movie
    assert sum(span.score for span in answer.spans) + answer.not_there <= 1 + 1e-6


def test_a_library_of_one_movie_answers_as_its_index(tmp_path: Path, model: FakeModel) -> None:
    path = write_index(tmp_path / "m.idx", random_codes(80), model=model, keys=unit_keys(80))
    with Index(path, model) as index, Library(tmp_path, model) as library:
        for question in (WHEN, "What is on the grass?", "How many times does a dog run?", "How long is the video?"):
            alone, together = index.ask(question), library.ask(question)
            assert together.not_there == alone.not_there
            assert together.spans == tuple(replace(span, movie="movie.mp4") for span in alone.spans)


def test_a_statement_is_not_in_any_movie_by_all_their_segments(movies_folder: Path, model: FakeModel) -> None:
    with Library(movies_folder, model) as library:
        answer = library.ask(WHEN, policy="route")
        assert answer.route is not None and answer.route.looks[0].segments == 6 + 7 + 8
        assert "any of these videos" in answer.answer or answer.spans[0].score >= (answer.not_there or 0)


def test_movies_that_were_not_opened_count_as_segments(
    movies_folder: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "MOST_OPENED", 1)
    with Library(movies_folder, model) as library:
        answer = library.ask(WHEN)
    assert answer.route is not None and answer.route.looks[0].segments == 6 + 7 + 8
    assert len({candidate.movie for candidate in answer.route.looks[0].candidates}) == 1


@pytest.mark.parametrize("policy", sorted(BUILT_IN))
def test_every_policy_works_across_movies(policy: str, movies_folder: Path, model: FakeModel) -> None:
    with Library(movies_folder, model) as library:
        assert library.ask("What does the dog do?", policy=policy).answer


def test_a_policy_sees_the_movies_and_next_never_crosses(movies_folder: Path, model: FakeModel) -> None:
    def check(graph: nx.DiGraph, query: Query) -> dict[Node, float]:
        by_movie = movies(graph)
        assert [len(nodes) for nodes in by_movie.values()] == [6, 7, 8]
        for node in segments(graph):
            for other in (*neighbours(graph, node), *neighbours(graph, node, "part_of")):
                assert graph.nodes[other]["movie"] == graph.nodes[node]["movie"]
        return dict.fromkeys((nodes[-1] for nodes in by_movie.values()), 1.0)

    with Library(movies_folder, model) as library:
        answer = library.ask("What is there?", policy=check)
    assert sorted((span.movie, *span.segments) for span in answer.spans) == [
        ("m0.idx", 5),
        ("m1.idx", 6),
        ("m2.idx", 7),
    ]


def test_an_order_in_time_stays_in_its_movie(movies_folder: Path, model: FakeModel) -> None:
    with Library(movies_folder, model) as library:
        answer = library.ask("What happens after a dog runs?", top_k=1)
        assert answer.route is not None
        best = answer.route.looks[0].candidates[0]
        assert answer.policy == "order" and answer.spans[0].movie == best.movie
        event = library.ask("When does the cat sit after a dog runs?")
        assert event.route is not None
        assert {c.movie for look in event.route.looks[1:] for c in look.candidates} == {best.movie}


def test_a_time_range_is_taken_of_each_movie(movies_folder: Path, model: FakeModel) -> None:
    with Library(movies_folder, model) as library:
        answer = library.ask("When does a dog run in the last four seconds?")
        assert {(span.movie, span.segments) for span in answer.spans} == {
            ("m0.idx", (5,)),
            ("m1.idx", (6,)),
            ("m2.idx", (7,)),
        }
        (late,) = library.ask("When does a dog run after 0:29?").spans  # only one lasts so long
        assert late.movie == "m2.idx"
        with pytest.raises(InputError, match="question about one movie"):
            library.ask("How long is the video?")


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (Filter(movie="m[01]*"), 13),
        (Filter(movie="M2.IDX"), 8),
        (Filter(longer=25), 15),
        (Filter(shorter=24), 6),
        (Filter(since=date(2001, 1, 1), until=date(2030, 1, 1)), 7),
    ],
)
def test_filters(only: Filter, expected: int, movies_folder: Path, model: FakeModel) -> None:
    for name, year in (("m0.idx", 2000), ("m1.idx", 2010), ("m2.idx", 2035)):
        seconds = (year - 1970) * 365.25 * 86400
        os.utime(movies_folder / name, (seconds, seconds))
    with Library(movies_folder, model) as library:
        route = library.ask(WHEN, only=only).route
        assert route is not None and route.looks[0].segments == expected
        with pytest.raises(InputError, match="No movie"):
            library.ask(WHEN, only=Filter(movie="nothing"))


def test_movies_are_chosen_by_turns_within_bounds() -> None:
    assert choose_movies(range(20), [10] * 20, []) == list(range(20))
    assert len(choose_movies(range(100), [10] * 100, [])) == choice.MOST_OPENED
    keys = rank(np.linspace(0, 0.5, 100), -np.inf, choice.BY_KEYS)
    assert choose_movies(range(100), [2000] * 100, [Ranking([7]), keys, Ranking([5, 6])]) == [7, 97, 98, 99]
    assert choose_movies(range(100), [450] * 100, [Ranking([7]), keys, Ranking([5, 6])]) == [5, 7, 97, 98, 99]
    assert choose_movies(range(100), [2000] * 100, [Ranking([])]) == [12, 37, 62, 87]
    assert rank(np.array([0.1, 0.5, 0.0, 0.3]), 0.1).movies == [1, 3]


def test_what_is_said_is_found_and_quoted_in_all_movies(movies_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = selective()
    for name, text in (("x", "The bridge was built last year."), ("y", "Nobody has fed the horses.")):
        cues = [ChannelCue(1.0, 3.0, text, "given"), ChannelCue(9.0, 11.0, "Well, that is that.", "given")]
        write_index(movies_folder / f"{name}.idx", random_codes(4), model=model, keys=unit_keys(4), cues=cues)
    with Library(movies_folder, model) as library:
        answer = library.ask("What does she say about the bridge?")
        assert answer.quotes[0].movie == answer.spans[0].movie == "x.idx" and "of x.idx" in answer.answer
        assert answer.spans[0].segments == (0,) and answer.to_json()["quotes"][0]["movie"] == "x.idx"
        monkeypatch.setattr(choice, "MOST_OPENED", 1)
        fewer = library.ask("What does she say about the bridge?")
        assert fewer.spans[0].movie == "x.idx" and fewer.not_there == pytest.approx(answer.not_there, rel=0.2)
        with pytest.raises(InputError, match="Nothing is said in that part"):
            library.ask("What does she say about the bridge in the last four seconds?")  # sixteen seconds long
        monkeypatch.undo()
        merged = library.ask("When are the horses fed?", only=Filter(movie="[xy].idx"))
        assert any(span.movie == "y.idx" and "heard" in span.channels for span in merged.spans)


def test_sentences_of_a_time_range_are_those_of_each_movies_part() -> None:
    spoken = [Sentence(12.0, 14.0, "A bridge.", "heard", movie) for movie in ("short", "long")]
    search = SentenceSearch(spoken, lambda: None, None)
    intervals = {"short": [(10.0, 20.0)], "long": [(0.0, 2.0), (50.0, 60.0)]}
    assert search.inside("heard", intervals) == [0]
    assert (
        search.inside("heard", {"short": [(10.0, 60.0)], "long": [(0.0, 1.0), (13.0, 14.0)]})
        == search.inside("heard")
        == [0, 1]
    )
    assert search.inside("heard", {"long": [(12.5, 12.5)]}) == [1]


# ---- library.keys


def test_indexes_that_have_not_changed_are_not_opened(
    movies_folder: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_contents(list_indexes(movies_folder))
    opened: list[Path] = []

    def count(path: Path, *options: Any) -> Any:
        opened.append(path)
        return IndexFile(path, *options)

    monkeypatch.setattr(contents, "IndexFile", count)
    again = read_contents(list_indexes(movies_folder))
    assert opened == [] and again.matrix is not None and before.matrix is not None
    assert np.array_equal(before.matrix, again.matrix)
    write_index(movies_folder / "m1.idx", random_codes(9, 7), model=model, keys=unit_keys(9, seed=7))
    (movies_folder / "m0.idx").unlink()
    changed = read_contents(list_indexes(movies_folder))
    assert opened == [movies_folder / "m1.idx"]
    assert [entry.record.segments for entry in changed.entries] == [9, 8]
    assert changed.matrix is not None and np.allclose(changed.matrix[:9], unit_keys(9, seed=7).numpy())


def flip(position: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        flip(20),
        flip(30),
        flip(100),
        flip(-5),
        lambda data: data[:-1],
        lambda data: data + b"0",
        lambda data: data[:40],
        lambda data: MAGIC + (1 << 60).to_bytes(8, "little") + data[24:],
        lambda data: b"",
    ],
)
def test_a_damaged_file_of_keys_is_made_anew(
    damage: Callable[[bytes], bytes], movies_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_contents(list_indexes(movies_folder))
    path = movies_folder / NAME
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    with pytest.raises(Damaged):
        read_keys(path)
    read_contents(list_indexes(movies_folder))
    assert path.read_bytes() == sound and "made anew" in caplog.text


def test_what_has_the_name_of_the_keys_but_is_something_else_stays(movies_folder: Path, model: FakeModel) -> None:
    for _ in occupy(movies_folder / NAME, movies_folder / "m0.idx"):
        with Library(movies_folder, model) as library:
            assert len(library) == 3 and any(NAME in note for note in library.notes)
            assert library.ask(WHEN).spans


def test_a_folder_that_cannot_be_written_to_works(
    movies_folder: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with Library(movies_folder, model) as library:
        expected = library.ask(WHEN)
    (movies_folder / NAME).unlink()
    monkeypatch.setattr(contents, "write_keys", refuse)
    with Library(movies_folder, model) as library:
        assert library.ask(WHEN).spans == expected.spans and library.notes == ()
    assert not (movies_folder / NAME).exists()


# ---- strangers' folders


def test_damaged_indexes_links_pipes_and_other_models_are_named_and_left_out(
    movies_folder: Path, model: FakeModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (movies_folder / "broken.idx").write_bytes(b"no index")
    os.mkfifo(movies_folder / "pipe.idx")
    elsewhere = write_index(tmp_path_factory.mktemp("elsewhere") / "x.idx", random_codes(3), model=model)
    (movies_folder / "link.idx").symlink_to(elsewhere)
    (movies_folder / ".hidden.idx").write_bytes(b"")
    (movies_folder / "folder.idx").mkdir()
    write_index(movies_folder / "other.idx", random_codes(3), model=fake_model(5))
    with Library(movies_folder, model) as library:
        answer = library.ask(WHEN)
        assert len(library) == 3
        for name in ("broken.idx", "pipe.idx", "link.idx", "other.idx"):
            assert sum(name in note for note in answer.notes) == 1, name
        assert "hidden" not in " ".join(answer.notes)


def test_an_index_that_breaks_after_the_library_was_opened_is_left_out(movies_folder: Path, model: FakeModel) -> None:
    with Library(movies_folder, model) as library:
        (movies_folder / "m1.idx").write_bytes(b"no index")
        answer = library.ask(WHEN)
        assert len(library) == 2 and any("m1.idx" in note for note in answer.notes)
        assert answer.route is not None and answer.route.looks[0].segments == 6 + 8


def test_keys_that_lie_about_an_index_lead_to_nothing_else(movies_folder: Path, model: FakeModel) -> None:
    read_contents(list_indexes(movies_folder))
    status = (movies_folder / "m0.idx").stat()
    write_index(movies_folder / "m0.idx", random_codes(2), model=model, keys=unit_keys(2))
    entries, _ = read_keys(movies_folder / NAME)
    new = (movies_folder / "m0.idx").stat()
    record = replace(entries[0].record, size=new.st_size, mtime_ns=new.st_mtime_ns)
    write_keys(movies_folder / NAME, [replace(entries[0], record=record), *entries[1:]])
    with Library(movies_folder, model) as library:
        answer = library.ask(WHEN)
        assert status.st_size != new.st_size and any("has changed" in note for note in answer.notes)


def test_keys_that_lie_about_a_movies_name_dont_name_it(movies_folder: Path, model: FakeModel) -> None:
    read_contents(list_indexes(movies_folder))
    entries, _ = read_keys(movies_folder / NAME)
    forged = [replace(e, record=replace(e.record, name=f"evidence {i}.mp4")) for i, e in enumerate(entries)]
    write_keys(movies_folder / NAME, forged)
    with Library(movies_folder, model) as library:
        answer = library.ask(WHEN)
        named = {span.movie for span in answer.spans}
        assert named and named <= {"m0.idx", "m1.idx", "m2.idx"}
        assert all(library.path(name).name == name for name in named)


def test_a_header_of_many_lists_isnt_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser would hear no Ctrl+C meanwhile."""
    header = b"[" + b"[]," * 400_000 + b"[]]"
    header += b" " * (-(56 + len(header)) % 64)
    path = tmp_path / NAME
    path.write_bytes(MAGIC + len(header).to_bytes(8, "little") + hashlib.sha256(header).digest() + header)
    monkeypatch.setattr("chunkv2l.library.keys_file.parse_json", lambda text: pytest.fail("it was parsed"))
    with pytest.raises(Damaged, match="more lists"):
        read_keys(path)


def test_a_file_of_keys_that_is_a_hole_isnt_read(tmp_path: Path) -> None:
    keys = np.zeros((100_000, 64), np.float32)
    record = MovieRecord("m.idx", 1, 1, "m.mp4", 1.0, 100_000, 0, "m", "", True, digest(keys))
    path = tmp_path / NAME
    write_keys(path, [Entry(record, keys)])
    assert len(read_keys(path)[0]) == 1
    size = path.stat().st_size
    os.truncate(path, size - keys.nbytes)
    os.truncate(path, size)
    with pytest.raises(Damaged, match="a hole"):
        read_keys(path)


def test_folders_in_it_only_if_asked_for(movies_folder: Path, model: FakeModel) -> None:
    inner = movies_folder / "deep" / "deeper"
    inner.mkdir(parents=True)
    write_index(inner / "x.idx", random_codes(4), model=model, keys=unit_keys(4))
    (movies_folder / "deep" / "loop").symlink_to(movies_folder)
    for recursive, count in ((False, 3), (True, 4), (False, 3)):
        with Library(movies_folder, model, recursive=recursive) as library:
            assert len(library) == count and library.ask(WHEN).spans
    assert len(read_keys(movies_folder / NAME)[0]) == 4
    with Library(movies_folder, model, recursive=True) as library:
        assert library.movies[0].name == "deep/deeper/movie.mp4"
        assert library.path("deep/deeper/movie.mp4") == inner / "x.idx"


def test_what_is_listed_is_bounded(movies_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MOST_FILES", 2)
    listing = folder.list_files(movies_folder, {".idx"})
    assert len(listing.files) == 2 and "more than 2 files" in listing.notes[0]
    monkeypatch.setattr(folder, "MOST_ENTRIES", 1)
    assert len(folder.list_files(movies_folder, {".idx"}).files) <= 1
    assert len(folder.shorten_notes([str(i) for i in range(1000)])) == folder.MOST_NOTES
    with pytest.raises(InputError, match="no folder"):
        folder.list_files(movies_folder / "m0.idx", {".idx"})


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no index in"):
        Library(tmp_path)
    (tmp_path / "broken.idx").write_bytes(b"no index")
    with pytest.raises(InputError, match=r"broken\.idx"):
        Library(tmp_path)
