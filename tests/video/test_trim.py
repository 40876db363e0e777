"""Test clips cut out of movies: what they show and when, sound that stays in step, nothing half-written."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.video import packet_scan, transcode, trim
from chunkv2l.video.notes import Notes
from chunkv2l.video.probe import probe
from chunkv2l.video.readers.pyav import PyAVReader
from chunkv2l.video.trim import MARK, TrimmedClip, cut_clip
from tests.helpers import media

SHADES = [20 + 12 * second for second in range(18)]
"""The brightness of each third of a second: tells when a frame was shown."""
TIMES = [i / 12 + (0.5 if i > 40 else 0.0) for i in range(72)]
"""12 frames a second, with a gap of half a second behind 3.33 s: 6.5 s."""


def write(path: Path, **options: Any) -> Path:
    """A movie whose frames are 1/3 s of one shade each, by frame number; key frames every second."""
    codec = {".avi": "mpeg4"}.get(path.suffix, "libx264")
    frames = [np.full((48, 64, 3), SHADES[number // 4], np.uint8) for number in range(len(TIMES))]
    return media.write(path, frames, TIMES, fps=12, codec=codec, options={"g": "12"}, **options)


def frames_of(path: Path) -> list[tuple[float, int]]:
    """(seconds, brightness) of each frame, on the clip's own clock."""
    with av.open(str(path)) as container:
        assert container.start_time is not None and abs(container.start_time) <= av.time_base // 20
        frames = list(container.decode(video=0))
        return [(float(frame.pts * frame.time_base), int(frame.to_ndarray(format="gray").mean())) for frame in frames]


def sound_of(path: Path, rate: int = 8000) -> Any:
    """The samples, from the clip's beginning on."""
    with av.open(str(path)) as container:
        out = np.zeros(0, np.float32)
        for frame in container.decode(audio=0):
            begin = round(float(frame.pts * frame.time_base) * rate)
            samples = frame.to_ndarray()[0]
            if begin < 0:
                samples, begin = samples[-begin:], 0
            out = np.concatenate([out[:begin], np.zeros(max(0, begin - len(out)), np.float32), samples])
        return out


