"""Sound is decoded in a stream, at 16 kHz, on the movie's timeline."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from chunkv2l.errors import InputError
from chunkv2l.speech.audio import MAX_FRAME, RATE, Samples, choose_audio_track, read_samples
from tests.helpers.media import plain, write
from tests.helpers.speech import hear_bursts, write_talk


def read(path: Path, duration: float) -> Samples:
    track = choose_audio_track(path)
    assert track is not None
    return np.concatenate(list(read_samples(path, track, duration)))


@pytest.mark.parametrize("start", [0.0, 5.0])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_sound_is_where_it_is_played(tmp_path: Path, suffix: str, start: float) -> None:
    path = write_talk(tmp_path / f"talk{suffix}", [(1.0, 2.0), (6.0, 6.5)], 8.0, start=start)
    samples = read(path, 8.0)
    assert samples.dtype == np.float32 and abs(len(samples) / RATE - 8.0) < 0.3
    bursts = [time for burst in hear_bursts(samples) for time in burst]
    assert bursts == pytest.approx([1.0, 2.0, 6.0, 6.5], abs=0.2)


def test_sound_that_begins_late_has_silence_before_it(tmp_path: Path) -> None:
    path = write(tmp_path / "late.mkv", plain((90, 90, 90), 100), sound=(2.0, 3.0))
    ((begin, end),) = hear_bursts(read(path, 4.0))
    assert begin == pytest.approx(2.0, abs=0.15) and end == pytest.approx(3.0, abs=0.2)


def test_a_movie_without_sound_has_no_track(tmp_path: Path) -> None:
    path = write(tmp_path / "mute.mkv", plain((90, 90, 90), 5))
    assert choose_audio_track(path) is None
    with pytest.raises(InputError, match="has no audio stream 1; the streams that --audio-track takes are: none"):
        choose_audio_track(path, 1)


def test_a_track_is_chosen_by_its_number(tmp_path: Path) -> None:
    path = write_talk(tmp_path / "talk.mkv", [], 1.0)
    track = choose_audio_track(path, 1)
    assert track is not None and str(track) == "1 (aac)"
    with pytest.raises(InputError, match=r"no audio stream 0; the streams that --audio-track takes are: 1 \(aac\)"):
        choose_audio_track(path, 0)


@pytest.mark.parametrize(("rate", "size"), [(1, 1000), (1, 200_000), (8000, 8000 * MAX_FRAME + 1)])
def test_frames_that_would_fill_the_memory_are_left_out(tmp_path: Path, rate: int, size: int) -> None:
    path = tmp_path / "slow.nut"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, size), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    track = choose_audio_track(path)
    assert track is not None and list(read_samples(path, track, 10.0)) == []


def test_sound_whose_channels_change_is_read_on(tmp_path: Path) -> None:
    data = b""
    for layout, channels, first in (("mono", 1, 0), ("stereo", 2, 2)):
        path = tmp_path / f"{layout}.ts"
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("aac", rate=RATE, layout=layout)
            for number in range(2 * RATE // 1000):
                tone = 0.5 * np.sin((np.arange(1000) + 1000 * number) * 2 * np.pi * 440 / RATE)
                frame = av.AudioFrame.from_ndarray(np.tile(tone.astype(np.float32), (channels, 1)), "fltp", layout)
                frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
                frame.pts = first * RATE + 1000 * number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        data += path.read_bytes()
    (tmp_path / "both.ts").write_bytes(data)
    bursts = hear_bursts(read(tmp_path / "both.ts", 10.0))
    assert bursts[0][0] < 0.2 and bursts[-1][1] > 3.5
