"""Subtitle files as they are found in the wild, and where their cues go in an index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkv2l.errors import InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.verify import verify
from chunkv2l.indexing.build import build
from chunkv2l.indexing.progress import BuildReport
from chunkv2l.sanitize import is_line
from chunkv2l.video import subtitles
from chunkv2l.video.detectors import Segment
from chunkv2l.video.subtitles import Cue, Spoken, decode, find_sidecar, parse, read_subtitles
from tests.helpers.fake_vlm import fake_model
from tests.helpers.indexes import rows_of
from tests.helpers.killed_builds import batches_of_eight
from tests.helpers.movies import block_movie

SRT = """1
00:00:01,000 --> 00:00:02,500
Hello <i>there</i>!

2
00:00:03,000 --> 00:00:05,000
{\\an8}- Where is the cat?
- <font color="#ff0000">I &amp; she</font> don't know.

3
01:02:03,456 --> 01:02:04,000
A < B, 5 > 3, <3
"""
VTT = """WEBVTT - a title
Kind: captions

NOTE
00:00:09.000 --> 00:00:10.000
this is a note

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.500 align:start position:0%
<v Ann>Hello <c.loud>there</c>!

00:03.000 --> 00:05.000
<00:03.500><c>Where</c> is&nbsp;it? &lt;here&gt;
"""


def texts(content: str) -> list[str]:
    return [cue.text for cue in parse(content, [])]


def test_srt() -> None:
    bad: list[str] = []
    assert parse(SRT, bad) == [
        Cue(1.0, 2.5, "Hello there!"),
        Cue(3.0, 5.0, "- Where is the cat? - I & she don't know."),
        Cue(3723.456, 3724.0, "A < B, 5 > 3, <3"),
    ]
    assert bad == []


def test_vtt() -> None:
    bad: list[str] = []
    assert parse(VTT, bad) == [Cue(1.0, 2.5, "Hello there!"), Cue(3.0, 5.0, "Where is it? <here>")]
    assert bad == []


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings_and_line_ends(encoding: str, newline: str) -> None:
    content = SRT.replace("cat", "café – “déjà vu”").replace("\n", newline)
    bad: list[str] = []
    assert (
        parse(decode(content.encode(encoding)), bad)[1].text == "- Where is the café – “déjà vu”? - I & she don't know."
        and bad == []
    )


def test_bytes_that_mean_nothing_are_still_text() -> None:
    assert decode(b"caf\xe9 \x81") == "café \x81"
    assert decode(b"\xff\xfea\x00b") == "a�"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1\n00:00:05,000 --> 00:00:02,000\nBackwards.\n", "line 2: a subtitle that ends before it begins"),
        ("1\n00:00:01,000 --> soon\nNever.\n", "line 2: '00:00:01,000 --> soon' aren't the times of a subtitle"),
        ("\n\n7\n--> 00:00:01,000\nNever.\n", "line 4: "),
    ],
)
def test_bad_cues_are_told_with_their_line_and_the_rest_is_taken(content: str, words: str) -> None:
    bad: list[str] = []
    cues = parse(content + "\n2\n00:00:06,000 --> 00:00:07,000\nForwards.\n", bad)
    assert cues == [Cue(6.0, 7.0, "Forwards.")]
    assert len(bad) == 1 and bad[0].startswith(words)


def test_what_is_often_missing() -> None:
    assert parse("00:01 --> 00:02\nNo number.\n3\n0:0:2.5-->0:0:3\nNo empty line.", []) == [
        Cue(1.0, 2.0, "No number."),
        Cue(2.5, 3.0, "No empty line."),
    ]
    assert texts("1\n00:00:01,000 --> 00:00:02,000\n<b></b>\n\n") == []
    assert texts("1\n00:00:01,000 --> 00:00:02,000\nOne.\n\nand a line that belongs to nothing\n\n") == ["One."]
    assert texts("1\n00:00:01,000 --> 00:00:02,000\nHe turns -> there.\n1984\n\n") == ["He turns -> there. 1984"]


def test_overlapping_cues_are_ordered_by_their_start_and_told_once() -> None:
    cue = "00:00:0{},000 --> 00:00:0{},000\n{}\n\n"
    content = cue.format(4, 9, "Later.") + cue.format(1, 6, "First.") + cue.format(2, 3, "Inside.") * 2
    assert parse(content, []) == [Cue(1.0, 6.0, "First."), Cue(2.0, 3.0, "Inside."), Cue(4.0, 9.0, "Later.")]


def test_captions_that_roll_on_are_told_once() -> None:
    """As automatic captions come: the last line again above each new one, and a flash of it alone between."""
    content = """WEBVTT

