"""What is said is added to an index: in its build or later, however often that is interrupted, with the same rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from chunkv2l.channels.cues import ChannelCue
from chunkv2l.errors import InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.meta import CHANNELS, LISTENING
from chunkv2l.index.resume import check_part
from chunkv2l.index.schema import part_path
from chunkv2l.index.verify import verify
from chunkv2l.indexing.build import build
from chunkv2l.indexing.channels import add_channels
from chunkv2l.indexing.progress import BuildReport, Progress
from chunkv2l.indexing.settings import BuildSettings
from chunkv2l.speech import choose_recogniser, listening
from chunkv2l.speech.audio import RATE
from chunkv2l.video.container import Track
from tests.helpers.fake_vlm import fake_model
from tests.helpers.indexes import rows_of, sign_part, write_index
from tests.helpers.media import plain, write
from tests.helpers.speech import FakeRecogniser, install_fake_recogniser, write_talk

BURSTS = [(float(second), second + 1.0) for second in range(1, 40, 3)]
SPOKEN = "1\n00:00:01,000 --> 00:00:02,000\nGood morning.\n"


@pytest.fixture
def movie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "weights").mkdir()
    install_fake_recogniser(monkeypatch, tmp_path / "weights")
    monkeypatch.setattr(listening, "WINDOW", 8 * RATE)
    monkeypatch.setattr(listening, "SEARCHED", 4 * RATE)
    return write_talk(tmp_path / "talk.mkv", BURSTS, 40.0)


def make(movie: Path, **options: Any) -> BuildReport:
    return build(movie, model=fake_model(), **{"detector": "fixed:4", **options})


def encode(texts: Any) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor([[float(len(text)), 1.0, 2.0] for text in texts]), dim=1)


def listen(index: Path, movie: Path, speech: str = "base", **options: Any) -> BuildReport:
    return add_channels(index, movie, BuildSettings(speech=speech), encoder=encode, **options)


def heard(index: Path) -> list[ChannelCue]:
    with IndexFile(index) as opened:
        return [cue for cue in opened.cues() if cue.source == "heard"]


class StopAt:
    """A progress function that interrupts the build the n-th time that a stage says that it is further."""

    def __init__(self, stage: str, number: int) -> None:
        self.stage, self.number = stage, number

    def __call__(self, progress: Progress) -> None:
        if progress.stage == self.stage and progress.done > 0:
            self.number -= 1
            if self.number == 0:
                raise KeyboardInterrupt


def test_a_build_listens(movie: Path) -> None:
    report = make(movie)
    cues = heard(report.index)
    assert [cue.start for cue in cues] == pytest.approx([start for start, _ in BURSTS], abs=0.15)
    assert cues[0].confidence == 0.9 and next(word.text for word in cues[0].words) == "Burst"
    with IndexFile(report.index) as index:
        assert len(index.sentences()) == len(BURSTS) and index.meta.extra[CHANNELS]["heard"]["recogniser"] == "base"
        assert {segment.speech for segment in index.segments} == {""}
    assert verify(report.index) == [] and report.stages["speech"] > 0 and make(movie).nothing_to_do


def test_speech_has_a_stage_of_its_own(movie: Path) -> None:
    told: list[Progress] = []
    make(movie, progress=told.append)
    speech = [progress for progress in told if progress.stage == "speech"]
    assert [progress.done for progress in speech] == sorted(progress.done for progress in speech)
    assert speech[0].done == 0 and speech[-1].done == pytest.approx(40, abs=0.3) and len(speech) > 5


def test_a_build_that_is_interrupted_while_it_listens_ends_in_the_same_rows(movie: Path, tmp_path: Path) -> None:
    whole, out = make(movie).index, tmp_path / "a.idx"
    for number in (1, 2, 1, 3):
        with pytest.raises(KeyboardInterrupt):
            make(movie, out=out, progress=StopAt("speech", number))
    make(movie, out=out)
    assert rows_of(out) == rows_of(whole)


def test_what_is_said_is_added_to_an_index_that_is_there(movie: Path, tmp_path: Path) -> None:
    index = make(movie, speech="off").index
    assert heard(index) == []
    before = index.read_bytes()
    for number in (1, 2, 1):
        with pytest.raises(KeyboardInterrupt):
            listen(index, movie, progress=StopAt("speech", number))
        assert index.read_bytes() == before
    report = listen(index, movie)
    other = make(movie, out=tmp_path / "other.idx", speech="off").index
    listen(other, movie)
    assert rows_of(index) == rows_of(other) and len(heard(index)) == len(BURSTS) and verify(index) == []
    assert not part_path(index).exists() and report.stages["speech"] > 0
    with IndexFile(index) as opened:
        assert opened.sentence_vectors() is not None
    assert listen(index, movie).nothing_to_do
    assert not listen(index, movie, "tiny.en").nothing_to_do and len(heard(index)) == len(BURSTS)
    assert not listen(index, movie, "tiny.en", force=True).nothing_to_do and len(heard(index)) == len(BURSTS)
    assert make(movie).nothing_to_do  # "auto" takes what is there


def test_a_build_adds_what_an_index_lacks_without_encoding_anew(movie: Path) -> None:
    index = make(movie, speech="off").index
    report = make(movie)
    assert "encode" not in report.stages and report.stages["speech"] > 0 and len(heard(index)) == len(BURSTS)


def test_a_build_drops_what_another_recogniser_left_unfinished(movie: Path) -> None:
    index = make(movie, speech="off").index
    before = rows_of(index)
    with pytest.raises(KeyboardInterrupt):
        listen(index, movie, progress=StopAt("speech", 2))
    make(movie, speech="off", force=True)
    assert rows_of(index) == before


def test_an_unfinished_build_is_not_listened_to(movie: Path) -> None:
    index = make(movie, speech="off").index
    with pytest.raises(KeyboardInterrupt):
        make(movie, detector="fixed:2", progress=StopAt("speech", 2))
    with pytest.raises(InputError, match="There is an unfinished build"):
        listen(index, movie)


def test_subtitles_go_before_what_is_heard(movie: Path) -> None:
    movie.with_suffix(".srt").write_text(SPOKEN)
    assert heard(make(movie).index) == []
    index = make(movie, speech="base").index
    assert len(heard(index)) == len(BURSTS)
    with IndexFile(index) as opened:
        assert next(sentence.text for sentence in opened.sentences()) == "Good morning."
        assert len(opened.sentences()) == len(BURSTS)  # the first burst lies under it
    assert verify(index) == []


@pytest.mark.parametrize(
    ("choice", "has_sound", "has_subtitles", "name"),
    [
        ("auto", True, False, "base"),
        ("auto", True, True, None),
        ("auto", False, False, None),
        ("off", True, False, None),
        ("tiny.en", True, True, "tiny.en"),
        ("tiny.en", False, False, None),
    ],
)
def test_which_recogniser_listens(
    monkeypatch: pytest.MonkeyPatch, choice: str, has_sound: bool, has_subtitles: bool, name: str | None
) -> None:
    monkeypatch.setattr("chunkv2l.speech.choice.is_installed", lambda: True)
    assert choose_recogniser(choice, has_sound, has_subtitles) == name


def test_without_the_extra_auto_is_off_and_a_name_is_an_error(movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chunkv2l.speech.choice.is_installed", lambda: False)
    assert heard(make(movie).index) == []
    with pytest.raises(InputError, match=r"faster-whisper, which isn't installed: pip install 'chunkv2l\[speech\]'"):
        make(movie, speech="base")


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def plant(key: str, value: Any) -> Callable[[Path], None]:
    """Return a function that puts a meta value into a file."""
    return lambda path: change(path, f"INSERT OR REPLACE INTO meta VALUES ('{key}', '{json.dumps(value)}')")


def plant_state(state: Any) -> Callable[[Path], None]:
    """Return a function that puts a state of the recogniser into what an interrupted build left."""

    def harm(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            (text,) = connection.execute("SELECT value FROM meta WHERE key = 'listening'").fetchone()
        begun = json.loads(text)
        begun["heard"]["state"] = state
        plant(LISTENING, begun)(path)

    return harm


def plant_signed(statement: str) -> Callable[[Path], None]:
    """Return a function that changes rows of what an interrupted build left, with digests that go with them."""

    def harm(path: Path) -> None:
        change(path, statement)
        sign_part(path)

    return harm


MALFORMED = [
    plant(CHANNELS, [1]),
    plant(CHANNELS, "x"),
    plant(CHANNELS, {"heard": 5}),
    plant(LISTENING, [1]),
    plant(LISTENING, {"heard": 5}),
    plant(LISTENING, {"x": {}}),
    plant(LISTENING, {"heard": {"identity": {}, "state": None, "done": "x"}}),
]
UNFINISHED = plant(LISTENING, {"heard": {"identity": {}, "state": None, "done": 0}})
STATES: list[dict[str, Any]] = [
    {},
    {"sample": "x", "language": ""},
    {"sample": -5, "language": ""},
    {"sample": 10**15, "language": ""},
    {"sample": 16000.5, "language": ""},
    {"sample": 16000, "language": 5},
    {"sample": 16000, "language": "x" * 99},
]
PLANTED = [
    "UPDATE cues SET words = 'x' WHERE id = 0",
    "UPDATE cues SET source = 'x' WHERE id = 0",
    "UPDATE cues SET text = char(27) WHERE id = 0",
    "UPDATE cues SET id = id + 1000",
]


def test_what_is_planted_of_recognisers_and_cues_doesnt_stay(movie: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(movie, out=tmp_path / "stopped.idx", progress=StopAt("speech", 2))
    left, whole = part_path(tmp_path / "stopped.idx").read_bytes(), rows_of(make(movie).index)
    for number, harm in enumerate([*MALFORMED, *map(plant_signed, PLANTED)]):
        copy = tmp_path / f"{number}.part"
        copy.write_bytes(left)
        harm(copy)
        assert check_part(copy) is not None, number
    out = tmp_path / "a.idx"
    for harm in (plant_state(STATES[3]), plant_signed("INSERT INTO subtitles VALUES (0, 0.0, 1.0, 'planted')")):
        part_path(out).write_bytes(left)
        harm(part_path(out))
        assert rows_of(make(movie, out=out).index) == whole
        out.unlink()


def test_states_that_no_step_leaves_are_told(tmp_path: Path) -> None:
    listened = listening.Listening(tmp_path, Track(1, "aac", ""), "base", tmp_path, 40.0)
    assert listened.is_possible({"sample": 16000, "language": "en"}, 40.0)
    assert not any(listened.is_possible(state, 40.0) for state in STATES)


def test_an_index_with_recognisers_that_cant_be_is_refused(tmp_path: Path) -> None:
    sound = write_index(tmp_path / "sound.idx").read_bytes()
    for number, harm in enumerate([*MALFORMED, UNFINISHED]):
        index = tmp_path / f"{number}.idx"
        index.write_bytes(sound)
        harm(index)
        with pytest.raises(InputError, match=r"is damaged or was tampered with: .*recogniser"):
            IndexFile(index)


def test_sound_that_goes_on_behind_the_pictures_isnt_listened_to(
    movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[float] = []

    class Counting(FakeRecogniser):
        def recognise(self, samples: Any, start: float, language: str) -> Any:
            starts.append(start)
            return super().recognise(samples, start, language)

    monkeypatch.setattr(listening, "Whisper", Counting)
    report = make(write(tmp_path / "long.mkv", plain((90, 90, 90), 100), sound=(0.0, 60.0)))
    with IndexFile(report.index) as index:
        end = index.segments[-1].end
        assert end < 10 and all(cue.end <= end for cue in index.cues())
    assert 1 <= len(starts) <= 2
