"""Try each reader on a test movie, and a model on two clips like those of the reference's tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from chunkv2l.defaults import MODEL
from chunkv2l.doctor.finding import Finding, Level, describe_error, first_line, guard, installed_version
from chunkv2l.sanitize import plural

if TYPE_CHECKING:
    from chunkv2l.models import Model, ModelSpec

CLIP_SECONDS: Final = (3, 5)
_FPS, _HEIGHT, _WIDTH = 10, 40, 60
_MAX_PIXEL_ERROR: Final = 12.0
"""Mean difference, of 255, at which a picture isn't the one that was written."""


# --- readers ---------------------------------------------------------------------------------------------------------


def try_readers() -> Iterator[Finding]:
    """Write a test movie and read it with each reader."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.mp4"
        written = guard("test movie", partial(write_clip, path))
        if written.level == "problem":
            yield written
            return
        for reader in ("pyav", "decord"):
            yield try_reader(reader, path)


def _each_second(duration: float, fps: float) -> list[float]:
    """Return the full seconds of a clip."""
    return [float(second) for second in range(max(1, int(duration)))]


def try_reader(reader: str, path: Path) -> Finding:
    """Read the test movie with one reader and look at what comes out."""
    from chunkv2l.video.clip import read_clip

    subject = f"reader {reader}"
    if reader == "decord" and installed_version("decord") is None and installed_version("decord2") is None:
        return Finding(subject, "note", "decord isn't installed; it is only needed for --reader decord.")
    try:
        clip = read_clip(path, _each_second, np.asarray, reader=reader)
    except Exception as error:
        level: Level = "problem" if reader == "pyav" else "note"
        return Finding(subject, level, f"It can't read a plain MP4 ({type(error).__name__}: {first_line(error)}).")
    off = max(
        float(np.abs(frame.astype(float) - draw_picture(time)).mean())
        for frame, time in zip(clip.frames, clip.times, strict=True)
    )
    if off > _MAX_PIXEL_ERROR:
        return Finding(subject, "problem", f"It reads other pictures than were written (mean difference {off:.0f}).")
    return Finding(
        subject, "ok", f"{plural(len(clip.frames), 'picture')} of a test movie, at {_list_seconds(clip.times)}."
    )


# --- a model ---------------------------------------------------------------------------------------------------------


def try_model(spec: ModelSpec) -> Iterator[Finding]:
    """Load a model, compare it with the paper's, internalise two clips and caption them without frames."""
    name = spec.name or MODEL
    try:
        from chunkv2l.models import load_model

        model = load_model(spec)
    except Exception as error:
        yield Finding(name, "problem", describe_error(error))
        return
    config = model.hypernet.config
    yield Finding(
        name,
        "ok",
        f"Loaded on {model.vlm.device}: {config.num_layers} blocks, {config.rank} ranks of {config.latent_size}.",
    )
    yield from compare(name, model)
    for seconds in CLIP_SECONDS:
        yield guard(f"caption of a {seconds}-second clip", partial(_caption, model, seconds))


def compare(name: str, model: Model) -> Iterator[Finding]:
    """Compare a model with what its publication says of it; models that nobody published yield nothing."""
    from chunkv2l.models.registry import loaders

    for item in [item for loader in loaders() for item in loader.compare(name, model)]:
        if item.actual == item.expected:
            yield Finding(f"{name}: {item.subject}", "ok", f"{item.actual!r}, as the paper's.")
        else:
            yield Finding(
                f"{name}: {item.subject}",
                "problem",
                f"{item.actual!r}, but the paper's is {item.expected!r}: adapters won't be those of the reference.",
            )


def _caption(model: Model, seconds: int) -> Finding:
    """Caption a test clip from its adapter alone."""
    import torch

    from chunkv2l.adapter.algebra import concat
    from chunkv2l.video.clip import read_clip

    subject = f"caption of a {seconds}-second clip"
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "clip.mp4"
        write_clip(path, seconds)
        clip = read_clip(path, model.vlm.sampling.times, model.vlm.sampling.shrink)
        states, mask = model.vlm.encode([clip])
        adapter = concat(model.hypernet.expand(model.hypernet.encode(states, mask)).unbind(), bias=model.hypernet.bias)
        if not bool(torch.isfinite(adapter.A).all() and torch.isfinite(adapter.B).all()):
            return Finding(subject, "problem", "The adapter has values that aren't numbers: the weights are damaged.")
        caption = model.vlm.generate([model.vlm.caption_question], adapter, 40)[0]
    return Finding(
        subject,
        "ok",
        f'"{caption}" ({plural(len(clip.frames), "frame")}, showing a red square before a coloured wall).',
    )


# --- the test clips --------------------------------------------------------------------------------------------------


def draw_picture(time: float) -> NDArray[np.uint8]:
    """Return the test clips' picture at a time, uint8 [40, 60, 3]: a red square moves over a purple to green wall."""
    across = np.linspace(0, 1, _WIDTH)[None, :, None]
    wall = (1 - across) * np.array([90, 0, 90]) + across * np.array([90, 240, 90])
    frame = np.repeat(wall, _HEIGHT, axis=0)
    left = round(15 * time) % (_WIDTH - 16)
    frame[10:30, left : left + 16] = (230, min(40 + 20 * time, 255), 30)
    return frame.astype(np.uint8)


def write_clip(path: Path, seconds: int = CLIP_SECONDS[0]) -> Finding:
    """Write a test clip as a movie of so many seconds."""
    import av

    from chunkv2l.video.container import create_container

    with create_container(path) as container:
        stream: Any = container.add_stream("mpeg4", rate=_FPS)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = _WIDTH, _HEIGHT, "yuv420p", 2_000_000
        for number in range(seconds * _FPS):
            for packet in stream.encode(av.VideoFrame.from_ndarray(draw_picture(number / _FPS), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return Finding("test movie", "ok", f"{path.stat().st_size} bytes.")


def _list_seconds(times: tuple[float, ...]) -> str:
    return ", ".join(f"{time:.1f}" for time in times) + " s"
