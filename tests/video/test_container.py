"""Which video stream of a file is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkv2l.errors import InputError
from chunkv2l.video.clip import read_clip
from chunkv2l.video.container import open_container, origin, packets
from chunkv2l.video.frame_sampling import FrameSampling
from chunkv2l.video.notes import Note, Notes
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import read_frames
from chunkv2l.video.readers.base import ReaderError
from chunkv2l.video.readers.decord import DecordReader, decord_installed
from chunkv2l.video.segmentation import cut
from chunkv2l.video.settings import SegmentationSettings
from tests.helpers.media import at, colour, plain, scene, whole, write, write_streams

SMALL = (plain((200, 40, 40), 30, (32, 24)), 25.0)
LARGE = (plain((40, 200, 40), 30, (64, 48)), 25.0)
STILL = (plain((40, 40, 200), 1, (128, 96)), 25.0)


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
        assert float(origin(container, stream)) == pytest.approx(0.5, abs=0.03)
        assert sum(bool(packet.size) for packet in packets(container, stream)) == 25
