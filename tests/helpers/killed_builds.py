"""Builds that die on the way, each in a process: `python -m tests.helpers.killed_builds`, run by test_build_killed.

Reads JSON from stdin: {"movie", "channels", "deaths": [[out, how], …]}; `channels` is None or the folder of
`install_channels`. Each death is one build of `out` that ends by SIGKILL:
{"after": seconds} from outside at some moment, {"stage": name, "count": n} when a stage begins for the n-th time,
{"call": name} when `os.<name>` is called ("replace": all is stored, but the index has its name not yet). One process
imports everything once and forks for each build, as importing takes longer than building. Prints a word
for each: "killed" or "finished".
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import chunkv2l.indexing.build as module
from chunkv2l.indexing.build import build
from chunkv2l.indexing.progress import Progress
from chunkv2l.models.base import Tag
from chunkv2l.speech import listening
from chunkv2l.speech.audio import RATE, Samples
from chunkv2l.speech.recogniser import Recognised
from tests.helpers.fake_vlm import fake_model
from tests.helpers.speech import FakeRecogniser, install_fake_recogniser

DELAY = 0.01
"""Seconds a clip in each of two stages, so that there is something to kill."""
DETECTOR = "fixed:2"
TAGS = (Tag("dog", 0.75), Tag("ball", 0.25))
SUBTITLES = "".join(f"{i + 1}\n00:00:{3 * i:02d},000 --> 00:00:{3 * i + 2:02d},500\nLine {i}.\n\n" for i in range(18))


def batches_of_eight(patch: Any) -> None:
    """Batches small enough for movies of a few segments, through a `pytest.MonkeyPatch`."""
    patch.setattr(module, "BATCH", 8)


def die(*_: object) -> None:
    """As `kill -9` does it."""
    os.kill(os.getpid(), signal.SIGKILL)


def install_channels(patch: Any, folder: Path) -> None:
    """Give builds everything that they can store besides pictures: subtitles, speech and tags, speech in many parts."""

    class Slow(FakeRecogniser):
        def recognise(self, samples: Samples, start: float, language: str) -> Recognised:
            time.sleep(DELAY)
            return super().recognise(samples, start, language)

    folder.mkdir(exist_ok=True)
    (folder / "a.srt").write_text(SUBTITLES)
    install_fake_recogniser(patch, folder)
    patch.setattr(listening, "Whisper", Slow)
    patch.setattr(listening, "WINDOW", 8 * RATE)
    patch.setattr(listening, "SEARCHED", 4 * RATE)


def build_with(movie: str | Path, out: str | Path, channels: Path | None, delay: float, progress: Any = None) -> Any:
    """A build of the fake model, with all channels where they are installed."""
    model = fake_model(delay=delay)
    options: dict[str, Any] = {"speech": "off", "screen_text": "off"}
    if channels is not None:
        model.vlm.tags = TAGS
        options |= {"speech": "base", "subtitles": str(channels / "a.srt")}
    return build(movie, out, model=model, detector=DETECTOR, progress=progress, **options)


def build_and_die(movie: str, out: str, death: dict[str, Any], channels: Path | None) -> None:
    """A build that ends itself where `death` says, or runs through."""
    seen: Counter[str] = Counter()

    def watch(progress: Progress) -> None:
        seen[progress.stage] += 1
        if progress.stage == death.get("stage") and seen[progress.stage] == death["count"]:
            die()

    if "call" in death:
        setattr(os, death["call"], die)
    build_with(movie, out, channels, DELAY, watch)


def main() -> None:
    """Fork a build for each death."""
    torch.set_num_threads(1)
    module.BATCH = 8  # type: ignore[misc]
    task = json.load(sys.stdin)
    channels = None if task["channels"] is None else Path(task["channels"])
    if channels is not None:
        install_channels(pytest.MonkeyPatch(), channels)
    for out, death in task["deaths"]:
        child = os.fork()
        if child == 0:
            try:
                build_and_die(task["movie"], out, death, channels)
            finally:
                os._exit(0)
        if "after" in death:
            time.sleep(death["after"])
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else "finished", flush=True)


if __name__ == "__main__":
    main()