def shade_at(movie_time: float) -> int:
    """The brightness on screen at a time of the movie."""
    return SHADES[max(i for i, time in enumerate(TIMES) if time <= movie_time + 0.003) // 4]


def keys_of(path: Path) -> list[float]:
    """When key frames are shown, seconds on the movie's timeline."""
    with av.open(str(path)) as container:
        zero = container.start_time / av.time_base
        stamps = [
            packet.pts if packet.pts is not None else packet.dts
            for packet in container.demux(video=0)
            if packet.is_keyframe and packet.size
        ]
        return [float(stamp * container.streams.video[0].time_base) - zero for stamp in stamps]


def first_picture(path: Path) -> float:
    return probe(path).first


@pytest.mark.parametrize("name", ["m.mp4", "m.mkv", "m.mov", "m.ts", "m.avi"])
@pytest.mark.parametrize("start", [0.0, 5.0])
def test_a_copy_begins_at_the_key_frame_before(tmp_path: Path, name: str, start: float) -> None:
    options: dict[str, Any] = {} if name == "m.avi" else {"start": start, "sound": (start, start + 6.5)}
    movie = write(tmp_path / name, **options)
    before = first_picture(movie)
    made = cut_clip(movie, 2.4 + before, 4.0 + before, tmp_path / "out.mkv")
    assert made.path == tmp_path / "out.mkv" and not made.exact
    assert made.start == pytest.approx(max(key for key in keys_of(movie) if key <= 2.4 + before), abs=0.002)
    assert 3.9 + before <= made.end <= 4.7 + before  # pictures that others need are kept
    shown = frames_of(made.path)
    assert shown[0][0] == pytest.approx(0, abs=0.15)
    zero = shown[0][0]
    for time, shade in shown:
        assert abs(shade - shade_at(time - zero + made.start - before)) <= 4
    assert [p for p in tmp_path.iterdir() if p not in (movie, made.path)] == []
    assert f"{2.4 + before - made.start:.1f} s early, at a key frame" in made.describe()


@pytest.mark.parametrize("name", ["m.mp4", "m.mkv", "m.ts"])
@pytest.mark.parametrize("out", ["out.mp4", "out.webm"])
def test_encoded_anew_the_borders_are_exact(tmp_path: Path, name: str, out: str) -> None:
    movie = write(tmp_path / name, start=5.0, sound=(6.0, 8.0))
    offset = first_picture(movie)  # the sound begins behind the pictures, so the timeline is theirs
    start, end = 2.45 + offset, 4.2 + offset
    made = cut_clip(movie, start, end, tmp_path / out, reencode=True)
    assert made.exact and (made.start, made.end) == pytest.approx((start, end))
    shown = frames_of(made.path)
    expected = [2.45, *(time for time in TIMES if 2.45 < time < 4.2)]
    assert [time for time, _ in shown] == pytest.approx([time - 2.45 for time in expected], abs=0.002)
    assert all(abs(shade - shade_at(2.45 + time)) <= 6 for time, shade in shown)
    with av.open(str(made.path)) as container:
        assert container.duration == pytest.approx(1.75 * av.time_base, abs=0.05 * av.time_base)
    loud = np.abs(sound_of(made.path, 48_000 if out == "out.webm" else 8000))
    rate = 48_000 if out == "out.webm" else 8000
    assert loud[: round(0.5 * rate)].max() > 0.1  # the tone goes on until 3.0: for .55 s of the clip
    assert loud[round(0.75 * rate) :].max(initial=0) < 0.05
    assert len(loud) <= 1.8 * rate


def test_sound_that_begins_within_the_clip_comes_behind_silence(tmp_path: Path) -> None:
    movie = write(tmp_path / "m.mp4", sound=(3.0, 6.0))
    made = cut_clip(movie, 2.0, 4.0, tmp_path / "out.mp4", reencode=True)
    loud = np.abs(sound_of(made.path)) > 0.1
    assert np.argmax(loud) / 8000 == pytest.approx(1.0, abs=0.15)  # the encoder's block is .128 s
    assert len(loud) / 8000 == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("exact", [False, True])
def test_rotation_and_the_shape_of_pixels_are_kept(tmp_path: Path, exact: bool) -> None:
    frames = [media.corners()] * 24
    movie = media.write(tmp_path / "m.mp4", frames, fps=12, rotation=90, aspect=Fraction(4, 3))
    cut_clip(movie, 0.5, 1.5, tmp_path / "out.mp4", reencode=exact)
    there, made = probe(movie), probe(tmp_path / "out.mp4")
    assert (made.rotation, made.width, made.height) == (there.rotation, there.width, there.height) == (90, 48, 85)


def test_odd_sizes_and_fine_colours_become_what_players_play(tmp_path: Path) -> None:
    frames = [np.ascontiguousarray(image[:47, :63]) for image in media.scene(1, 24)]
    movie = media.write(tmp_path / "m.mkv", frames, fps=12, pix_fmt="yuv444p10le")
    cut_clip(movie, 0.5, 1.5, tmp_path / "out.mp4", reencode=True)
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.width, context.height, context.pix_fmt) == (62, 46, "yuv420p")


def test_a_stretch_before_the_first_picture_begins_with_it(tmp_path: Path) -> None:
    movie = write(tmp_path / "m.mkv", start=1.0, sound=(0.0, 3.0))
    assert first_picture(movie) == pytest.approx(1.0, abs=0.1)
    for exact in (False, True):
        made = cut_clip(movie, 0.0, 2.0, tmp_path / "out.mp4", reencode=exact)
        assert made.start == pytest.approx(first_picture(movie), abs=0.01)


