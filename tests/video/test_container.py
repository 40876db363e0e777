"""Which formats are read, none of which opens another file, and which video stream of a file."""

from __future__ import annotations

import os
from pathlib import Path

import av
import pytest

from chunkv2l.errors import InputError
from chunkv2l.speech.audio import choose_audio_track
from chunkv2l.video.clip import read_clip
from chunkv2l.video.container import FORMATS, open_container, packets, timeline
from chunkv2l.video.frame_sampling import FrameSampling
from chunkv2l.video.notes import Note, Notes
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import read_frames
from chunkv2l.video.readers.base import ReaderError
from chunkv2l.video.readers.decord import DecordReader, decord_installed
from chunkv2l.video.segmentation import cut
from chunkv2l.video.settings import SegmentationSettings
from chunkv2l.video.subtitles.streams import choose_subtitle_stream
from tests.helpers.media import at, colour, plain, refer_elsewhere, scene, whole, write, write_streams

SMALL = (plain((200, 40, 40), 30, (32, 24)), 25.0)
LARGE = (plain((40, 200, 40), 30, (64, 48)), 25.0)
STILL = (plain((40, 40, 200), 1, (128, 96)), 25.0)

ORDINARY = {
    **{"mp4": "libx264", "m4v": "mpeg4", "mov": "mpeg4", "3gp": "mpeg4", "ismv": "libx264", "f4v": "libx264"},
    **{"mkv": "libx264", "webm": "libvpx", "avi": "mpeg4", "wmv": "wmv2", "asf": "msmpeg4", "flv": "flv"},
    **{"ts": "mpeg2video", "m2ts": "libx264", "mts": "libx264", "mpg": "mpeg1video", "vob": "mpeg2video"},
    **{"m1v": "mpeg1video", "m2v": "mpeg2video", "h264": "libx264", "hevc": "libx265", "ivf": "libvpx"},
    **{"nut": "ffv1", "mxf": "mpeg2video", "wtv": "mpeg2video", "rm": "rv10", "h261": "h261", "h263": "h263"},
    **{"y4m": "rawvideo", "swf": "flv", "gif": "gif", "apng": "apng"},
}
"""Codecs by suffix of formats that are read."""
LISTS = {
    "vobsub.mp4": b"# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n",
    "tagged.mp4": b"ID3\x03\0\0\0\0\0\0# VobSub index file, v7\nid: en, index: 0\n",
    "tagged more.mkv": b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + b"# VobSub index file, v7\nid: en, index: 0\n",
    "concat.mp4": b"ffconcat version 1.0\nfile other.sub\n",
    "hls.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\nother.sub\n#EXT-X-ENDLIST\n",
    "dash.mpd": b'<?xml version="1.0"?><MPD type="static" profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period>'
    b'<AdaptationSet mimeType="video/mp4"><Representation id="0" bandwidth="1"><BaseURL>other.sub</BaseURL>'
    b"</Representation></AdaptationSet></Period></MPD>",
    "sdp.mp4": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "numbered %d.png": b"\x89PNG\r\n\x1a\n",
    "film.MLV": b"MLVI" + (52).to_bytes(4, "little") + b"v2.0" + bytes(24) + b"\x04" + bytes(27),
}
"""Files of formats that open others: those called `other.sub`, or as they are but for the ending."""


@pytest.mark.parametrize("suffix", ORDINARY)
def test_ordinary_formats_are_read(tmp_path: Path, suffix: str) -> None:
    codec = ORDINARY[suffix]
    pix_fmt = {"gif": "rgb8", "apng": "rgb24"}.get(suffix, "yuv420p")
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as target:
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = target.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 352, 288, pix_fmt
        for image in plain((40, 200, 40), 5, (352, 288)):
            target.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pix_fmt)))
        target.mux(stream.encode())
    info = probe(path)
    assert info.height == 288 and info.codec
    with open_container(path) as container:
        assert set(container.format.name.split(",")) & set(FORMATS)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes as on Unix")
@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", LISTS)
def test_no_file_opens_another(tmp_path: Path, name: str) -> None:
    """What opens one of these pipes hangs."""
    path = tmp_path / name
    path.write_bytes(LISTS[name])
    others = [path.with_suffix(suffix).name for suffix in (".sub", ".SUB", ".M00")] + [
        f"numbered {i}.png" for i in "01"
    ]
    for other in ("other.sub", *others):
        os.mkfifo(tmp_path / other)
    with pytest.raises(InputError, match="is not a movie"):
        probe(path)
    with pytest.raises(InputError, match="The sound of"):
        choose_audio_track(path)
    assert choose_subtitle_stream(path) is None


