"""Cues and sentences in an index: written, read, checked, and refused where they aren't what a build writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from chunkv2l.channels.cues import ChannelCue, Sentence, Word
from chunkv2l.errors import InputError
from chunkv2l.index import cue_rows
from chunkv2l.index.file import IndexFile
from chunkv2l.index.meta import CHANNELS, LISTENING
from chunkv2l.index.verify import verify
from chunkv2l.index.writer import Writer
from tests.helpers.indexes import origin, write_index

HEARD = (
    ChannelCue(1.0, 3.0, "Good morning.", "heard", 0.9, (Word(1.0, 1.5, "Good"), Word(1.5, 3.0, "morning."))),
    ChannelCue(4.0, 6.25, "Look at the zebra!", "heard", 0.5),
)
READ = (ChannelCue(0.0, 8.0, "WELCOME", "read", 1.0),)


def encode(sentences: Sequence[Sentence]) -> Tensor:
    """A vector of length 1 for each sentence."""
    return torch.nn.functional.normalize(torch.tensor([[len(item.text), item.start, 1.0] for item in sentences]), dim=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    subtitles = [(10.0, 12.0, "Given.")]
    return write_index(tmp_path / "a.idx", subtitles=subtitles, cues=(*HEARD, *READ), encoder=encode)


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_they_are_read_as_they_were_written(path: Path) -> None:
    with IndexFile(path) as index:
        assert index.cues() == (ChannelCue(10.0, 12.0, "Given.", "given"), *HEARD, *READ)
        assert [(row.start, row.end, row.text) for row in index.subtitles()] == [(10.0, 12.0, "Given.")]
        assert [sentence.text for sentence in index.sentences()] == [
            "WELCOME",
            "Good morning.",
            "Look at the zebra!",
            "Given.",
        ]
        vectors = index.sentence_vectors()
        assert vectors is not None and torch.allclose(vectors, encode(index.sentences()), atol=1e-3)
    assert verify(path) == []


def test_an_index_without_a_sentence_encoder_has_no_vectors(tmp_path: Path) -> None:
    with IndexFile(write_index(tmp_path / "a.idx", cues=HEARD)) as index:
        assert index.sentence_vectors() is None and len(index.sentences()) == 2
    with IndexFile(write_index(tmp_path / "b.idx")) as index:
        assert index.cues() == () and index.sentences() == () and index.sentence_vectors() is None


def test_subtitles_of_an_earlier_version_are_given_cues(tmp_path: Path) -> None:
    path = write_index(tmp_path / "a.idx")
    change(path, "INSERT INTO subtitles VALUES (0, 1.5, 2.5, 'Look at the dog!')")
    with IndexFile(path) as index:
        assert index.cues() == (ChannelCue(1.5, 2.5, "Look at the dog!", "given"),)
    assert verify(path) == []


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE cues SET source = 'guessed'", "a cue of an unknown source"),
        ("UPDATE cues SET end = -1.0 WHERE id = 1", "a cue without times"),
        ("UPDATE cues SET end = 9e99 WHERE id = 1", "a cue without times"),
        ("UPDATE cues SET text = 'a' || char(10) WHERE id = 1", "a cue without times or a line"),
        ("UPDATE cues SET text = hex(zeroblob(40000)) WHERE id = 1", "a cue without times or a line"),
        ("UPDATE cues SET start = 4.5, end = 5.0 WHERE id = 1", "cues out of order"),
        ("UPDATE cues SET confidence = 1.5", "no probability"),
        ("UPDATE cues SET confidence = 'x'", "no probability"),
        ("UPDATE cues SET words = x'00'", "words that aren't a text"),
        ("UPDATE cues SET words = '['", "aren't JSON"),
        ("UPDATE cues SET words = '{}'", "aren't a list"),
        ("UPDATE cues SET words = '[[1,2]]'", "without times"),
        ("UPDATE cues SET words = '[[1.5,2,\"a\"]]'", "without times"),
        ("UPDATE cues SET words = '[[2,1,\"a\"]]'", "at a time that can't be"),
        ("UPDATE cues SET words = '[[1,99000,\"a\"]]'", "at a time that can't be"),
        ("UPDATE cues SET words = '[[1,2,\"\"]]'", "isn't one"),
        ("UPDATE cues SET words = '[[1,2,\"a\\u202e\"]]'", "isn't one"),
        ("UPDATE cues SET text = 'Good evening.', words = '[]' WHERE id = 1", "its sentences aren't those of its cues"),
        ("UPDATE sentences SET text = 'Bad morning.' WHERE id = 1", "its sentences aren't those of its cues"),
        ("DELETE FROM sentences WHERE id = 1", "sentence 1 is missing"),
        ("UPDATE sentences SET source = 'x'", "a sentence of an unknown source"),
        ("UPDATE sentences SET start = 'x'", "a sentence without times"),
        ("UPDATE sentences SET start = 99.0, end = 100.0 WHERE id = 0", "sentences out of order"),
        ("UPDATE sentences SET vector = x'00' WHERE id = 1", "the vector of sentence 1 can't be read"),
        ("UPDATE sentences SET vector = NULL WHERE id = 1", "the vector of sentence 1 is missing"),
        ("UPDATE sentences SET vector = zeroblob(100000) WHERE id = 1", "the vector of sentence 1 is missing or too"),
    ],
)
def test_verify_says_what_no_build_writes(path: Path, statement: str, finding: str) -> None:
    change(path, statement)
    assert any(finding in sentence for sentence in verify(path)), verify(path)


def test_more_words_than_can_be_said_are_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They took seconds and a gigabyte: a letter of JSON becomes a hundred bytes."""
    monkeypatch.setattr(cue_rows, "MAX_WORDS", 1)
    with IndexFile(path) as index, pytest.raises(InputError, match="more text than there can be"):
        index.cues()


