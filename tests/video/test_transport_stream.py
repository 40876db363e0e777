"""Broadcasts: clocks that jump, programmes with clocks of their own, scrambled streams."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from chunkv2l.errors import InputError
from chunkv2l.speech.audio import choose_audio_track
from chunkv2l.video.frame_sampling import FrameSampling
from chunkv2l.video.notes import Note, Notes
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import read_frames
from chunkv2l.video.segmentation import cut
from chunkv2l.video.settings import SegmentationSettings
from chunkv2l.video.transport_stream import find_jumps, find_programmes, find_scrambled
from chunkv2l.video.trim import cut_clip
from tests.helpers.media import at, colour, plain, scene, whole, write
from tests.helpers.transport import join_programmes, packets_of, scramble

RED, GREEN = (200, 40, 40), (40, 200, 40)


def notes_of(path: Path, stream: int | None = None) -> list[Note]:
    notes = Notes(lambda note: None)
    for _ in cut(path, FrameSampling(at(0.0), whole), SegmentationSettings("fixed:1", stream=stream), notes=notes):
        pass
    return list(notes)


def times_of(path: Path, start: float = 0.0) -> list[float]:
    return [round(frame.time, 2) for frame in read_frames(probe(path), start=start)]


def stamps(*parts: tuple[float, int]) -> list[float]:
    """Return times of a frame each 40 ms, of parts that begin later by so many seconds than they should."""
    return [
        sum(count for _, count in parts[:number]) / 25 + n / 25 + late
        for number, (late, count) in enumerate(parts)
        for n in range(count)
    ]


@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "2"}])
@pytest.mark.parametrize("parts", [[(0, 40), (5000, 60)], [(0, 30), (700, 30), (9000, 40)]])
def test_a_clock_that_jumps_forward_goes_on(
    tmp_path: Path, parts: Sequence[tuple[float, int]], options: dict[str, str]
) -> None:
    path = write(tmp_path / "a.ts", scene(1, 100), stamps(*parts), options=options)
    info = probe(path)
    assert info.duration == pytest.approx(4.0, abs=0.05) and len(info.jumps) == len(parts) - 1
    assert times_of(path) == pytest.approx([n / 25 for n in range(100)], abs=0.011)
    assert times_of(path, 3.0) == pytest.approx([n / 25 for n in range(75, 100)], abs=0.05)
    (first, *_) = notes_of(path)
    assert first.kind == "clock" and first.text.endswith("; what follows is taken to go on there.")


def test_a_clip_across_a_jump_is_cut_by_the_timeline(tmp_path: Path) -> None:
    frames = plain(RED, 50) + plain(GREEN, 50)
    path = write(tmp_path / "a.ts", frames, stamps((0, 50), (5000, 50)))
    clip = cut_clip(path, 1.0, 3.0, tmp_path / "clip.mp4", True)
    assert clip.end - clip.start == pytest.approx(2.0, abs=0.1)
    shown = list(read_frames(probe(tmp_path / "clip.mp4")))
    assert len(shown) == pytest.approx(50, abs=3) and shown[-1].time < 2.2
    assert colour(shown[0].picture()) != colour(shown[-1].picture())


@pytest.mark.parametrize(("late", "sound"), [(300, None), (300, (0.0, 304.0))])
def test_a_long_still_stays(tmp_path: Path, late: float, sound: tuple[float, float] | None) -> None:
    path = write(tmp_path / "a.ts", scene(1, 100), stamps((0, 50), (late, 50)), sound=sound)
    assert probe(path).jumps == () and times_of(path)[-1] == pytest.approx(late + 4, abs=0.1)


def test_sound_that_stops_with_the_pictures_shows_a_smaller_jump(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / "0.ts", scene(0, 50), sound=(0.0, 2.0)),
        write(tmp_path / "1.ts", scene(1, 50), start=200.0, sound=(200.0, 202.0)),
    ]
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    (jump,) = find_jumps(path, 256, frozenset({256, 257}))
    assert float(jump.by) == pytest.approx(198, abs=0.3) and len(times_of(path)) == 100


def test_a_jump_behind_a_packet_that_is_cut(tmp_path: Path) -> None:
    first = write(tmp_path / "0.ts", scene(0, 100)).read_bytes()
    second = write(tmp_path / "1.ts", scene(1, 50), start=5000.0).read_bytes()
    path = tmp_path / "a.ts"
    path.write_bytes(first[: len(first) // 2 // 188 * 188 + 100] + second)
    assert len(probe(path).jumps) == 1 and times_of(path)[-1] < 7


def test_a_larger_packet_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ts", scene(1, 100), stamps((0, 50), (5000, 50)))
    wide = tmp_path / "b.m2ts"
    wide.write_bytes(b"".join(b"\0\0\0\0" + packet for packet in packets_of(path.read_bytes())))
    assert find_programmes(wide) == (frozenset({256}),) and len(probe(wide).jumps) == 1
    assert times_of(wide) == times_of(path)


@pytest.fixture(scope="module")
def two_programmes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A red programme, and a larger green one whose clock is 10,000 s ahead, both with sound."""
    folder = tmp_path_factory.mktemp("programmes")
    first = write(folder / "1.ts", plain(RED, 50), sound=(0.0, 2.0))
    second = write(folder / "2.ts", plain(GREEN, 75, (96, 64)), start=10_000.0)
    return join_programmes(first.read_bytes(), second.read_bytes())