def test_tracks_in_another_file_are_left_there(tmp_path: Path) -> None:
    frames = {name: plain(shade, 5) for name, shade in (("a.mov", (40, 200, 40)), ("other.mov", (200, 40, 40)))}
    path, other = (write(tmp_path / name, images, codec="png", pix_fmt="rgb24") for name, images in frames.items())
    refer_elsewhere(path, str(tmp_path), other.name)
    with av.open(str(path), options={"enable_drefs": "1", "use_absolute_path": "1"}) as container:
        assert {colour(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)} == {(200, 40, 40)}
    with pytest.raises(InputError, match="without a single picture"):
        probe(path)


def test_pipes_and_folders_are_not_opened(tmp_path: Path) -> None:
    with pytest.raises(av.ArgumentError, match="Not a regular file"):
        open_container(tmp_path)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_of_streams_alike_the_largest_is_read(tmp_path: Path, suffix: str) -> None:
    is_default = suffix == "mp4"  # without any flag, the first of its tracks would be the default one
    path = write_streams(tmp_path / f"a.{suffix}", (*SMALL, is_default), (*LARGE, is_default))
    info = probe(path)
    assert (info.stream, info.width, info.height) == (1, 64, 48)
    assert [(s.number, s.codec, s.width, s.height) for s in info.video_streams] == [
        (0, "h264", 32, 24), (1, "h264", 64, 48)
    ]  # fmt: skip


def test_the_default_stream_comes_before_a_larger_one(tmp_path: Path) -> None:
    assert probe(write_streams(tmp_path / "a.mkv", (*LARGE, False), (*SMALL, True))).stream == 1


@pytest.mark.parametrize("is_default", [False, True])
def test_a_still_is_read_only_where_nothing_moves(tmp_path: Path, is_default: bool) -> None:
    path = write_streams(tmp_path / "a.mkv", (*STILL, is_default), (*SMALL, not is_default))
    assert probe(path).stream == 1
    assert probe(write_streams(tmp_path / "b.mkv", (*STILL, True))).stream == 0


def test_the_stream_is_chosen_by_number(tmp_path: Path) -> None:
    path = write_streams(tmp_path / "a.mkv", (*SMALL, False), (*LARGE, True))
    info = probe(path, 0)
    assert (info.stream, info.width) == (0, 32)
    assert {colour(frame.picture()) for frame in read_frames(info)} == {(200, 40, 40)}
    with pytest.raises(InputError, match=r"no video stream 2; .* take.*: 0 \(h264, 32 × 24\), 1 \(h264, 64 × 48\)\."):
        probe(path, 2)


def cut_colours(path: Path, stream: int | None = None) -> tuple[set[tuple[int, int, int]], list[Note]]:
    notes = Notes()
    items = list(cut(path, FrameSampling(at(0.0), whole), SegmentationSettings(stream=stream), notes=notes))
    return {colour(item.clip.frames[0]) for item in items}, list(notes)


def test_a_note_says_which_stream_was_read_unless_it_was_asked_for(tmp_path: Path) -> None:
    path = write_streams(tmp_path / "a.mkv", (*SMALL, False), (*LARGE, True))
    colours, (note,) = cut_colours(path)
    assert colours == {(40, 200, 40)}
    assert note.kind == "stream"
    assert "stream 1 (h264, 64 × 48) is read. --stream chooses another: 0 (h264, 32 × 24)." in note.text
    assert cut_colours(path, 0) == ({(200, 40, 40)}, [])
    assert cut_colours(write(tmp_path / "b.mkv", LARGE[0]))[1] == []


def test_clips_are_read_from_the_same_stream(tmp_path: Path) -> None:
    path = write_streams(tmp_path / "a.mkv", (*SMALL, False), (*LARGE, True))
    assert colour(read_clip(path, at(0.0), whole).frames[0]) == (40, 200, 40)


@pytest.mark.skipif(not decord_installed(), reason="decord has no wheel here")
def test_decord_reads_no_movie_with_several_streams(tmp_path: Path) -> None:
    info = probe(write_streams(tmp_path / "a.mkv", (*SMALL, False), (*LARGE, True)))
    with pytest.raises(ReaderError, match="decord can't choose"):
        DecordReader(info)


def test_the_timeline_starts_with_the_earliest_stream(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", scene(1, 25), start=1.5, sound=(0.5, 3.0))
    with open_container(path) as container:
        stream = container.streams.video[0]
        assert float(timeline(container, stream).origin) == pytest.approx(0.5, abs=0.03)
        assert sum(bool(packet.size) for packet in packets(container, stream)) == 25
