"""library.text: words and vectors of all movies, searched without opening an index; made anew where it is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from chunkv2l.channels.cues import ChannelCue, Sentence
from chunkv2l.library import choice, contents, text_search
from chunkv2l.library.contents import list_indexes, read_contents
from chunkv2l.library.keys_file import Damaged
from chunkv2l.library.library import Library
from chunkv2l.library.sketches import cosines, count_differences, make_sketches, to_bytes
from chunkv2l.library.text_file import NAME, MovieTexts, TextFile, open_text, update_text
from chunkv2l.library.text_search import TextSearch
from chunkv2l.routing.sentence_search import SentenceSearch
from tests.helpers.fake_vlm import FakeModel
from tests.helpers.keyed import by_words, unit_keys
from tests.helpers.occupied import occupy
from tests.helpers.selecting import selective
from tests.helpers.written import random_codes, write_index

SPOKEN = {
    "a": ("The bridge was built last year.", "Nobody has fed the horses."),
    "b": ("We sail around the island.", "The wind is strong at sea."),
    "c": ("Bread needs flour, water and salt.", "The bridge of the nose is cartilage."),
}


def encode(texts: Sequence[str]) -> Tensor:
    return torch.nn.functional.normalize(by_words(texts), dim=-1)


@pytest.fixture(scope="module")
def model() -> FakeModel:
    return replace(selective(), sentences=encode)


def write_movie(folder: Path, name: str, texts: Sequence[str], model: FakeModel, with_vectors: bool = True) -> Path:
    return write_index(
        folder / f"{name}.idx",
        random_codes(3),
        (f"a picture of {name}",),
        model=model,
        keys=unit_keys(3),
        cues=[ChannelCue(4.0 * i, 4.0 * i + 2, text, "heard") for i, text in enumerate(texts)],
        encoder=(lambda sentences: encode([item.text for item in sentences])) if with_vectors else None,
    )


@pytest.fixture
def speaking_folder(tmp_path: Path, model: FakeModel) -> Path:
    for name, texts in SPOKEN.items():
        write_movie(tmp_path, name, texts, model)
    return tmp_path


def write_texts(folder: Path, movies: dict[str, MovieTexts], known: TextFile | None = None) -> TextFile:
    status = Path(__file__).stat()
    with update_text(folder / NAME, known) as update:
        update.keep(movies.__contains__)
        for name, texts in movies.items():
            if not update.has(name, status):
                update.add(name, status, texts)
    text = update.open()
    assert text is not None
    return text


def say(*lines: str, captions: Sequence[str] = ("",)) -> MovieTexts:
    return MovieTexts(captions, [("heard", line) for line in lines], encode(lines).numpy() if lines else None)


# ---- sketches


def test_sketches_of_near_vectors_differ_little() -> None:
    vectors = np.random.default_rng(0).standard_normal((500, 100)).astype(np.float32)
    near = vectors[7] + 0.5 * vectors[8]
    sketches = make_sketches(vectors)
    assert sketches.shape == (500, 2) and not count_differences(sketches, sketches[3])[3]
    differences = count_differences(sketches, make_sketches(near[None])[0])
    assert differences.argmin() == 7 and differences.max() <= 100
    exact = vectors @ near / np.linalg.norm(vectors, axis=1)
    assert np.abs(cosines(to_bytes(vectors), near) - exact).max() < 0.02 * np.linalg.norm(near)
    assert not cosines(to_bytes(np.zeros((1, 4), np.float32)), np.ones(4)).any()


# ---- search


@pytest.mark.parametrize("topic", ["bridge", "the wind on the island", "salt water"])
@pytest.mark.parametrize("has_vectors", [True, False])
def test_a_movie_is_as_probable_as_its_likeliest_sentence(topic: str, has_vectors: bool, tmp_path: Path) -> None:
    text = write_texts(tmp_path, {name: say(*lines) for name, lines in SPOKEN.items()})
    search = TextSearch(text, list(SPOKEN))
    vector = encode([topic])[0].numpy() if has_vectors else None
    p = search.weigh_sentences(topic, "heard", np.ones(3, bool), vector)
    lines = [(name, line) for name, listed in SPOKEN.items() for line in listed]
    together = SentenceSearch(
        [Sentence(0.0, 1.0, line, "heard", name) for name, line in lines],
        lambda: encode([line for _, line in lines]),
        encode if has_vectors else None,
    ).search(topic, "heard")
    expected = [max(item.p for item in together.ranked if item.sentence.movie == name) for name in SPOKEN]
    assert p == pytest.approx(expected, rel=0.1, abs=0.01)
    assert not search.weigh_sentences(topic, "read", np.ones(3, bool), vector).any()
    alone = search.weigh_sentences(topic, "heard", np.array([False, True, False]), vector)
    assert not alone[0] and not alone[2]


def test_the_nearest_are_compared_however_many_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_search, "NEAREST", 2)
    lines = ["Nothing at all."] * 5
    text = write_texts(tmp_path, {"a": say(*lines), "b": say(*lines, "We sail the sea."), "c": say(*lines)})
    search = TextSearch(text, ["a", "b", "c"])
    vector = encode(["We sail the ocean."])[0].numpy()
    assert search.weigh_sentences("ocean", "heard", np.ones(3, bool), vector).argmax() == 1
    assert search.weigh_sentences("ocean", "heard", np.array([True, False, True]), vector)[1] == 0


def test_captions_and_sentences_of_gone_movies_are_not_found(tmp_path: Path) -> None:
    first = write_texts(tmp_path, {"a": say("A bridge."), "b": say("A bridge.", captions=["a dog", "running dogs"])})
    second = write_texts(tmp_path, {"b": say()}, first)
    third = write_texts(tmp_path, {"b": say(), "c": say("A ship.", captions=["a cat runs"])}, second)
    assert [record.name for record in third.records] == ["b", "c"] and third.records[0].segments == 2
    assert third.rows_with("bridge", 9).tolist() == [2, 5]  # the first is a's, which is gone
    search, everywhere = TextSearch(third, ["b", "c"]), np.ones(2, bool)
    assert search.weigh_captions("run", everywhere).tolist() == pytest.approx([0.47, 0.47], abs=0.01)
    assert search.weigh_captions("A dog that runs", everywhere).argmax() == 0
    assert search.weigh_captions("run", np.array([False, True]))[0] == 0
    assert search.weigh_sentences("a bridge", "heard", everywhere, None).argmax() == 0
    assert search.count("heard").tolist() == [1, 1]
    fourth = write_texts(tmp_path, {"c": say()}, third)  # the last of the file's rows are now nobody's
    fifth = write_texts(tmp_path, {"c": say(), "d": say("Nothing.")}, fourth)
    assert not fifth.is_wasteful or fifth.records[-1].first > third.records[-1].end - 1
    assert TextSearch(fifth, ["c", "d"]).weigh_sentences("bridge", "heard", everywhere, None).max() < 0.2


def test_rows_of_gone_movies_are_half_of_all_at_most(tmp_path: Path) -> None:
    text = write_texts(tmp_path, {"a": say("One."), "b": say("Two.")})
    assert not text.is_wasteful
    text = write_texts(tmp_path, {"c": say("Three.")}, text)
    assert text.is_wasteful


def test_words_that_very_many_have_are_left_out_beside_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = write_texts(tmp_path, {str(i): say(*["common words"] * 3, *["a rare one"] * (i == 4)) for i in range(6)})
    monkeypatch.setattr(text_search, "MOST_HITS", 4)
    search = TextSearch(text, [str(i) for i in range(6)])
    assert search.weigh_sentences("common rare", "heard", np.ones(6, bool), None).argmax() == 4
    assert search.weigh_sentences("common", "heard", np.ones(6, bool), None).any()


def test_what_is_said_opens_the_right_movie_alone(
    speaking_folder: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "MOST_OPENED", 1)
    with Library(speaking_folder, model) as library:
        for question, name in (
            ("When does she talk about the bridge that was built?", "a.idx"),
            ("When does he talk about the strong wind?", "b.idx"),
            ("What does she say about bread?", "c.idx"),
        ):
            answer = library.ask(question)
            assert answer.policy == "heard" and answer.spans[0].movie == name


def test_a_question_that_names_no_channel_finds_what_is_said_too(
    speaking_folder: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "MOST_OPENED", 2)
    with Library(speaking_folder, model) as library:
        answer = library.ask("The wind is strong at sea.")
        assert any(span.movie == "b.idx" and "heard" in span.channels for span in answer.spans)
        seen = library.ask("When does an elephant dance?")  # of which nothing is said: no sentence is read
        assert all(not span.channels or span.channels == ("seen",) for span in seen.spans)


def test_movies_without_vectors_are_found_by_words_beside_those_with(tmp_path: Path, model: FakeModel) -> None:
    write_movie(tmp_path, "a", SPOKEN["a"], model)
    write_movie(tmp_path, "b", SPOKEN["b"], model, with_vectors=False)
    text = read_contents(list_indexes(tmp_path)).text
    assert text is not None and [record.width > 0 for record in text.records] == [True, False]
    vector: NDArray[np.float32] = encode(["sail around the island"])[0].numpy()
    p = TextSearch(text, ["a.idx", "b.idx"]).weigh_sentences(
        "sail around the island", "heard", np.ones(2, bool), vector
    )
    assert p.argmax() == 1


# ---- the file


def plant_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE planted (id INTEGER)")
        connection.commit()


def change(statement: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(statement)
            connection.commit()

    return run


@pytest.mark.parametrize(
    "damage",
    [
        plant_table,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        change("PRAGMA user_version = 9"),
        change("UPDATE movies SET sentences = 1 << 40"),
        change("UPDATE movies SET segments = 0"),
        change("UPDATE movies SET name = 'a.idx'"),
        change("UPDATE movies SET name = 'a' || char(10)"),
        change("UPDATE following SET row = 1"),
        change("DELETE FROM following"),
    ],
)
def test_a_damaged_file_is_made_anew(
    damage: Callable[[Path], object], speaking_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_contents(list_indexes(speaking_folder))
    path = speaking_folder / NAME
    damage(path)
    with pytest.raises(Damaged):
        open_text(path)
    text = read_contents(list_indexes(speaking_folder)).text
    assert text is not None and len(text.records) == 3 and "made anew" in caplog.text
    assert open_text(path) is not None


@pytest.mark.parametrize(
    "damage",
    [
        change("UPDATE movies SET channels = x'00'"),
        change("UPDATE movies SET sketches = 7"),
        change("DELETE FROM vectors"),
        change("UPDATE words_data SET block = zeroblob(length(block)) WHERE id > 10"),
    ],
)
def test_damage_that_a_search_meets_leaves_the_answer_to_the_indexes(
    damage: Callable[[Path], None], speaking_folder: Path, model: FakeModel
) -> None:
    read_contents(list_indexes(speaking_folder))
    damage(speaking_folder / NAME)
    with Library(speaking_folder, model) as library:
        assert library.ask("When does she talk about the bridge?").spans
        assert library.ask("When does she talk about the bridge?").spans
    with Library(speaking_folder, model) as library:
        assert library.ask("When does she talk about the wind?").spans[0].movie == "b.idx"
    assert open_text(speaking_folder / NAME) is not None


def test_what_has_the_files_name_but_is_something_else_stays(speaking_folder: Path, model: FakeModel) -> None:
    for _ in occupy(speaking_folder / NAME, speaking_folder / "a.idx"):
        with Library(speaking_folder, model) as library:
            assert any(NAME in note for note in library.notes)
            assert library.ask("When does she talk about the wind?").spans[0].movie == "b.idx"


def test_a_folder_that_cannot_be_written_to_has_its_words_elsewhere(
    speaking_folder: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    written = update_text
    monkeypatch.setattr(contents, "write_keys", refuse)
    monkeypatch.setattr(contents, "update_text", lambda path, known, _: written(path, known, False))
    with Library(speaking_folder, model) as library:
        assert library.ask("When does he talk about the wind?").spans[0].movie == "b.idx" and library.notes == ()
    assert not (speaking_folder / NAME).exists()
