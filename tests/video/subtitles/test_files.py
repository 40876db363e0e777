"""Subtitle files beside movies, read within bounds, and where their cues go in an index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from chunkv2l.errors import InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.verify import verify
from chunkv2l.indexing.build import build
from chunkv2l.indexing.progress import BuildReport
from chunkv2l.video.detectors import Segment
from chunkv2l.video.subtitles import Cue, Speech, files, find_sidecar, read_subtitles
from tests.helpers.fake_vlm import fake_model
from tests.helpers.indexes import rows_of
from tests.helpers.killed_builds import batches_of_eight
from tests.helpers.movies import block_movie
from tests.helpers.subtitle_texts import SRT

# ---- files


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (["film.srt", "film.vtt", "film.en.srt"], "film.srt"),
        (["film.vtt", "film.en.srt"], "film.vtt"),
        (["film.de.srt", "film.en.vtt", "film.en-GB.srt"], "film.en.vtt"),
        (["film.pt-BR.srt", "film.fr.vtt"], "film.fr.vtt"),
        (["film.de.srt", "film.en.sdh.srt"], "film.en.sdh.srt"),
        (["film.de.srt", "film.en.cc.srt", "film.en.forced.srt"], "film.en.cc.srt"),
        (["film.en.hi.srt", "film.en.srt"], "film.en.srt"),
        (["film.hi.srt"], "film.hi.srt"),
        (["film.forced.srt", "film.de.srt"], "film.de.srt"),
        (["film.mp4.srt", "film.de.srt"], "film.mp4.srt"),
        (["film.English.srt", "film.German.vtt"], "film.English.srt"),
        (["film.mp4.en_US.sdh.vtt"], "film.mp4.en_US.sdh.vtt"),
        (["FILM.srt", "film2.srt", "film.commentary track.srt", "film.txt", "film.4.srt"], None),
        (["film.SRT"], "film.SRT"),
        ([], None),
    ],
)
def test_sidecars(tmp_path: Path, files: list[str], taken: str | None) -> None:
    for name in files:
        (tmp_path / name).write_text(SRT)
    (tmp_path / "film.en").mkdir()
    sidecar = find_sidecar(tmp_path / "film.mp4")
    assert (sidecar and sidecar.name) == taken


def test_names_may_be_spelled_with_other_code_points(tmp_path: Path) -> None:
    (tmp_path / "e\u0301te\u0301.en.srt").write_text(SRT)  # as macOS spells it
    assert find_sidecar(tmp_path / "\u00e9t\u00e9.mp4") is not None


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """Opening it would wait for a writer for ever."""
    os.mkfifo(tmp_path / "a.srt")
    with pytest.raises(InputError, match="isn't a regular file"):
        read_subtitles(tmp_path / "a.srt")
    assert find_sidecar(tmp_path / "a.mp4") is None


def test_a_guessed_encoding_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes("1\n00:00:01,000 --> 00:00:03,000\nПривет всем\n".encode("cp1251"))
    assert read_subtitles(path).cues[0].text == "Привет всем"
    assert "a.srt has no mark of its encoding: cp1251 is a guess (--encoding)." in caplog.text
    caplog.clear()
    assert read_subtitles(path, "cp1251").cues[0].text == "Привет всем" and caplog.text == ""


def test_files_that_cant_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str, content: bytes | None = None) -> str:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_subtitles(tmp_path / name)
        return str(caught.value)

    assert "There is no" in refused("missing.srt")
    assert "neither .srt nor .vtt" in refused("a.ass", b"[Script Info]")
    assert "has no subtitle that can be understood" in refused("b.srt", b"")
    assert "has no subtitle that can be understood" in refused("c.vtt", bytes(range(256)) * 20)
    (tmp_path / "folder.srt").mkdir()
    assert "Can't read" in refused("folder.srt")
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)
    assert "larger than 1 MiB" in refused("d.srt", b"\n" * (1 << 21))
    monkeypatch.setattr(files, "MAX_CUES", 20)
    assert "more than 20 cues" in refused("e.srt", b"-->\n" * 21)


def test_many_bad_cues_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.srt"
    path.write_text(SRT + "\n" + "00:00:09,000 --> 00:00:08,000\nx\n\n" * 30)
    assert len(read_subtitles(path).cues) == 4
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == files.WARNINGS + 1 and "a.srt, line 14:" in told[0] and "25 more" in told[-1]


def test_a_cue_is_spoken_where_its_middle_is() -> None:
    spoken = Speech([Cue(0.0, 30.0, "long"), Cue(1.0, 3.0, "one"), Cue(3.0, 5.0, "edge"), Cue(3.0, 5.5, "most")])
    assert [spoken.within(Segment(i, i + 4.0)) for i in (0.0, 4.0, 8.0, 12.0)] == ["one", "edge most", "", "long"]


# ---- in an index

SPOKEN = """1
00:00:01,000 --> 00:00:02,000
Good morning.

