"""Transcripts and subtitle files are written, and read back as they were."""

from __future__ import annotations

import itertools

import pytest

from chunkv2l.channels.cues import ChannelCue, Sentence, Word
from chunkv2l.channels.transcript import LINE_LETTERS, choose_cues, describe_sentence, write_srt, write_vtt
from chunkv2l.video.subtitles import parse

GIVEN = ChannelCue(1.0, 2.5, "Good <morning> & hello.", "given")
HEARD = ChannelCue(1.0, 2.0, "Good moaning.", "heard", 0.9, (Word(1.0, 1.5, "Good"), Word(1.5, 2.0, "moaning.")))
LATER = ChannelCue(3661.25, 3663.0, "An hour later.", "heard", 0.9)
READ = ChannelCue(0.0, 9.0, "EXIT", "read", 0.9)


def test_what_was_given_goes_before_what_was_heard() -> None:
    assert choose_cues([LATER, HEARD, GIVEN, READ], "heard") == [GIVEN, LATER]
    assert choose_cues([LATER, HEARD, GIVEN, READ], "read") == [READ]


@pytest.mark.parametrize("write", [write_srt, write_vtt])
def test_subtitles_are_read_back(write: object) -> None:
    text = (write_srt if write is write_srt else write_vtt)([GIVEN, LATER])
    assert [(cue.start, cue.end, cue.text) for cue in parse(text, [])] == [
        (1.0, 2.5, "Good <morning> & hello."),
        (3661.25, 3663.0, "An hour later."),
    ]
    assert text.startswith("1\n00:00:01,000 --> 00:00:02,500\n") or text.startswith("WEBVTT\n\n00:00:01.000 --> ")


def test_long_cues_are_shown_in_pieces_of_two_lines() -> None:
    cue = ChannelCue(0.0, 30.0, " ".join(f"word{i}" for i in range(60)), "given")
    pieces = parse(write_srt([cue]), [])
    assert " ".join(piece.text for piece in pieces) == cue.text and len(pieces) > 3
    assert all(a.end == pytest.approx(b.start, abs=0.002) for a, b in itertools.pairwise(pieces))
    assert max(map(len, write_srt([cue]).splitlines())) <= LINE_LETTERS


def test_text_on_the_screen_is_marked() -> None:
    assert describe_sentence(Sentence(62.44, 63.0, "EXIT", "read")) == "1:02.4  [EXIT]"
    assert describe_sentence(Sentence(62.44, 63.0, "Hello.", "heard")) == "1:02.4  Hello."


def test_nothing_makes_empty_files() -> None:
    assert write_srt([]) == "" and write_vtt([]) == "WEBVTT\n"
