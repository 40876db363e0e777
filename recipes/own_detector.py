"""A scene detector of one's own: a cut wherever the picture's brightness jumps.

    python recipes/own_detector.py demo/movie.mp4 bright.idx
    chunkv2l build demo/movie.mp4 -o bright.idx --detector recipes/own_detector.py:Brightness

Any PySceneDetect detector will do: `process_frame` is given each frame (small, BGR) and returns the times of the cuts
that it found. Merging short scenes and splitting long ones is the build's work.
"""

from __future__ import annotations

from typing import Any

import click
from scenedetect.detector import SceneDetector

import chunkv2l


class Brightness(SceneDetector):  # type: ignore[misc]  # PySceneDetect has no types
    """Cuts where the mean of all pixels (0 … 255) changes by more than `jump` from one frame to the next."""

    def __init__(self, jump: float = 12.0) -> None:
        super().__init__()
        self.jump = jump
        self.before: float | None = None

    def process_frame(self, timecode: Any, frame_img: Any) -> list[Any]:
        now = float(frame_img.mean())
        before, self.before = self.before, now
        return [timecode] if before is not None and abs(now - before) > self.jump else []


@click.command()
@click.argument("movie")
@click.argument("path")
@click.option("--jump", default=12.0, show_default=True, help="How much brighter or darker, of 255.")
def main(movie: str, path: str, jump: float) -> None:
    """Build the index PATH of MOVIE, cut where its brightness jumps."""
    chunkv2l.build(movie, path, detector=Brightness(jump))
    with chunkv2l.open(path) as index:
        for segment in index.segments:
            click.echo(f"{segment.start:8.2f} – {segment.end:8.2f} s  {segment.caption}")


if __name__ == "__main__":
    main()
