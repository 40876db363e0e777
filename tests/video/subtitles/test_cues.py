"""Cues out of .srt and .vtt text, sound or broken: no word is lost, and each is where it is first shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkv2l.sanitize import MAX_TEXT, is_line
from chunkv2l.video.subtitles import Cue, parse
from tests.helpers.subtitle_texts import SRT, VTT


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


@pytest.mark.parametrize(
    ("times", "expected", "words"),
    [
        ("00:00:05,000 --> 00:00:02,000", Cue(5.0, 6.0, "Words."), "line 2: a subtitle that ends before it begins"),
        ("00:00:05,000 --> 00:00:05,000", Cue(5.0, 6.0, "Words."), "line 2: a subtitle that ends before it begins"),
    ],
)
def test_an_end_before_the_start_is_repaired_and_said(times: str, expected: Cue, words: str) -> None:
    problems: list[str] = []
    cues = parse(f"1\n{times}\nWords.\n\n2\n00:00:06,000 --> 00:00:07,000\nForwards.\n", problems)
    assert cues == [expected, Cue(6.0, 7.0, "Forwards.")]
    assert len(problems) == 1 and problems[0].startswith(words)


@pytest.mark.parametrize("times", ["00:00:01,000 --> soon", "--> 00:00:01,000"])
def test_times_that_cant_be_understood_are_said(times: str) -> None:
    problems: list[str] = []
    cues = parse(f"1\n{times}\nNever.\n\n2\n00:00:06,000 --> 00:00:07,000\nForwards.\n", problems)
    assert cues == [Cue(6.0, 7.0, "Forwards.")]
    assert problems == [f"line 2: {times!r} aren't the times of a subtitle; it is taken for nothing."]


def test_what_is_often_missing() -> None:
    assert parse("00:01 --> 00:02\nNo number.\n3\n0:0:2.5-->0:0:3\nNo empty line.", []) == [
        Cue(1.0, 2.0, "No number."),
        Cue(2.5, 3.0, "No empty line."),
    ]
    assert texts("1\n00:00:01,000 --> 00:00:02,000\n<b></b>\n\n") == []
    assert texts("1\n00:00:01,000 --> 00:00:02,000\nOne.\n\nand a line behind an empty one\n\n") == [
        "One. and a line behind an empty one"
    ]
    assert texts("1\n00:00:01,000 --> 00:00:02,000\nHe turns -> there.\n1984\n\n") == ["He turns -> there. 1984"]


@pytest.mark.parametrize("times", ["00: 00: 01, 500 --> 00: 00: 02, 000", "00:00:01 ,500 -- > 00:00:02 ,000"])
def test_spaces_within_times_as_translators_put_them(times: str) -> None:
    problems: list[str] = []
    assert parse(f"1\n{times}\nHello.\n", problems) == [Cue(1.5, 2.0, "Hello.")] and problems == []


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


@pytest.mark.parametrize(
    "arrow", ["->", "-->", " -> ", "\t-->\t", " – > ", " —> ", " --&gt; ", " → ", " ----> "], ids=ascii
)
@pytest.mark.parametrize("mark", [",", ".", ":", ";"])
def test_arrows_and_marks_as_people_and_programs_write_them(arrow: str, mark: str) -> None:
    first = f"1\n00:00:04{mark}500{arrow}00:00:05{mark}250\nfirst\n\n"
    content = f"{first}2\n00:01:00{mark}000{arrow}01:01:01{mark}000 X1:6\nsecond\n"
    assert parse(content, []) == [Cue(4.5, 5.25, "first"), Cue(60.0, 3661.0, "second")]


@pytest.mark.parametrize("minus", ["-", "−"])
@pytest.mark.parametrize(
    ("times", "start", "end", "words"),
    [
        ("{}00:00:00,500 --> 00:00:00,700", 0.0, 0.7, "begins before the movie (-0.5 s)"),
        ("{}01:00:00,000 --> 00:00:02,000", 0.0, 2.0, "begins before the movie (-3600 s)"),
        ("{0}00:02,000 --> {0}00:03,000", 0.0, 1.0, "begins before the movie (-2 s)"),
        ("{0}00:00,000 --> {0}00:00,000", 0.0, 1.0, "ends before it begins (0 s to 0 s)"),
        ("{0}00:02,000 --> {0}00:01,000", None, None, "line 4: a subtitle before the movie begins (-2 s to -1 s)"),
        ("{0}00:01,000 --> 00:00,000", None, None, "it is left out"),
    ],
)
def test_times_before_the_movie(minus: str, times: str, start: float | None, end: float, words: str) -> None:
    problems: list[str] = []
    cues = parse(f"WEBVTT\n\n1\n{times.format(minus)}\nearly\n\n2\n00:04,000 --> 00:05,000\nlater\n", problems)
    assert cues == [*([] if start is None else [Cue(start, end, "early")]), Cue(4.0, 5.0, "later")]
    assert words in problems[0]


def test_an_empty_line_behind_the_times_loses_no_text() -> None:
    haddock = "00:01.000 --> 00:03.000 line:79%\n\nHaddock saw it\nand asked."
    content = f"WEBVTT\n\n{haddock}\n\nname of a cue\n00:04.000 --> 00:06.000\nWho?"
    assert parse(content, []) == [Cue(1.0, 3.0, "Haddock saw it and asked."), Cue(4.0, 6.0, "Who?")]
    assert texts("1\n00:00:01,000 --> 00:00:02,000\n\n\n \nLate.\n\n2\n00:00:03,000 --> 00:00:04,000\n\n") == ["Late."]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{\\an8}{\\pos(10,20)}<font color="#fff">Over <b>here</b></font>', "Over here"),
        ("{y:i}old italics", "old italics"),
        ("{\\k20}ka{\\k30}ra{\\k10}o{\\k20}ke", "karaoke"),
        ("<i>unclosed and 3 < 5 > 2 <3 hearts", "unclosed and 3 < 5 > 2 <3 hearts"),
        ("a\\Nb\\nc\\hd<br/>e", "a b c d e"),
        ("<ruby>漢<rt>kan</rt>字<rt>ji</rt></ruby>", "漢(kan)字(ji)"),
        ("<v.loud Ann O'Hara>Hello</v> <c.yellow.bg_blue>there</c>", "Hello there"),
        ("{not a tag} {1}", "{not a tag} {1}"),
        ("<John> speaks <sighs>", "<John> speaks <sighs>"),
        ("<b >bold</b > <I>it</I> &copy; 2026 &Eacute;", "bold it © 2026 É"),
        ("♪ ♪ [MUSIC]", "♪ ♪ [MUSIC]"),
        ("a<b and c>d", "a<b and c>d"),
        ("press <1> <00:01.500>now", "press <1> now"),
        ("a<b <i>or</i> c>d, x <s and <b>y", "a<b or c>d, x <s and y"),
        ("a <big and red> dog </b or> <p Class=EN>x <a href='u' target>y<br />z", "a <big and red> dog </b or> x y z"),
        ("<v Mary Ann>Hello <lang en-GB>there</lang>", "Hello there"),
        ('<font face="A > B">odd quote</font> a<b>c</b>d <i "open>x', "odd quote acd x"),
        ("Tom &amp; Jerry &#233; &lt;b&gt;", "Tom & Jerry é <b>"),
    ],
)
def test_tags_go_and_text_stays(line: str, shown: str) -> None:
    assert texts(f"1\n00:00:01,000 --> 00:00:02,000\n{line}\n") == [shown]


def test_lines_that_end_twice_are_lines() -> None:
    """As files are that were converted to CR LF twice."""
    first = "1\n00:00:01,000 --> 00:00:02,000\nalpha\nsecond line\n\n"
    content = f"{first}2\n00:00:03,000 --> 00:00:04,000\nbeta\n".replace("\n", "\r\r\n")
    assert parse(content, []) == [Cue(1.0, 2.0, "alpha second line"), Cue(3.0, 4.0, "beta")]


def test_a_line_said_twice_is_two_cues() -> None:
    cue = "{0}\n00:00:0{0},000 --> 00:00:0{1},000\nJingle bell\n\n"
    assert [c.start for c in parse(cue.format(1, 3) + cue.format(3, 5) + cue.format(6, 7), [])] == [1.0, 3.0, 6.0]


def test_captions_that_roll_by_words_are_where_each_word_is_first_shown() -> None:
    rolled = """WEBVTT

