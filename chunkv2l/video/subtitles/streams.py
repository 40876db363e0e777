"""Read the subtitles that a movie's file holds itself: text streams such as SubRip, ASS and MP4's timed text."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import av

from chunkv2l.sanitize import one_line
from chunkv2l.video.container import Track, open_container, packets, timeline
from chunkv2l.video.subtitles.cues import Cue, parse

TEXT_CODECS: Final = frozenset({"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"})
"""FFmpeg's names of the subtitle codecs that hold text; others hold pictures."""
MAX_LETTERS: Final = 16 << 20
"""Letters of a stream's subtitles that are read."""
MAX_CUES: Final = 200_000
_ENGLISH: Final = frozenset({"en", "eng"})
_FIELDS: Final = 8  # of a line of ASS before its text
_DRAWING = re.compile(r"\\p[1-9]")  # in a block of braces


def choose_subtitle_stream(movie: Path) -> Track | None:
    """Return the text stream that is read: complete before forced ones, the default, English, the first; or None."""
    with suppress(av.FFmpegError, ValueError), open_container(movie) as container:
        streams = [s for s in container.streams.subtitles if s.codec_context is not None]
        texts = [s for s in streams if s.codec_context.name in TEXT_CODECS]
        if texts:
            chosen = max(texts, key=_rank)
            return Track.of(chosen)
    return None


def _rank(stream: Any) -> tuple[bool, bool, bool, int]:
    flags = stream.disposition
    is_forced = bool(flags & av.stream.Disposition.forced)
    is_default = bool(flags & av.stream.Disposition.default)
    return not is_forced, is_default, Track.of(stream).language in _ENGLISH, -stream.index


def read_stream(movie: Path, stream: Track, problems: list[str]) -> tuple[tuple[Cue, ...], str]:
    """Return the cues of a text stream, and the SHA-256 of what they were read from.

    Args:
        problems: as for `parse`.
    """
    blocks: list[str] = []
    letters = 0
    with suppress(av.FFmpegError, ValueError), open_container(movie) as container:
        track: Any = container.streams[stream.number]
        line = timeline(container, track)
        for packet in packets(container, track):
            if packet.pts is None or not packet.size:
                continue
            begin = float(line.at(packet.pts))
            end = begin + float((packet.duration or 0) * line.base)
            text = _read_packet(packet)
            letters += len(text)
            if letters > MAX_LETTERS or len(blocks) >= MAX_CUES:
                break
            if text and begin >= 0:
                blocks.append(f"{_clock(begin)} --> {_clock(end)}\n{text}\n")
    whole = "\n".join(blocks)
    return tuple(parse(whole, problems)), hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()


def _read_packet(packet: Any) -> str:
    """Return a packet's text, its lines apart; "" for a drawing, or for what can't be decoded."""
    try:
        rectangles = list(packet.decode())
    except (av.FFmpegError, ValueError, UnicodeError):
        return ""
    lines: list[str] = []
    for rectangle in rectangles:
        raw = getattr(rectangle, "ass", b"") or b""
        line = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
        text = line.split(",", _FIELDS)[-1] if line.count(",") >= _FIELDS else line
        if not _is_drawing(text):
            lines += [one_line(part) for part in re.split(r"\\[Nn]", text)]
    return "\n".join(line for line in lines if line)


def _is_drawing(text: str) -> bool:
    """Return whether a block of braces turns what follows into a drawing: its coordinates are no words."""
    blocks = (after.partition("}") for after in text.split("{")[1:])
    return any(end and _DRAWING.search(block) for block, end, _ in blocks)


def _clock(seconds: float) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest_ms = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest_ms // 1000:02},{rest_ms % 1000:03}"