2
00:00:05,500 --> 00:00:09,000
Look at the zebra!

3
00:00:11,000 --> 00:00:20,000
Goodbye.

4
00:01:00,000 --> 00:01:01,000
Behind the end.
"""


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    return block_movie(tmp_path / "movie.mp4", [2.0] * 6)


def make(movie: Path, **options: Any) -> BuildReport:
    return build(movie, model=fake_model(), **{"detector": "fixed:4", **options})


def test_subtitles_are_stored_found_and_spoken_in_their_segments(movie: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "my words.srt"
    file.write_text(SPOKEN)
    report = make(movie, subtitles=file)
    assert report.notices == (
        "Subtitles are taken from my words.srt: 4 cues.",
        "1 of the subtitles begins behind the movie's end (0:12): are they for another cut?",
    )
    with IndexFile(report.index) as index:
        assert [(cue.start, cue.end, cue.text) for cue in index.subtitles()] == [
            (1.0, 2.0, "Good morning."),
            (5.5, 9.0, "Look at the zebra!"),
            (11.0, 12.0, "Goodbye."),
        ]
        assert [segment.speech for segment in index.segments] == ["Good morning.", "Look at the zebra!", "Goodbye."]
        assert [i for i, _ in index.search("zebras")] == [1]
        assert "--subtitles SUBTITLES_FILE" in index.rebuild_command()
    assert verify(report.index) == []
    assert b"my words" not in report.index.read_bytes() and b"elsewhere" not in report.index.read_bytes()


def test_the_sidecar_is_taken_unless_told_otherwise(movie: Path) -> None:
    movie.with_suffix(".en.srt").write_text(SPOKEN)
    report = make(movie)
    assert report.notices[0] == "Subtitles are taken from movie.en.srt: 4 cues."
    with IndexFile(report.index) as index:
        assert index.segments[1].speech == "Look at the zebra!"
    without = make(movie, out=movie.with_name("without.idx"), subtitles=None)
    assert without.notices == ()
    with IndexFile(without.index) as index:
        assert index.subtitles() == () and {segment.speech for segment in index.segments} == {""}
        assert "--subtitles" not in index.rebuild_command()


def test_a_sidecar_that_cant_be_used_is_left_out_one_that_was_asked_for_isnt(movie: Path) -> None:
    movie.with_suffix(".srt").write_text("no subtitles")
    (notice,) = make(movie).notices
    assert "has no subtitle that can be understood" in notice and notice.endswith("It is left out.")
    with pytest.raises(InputError, match="has no subtitle"):
        make(movie, subtitles=movie.with_suffix(".srt"))


def test_their_content_decides_whether_an_index_is_up_to_date(movie: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one.srt", tmp_path / "other.srt"
    one.write_text(SPOKEN)
    assert not make(movie, subtitles=one).nothing_to_do
    other.write_text(SPOKEN)
    assert make(movie, subtitles=other).nothing_to_do
    other.write_text(SPOKEN.replace("zebra", "horse"))
    report = make(movie, subtitles=other)
    assert any("was built with another subtitles: building it anew" in notice for notice in report.notices)
    with IndexFile(report.index) as index:
        assert index.segments[1].speech == "Look at the horse!"


def test_a_part_of_other_subtitles_is_started_over(
    movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches_of_eight(monkeypatch)
    movie.with_suffix(".srt").write_text(SPOKEN)
    whole = make(movie, out=tmp_path / "whole.idx", detector="fixed:1").index

    def stop(told: Any) -> None:
        if told.segments:
            raise KeyboardInterrupt

    for begun, resumed in ((None, 0), ("auto", 8)):
        with pytest.raises(KeyboardInterrupt):
            make(movie, out=tmp_path / "a.idx", detector="fixed:1", subtitles=begun, progress=stop)
        report = make(movie, out=tmp_path / "a.idx", detector="fixed:1")
        assert report.resumed == resumed
        assert rows_of(tmp_path / "a.idx") == rows_of(whole)
        (tmp_path / "a.idx").unlink()


def test_they_never_enter_a_prompt(movie: Path) -> None:
    from chunkv2l.ask import open_index

    movie.with_suffix(".srt").write_text(SPOKEN.replace("zebra", "rocket"))
    model = fake_model()
    path = build(movie, model=model, detector="fixed:4").index
    model.vlm.prompts.clear()
    with open_index(path, model) as index:
        for question in ("When does she say look at the rocket?", "What is on the grass?"):
            index.ask(question)
    words = "What is on the grass?"
    assert {tuple(prompt) for prompt in model.vlm.prompts} == {
        tuple(model.vlm.prompt_ids("")),
        tuple(model.vlm.prompt_ids(words)),
    }