def test_damaged_pictures_are_passed_over(tmp_path: Path) -> None:
    movie = media.damage(write(tmp_path / "m.ts"), 0.4)
    made = cut_clip(movie, 1.0, 6.0, tmp_path / "out.mp4", reencode=True)
    assert len(frames_of(made.path)) > 10


def test_the_end_of_the_movie_is_the_end_of_the_clip(tmp_path: Path) -> None:
    movie = write(tmp_path / "m.mp4")
    made = cut_clip(movie, 5.0, 1000.0, tmp_path / "out.mp4", reencode=True)
    assert made.end == pytest.approx(probe(movie).duration)
    assert frames_of(made.path)[-1][0] == pytest.approx(TIMES[-1] - 5.0, abs=0.002)


# ---- movies whose streams can't be copied as they are shown, or whose clock can't be trusted


FIXTURES = Path(__file__).parents[1] / "fixtures"


def counted(path: Path, count: int = 150, **options: Any) -> Path:
    """A movie of `count` frames at 25 a second; each four have a brightness of their own."""
    frames = [np.full((48, 64, 3), 20 + number // 4 * 37 % 210, np.uint8) for number in range(count)]
    options = {"options": {"g": "25", "bf": "2"}, **options}
    return media.write(path, frames, fps=25, **options)


def join(path: Path, *parts: Path) -> Path:
    """Several files one behind the other, as recorders and disc rippers join them: the clock starts again."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def held(folder: Path, name: str) -> Path:
    """One picture stays for 40 s."""
    times = [number / 25 for number in range(50)] + [42 + number / 25 for number in range(50)]
    return counted(folder / name, 100, times=times)


def joined_twice(folder: Path, name: str, **options: Any) -> Path:
    suffix = Path(name).suffix
    parts = [counted(folder / f"part {number}{suffix}", 100, **options) for number in range(3)]
    return join(folder / name, *parts)


def jumped(folder: Path, name: str) -> Path:
    """The second recording's clock is an hour behind the first one's."""
    first = counted(folder / "first.ts", 100, start=3600.0, sound=(3600.0, 3604.0))
    return join(folder / name, first, counted(folder / "second.ts", 100, sound=(0.0, 4.0)))


def stepping_back(folder: Path, name: str) -> Path:
    """The second recording's clock begins half a second before the first one's end."""
    first = counted(folder / "first.ts", 100, start=60.0)
    return join(folder / name, first, counted(folder / "second.ts", 100, start=63.5))


def without_its_end(folder: Path, name: str) -> Path:
    """An edit list shows only half of the pictures, from the 13th on."""
    data = bytearray(counted(folder / name).read_bytes())
    at = data.index(b"elst") + 12
    duration, first = int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + 8], "big")
    data[at : at + 8] = (duration // 2).to_bytes(4, "big") + (first + 7200 * 4).to_bytes(4, "big")
    (folder / name).write_bytes(data)
    return folder / name


def fixture(name: str) -> Callable[[Path], Path]:
    return lambda folder: Path(shutil.copy(FIXTURES / name, folder / name))


DIFFICULT: dict[str, tuple[Callable[[Path], Path], list[tuple[float, float]], str]] = {
    "edit list": (fixture("edit_list.mp4"), [(0.5, 2.0), (5.0, 7.5), (8.0, 9.4)], "never shown"),
    "edit list with an end": (
        lambda f: without_its_end(f, "m.mp4"),
        [(0.1, 1.0), (1.5, 2.5), (2.0, 3.0)],
        "never shown",
    ),
    "animation": (fixture("animation.gif"), [(0.5, 2.0), (10.0, 12.0)], "coded as gif, which"),
    "repeated pictures": (fixture("repeated_pictures.ogv"), [(0.5, 2.0), (10.0, 11.5)], ""),
    "raw stream": (lambda f: counted(f / "m.h264"), [(0.5, 2.0), (5.0, 6.0)], "no times of their own"),
    "B-frames in AVI": (lambda f: counted(f / "m.avi", codec="mpeg4"), [(0.5, 2.0), (5.0, 5.9)], ""),
    "H.264 in AVI": (lambda f: counted(f / "m.avi"), [(0.5, 2.0), (5.0, 5.9)], "no times of their own"),
    "motion JPEG": (
        lambda f: counted(f / "m.avi", codec="mjpeg", pix_fmt="yuvj420p", options={}),
        [(0.5, 2.0), (5.0, 6.0)],
        "",
    ),
    "a hold in MP4": (lambda f: held(f, "m.mp4"), [(0.5, 1.5), (10.0, 20.0), (1.5, 42.5)], "much later"),
    "a hold in Matroska": (lambda f: held(f, "m.mkv"), [(0.5, 1.5), (10.0, 20.0), (1.5, 42.5)], "much later"),
    "joined program streams": (
        lambda f: joined_twice(f, "m.mpg", codec="mpeg2video"),
        [(0.5, 2.0), (3.0, 9.0), (10.0, 11.5)],
        "clock jumps",
    ),
    "joined transport streams": (
        lambda f: joined_twice(f, "m.ts", sound=(0.0, 4.0)),
        [(0.5, 2.0), (3.5, 5.0), (10.0, 11.5)],
        "clock jumps",
    ),
    "a clock that goes back": (lambda f: jumped(f, "m.ts"), [(0.5, 2.0), (3.0, 5.0), (6.0, 7.5)], "clock jumps"),
    "a clock that steps back": (lambda f: stepping_back(f, "m.ts"), [(0.5, 2.0), (5.0, 7.0)], "clock jumps"),
    "open groups": (
        lambda f: counted(f / "m.mkv", options={"x264-params": "open-gop=1:bframes=3:keyint=25"}),
        [(1.3, 2.6), (5.0, 6.0)],
        "",
    ),
    "no key frames but the first": (
        lambda f: counted(f / "m.mkv", options={"g": "25", "x264-params": "intra-refresh=1"}),
        [(1.3, 2.6), (5.0, 6.0)],
        "can't be decoded",
    ),
}


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("name", DIFFICULT)
def test_a_clip_shows_the_movies_pictures_from_border_to_border(tmp_path: Path, name: str, suffix: str) -> None:
    make, stretches, reason = DIFFICULT[name]
    movie = make(tmp_path)
    info = probe(movie)
    with closing(PyAVReader(info, notes=Notes(lambda _: None))) as reader:
        pictures = [(frame.time, float(frame.small(16, 16).mean())) for frame in reader.frames()]
    times = [time for time, _ in pictures]
    reasons = set()
    for (start, end), exact in itertools.product(stretches, (False, True)):
        made = cut_clip(movie, start, end, tmp_path / f"out{suffix}", exact, length=times[-1] + 1 / info.fps)
        assert made.start <= max(start, times[0]) + 0.011 and made.end >= min(end, times[-1]) - 0.011
        if made.exact:
            assert (made.start, made.end) == pytest.approx((start, end), abs=0.05)
        reasons |= {made.reason} - {""}
        with av.open(str(made.path)) as clip:
            shown = [
                (float(frame.pts * frame.time_base), float(frame.reformat(16, 16, "bgr24").to_ndarray().mean()))
                for frame in clip.decode(video=0)
            ]
            assert clip.duration / av.time_base == pytest.approx(made.end - made.start, abs=0.15)
        for time, brightness in shown:
            on_screen = max(number for number, at in enumerate(times) if at <= made.start + time - shown[0][0] + 0.003)
            assert brightness == pytest.approx(pictures[on_screen][1], abs=9), (start, end, exact, time)
        if info.codec != "theora":  # empty packets are frames to the reader, and none in a clip
            within = sum(made.start + 0.002 < time < made.end - 0.002 for time in times)
            assert len(shown) == within + 1, (start, end, exact)
    if suffix == ".mp4":
        reasons = {text for text in reasons if "coded as theora, which .mp4 files can't hold" not in text}
    assert all(reason in text for text in reasons) and bool(reasons) == bool(reason), reasons


def test_a_clip_ends_where_the_pictures_end_whatever_the_header_says(tmp_path: Path) -> None:
    movie = joined_twice(tmp_path, "m.mpg", codec="mpeg2video")
    assert probe(movie).duration < 6
    made = cut_clip(movie, 11.0, 20.0, tmp_path / "out.mp4", length=20.0)
    assert (made.start, made.end) == pytest.approx((11.0, 11.8), abs=0.05)  # an encoder's last frames are missing
    with pytest.raises(InputError, match=r"nothing of .* from 12.5 to 13 s: it lasts 1[12]\.\d* s"):
        cut_clip(movie, 12.5, 13.0, tmp_path / "nothing.mp4", length=20.0)
    assert not (tmp_path / "nothing.mp4").exists()


def test_a_damaged_key_frame_is_not_copied(tmp_path: Path) -> None:
    movie = counted(tmp_path / "m.mp4", options={"g": "25", "bf": "0", "sc_threshold": "0"})
    with av.open(str(movie)) as container:
        keys = [packet for packet in container.demux(video=0) if packet.is_keyframe]
        position = next(packet.pos for packet in keys if packet.pts * packet.time_base == 2)
    data = bytearray(movie.read_bytes())
    data[position + 4 : position + 40] = bytes(36)
    movie.write_bytes(data)
    made = cut_clip(movie, 2.3, 4.0, tmp_path / "out.mp4")
    assert made.exact and "can't be decoded" in made.reason


@pytest.mark.parametrize("layout", ["mono", "2.1", "5.1", "7.1", "hexadecagonal"])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_sound_of_any_number_of_channels_is_encoded(tmp_path: Path, layout: str, suffix: str) -> None:
    channels = av.AudioLayout(layout).nb_channels
    with av.open(str(tmp_path / "m.mkv"), "w") as container:
        video: Any = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound: Any = container.add_stream("pcm_s16le", rate=11_111, layout=layout)
        for number in range(50):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), "rgb24")))
            wave = np.repeat((9000 * np.sin(np.arange(444) / 4)).astype(np.int16), channels)[None]
            frame = av.AudioFrame.from_ndarray(wave, "s16", layout)
            frame.sample_rate, frame.pts, frame.time_base = 11_111, 444 * number, Fraction(1, 11_111)
            container.mux(sound.encode(frame))
        container.mux(video.encode())
        container.mux(sound.encode())
    made = cut_clip(tmp_path / "m.mkv", 0.5, 1.5, tmp_path / f"out{suffix}", reencode=True)
    with av.open(str(made.path)) as container:
        frames = list(container.decode(audio=0))
    assert frames[0].layout.nb_channels == min(6, channels)
    assert sum(frame.samples for frame in frames) / frames[0].sample_rate == pytest.approx(1.0, abs=0.1)
    assert max(float(np.abs(frame.to_ndarray()).max()) for frame in frames) > 0.1


# ---- what is refused


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("out.gif", "must end in .mp4, .mov, .mkv, .webm"),
        ("nowhere/out.mp4", "There is no folder"),
        ("other.mp4", "isn't a clip that chunkv2l cut"),
        ("m.mp4", "would replace the movie"),
        ("link.mp4", "would replace the movie"),
    ],
)
def test_files_that_cannot_be_written_are_refused(tmp_path: Path, out: str, message: str) -> None:
    movie = write(tmp_path / "m.mp4")
    other = write(tmp_path / "other.mp4")
    (tmp_path / "link.mp4").symlink_to(movie)
    before = movie.read_bytes(), other.read_bytes()
    with pytest.raises(InputError, match=message):
        cut_clip(movie, 1.0, 2.0, tmp_path / out)
    assert (movie.read_bytes(), other.read_bytes()) == before


def test_names_with_colons_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg takes what lies before a colon for a protocol."""
    write(tmp_path / "movie.mp4").rename(tmp_path / "file:a.mp4")
    monkeypatch.chdir(tmp_path)
    for name in ("0:01.mp4", "http:a%41?b.mp4"):
        made = cut_clip("file:a.mp4", 0.0, 1.0, name)
        assert made.path == Path(name) and probe(name).duration >= 1.0
    assert len(list(tmp_path.iterdir())) == 3


def test_a_clip_of_ours_is_replaced(tmp_path: Path) -> None:
    movie = write(tmp_path / "m.mp4")
    for suffix, exact in itertools.product((".mp4", ".mkv", ".mov"), (False, True)):
        out = tmp_path / f"out{suffix}"
        lengths = []
        for end in (2.0, 3.0):
            cut_clip(movie, 1.0, end, out, reencode=exact)
            lengths.append(len(frames_of(out)))
            with av.open(str(out)) as container:
                assert any(MARK in text and "m.mp4" in text for text in container.metadata.values())
        assert lengths[0] < lengths[1]
        out.unlink()


@pytest.mark.parametrize(("start", "end"), [(3.0, 3.0), (4.0, 3.0), (100.0, 101.0), (-1.0, 2.0), (float("nan"), 2.0)])
def test_stretches_of_nothing(tmp_path: Path, start: float, end: float) -> None:
    movie = write(tmp_path / "m.mp4")
    with pytest.raises(InputError, match="There is nothing of"):
        cut_clip(movie, start, end, tmp_path / "out.mp4")


def test_a_container_that_cannot_hold_the_movie_has_it_encoded_anew(tmp_path: Path) -> None:
    movie = write(tmp_path / "m.mp4")
    made = cut_clip(movie, 1.0, 2.0, tmp_path / "out.webm")
    assert made.exact and (made.start, made.end) == pytest.approx((1.0, 2.0))
    assert made.describe().endswith(
        "encoded anew: the movie's pictures are coded as h264, which .webm files can't hold."
    )
    assert len(frames_of(made.path)) == 12


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("failure", "raised", "message"),
    [
        (OSError(28, "No space left on device"), ChunkV2LError, r"Can't write .*out.mp4 \(the disk is full\)"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_what_dies_on_the_way_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exact: bool,
    failure: BaseException,
    raised: type[BaseException],
    message: str | None,
) -> None:
    movie = write(tmp_path / "m.mp4")
    out = tmp_path / "out.mp4"
    cut_clip(movie, 1.0, 2.0, out)
    before = out.read_bytes()
    count = itertools.count()

    def failing(*arguments: Any) -> Any:
        for packet in original(*arguments):
            if next(count) > 10:
                raise failure
            yield packet

    original = packet_scan.read_mended
    monkeypatch.setattr(trim, "read_mended", failing)
    monkeypatch.setattr(transcode, "read_mended", failing)
    with pytest.raises(raised, match=message):
        cut_clip(movie, 1.0, 6.0, out, reencode=exact)
    assert next(count) > 10
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.mp4", "out.mp4"]


def test_an_encoder_that_isnt_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcode, "ENCODERS", {"mp4": ("none", "aac"), "mov": ("none", "aac")})
    movie = write(tmp_path / "m.mp4")
    with pytest.raises(ChunkV2LError, match=r"name the clip .mkv, without --reencode"):
        cut_clip(movie, 1.0, 2.0, tmp_path / "out.mp4", reencode=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.mp4"]


# ---- a clip in words


def test_a_clip_is_described() -> None:
    said = TrimmedClip(Path("c.mp4"), 33.2, 41.5, (35.0, 41.4), False).describe()
    assert said == (
        "c.mp4: 0:33.2 to 0:41.5 of the movie, copied as it is; "
        "it starts 1.8 s early, at a key frame (--reencode cuts exactly)."
    )
    assert (
        TrimmedClip(Path("c.mp4"), 35.0, 41.4, (35.0, 41.4), True).describe() == "c.mp4: 0:35.0 to 0:41.4 of the movie."
    )
