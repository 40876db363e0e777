"""Write cues as people read them: a transcript, and subtitle files (.srt, .vtt). Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from chunkv2l.channels.cues import Channel, ChannelCue, Sentence, Word
from chunkv2l.channels.sentences import drop_covered, join_words, time_words
from chunkv2l.timecode import clock

LINE_LETTERS: Final = 42
"""Letters of a line of subtitles, of which a cue has two."""
_LEAST: Final = 0.001  # seconds that a subtitle is shown


def describe_sentence(sentence: Sentence) -> str:
    """Return a sentence as a line of a transcript; text on the screen is in square brackets."""
    text = f"[{sentence.text}]" if sentence.channel == "read" else sentence.text
    return f"{clock(sentence.start, 1)}  {text}"


def choose_cues(cues: Iterable[ChannelCue], channel: Channel) -> list[ChannelCue]:
    """Return a channel's cues in order of time; what was given goes before what was heard."""
    if channel == "read":
        chosen = [cue for cue in cues if cue.source == "read"]
    else:
        chosen = list(drop_covered([cue for cue in cues if cue.source != "read"]))
    return sorted(chosen, key=lambda cue: (cue.start, cue.end))


def write_srt(cues: Iterable[ChannelCue]) -> str:
    """Return cues as a SubRip file."""
    blocks = (
        f"{number}\n{_stamp(start, ',')} --> {_stamp(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(_shown(cues), 1)
    )
    return "\n".join(blocks)


def write_vtt(cues: Iterable[ChannelCue]) -> str:
    """Return cues as a WebVTT file."""
    blocks = (f"{_stamp(start, '.')} --> {_stamp(end, '.')}\n{_escape(text)}\n" for start, end, text in _shown(cues))
    return "\n".join(["WEBVTT\n", *blocks])


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shown(cues: Iterable[ChannelCue]) -> Iterator[tuple[float, float, str]]:
    """Yield what is shown: two lines at most at a time, at the times of their words."""
    for cue in cues:
        for words in _pieces(time_words(cue)):
            lines = _wrap([word.text for word in words])
            yield words[0].start, max(words[-1].end, words[0].start + _LEAST), "\n".join(lines)


def _pieces(words: Sequence[Word]) -> Iterator[list[Word]]:
    piece: list[Word] = []
    for word in words:
        if piece and len(_wrap([other.text for other in (*piece, word)])) > 2:
            yield piece
            piece = []
        piece.append(word)
    if piece:
        yield piece


def _wrap(words: Sequence[str]) -> list[str]:
    """Return words in lines of `LINE_LETTERS` at most; a longer word has a line of its own."""
    lines: list[list[str]] = []
    for word in words:
        if lines and len(join_words([*lines[-1], word])) <= LINE_LETTERS:
            lines[-1].append(word)
        else:
            lines.append([word])
    return [join_words(line) for line in lines]


def _stamp(seconds: float, point: str) -> str:
    milliseconds = round(1000 * seconds)
    minutes, left = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{left // 1000:02}{point}{left % 1000:03}"