00:00:00.030 --> 00:00:03.720 align:start position:0%
\u0020
what's<00:00:00.719><c> up</c><00:00:00.930><c> YouTube</c>

00:00:03.720 --> 00:00:03.730 align:start position:0%
what's up YouTube
\u0020

00:00:03.730 --> 00:00:06.000 align:start position:0%
what's up YouTube
into<00:00:04.719><c> some</c>
"""
    assert parse(rolled, []) == [Cue(0.03, 3.72, "what's up YouTube"), Cue(3.73, 6.0, "into some")]
    shown = ["HELLO", "HELLO THERE", "HELLO THERE FRIEND"]
    grown = "".join(f"00:0{i}.000 --> 00:0{i + 1}.000\n{text}\n\n" for i, text in enumerate(shown, start=1))
    assert parse(grown, []) == [Cue(1.0, 2.0, "HELLO"), Cue(2.0, 3.0, "THERE"), Cue(3.0, 4.0, "FRIEND")]


def test_a_text_longer_than_a_line_of_an_index_becomes_several_cues() -> None:
    words = [f"word{i}" for i in range(20_000)]
    cues = parse("1\n00:00:01,000 --> 00:00:02,000\n" + " ".join(words), [])
    assert len(cues) > 1 and all(len(cue.text) <= MAX_TEXT and (cue.start, cue.end) == (1.0, 2.0) for cue in cues)
    assert " ".join(cue.text for cue in cues).split() == words


def test_many_lines_take_time_in_proportion() -> None:
    """Two cues of the same 30,000 lines: comparing all of them with all would take minutes, the suite's limit."""
    lines = "\n".join(str(i) for i in range(100_000, 130_000))
    content = "".join(f"1\n00:00:0{i},000 --> 00:00:0{i + 1},000\nx\n{lines}\n\n" for i in range(4))
    assert len(parse(content, [])) == 16


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("&lrm;Hello&rlm;", "Hello"),
        ("\u200fשלום\u200e &lrm;", "שלום"),
        ("&#8206;one &#x200f;two", "one two"),
        ("so&shy;ft&zwnj; &#xfeff;words", "soft words"),
        ("\u202bمی\u200cخواهم\u202c", "می\u200cخواهم"),
        ("fish &amp; chips &lt;here&gt;", "fish & chips <here>"),
    ],
)
def test_marks_of_direction_are_no_text(written: str, text: str) -> None:
    assert [cue.text for cue in parse(f"00:01.000 --> 00:02.000\n{written}\n", [])] == [text]