def test_cues_at_the_same_time_are_compared_within_bounds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sentence was compared with every cue before it, where a single one was long."""
    assert verify(path) == []
    letters = sum(len(cue.text) for cue in (*HEARD, *READ))
    monkeypatch.setattr("chunkv2l.index.verify.MAX_COMPARED", letters // 2)
    assert any("more of its cues are at the same time" in finding for finding in verify(path))


def test_a_vector_of_another_length_is_refused(path: Path) -> None:
    other = write_index(path.with_name("b.idx"), cues=HEARD, encoder=lambda items: torch.ones(len(items), 2) / 2)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ATTACH ? AS other", (str(other),))
        connection.execute("UPDATE sentences SET vector = (SELECT vector FROM other.sentences LIMIT 1) WHERE id = 2")
        connection.commit()
    with IndexFile(path) as index, pytest.raises(InputError, match="vectors of different lengths"):
        index.sentence_vectors()


def test_given_cues_stay_with_what_was_heard_since(tmp_path: Path) -> None:
    given = [ChannelCue(10.0, 12.0, "Given.", "given")]
    begun = {"heard": {"identity": {}, "done": 5.0, "state": None}}
    with Writer(tmp_path / "a.idx") as writer:
        writer.write(meta=origin())
        writer.write_given(given, "")
        writer.write_cues(HEARD, {LISTENING: begun})
        writer.write_given(given, "")
        assert writer.cues() == (*given, *HEARD) and writer.read_meta()[LISTENING] == begun
    with Writer(tmp_path / "a.idx") as writer:  # its rows are digested as they should be
        writer.write_cues(READ, {CHANNELS: {}})
        writer.drop_cues("heard", {LISTENING: {}})
        assert writer.cues() == (*given, *READ)
    with Writer(tmp_path / "a.idx") as writer:
        assert writer.cues() == (*given, *READ)
        writer.write_given([], "")
        assert writer.cues() == () and not {CHANNELS, LISTENING} & writer.read_meta().keys()


def test_damaged_cues_of_a_part_are_not_gone_on_with(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Writer(tmp_path / "a.idx") as writer:
        writer.write(meta=origin())
        writer.write_cues(HEARD, {})
    change(tmp_path / "a.idx.part", "UPDATE cues SET text = 'Bad morning.' WHERE id = 0")
    with Writer(tmp_path / "a.idx") as writer:
        assert writer.cues() == () and writer.read_meta() == {}
    assert "its cues aren't those that were stored" in caplog.text
