"""Write the files that `ask` makes beside its answer: a plot of the timeline, a clip of the best moment. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from chunkv2l.errors import InputError
from chunkv2l.index.movie_file import find_movie

if TYPE_CHECKING:
    from chunkv2l.answer.answer import Answer
    from chunkv2l.ask import Index


@dataclass(frozen=True)
class Outputs:
    """The files that a command line asks for.

    Attributes:
        plot: where to draw the timeline, .png or .svg.
        clip: the file to cut the best moment into.
        movie: path of the movie, if it isn't beside the index.
        reencode: whether to encode the clip anew, with exact borders.
    """

    plot: str | None = None
    clip: str | None = None
    movie: str | None = None
    reencode: bool = False

    def check_folder(self) -> None:
        """Raise InputError if files are asked for that an answer over a folder doesn't make."""
        if self.plot is not None or self.clip is not None or self.reencode:
            raise InputError("--plot, --clip and --reencode need one movie's INDEX, not a folder: ask it by itself.")

    def check(self, index: Index, question: str | None) -> None:
        """Check what can be checked before the model is loaded.

        Raises:
            InputError: no question, options without --clip, a file that can't be written, no matplotlib, no movie.
        """
        if question is None and (self.plot is not None or self.clip is not None):
            raise InputError("--plot and --clip need a QUESTION on the command line: one answer fills one file.")
        if self.clip is None and (self.movie is not None or self.reencode):
            raise InputError("--movie and --reencode say how a clip is cut: add --clip FILE.")
        if self.plot is not None:
            from chunkv2l import plot

            plot.check_out(self.plot)
        if self.clip is not None:
            from chunkv2l.video import trim

            trim.check_out(self.clip, find_movie(index.file, self.movie))

    def write(self, index: Index, answer: Answer, say: Callable[[str], None]) -> None:
        """Write the files, and report each with a sentence.

        Raises:
            InputError: the answer has no moment to cut.
            ChunkV2LError: the movie can't be read, or a file can't be written.
        """
        if self.plot is not None:
            from chunkv2l import plot

            say(f"{plot.timeline(index, answer, self.plot)}: the timeline.")
        if self.clip is not None:
            from chunkv2l.video import trim

            if not answer.spans:
                raise InputError("The answer names no moment, so there is none to cut.")
            best = answer.spans[0]
            movie = find_movie(index.file, self.movie)
            clip = trim.cut_clip(
                movie,
                best.start,
                best.end,
                self.clip,
                self.reencode,
                length=index.segments[-1].end,
                stream=index.file.meta.settings.get("stream"),
            )
            say(clip.describe())


OUTPUTS = tuple(field.name for field in fields(Outputs))
"""Names of the command line's options for files."""
