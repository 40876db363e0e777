"""A GPU decodes where there is one, gives the same, and otherwise nothing changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import VideoReformatter

from chunkv2l.video.notes import Notes
from chunkv2l.video.probe import MovieInfo, probe
from chunkv2l.video.readers import pyav, read_frames
from chunkv2l.video.readers.base import Frame, ReaderError
from chunkv2l.video.readers.decord import decord_installed
from chunkv2l.video.readers.pyav import AVFrame, PyAVReader, choose_gpu, is_gpu_decodable, open_on_gpu
from tests.helpers.media import scene, write

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> MovieInfo:
    return probe(write(tmp_path_factory.mktemp("movie") / "a.mp4", scene(3, 60, (322, 242))))


def free(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (room, room) if device == 1 else (0, 0))


def test_it_is_chosen_where_the_model_is_on_a_gpu_with_room(info: MovieInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 3 * pyav.GPU_MEMORY)
    assert choose_gpu(info, CUDA, 3) == 1
    assert choose_gpu(info, CUDA, 4) is None
    assert choose_gpu(info, CPU, 1) is None
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert choose_gpu(info, torch.device("cuda"), 3) == 1
    monkeypatch.setattr(pyav, "hwdevices_available", lambda: ["vaapi"])
    assert choose_gpu(info, CUDA, 3) is None


@pytest.mark.parametrize(
    ("name", "settings"),
    [("ten.mp4", {"pix_fmt": "yuv420p10le"}), ("full.mp4", {"pix_fmt": "yuv444p"}), ("old.mkv", {"codec": "ffv1"})],
)
def test_other_pictures_are_the_cpus(tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    assert not is_gpu_decodable(probe(write(tmp_path / name, scene(3, 5, (96, 64)), **settings)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_cpu_decodes(info: MovieInfo) -> None:
    same(list(read_frames(info, gpu=0)), list(read_frames(info)))


@pytest.mark.gpu
def test_a_gpu_gives_the_same(info: MovieInfo) -> None:
    with open_on_gpu(info.path, 0) as container:
        assert container.streams.video[0].codec_context.is_hwaccel
    same(list(read_frames(info, gpu=0, start=0.5)), list(read_frames(info, start=0.5)))


def test_pictures_are_the_same_whatever_the_layout_of_their_planes(info: MovieInfo) -> None:
    ours = list(read_frames(info))
    assert all(isinstance(frame, AVFrame) and frame.raw.format.name == pyav.GPU_INPUT for frame in ours)
    given = [
        AVFrame(f.time, f.duration, f.width, VideoReformatter().reformat(f.raw, format=pyav.GPU_OUTPUT), f.scalers)
        for f in ours
        if isinstance(f, AVFrame)
    ]
    same(given, ours)


def test_the_cpu_goes_on_where_the_gpu_fails(
    info: MovieInfo, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Breaks(PyAVReader):
        def frames(self, start: float = 0.0) -> Iterator[Frame]:
            for number, frame in enumerate(super().frames(start)):
                if self.gpu is not None and number == 20:
                    raise ReaderError("the GPU is lost")
                yield frame

    monkeypatch.setattr("chunkv2l.video.readers.PyAVReader", Breaks)
    same(list(read_frames(info, gpu=0)), list(read_frames(info)))
    assert "pyav on the GPU is given up at 0.76 s (the GPU is lost); pyav goes on" in caplog.text


@pytest.mark.parametrize("reader", ["pyav", *(["decord"] if decord_installed() else [])])
def test_a_reader_that_is_asked_for_is_the_cpus(info: MovieInfo, monkeypatch: pytest.MonkeyPatch, reader: str) -> None:
    monkeypatch.setattr(pyav, "open_on_gpu", None)  # calling it would fail
    assert len(list(read_frames(info, reader, gpu=0))) == 60


def same(found: Sequence[Frame], expected: Sequence[Frame]) -> None:
    assert [(f.time, f.duration) for f in found] == [(f.time, f.duration) for f in expected] != []
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.small(64, 48), other.small(64, 48))
        for side in (None, 100):
            assert np.array_equal(one.picture(side), other.picture(side))


@pytest.mark.parametrize("empty", [{5, 6, 7}, {0, 1, 2}, {0, 4, 29}])
def test_empty_packets_repeat_the_picture_before_them(tmp_path: Path, empty: set[int]) -> None:
    path = tmp_path / "a.nut"
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
        packets = [p for image in scene(1, 30) for p in video.encode(av.VideoFrame.from_ndarray(image, "rgb24"))]
        for number, packet in enumerate(packets):
            if number in empty:
                filled, packet = packet, av.Packet(b"")
                packet.pts, packet.dts, packet.time_base = filled.pts, filled.dts, filled.time_base
                packet.stream = video
            container.mux(packet)
    notes = Notes(lambda note: None)
    times = [frame.time for frame in read_frames(probe(path), notes=notes)]
    first = min(set(range(30)) - empty)
    assert times == pytest.approx([n / 25 for n in range(first, 30)]) and not list(notes)
