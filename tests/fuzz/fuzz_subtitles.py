"""Fuzz subtitles: every word that goes into a file comes out of it, once, at its time, however the file is written.

    python tests/fuzz/fuzz_subtitles.py --seconds 60

Words are numbered, so that none can stand for another. Files differ in format, arrows, marks, numbers, empty lines,
tags, encodings and in whether captions roll. Random bytes must never be more than a sentence.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hypothesis import strategies as st

from chunkv2l.errors import InputError
from chunkv2l.sanitize import is_line
from chunkv2l.video.subtitles import decode, parse, read_subtitles
from tests.fuzz.harness import Case, main

ARROWS = (" --> ", "-->", "\t-->\t", " -> ", " – > ", " --&gt; ", " → ")
TAGS = ("{}", "<i>{}</i>", "<font color=red>{}", "{{\\an8}}{}", "<v Ann>{}</v>", "{{y:i}}{}", "<c.x>{}</c>")
GAPS = ("\n", "\n\n", "\n \n", "\r\n\r\n")

cues = st.lists(
    st.tuples(
        st.integers(0, 3000),  # milliseconds behind the cue before
        st.integers(1, 9000),  # milliseconds that it lasts
        st.lists(st.integers(1, 4), min_size=1, max_size=3),  # words in each of its lines
        st.sampled_from(TAGS),
        st.booleans(),  # an empty line between the times and the text
        st.booleans(),  # an empty line inside the text
    ),
    min_size=1,
    max_size=12,
)
forms = st.tuples(
    st.booleans(),  # WebVTT
    st.booleans(),  # with numbers or names
    st.sampled_from(ARROWS),
    st.sampled_from([",", "."]),
    st.sampled_from(GAPS),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]),
)


class Target:
    """Files of subtitles, and how many words they had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = self.words = 0

    def cases(self) -> list[Case]:
        return [
            Case(self.keep_words, (cues, forms), 100),
            Case(self.roll, (st.lists(st.integers(1, 4), min_size=3, max_size=12), forms), 40),
            Case(self.survive, (st.binary(max_size=600),), 100),
        ]

    def keep_words(self, parts: list[Any], form: tuple[Any, ...]) -> None:
        """Words of cues that don't touch come out in order, each in a cue of its own times."""
        number, now = 0, 0
        expected: list[tuple[float, float, list[str]]] = []
        blocks: list[tuple[int, int, str]] = []
        for gap, length, lines, tag, empty_first, empty_inside in parts:
            start, end = now + gap + 200, now + gap + 200 + length
            now = end
            texts = []
            for count in lines:
                texts.append([f"wörd{number + i}" for i in range(count)])
                number += count
            shown = [tag.format(" ".join(text)) for text in texts]
            separator = "\n\n" if empty_inside else "\n"
            blocks.append((start, end, ("\n" if empty_first else "") + separator.join(shown)))
            expected.append((start / 1000, end / 1000, [word for text in texts for word in text]))
        assert self.read(blocks, form) == expected
        self.words += number

    def roll(self, counts: list[int], form: tuple[Any, ...]) -> None:
        """Of captions that repeat the line above each new one, every word is in the cue that first shows it."""
        number, before = 0, ""
        expected: list[tuple[float, float, list[str]]] = []
        blocks = []
        for i, count in enumerate(counts):
            words = [f"wörd{number + k}" for k in range(count)]
            line = " ".join(words)
            blocks.append((2000 * i, 2000 * i + 2000, f"{before}\n{line}" if before else line))
            expected.append((2.0 * i, 2.0 * i + 2.0, words))
            number, before = number + count, line
        assert self.read(blocks, form) == expected
        self.words += number

    def read(self, blocks: list[tuple[int, int, str]], form: tuple[Any, ...]) -> list[tuple[float, float, list[str]]]:
        is_vtt, has_names, arrow, mark, gap, encoding = form
        gap = "\n\n" if is_vtt and gap == "\n" else gap
        text = "WEBVTT\n\n" if is_vtt else ""
        for i, (start, end, shown) in enumerate(blocks, start=1):
            name = (f"cue {i}\n" if is_vtt else f"{i}\n") if has_names else ""
            text += f"{name}{stamp(start, mark)}{arrow}{stamp(end, mark)}\n{shown}{gap}"
        self.files += 1
        decoded = decode(text.encode(encoding))
        problems: list[str] = []
        parsed = parse(decoded.text, problems)
        assert not problems and decoded.is_guessed == (encoding == "utf-16-le")
        return [(cue.start, cue.end, cue.text.split()) for cue in parsed]

    def survive(self, data: bytes) -> None:
        path = self.folder / "x.srt"
        path.write_bytes(data)
        try:
            subtitles = read_subtitles(path)
        except InputError:
            return
        assert all(cue.start < cue.end and cue.text and is_line(cue.text) for cue in subtitles.cues)

    def __str__(self) -> str:
        return f"{self.files} files, {self.words} words"


def stamp(milliseconds: int, mark: str) -> str:
    """Format a time as subtitles have it."""
    seconds, thousandths = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{thousandths:03}"


if __name__ == "__main__":
    main(__doc__, "subtitles", Target)
