"""Subtitles inside a movie's file are read, where none lie beside it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from chunkv2l.video.notes import Notes
from chunkv2l.video.subtitles import take_subtitles
from chunkv2l.video.subtitles.streams import choose_subtitle_stream, read_stream

HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize\r\n"
    b"Style: Default,Arial,16\r\n\r\n"
    b"[Events]\r\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)
TEXTS = ((1.0, 2.5, "Good morning, all."), (3.0, 4.0, "It is raining."))


def write_movie(
    path: Path,
    codecs: Sequence[str],
    languages: Sequence[str] = (),
    start: float = 0.0,
    texts: Sequence[tuple[float, float, str]] = TEXTS,
) -> Path:
    """A movie with a text stream for each codec; the n-th says its number behind each text."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=5)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        streams: list[Any] = []
        for number, codec in enumerate(codecs):
            stream: Any = container.add_stream(codec)
            stream.time_base = Fraction(1, 1000)
            stream.codec_context.subtitle_header = HEADER
            if number < len(languages):
                stream.metadata["language"] = languages[number]
            streams.append(stream)
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * number, np.uint8), "rgb24")
            frame.pts, frame.time_base = round((start + number / 5) * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for line, (begin, end, text) in enumerate(texts):
            for number, (codec, stream) in enumerate(zip(codecs, streams, strict=True)):
                container.mux(_packet(codec, stream, line, start + begin, end - begin, f"{text} {number}"))
    return path


def _packet(codec: str, stream: Any, line: int, begin: float, length: float, text: str) -> Any:
    data = text.encode()
    if codec == "mov_text":
        data = len(data).to_bytes(2, "big") + data
    elif codec == "ass":
        data = f"{line},0,Default,,0,0,0,,{{\\i1}}{text}".encode()
    packet: Any = av.Packet(data)
    packet.pts = packet.dts = round(1000 * begin)
    packet.duration, packet.time_base, packet.stream = round(1000 * length), Fraction(1, 1000), stream
    return packet


@pytest.mark.parametrize("start", [0.0, 5.0])
@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mkv", "subrip"), (".mkv", "ass"), (".mkv", "webvtt"), (".mp4", "mov_text")]
)
def test_a_text_stream_is_read(tmp_path: Path, suffix: str, codec: str, start: float) -> None:
    if codec == "mov_text" and start:
        pytest.skip("MP4 keeps a late start in an edit list of the pictures alone")
    path = write_movie(tmp_path / f"movie{suffix}", [codec], start=start)
    stream = choose_subtitle_stream(path)
    assert stream is not None and stream.number == 1
    cues, sha256 = read_stream(path, stream, [])
    assert [cue.text for cue in cues] == [f"{text} 0" for _, _, text in TEXTS]
    times = [time for cue in cues for time in (cue.start, cue.end)]
    assert times == pytest.approx([time for begin, end, _ in TEXTS for time in (begin, end)], abs=0.01)
    assert len(sha256) == 64 and read_stream(path, stream, []) == (cues, sha256)


def test_drawings_are_no_words_however_many_there_are(tmp_path: Path) -> None:
    """A megabyte of a block without an end took a quarter of an hour."""
    texts = [
        (1.0, 1.5, "{\\p1}m 0 0 l 9 9"),
        (2.0, 2.5, "{\\i1}{\\b1\\p2\\b0}m 0 0 l 9 9"),
        (3.0, 3.5, "{\\i1}Open \\p1 the door."),
        (4.0, 4.5, "{" + "\\p1" * 60_000),
    ]
    path = write_movie(tmp_path / "movie.mkv", ["ass"], texts=texts)
    stream = choose_subtitle_stream(path)
    assert stream is not None
    started = time.process_time()
    cues, _ = read_stream(path, stream, [])
    assert time.process_time() - started < 2.0
    assert cues[0].start == pytest.approx(3.0, abs=0.01) and cues[0].text == "Open \\p1 the door. 0"


def test_english_comes_first(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "movie.mkv", ["subrip", "subrip"], ["ger", "eng"])
    stream = choose_subtitle_stream(path)
    assert stream is not None and str(stream) == "2 (srt, eng)"


def test_a_file_beside_the_movie_goes_before_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_movie(tmp_path / "movie.mkv", ["subrip"])
    inside = take_subtitles(path, "auto", notes=Notes())
    assert inside is not None and [cue.text for cue in inside.cues] == ["Good morning, all. 0", "It is raining. 0"]
    assert "Subtitles are taken from stream 1 (srt) of movie.mkv: 2 cues." in caplog.text
    assert take_subtitles(path, None) is None
    path.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nBeside it.\n")
    beside = take_subtitles(path, "auto", notes=Notes())
    assert beside is not None and [cue.text for cue in beside.cues] == ["Beside it."]
