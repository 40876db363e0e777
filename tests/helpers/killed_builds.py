"""Builds that die on the way, each in a process: `python -m tests.helpers.killed_builds`, run by test_build_killed.

Reads JSON from stdin: {"movie", "deaths": [[out, how], …]}; each is one build of `out` that ends by SIGKILL:
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
from typing import Any

import torch

import chunkv2l.indexing.build as module
from chunkv2l.indexing.build import build
from chunkv2l.indexing.progress import Progress
from tests.helpers.fake_vlm import fake_model

DELAY = 0.01
"""Seconds a clip in each of two stages, so that there is something to kill."""
DETECTOR = "fixed:2"


def batches_of_eight(patch: Any) -> None:
    """Batches small enough for movies of a few segments, through a `pytest.MonkeyPatch`."""
    patch.setattr(module, "BATCH", 8)


def die(*_: object) -> None:
    """As `kill -9` does it."""
    os.kill(os.getpid(), signal.SIGKILL)


def build_and_die(movie: str, out: str, death: dict[str, Any]) -> None:
    """A build that ends itself where `death` says, or runs through."""
    seen: Counter[str] = Counter()

    def watch(progress: Progress) -> None:
        seen[progress.stage] += 1
        if progress.stage == death.get("stage") and seen[progress.stage] == death["count"]:
            die()

    if "call" in death:
        setattr(os, death["call"], die)
    build(movie, out, model=fake_model(delay=DELAY), detector=DETECTOR, progress=watch, speech="off", screen_text="off")


def main() -> None:
    """Fork a build for each death."""
    torch.set_num_threads(1)
    module.BATCH = 8  # type: ignore[misc]
    task = json.load(sys.stdin)
    for out, death in task["deaths"]:
        child = os.fork()
        if child == 0:
            try:
                build_and_die(task["movie"], out, death)
            finally:
                os._exit(0)
        if "after" in death:
            time.sleep(death["after"])
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else "finished", flush=True)


if __name__ == "__main__":
    main()
