"""The requests and answers of the API as pydantic models: they check requests, and document answers in OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from chunkv2l.graph import Weight
from chunkv2l.query.parse import MAX_QUESTION
from chunkv2l.serve.answering import Question

MAX_WEIGHTS = 4096
MOST_LAYERS = 256
MOST_RANKS = 256


class NodeWeight(BaseModel):
    """A node of the segment graph with its weight: a segment's number, or a chapter's name ("g0").

    Where there are "slots", weights of its rank slots by layer, they are the weight.
    """

    model_config = ConfigDict(extra="forbid")

    node: int | Annotated[str, Field(max_length=16)]
    weight: Annotated[float, Field(allow_inf_nan=False)]
    slots: Annotated[
        list[Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(max_length=MOST_RANKS)]] | None,
        Field(max_length=MOST_LAYERS),
    ] = None

    @field_validator("slots")
    @classmethod
    def _check_layers(cls, slots: list[list[float]] | None) -> list[list[float]] | None:
        if slots is not None and len({len(layer) for layer in slots}) != 1:
            raise ValueError("every layer must have as many rank slots")
        return slots

    def to_weight(self) -> Weight:
        """Return the weight as it is composed."""
        return self.weight if self.slots is None else np.array(self.slots, dtype=np.float32)


class AllMoviesRequest(BaseModel):
    """A question to all movies."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"question": "When does a dog catch the ball?"}}
    )

    question: Annotated[str, Field(max_length=MAX_QUESTION, description="What to look for, or to be told.")]
    policy: Annotated[
        str | None, Field(max_length=80, description="One of the built-in policies; by the question if not given.")
    ] = None
    top_k: Annotated[int | None, Field(ge=1, le=1000, description="How many segments are composed.")] = None
    explain: Annotated[bool, Field(description='Return how it was found, too, under the key "route".')] = False

    def to_question(self) -> Question:
        """Return the question as the queue takes it."""
        return Question(self.question, self.policy, self.top_k)


class AskRequest(AllMoviesRequest):
    """A question to a movie."""

    weights: Annotated[
        list[NodeWeight] | None,
        Field(
            max_length=MAX_WEIGHTS,
            description='The "weights" of an earlier answer\'s route: asks about its moments without routing again.',
        ),
    ] = None

    def to_question(self) -> Question:
        """Return the question as the queue takes it."""
        weights = None if self.weights is None else {item.node: item.to_weight() for item in self.weights}
        return Question(self.question, self.policy, self.top_k, weights)


class BuildRequest(BaseModel):
    """A movie whose index is to be built."""

    model_config = ConfigDict(extra="forbid")

    movie: Annotated[str, Field(max_length=200, description="The movie's id.")]


class SpanJson(BaseModel):
    """A moment: [start, end) in seconds, the probability that it is the one, and its segments.

    Where all movies were asked, `movie` has its movie's name, and `id` that movie's id.
    """

    model_config = ConfigDict(extra="allow")

    start: float
    end: float
    score: float
    segments: list[int]


class AnswerJson(BaseModel):
    """An answer, as `chunkv2l ask --json` prints it."""

    model_config = ConfigDict(extra="allow")

    question: str
    answer: str
    spans: list[SpanJson]
    not_there: float | None
    unsure: bool
    policy: str
    model: str
    visual_tokens: int
    timing: dict[str, float]
    within: tuple[float, float] | None = None
    parts: list[tuple[float, float]] = []
    quotes: list[dict[str, Any]] = []
    text_tokens: int = 0
    notes: list[str] = []
    route: dict[str, Any] | None = None


class SegmentJson(BaseModel):
    """A segment: its times in seconds, its caption, whether that is uncertain, and what is said in it."""

    id: int
    start: float
    end: float
    caption: str
    speech: str
    uncertain: bool = False


class MovieSummary(BaseModel):
    """A movie of the list. Only a movie that is "ready" has more than the first four keys."""

    id: str
    name: str
    state: str
    error: str | None
    movie: dict[str, Any] = {}
    model: str = ""
    segments: int = 0
    chapters: int = 0
    channels: list[str] = []
    has_movie: bool = False


class MovieJson(BaseModel):
    """A movie's index, as `chunkv2l show --json` prints it, with its id."""

    id: str
    index: str
    movie: dict[str, Any]
    model: str
    identity: dict[str, Any]
    settings: dict[str, Any]
    code_shape: list[int]
    notes: list[dict[str, str]]
    segments: list[SegmentJson]
    chapters: list[dict[str, Any]]


class ErrorJson(BaseModel):
    """A sentence that says what is wrong."""

    error: str
