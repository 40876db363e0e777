"""MCP tools for agents: list and search movies, ask them, read transcripts, look at frames, cut clips.

Served over stdio by `chunkv2l mcp`, and over streamable HTTP at /mcp by `chunkv2l serve`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

import chunkv2l
from chunkv2l.answer.answer import Answer
from chunkv2l.defaults import POLICIES
from chunkv2l.errors import ChunkV2LError
from chunkv2l.query.parse import MAX_QUESTION
from chunkv2l.serve.answering import Question
from chunkv2l.serve.catalogue import Entry, OpenedMovie
from chunkv2l.serve.frames import read_frame
from chunkv2l.serve.schemas import AnswerJson, MovieSummary
from chunkv2l.serve.service import Service
from chunkv2l.timecode import between

P = ParamSpec("P")
T = TypeVar("T")

INSTRUCTIONS = """Ask long videos that were indexed by chunkv2l. list_videos says which there are; search_moments finds
when something is seen or said, in one video or in all; ask_video answers a question about one or all. Moments come
with the probability that each is the right one, and not_there is the probability that no video asked shows it, or
where a question names a time range, that this part of the video (within) doesn't: say so when it is the largest. The
model that answers is small: trust its times more than its sentences, and look at get_frame before you rely on them."""
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
MOST_CUES = 2000
"""Cues in one transcript; a part of the video has the others."""

VideoId = Annotated[
    str, Field(max_length=1000, description="A video's id, or its file's name, as list_videos has them.")
]
AnyVideo = Annotated[str | None, Field(max_length=1000, description="A video's id; all videos if not given.")]
Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]


class Moment(BaseModel):
    """A moment of a video: [start, end) in seconds, in words, and the probability that it is the right one.

    `text` is what is said or written there, where it was found by that.
    """

    video: str
    start: float
    end: float
    time: str
    probability: float
    text: str = ""


class Moments(BaseModel):
    """The moments that a search came up with, likeliest first, and how probable it is that no video searched shows it.

    Where the query names a time range, `within` has the part of a video, in seconds, that it is about, and `parts` its
    intervals where there are several.
    """

    query: str
    moments: list[Moment]
    not_there: float | None
    within: tuple[float, float] | None = None
    parts: list[tuple[float, float]] = []
    notes: list[str] = []


class TranscriptCue(BaseModel):
    """Words of a video: [start, end) in seconds, and their source: given (subtitles), heard, or read (on screen)."""

    start: float
    end: float
    text: str
    source: str


class Transcript(BaseModel):
    """The words of a video, or of a part of it; `is_complete` is false where there are more."""

    cues: list[TranscriptCue]
    is_complete: bool


class ExportedClip(BaseModel):
    """A clip that was written: its file's name, beside the video's, and what it shows, in seconds."""

    file: str
    start: float
    end: float
    description: str


def create_tools(service: Service) -> MCPServer[Any]:
    """Return the MCP server with its tools."""
    server: MCPServer[Any] = MCPServer(
        "chunkv2l", title="chunkv2l", instructions=INSTRUCTIONS, version=chunkv2l.__version__, log_level="WARNING"
    )

    def with_sentences(tool: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        return _with_sentences(service, tool)

    async def open_video(video: str) -> OpenedMovie:
        return await asyncio.to_thread(service.catalogue.open, find(video).id)

    def find(video: str) -> Entry:
        return service.catalogue.find_named(video)

    async def ask(video: str | None, question: Question) -> Answer:
        if video:
            return await service.ask(await open_video(video), question)
        await service.look_at_all()
        return await service.ask(None, question)

    @server.tool(title="List the videos", annotations=READS)
    @with_sentences
    async def list_videos() -> list[MovieSummary]:
        """List the videos with their ids, lengths in seconds, channels (seen, heard, read) and state: only those that
        are "ready" can be asked."""
        for entry in service.catalogue.entries():
            with suppress(ChunkV2LError):
                await asyncio.to_thread(service.catalogue.inspect, entry)
        return [MovieSummary(**movie) for movie in await asyncio.to_thread(service.list_movies)]

    @server.tool(title="Find when something is seen", annotations=READS)
    @with_sentences
    async def search_moments(
        query: Annotated[str, Field(max_length=MAX_QUESTION, description='A statement: "A dog catches a ball."')],
        video: AnyVideo = None,
        limit: Annotated[int, Field(ge=1, le=50, description="How many moments to return.")] = 5,
    ) -> Moments:
        """Find the moments of one video, or of all, that a statement describes."""
        answer = await ask(video, Question(query))
        moments = [
            Moment(
                video=find(video).id if video else service.all_movies.id_of(span.movie) or "",
                start=span.start,
                end=span.end,
                time=between(span),
                probability=span.score,
                text=span.text,
            )
            for span in answer.spans
        ]
        return Moments(
            query=query,
            moments=moments[:limit],
            not_there=answer.not_there,
            within=answer.within,
            parts=list(answer.parts),
            notes=service.notes_of(answer),
        )

    @server.tool(title="Ask a video, or all", annotations=READS)
    @with_sentences
    async def ask_video(
        question: Annotated[str, Field(max_length=MAX_QUESTION)],
        video: AnyVideo = None,
        policy: Annotated[str | None, Field(description=f"One of {', '.join(POLICIES)}; by the question if not given.")]
        = None,
    ) -> AnswerJson:  # fmt: skip
        """Answer a question about a video, or about all: "When …" with moments, "How many times …" with a number, else
        with text. Moments in all videos have the name of theirs (movie) and its id."""
        return AnswerJson(**service.to_json(await ask(video, Question(question, policy))))

    @server.tool(title="Read what is said", annotations=READS)
    @with_sentences
    async def get_transcript(video: VideoId, start: Seconds = 0.0, end: Seconds | None = None) -> Transcript:
        """Return what is said and written in a video, or between two times: subtitles, speech, text on screen."""
        cues = await asyncio.to_thread(service.transcript, await open_video(video))
        inside = [cue for cue in cues if cue.end > start and (end is None or cue.start < end)]
        listed = [
            TranscriptCue(start=cue.start, end=cue.end, text=cue.text, source=cue.source) for cue in inside[:MOST_CUES]
        ]
        return Transcript(cues=listed, is_complete=len(inside) <= MOST_CUES)

    @server.tool(title="Look at a frame", annotations=READS, structured_output=False)
    @with_sentences
    async def get_frame(video: VideoId, seconds: Seconds) -> Image:
        """Return the picture that is on screen at a time; a small one where the video isn't beside its index."""
        movie = await open_video(video)
        number = service.segment_at(movie, seconds)
        with suppress(ChunkV2LError):
            path = await asyncio.to_thread(service.movie_file, movie)
            stream = movie.file.meta.settings.get("stream")
            return Image(data=await asyncio.to_thread(read_frame, path, seconds, stream), format="jpeg")
        return Image(data=await asyncio.to_thread(service.thumbnail, movie, number), format="jpeg")

    @server.tool(title="Cut a clip", annotations=WRITES)
    @with_sentences
    async def export_clip(video: VideoId, start: Seconds, end: Seconds, exact: bool = False) -> ExportedClip:
        """Write a piece of a video as .mp4 beside it, from the key frame before `start`; if `exact`, encoded anew."""
        movie = await open_video(video)
        out = service.name_export(movie, start, end)
        clip = await asyncio.to_thread(service.cut, movie, start, end, exact, out)
        description = clip.describe().replace(str(clip.path), clip.path.name)
        return ExportedClip(file=clip.path.name, start=clip.start, end=clip.end, description=description)

    return server


def _with_sentences(service: Service, tool: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Return a tool whose errors reach the client as sentences."""

    @wraps(tool)
    async def run(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await tool(*arguments, **named)
        except ChunkV2LError as error:
            raise ToolError(service.describe(error)) from error

    return run