00:00.000 --> 00:02.000
so today we

00:02.000 --> 00:02.010
so today we

00:02.010 --> 00:04.000
so today we
bake a cake

00:04.000 --> 00:06.000
bake a cake
of course

00:30.000 --> 00:31.000
of course
"""
    assert parse(content, []) == [
        Cue(0.0, 2.0, "so today we"),
        Cue(2.01, 4.0, "bake a cake"),
        Cue(4.0, 6.0, "of course"),
        Cue(30.0, 31.0, "of course"),
    ]


@given(st.lists(st.sampled_from([*SRT.split("\n"), *VTT.split("\n"), "", "9", "x --> y", "\u202e\x00"]), max_size=30))
def test_whatever_is_in_it_cues_can_be_stored(lines: list[str]) -> None:
    cues = parse("\n".join(lines), [])
    assert all(cue.start < cue.end and cue.text and is_line(cue.text) for cue in cues)
    assert [cue.start for cue in cues] == sorted(cue.start for cue in cues) and len(set(cues)) == len(cues)


@given(st.binary(max_size=400))
def test_no_bytes_break_it(data: bytes) -> None:
    parse(decode(data), [])


# ---- files


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (["film.srt", "film.vtt", "film.en.srt"], "film.srt"),
        (["film.vtt", "film.en.srt"], "film.vtt"),
        (["film.de.srt", "film.en.vtt", "film.en-GB.srt"], "film.en.vtt"),
        (["film.pt-BR.srt", "film.fr.vtt"], "film.fr.vtt"),
        (["FILM.srt", "film2.srt", "film.commentary track.srt", "film.txt", "film.4.srt"], None),
        (["film.SRT"], "film.SRT"),
        ([], None),
    ],
)
def test_sidecars(tmp_path: Path, files: list[str], taken: str | None) -> None:
    for name in files:
        (tmp_path / name).write_text(SRT)
    (tmp_path / "film.en").mkdir()
    found = find_sidecar(tmp_path / "film.mp4")
    assert (found and found.name) == taken


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
    monkeypatch.setattr(subtitles, "MAX_BYTES", 1 << 20)
    assert "larger than 1 MiB" in refused("d.srt", b"\n" * (1 << 21))


def test_many_bad_cues_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.srt"
    path.write_text(SRT + "\n" + "x --> y\n\n" * 30)
    assert len(read_subtitles(path).cues) == 3
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == subtitles.WARNINGS + 1 and "a.srt, line 14:" in told[0] and "25 more" in told[-1]


def test_a_cue_is_spoken_where_its_middle_is() -> None:
    spoken = Spoken([Cue(0.0, 30.0, "long"), Cue(1.0, 3.0, "one"), Cue(3.0, 5.0, "edge"), Cue(3.0, 5.5, "most")])
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
        "Subtitles are taken from my words.srt: 3 cues.",
        "1 of its cues begin behind the movie's end: is it for another cut?",
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
    assert report.notices[0] == "Subtitles are taken from movie.en.srt: 3 cues."
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
    assert "was built with another subtitles: building it anew" in report.notices[-1]
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
