"""The contract between a build and what recognises cues: steps that can be stored one by one, and gone on from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from chunkv2l.channels.cues import ChannelCue, Source


@dataclass(frozen=True)
class RecognitionStep:
    """A part of the movie, recognised.

    Attributes:
        cues: that begin in it, in order of their starts.
        done: seconds of the movie recognised so far.
        state: what the next steps follow from; plain JSON values.
    """

    cues: tuple[ChannelCue, ...]
    done: float
    state: Mapping[str, Any]


class Recognition(Protocol):
    """A recogniser at work on one movie.

    Attributes:
        source: of its cues.
        stage: name of the build's stage.
        identity: what its cues depend on, plain JSON values: recogniser, weights, track.
    """

    @property
    def source(self) -> Source: ...

    @property
    def stage(self) -> str: ...

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def is_possible(self, state: Mapping[str, Any], end: float) -> bool:
        """Tell whether a state from a file is one that a step of a movie that ends at `end` could have left."""
        ...

    def steps(self, state: Mapping[str, Any] | None) -> Iterator[RecognitionStep]:
        """Yield the steps behind the one that left a state, or all; the same steps follow the same state."""
        ...