def test_programmes_have_clocks_of_their_own(tmp_path: Path, two_programmes: bytes) -> None:
    path = tmp_path / "a.ts"
    path.write_bytes(two_programmes)
    assert find_programmes(path) == (frozenset({256, 257}), frozenset({512}))
    info = probe(path)
    assert (info.width, info.first) == (96, 0.0) and info.duration == pytest.approx(3.0, abs=0.1)
    frames = list(read_frames(info))
    assert len(frames) == 75 and frames[-1].time == pytest.approx(2.96, abs=0.02)
    assert choose_audio_track(path, None, info.stream) is None
    (other,) = (stream.number for stream in info.video_streams if stream.number != info.stream)
    assert len(list(read_frames(probe(path, other)))) == 50
    track = choose_audio_track(path, None, other)
    assert track is not None and track == choose_audio_track(path)
    assert any("has 2 video streams" in note.text for note in notes_of(path))


def test_the_clear_programme_is_taken_and_the_scrambled_one_is_named(tmp_path: Path, two_programmes: bytes) -> None:
    path = tmp_path / "a.ts"
    path.write_bytes(scramble(two_programmes, 512))
    assert find_scrambled(path) == {512}
    info = probe(path)
    assert info.width == 64 and len(times_of(path)) == 50
    texts = [note.text for note in notes_of(path)]
    assert any("scrambled)" in text for text in texts) and any("scrambled, and left out" in text for text in texts)
    with pytest.raises(InputError, match="is encrypted"):
        probe(path, info.scrambled[0])


def test_scrambled_sound_is_left_out_and_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ts", plain(RED, 50), sound=(0.0, 2.0))
    path.write_bytes(scramble(path.read_bytes(), 257))
    assert len(times_of(path)) == 50 and choose_audio_track(path) is None
    assert notes_of(path) == [
        Note("stream", "Of a.ts, stream 1 is scrambled, and left out: get a copy without encryption.")
    ]


@pytest.mark.parametrize("data", [b"", b"\x47" * 5000, bytes(5000), b"\x47" + bytes(187)])
def test_other_files_have_no_programmes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.ts"
    path.write_bytes(data)
    assert find_programmes(path) == () and find_scrambled(path) == frozenset()
    assert find_jumps(path, 256, frozenset({256})) == ()


@pytest.mark.parametrize(("suffix", "codec"), [("m2v", "mpeg2video"), ("m1v", "mpeg1video")])
@pytest.mark.parametrize("order", ["0", "2"])
def test_coded_pictures_without_a_container_begin_at_once(tmp_path: Path, suffix: str, codec: str, order: str) -> None:
    path = write(tmp_path / f"a.{suffix}", scene(1, 30), codec=codec, options={"bf": order})
    info = probe(path)
    assert info.first == 0.0 and info.duration == pytest.approx(1.2)
    assert times_of(path) == pytest.approx([n / 25 for n in range(30)])
    clip = cut_clip(path, 0.4, 0.8, tmp_path / "clip.mp4", True)
    assert (clip.start, clip.end) == pytest.approx((0.4, 0.8), abs=0.05)
