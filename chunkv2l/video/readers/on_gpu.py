"""Decode on an NVIDIA GPU's own decoders (NVDEC): the frames of FFmpeg's, to the bit, of what isn't damaged.

Each process takes some of the GPU's memory and starts up later, so this is for processes that read a long movie
together (docs/measurements.md#decoding-on-the-gpu). Only 8-bit 4:2:0 pictures come this way; of others the GPU's
layouts differ.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

from chunkv2l.video.probe import MovieInfo, open_container

CODECS: Final = frozenset({"h264", "hevc", "vp9"})
"""FFmpeg's names of the decoders in whose place a GPU's may stand: what they decode is exactly specified."""
FORMAT: Final = "yuv420p"
GIVEN: Final = "nv12"
"""How a GPU hands such pictures over: the same bytes, with the two colour planes interleaved."""
EACH: Final = 1 << 30
"""Bytes of the GPU's memory that must be free for each process that decodes on it."""


def chosen(info: MovieInfo, device: Any, processes: int) -> int | None:
    """The number of the GPU on which so many processes should decode this movie; None: on the CPU.

    Args:
        device: the model's `torch.device`: its GPU is the one.
    """
    if device.type != "cuda" or "cuda" not in hwdevices_available() or not decodable(info):
        return None
    import torch

    number = torch.cuda.current_device() if device.index is None else int(device.index)
    return number if torch.cuda.mem_get_info(number)[0] >= processes * EACH else None


def decodable(info: MovieInfo) -> bool:
    """Whether a GPU may decode this movie, as far as its first picture tells."""
    return info.codec in CODECS and info.pixels == FORMAT


def open_on(path: Path, gpu: int) -> Any:
    """FFmpeg's demuxer on a file whose pictures this GPU decodes; on the CPU as ever where it can't.

    Raises:
        av.FFmpegError, OSError: as `open_container`.
    """
    with suppress(av.FFmpegError):
        return open_container(path, HWAccel("cuda", str(gpu), allow_software_fallback=True))
    return open_container(path)
