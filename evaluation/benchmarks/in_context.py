"""Use the frozen model with a movie's frames in its context, without chunkv2l."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import torch

from chunkv2l.adapter.inject import exclusive
from chunkv2l.errors import InputError
from chunkv2l.models.base import VLM
from chunkv2l.models.family import Family
from chunkv2l.video.clip import Clip, read_clip
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import read_frames
from chunkv2l.video.sampling import KEPT_SIDE
from evaluation.benchmarks.answers import Nats
from evaluation.common.metrics import Window

_CLOCK = re.compile(r"(?<![\d.:])(?:(\d+):)?(\d+):(\d\d(?:\.\d+)?)(?![\d:])")
_NUMBER = re.compile(r"(?<![\w.:])(\d+(?:\.\d+)?)(?=s?(?:ec\w*)?(?![\w:]))")


def asked_when(query: str) -> str:
    """Return the question that asks a model with frames in context for a moment.

    >>> asked_when("A dog runs.")
    'When does this happen in the video: "A dog runs"? Answer with the start and the end in seconds.'
    """
    text = query.strip().rstrip(".")
    return f'When does this happen in the video: "{text}"? Answer with the start and the end in seconds.'


def spoken_window(text: str, duration: float) -> Window | None:
    """Return the first two times that an answer names, seconds; None if there aren't two, in order, in the movie.

    >>> spoken_window("From 12 to 15.5 seconds.", 60), spoken_window("1:05 - 1:10", 90), spoken_window("At 3 s", 60)
    ((12.0, 15.5), (65.0, 70.0), None)
    """
    clocks = [60 * (60 * float(h or 0) + float(m)) + float(s) for h, m, s in _CLOCK.findall(text)]
    times = clocks or [float(number) for number in _NUMBER.findall(text)]
    if len(times) < 2 or not times[0] < min(times[1], duration):
        return None
    return times[0], min(times[1], duration)


def whole_movie(path: Path, vlm: VLM) -> Clip:
    """Read frames of the whole movie at the times at which the model would sample a segment of that length.

    Each is the first frame at or after its time, and is reached by seeking.

    Raises:
        InputError: not a movie, or no frame of it can be read.
    """
    info = probe(path)
    frames, times = [], []
    for moment in vlm.sampling.times(info.duration, info.fps):
        with closing(read_frames(info, "auto", moment, side=KEPT_SIDE)) as reader:
            frame = next(reader, None)
            if frame is not None:
                frames.append(vlm.sampling.shrink(frame.picture(KEPT_SIDE)))
                times.append(frame.time)
    if not frames:
        raise InputError(f"No frame of {path} can be read.")
    return Clip(tuple(frames), tuple(times), info.duration, info.fps)


def segment_clips(path: Path, vlm: VLM, segments: Sequence[Window]) -> list[Clip]:
    """Read each segment's clip, with the frames that a build samples."""
    return [read_clip(path, vlm.sampling.times, vlm.sampling.shrink, start, end) for start, end in segments]


@torch.inference_mode()
def option_nats(vlm: Family, clip: Clip, question: str, options: Sequence[str]) -> list[Nats]:
    """Return `answers.nats` of the bare model with the clip's frames in context; `alone` is without the frames."""
    from chunkv2l.models.text.decoder import score

    ids = [vlm.statement_ids(option) for option in options]
    with exclusive(vlm.targets):
        totals = score(vlm.decoder, vlm.embed_with_frames([clip], question)[0], ids)[0].tolist()
        alone = score(vlm.decoder, vlm.prompt_ids(question), ids)[0].tolist()
    return [Nats(total, len(own), without) for total, own, without in zip(totals, ids, alone, strict=True)]