LINES = ["one apple", "two pears", "three plums", "four figs", "five nuts"]


def captions(*cues: tuple[float, float, str]) -> str:
    return "WEBVTT\n\n" + "\n\n".join(f"00:{a:06.3f} --> 00:{b:06.3f} line:90%\n{text}" for a, b, text in cues)


REPEATED = {
    "each cue in two pieces": captions(*((n, n + 1, LINES[n // 2]) for n in range(10))),
    "each line twice in its cue": captions(*((2 * n, 2 * n + 2, f"{LINES[n]}\n{LINES[n]}") for n in range(5))),
    "rolling": captions(*((2 * n, 2 * n + 2, "\n".join(LINES[max(0, n - 1) : n + 1])) for n in range(5))),
    "rolling, each cue in two pieces": captions(
        *((n, n + 1, "\n".join(LINES[max(0, n // 2 - 1) : n // 2 + 1])) for n in range(10))
    ),
}


@pytest.mark.parametrize("name", REPEATED)
def test_what_a_file_shows_twice_throughout_is_said_once(name: str) -> None:
    assert parse(REPEATED[name], []) == [Cue(2 * n, 2 * n + 2, line) for n, line in enumerate(LINES)]


def test_captions_that_roll_with_pauses_are_said_once() -> None:
    rolling = captions(*((3 * n, 3 * n + 1, "\n".join(LINES[max(0, n - 1) : n + 1])) for n in range(5)))
    assert parse(rolling, []) == [Cue(3 * n, 3 * n + 1, line) for n, line in enumerate(LINES)]


def test_what_is_repeated_here_and_there_is_said_again() -> None:
    said = ["la la", "la la", "now go", "now go", "what?", "no", "no", "well", "yes"]
    assert [cue.text for cue in parse(captions(*((n, n + 1, text) for n, text in enumerate(said))), [])] == said
