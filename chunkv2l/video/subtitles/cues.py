"""Parse .srt and .vtt text into cues, whatever writers of such files got wrong; no text is dropped without a word.

No library: both formats are a page of rules, and what matters is what to do about files that break them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from chunkv2l.sanitize import MAX_TEXT, one_line, strip_invisible

REPAIRED_SECONDS: Final = 1.0
"""Seconds that a cue is taken to last whose end isn't behind its start."""
_TOUCHING: Final = 0.1  # seconds between two cues that show one text rolling on
_FLASH: Final = 0.1  # seconds of a cue that only bridges two others
_ROLLING_SHARE: Final = 0.5  # of the cues that touch the one before them: more, and the file's captions roll
_GAP: Final = 5.0  # seconds between two cues of captions that roll with pauses
_REPEATED: Final = 3  # cues, or runs of equal ones, that show a writer's habit
_REPEATED_SHARE: Final = 0.8  # of the cues or runs that follow it
_ROLLING_LINES: Final = 8  # lines of a cue that are compared with those of the one before

# translators put spaces into times
_TIME = r"([-−])?(?:(\d{1,4}) ?: ?)?(\d{1,2}) ?: ?(\d{1,2})(?: ?[.,:;] ?(\d{1,9}))?"
_ARROW = r"(?:[-–—−]{1,5}\s?(?:>|&gt;)|→|⟶)"
_TIMES = re.compile(rf"\s*{_TIME}\s*{_ARROW}\s*{_TIME}(?:\s.*)?", re.DOTALL)
_ARROWS = re.compile(_ARROW)
_WORD_TIME = re.compile(r"<\d{1,2}:\d{2}[\d:.]*>")
_ATTRIBUTES = r"(?:[^<>\"]*(?:\"[^\"<]*\"[^<>\"]*)*>|[^<>]*>)"
_TAG = re.compile(
    rf"</?(?:v|lang|font)(?=[\s.>/:]){_ATTRIBUTES}|"
    r"</?(?:b|i|u|s|c|ruby|rt|rp|span|p|div|em|strong|strike|br|big|small|sub|sup|tt|center|a|q)(?:\.[^\s<>]*)?"
    rf"\s*(?:/?>|(?<=\s)(?:[\"']|[\w:-]+\s*=){_ATTRIBUTES})|"
    r"</?\d+:[\d:.]+>|\{\\[^{}]*\}|\{[ybiusfcop]:[^{}]*\}",
    re.IGNORECASE,
)
"""Tags that writers of subtitles use; other words in angle brackets are text.

Words behind a tag's name are a voice, a language or a font; behind another name they are text ("a<b and c>d"), unless
they are attributes. Voices go with their tags, as players show them: `<v Ann>Hello` is "Hello".
"""
_RUBY = re.compile(r"<rt(?:\.[^<>]*)?>([^<]*)(?:</rt>)?", re.IGNORECASE)
_BREAK = re.compile(r"\\[Nnh]|<br\s*/?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:[a-z][a-z0-9]{1,30}|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)
_COMMENT = re.compile(r"(?:WEBVTT|NOTE|STYLE|REGION)(?:\s|$)")


@dataclass(frozen=True)
class Cue:
    """A line of text that is shown or spoken in [start, end) seconds of the movie."""

    start: float
    end: float
    text: str

    @property
    def middle(self) -> float:
        """Seconds."""
        return (self.start + self.end) / 2


@dataclass
class _RawCue:
    """A cue as the file has it, its lines without tags."""

    start: float
    end: float
    lines: list[str]


def parse(text: str, problems: list[str]) -> list[Cue]:
    """Parse the text of a .srt or .vtt file.

    A cue is a line of times and the text up to the next one, empty lines or not; numbers, names, notes and styles are
    left out, as are tags. A text longer than an index's line becomes several cues of the same times. In captions that
    roll (each cue shows the last lines of the one before again, or its words and more) each word is in the cue in which
    it is first shown. A line that is shown again later, or right away in a file that doesn't roll, is a cue again.

    Args:
        problems: gets a sentence with a line number for everything that is repaired or can't be understood.

    Returns:
        Cues in order of their starts; equal ones once.
    """
    raw = _once(sorted(_raw_cues(text, problems), key=lambda cue: (cue.start, cue.end)))
    has_gaps = _rolls_over_gaps(raw)
    is_rolling = has_gaps or bool(_WORD_TIME.search(text)) or _rolls(raw)
    reach = _GAP if has_gaps else _TOUCHING
    cues: list[Cue] = []
    shown: _RawCue | None = None
    for cue in raw:
        lines = cue.lines
        if is_rolling and shown is not None and cue.start <= shown.end + reach:
            lines = _new_lines(shown.lines, lines)
            end = max(cue.end, shown.end) if cue.lines == shown.lines else cue.end
        else:
            end = cue.end
        shown = _RawCue(cue.start, end, cue.lines)
        cues += [Cue(cue.start, cue.end, piece) for piece in _split(one_line(" ".join(lines)))]
    return list(dict.fromkeys(cues))


def _once(cues: Sequence[_RawCue]) -> list[_RawCue]:
    """Return the cues of a file that shows everything twice, without the second time; any other file's as they are.

    Some writers put each cue's lines into it twice, others cut each cue into pieces of a second or so with the same
    text. A line that is repeated here and there is said again.
    """
    halves = [(cue.lines[: len(cue.lines) // 2], cue.lines[len(cue.lines) // 2 :]) for cue in cues]
    if len(cues) >= _REPEATED and all(first == second for first, second in halves):
        cues = [_RawCue(cue.start, cue.end, first) for cue, (first, _) in zip(cues, halves, strict=True)]
    runs: list[list[_RawCue]] = []
    for cue in cues:
        is_same = bool(runs) and runs[-1][-1].lines == cue.lines and 0 <= cue.start - runs[-1][-1].end <= _TOUCHING
        if is_same:
            runs[-1].append(cue)
        else:
            runs.append([cue])
    repeated = sum(len(run) > 1 for run in runs)
    if repeated < max(_REPEATED, _REPEATED_SHARE * len(runs)):
        return list(cues)
    return [_RawCue(run[0].start, run[-1].end, run[0].lines) for run in runs]


def _rolls_over_gaps(cues: Sequence[_RawCue]) -> bool:
    """Return True if nearly every cue begins with the line that the cue before ended with, with a pause between."""
    pairs = [(a, b) for a, b in pairwise(cues) if b.start - a.end <= _GAP]
    rolling = sum(a.lines != b.lines and a.lines[-1:] == b.lines[:1] for a, b in pairs)
    return len(pairs) >= _REPEATED and rolling >= _REPEATED_SHARE * len(pairs)


def _rolls(cues: Sequence[_RawCue]) -> bool:
    """Return True if most cues that touch the one before begin with what that one shows."""
    touching = [(a, b) for a, b in pairwise(cues) if b.start <= a.end + _TOUCHING and a.lines != b.lines]
    repeating = sum(_new_lines(a.lines, b.lines) != b.lines for a, b in touching)
    flashes = sum(
        b.end - b.start <= _FLASH and b.start <= a.end + _TOUCHING and a.lines[-len(b.lines) :] == b.lines
        for a, b in pairwise(cues)
    )
    return flashes > 0 or repeating > _ROLLING_SHARE * len(touching)


def _new_lines(before: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Return the lines, or words, of a cue that the cue before doesn't show already."""
    most = min(len(before), len(lines), _ROLLING_LINES)
    repeated = next((count for count in range(most, 0, -1) if list(before[-count:]) == list(lines[:count])), 0)
    if repeated:
        return list(lines[repeated:])
    shown, text = " ".join(before), " ".join(lines)
    return [text[len(shown) :].strip()] if text.startswith(f"{shown} ") else list(lines)


def _split(text: str) -> Iterator[str]:
    """Yield a text in pieces of at most `MAX_TEXT` characters, cut between words where that is possible."""
    while len(text) > MAX_TEXT:
        cut = text.rfind(" ", 1, MAX_TEXT) if " " in text[1:MAX_TEXT] else MAX_TEXT
        yield text[:cut]
        text = text[cut:].lstrip()
    if text:
        yield text


def _raw_cues(text: str, problems: list[str]) -> Iterator[_RawCue]:
    """Yield the cues of a file in its order, those that have text."""
    is_vtt = text.lstrip("\ufeff").startswith("WEBVTT")
    cue: _RawCue | None = None
    block: list[str] = []  # lines since the last empty one
    is_comment = False
    for number, line in enumerate(re.split(r"\r*\n|\r", text), start=1):
        times = _TIMES.fullmatch(line) if _ARROWS.search(line) else None
        if times and not is_comment:
            if cue is not None:
                cue.lines += _without_name(block, is_vtt, bool(cue.lines))
                if cue.lines and cue.end > 0:
                    yield cue
            start, end = _checked_times(times, number, problems)
            cue, block = _RawCue(start, end, []), []
        elif not line.strip():
            if cue is not None:
                cue.lines += block
            block, is_comment = [], False
        elif is_comment:
            continue
        elif not block and _COMMENT.match(line.removeprefix("\ufeff")) and (is_vtt or cue is None):
            is_comment = True
        else:
            if _looks_like_times(line):
                problems.append(
                    f"line {number}: {one_line(line)[:60]!r} aren't the times of a subtitle; "
                    f"it is taken for {'text' if cue is not None else 'nothing'}."
                )
            if shown := _plain(line):
                block.append(shown)
    if cue is not None and (cue.lines + block) and cue.end > 0:
        cue.lines += block
        yield cue


def _looks_like_times(line: str) -> bool:
    """Return True if a line begins or ends like a line of times, but isn't any."""
    return bool(re.match(r"\s*\d{1,4} ?: ?\d{1,2}.*-->|\s*-->\s*\d{1,4} ?:", line))


def _without_name(block: list[str], is_vtt: bool, has_text: bool) -> list[str]:
    """Return the lines right above a line of times, without that cue's number or, in WebVTT, its name."""
    if block and (block[-1].isdecimal() or (is_vtt and has_text and len(block) == 1)):
        return block[:-1]
    return block


def _checked_times(times: re.Match[str], number: int, problems: list[str]) -> tuple[float, float]:
    """Return start and end in seconds, with a sentence where they are moved.

    An end that isn't behind the start is moved, and so is a start before the movie. A cue that is over before the movie
    begins has an end of 0 or less.
    """
    start, end = _seconds(times.groups()[:5]), _seconds(times.groups()[5:])
    if start < end and end <= 0:
        problems.append(
            f"line {number}: a subtitle before the movie begins ({start:g} s to {end:g} s); it is left out."
        )
        return start, end
    if start < 0:
        problems.append(
            f"line {number}: a subtitle that begins before the movie ({start:g} s); it is taken from 0 s on."
        )
        start = 0.0
    if start < end:
        return start, end
    problems.append(
        f"line {number}: a subtitle that ends before it begins ({start:g} s to {end:g} s); "
        f"it is taken to last {REPAIRED_SECONDS:g} s."
    )
    return start, start + REPAIRED_SECONDS


def _seconds(parts: Sequence[str | None]) -> float:
    """Return the seconds of (minus or None, hours, minutes, seconds, digits of the fraction)."""
    minus, hours, minutes, seconds, fraction = parts
    whole = 3600 * int(hours or 0) + 60 * int(minutes or 0) + int(seconds or 0)
    time = float(f"{whole}.{fraction or 0}")
    return -time if minus and time else time


def _plain(line: str) -> str:
    """Return a line without tags, entities and marks of direction; readings over letters (ruby) stay, in brackets."""
    line = _RUBY.sub(lambda match: f"({match[1]})" if match[1].strip() else "", _BREAK.sub(" ", line))
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), _TAG.sub("", line))
    return one_line(strip_invisible(text))
