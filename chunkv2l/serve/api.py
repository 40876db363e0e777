"""The JSON API under /api: movies, their segments and pictures, questions, clips."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from chunkv2l.answer.answer import Answer, PartialAnswer
from chunkv2l.channels.cues import ChannelCue
from chunkv2l.errors import ChunkV2LError
from chunkv2l.library.folder import MEDIA_TYPES
from chunkv2l.serve.catalogue import OpenedMovie
from chunkv2l.serve.events import event, stream, while_connected
from chunkv2l.serve.schemas import (
    AllMoviesRequest,
    AnswerJson,
    AskRequest,
    BuildRequest,
    ErrorJson,
    MovieJson,
    MovieSummary,
    SegmentJson,
)
from chunkv2l.serve.service import Service

MOST_RANGES = 8
"""Ranges of a movie in one request; players ask for one."""
Errors = dict[int | str, dict[str, Any]]
NO_MOVIE: Errors = {404: {"model": ErrorJson}, 409: {"model": ErrorJson}}
ASKING: Errors = {**NO_MOVIE, 400: {"model": ErrorJson}, 429: {"model": ErrorJson}, 504: {"model": ErrorJson}}
BUILDING: Errors = {403: {"model": ErrorJson}, 404: {"model": ErrorJson}, 429: {"model": ErrorJson}}
Seconds = Annotated[float, Query(ge=0, le=1e7, allow_inf_nan=False)]


class _ClipResponse(FileResponse):
    """A clip, which is removed with its folder however its sending ends: refused ranges and lost clients included."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            rmtree(Path(self.path).parent, ignore_errors=True)


def create_api(service: Service) -> APIRouter:
    """Return the API's routes."""
    router = APIRouter(prefix="/api")

    async def open_movie(movie_id: str) -> OpenedMovie:
        return await run_in_threadpool(service.catalogue.open, movie_id)

    @router.get("/status", summary="The model, the queue, and what may be done", tags=["server"])
    async def status() -> JSONResponse:
        return JSONResponse(service.status())

    @router.get("/movies", summary="All movies", tags=["movies"], responses={200: {"model": list[MovieSummary]}})
    async def list_movies() -> JSONResponse:
        """Return the movies under the paths that the server was given, in order of their names."""
        return JSONResponse(await run_in_threadpool(service.list_movies))

    @router.get(
        "/movies/{movie_id}", summary="One movie", tags=["movies"], responses={200: {"model": MovieJson}, **NO_MOVIE}
    )
    async def show_movie(movie_id: str) -> JSONResponse:
        """Return a movie's index as `chunkv2l show --json` prints it. The first time it is looked at in a sandbox."""
        return JSONResponse((await open_movie(movie_id)).to_json())

    @router.get(
        "/movies/{movie_id}/segments",
        summary="A movie's segments",
        tags=["movies"],
        responses={200: {"model": list[SegmentJson]}, **NO_MOVIE},
    )
    async def list_segments(movie_id: str) -> JSONResponse:
        return JSONResponse((await open_movie(movie_id)).to_json()["segments"])

    @router.get(
        "/movies/{movie_id}/thumbnail/{number}",
        summary="A segment's picture",
        tags=["movies"],
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, **NO_MOVIE},
    )
    async def show_thumbnail(movie_id: str, number: int) -> Response:
        movie = await open_movie(movie_id)
        picture = await run_in_threadpool(service.thumbnail, movie, number)
        return Response(picture, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})

    @router.get(
        "/movies/{movie_id}/subtitles.vtt",
        summary="A movie's subtitles as WebVTT",
        tags=["movies"],
        response_class=PlainTextResponse,
        responses=NO_MOVIE,
    )
    async def show_subtitles(movie_id: str) -> PlainTextResponse:
        movie = await open_movie(movie_id)
        return PlainTextResponse(write_vtt(service.transcript(movie, "heard")), media_type="text/vtt; charset=utf-8")

    @router.head("/movies/{movie_id}/movie", include_in_schema=False)
    @router.get(
        "/movies/{movie_id}/movie",
        summary="The movie itself, or a range of it",
        tags=["movies"],
        response_class=FileResponse,
        responses={206: {"description": "The range that was asked for"}, **NO_MOVIE},
    )
    async def send_movie(movie_id: str, request: Request) -> Response:
        if request.headers.get("range", "").count(",") >= MOST_RANGES:
            return JSONResponse({"error": f"At most {MOST_RANGES} ranges are sent at once."}, 416)
        movie = await open_movie(movie_id)
        path = await run_in_threadpool(service.movie_file, movie)
        media = MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
        return FileResponse(path, media_type=media, headers={"cache-control": "private, max-age=0"})

    @router.get(
        "/movies/{movie_id}/clip",
        summary="A piece cut out of the movie",
        tags=["movies"],
        response_class=FileResponse,
        responses={200: {"content": {"video/mp4": {}}}, 400: {"model": ErrorJson}, **NO_MOVIE},
    )
    async def cut_clip(movie_id: str, start: Seconds, end: Seconds, reencode: bool = False) -> FileResponse:
        """Return [start, end) seconds as .mp4: copied from the key frame before it on, or exact with `reencode`."""
        movie = await open_movie(movie_id)
        clip = await run_in_threadpool(service.cut, movie, start, end, reencode)
        name = f"{Path(movie.entry.name).stem}.{start:.1f}-{end:.1f}.mp4"
        return _ClipResponse(clip.path, media_type="video/mp4", filename=name)

    @router.post(
        "/movies/{movie_id}/ask",
        summary="Ask a movie",
        tags=["asking"],
        responses={200: {"model": AnswerJson, "content": {"text/event-stream": {}}}, **ASKING},
    )
    async def ask(movie_id: str, body: AskRequest, request: Request) -> Response:
        """Return the answer as `chunkv2l ask --json` prints it.

        With `Accept: text/event-stream`, events tell it while it is made: `moments` (spans, not_there, and within:
        the part asked about), `text` (what is generated so far), and at last `answer` (all of it) or `error`.
        """
        movie, question = await open_movie(movie_id), service.parse(body.to_question())
        if "text/event-stream" in request.headers.get("accept", ""):
            return stream(tell(service, service.ask_in_steps(movie, question), body.explain))
        answer = await while_connected(request, service.ask(movie, question))
        return JSONResponse(answer.to_json(body.explain))

    @router.post(
        "/ask",
        summary="Ask all movies",
        tags=["asking"],
        responses={200: {"model": AnswerJson, "content": {"text/event-stream": {}}}, **ASKING},
    )
    async def ask_all(body: AllMoviesRequest, request: Request) -> Response:
        """Return one answer over all movies, as `chunkv2l ask FOLDER --json` prints it: each span with its `movie`,
        and with that movie's `id`. Events as for one movie."""
        question = service.parse(body.to_question())
        await while_connected(request, service.look_at_all())
        if "text/event-stream" in request.headers.get("accept", ""):
            return stream(tell(service, service.ask_in_steps(None, question), body.explain))
        answer = await while_connected(request, service.ask(None, question))
        return JSONResponse(service.to_json(answer, body.explain))

    @router.get("/builds", summary="The indexes that are built, and were", tags=["builds"])
    async def list_builds() -> JSONResponse:
        return JSONResponse(service.builds.to_json())

    @router.post("/builds", summary="Build a movie's index", tags=["builds"], status_code=202, responses=BUILDING)
    async def start_build(body: BuildRequest) -> JSONResponse:
        """Begin to build the index of a movie that has none, with the default settings, or go on where one stopped."""
        build = await run_in_threadpool(service.builds.start, body.movie)
        return JSONResponse(build.to_json(), 202)

    @router.delete("/builds/{movie_id}", summary="Cancel a build", tags=["builds"], responses=BUILDING)
    async def cancel_build(movie_id: str) -> JSONResponse:
        """End a build before its next batch. What is stored stays, and the next build of the movie goes on with it."""
        return JSONResponse(service.builds.cancel(movie_id).to_json())

    @router.get("/builds/{movie_id}/events", summary="Watch a build", tags=["builds"], responses=BUILDING)
    async def watch_build(movie_id: str) -> Response:
        """Send the build as an event, `build`, whenever it is further; the last one says how it ended."""
        service.builds.get(movie_id)

        async def events() -> AsyncIterator[str]:
            async for build in service.builds.watch(movie_id):
                yield event("build", build.to_json())

        return stream(events())

    return router


async def tell(service: Service, steps: AsyncIterator[PartialAnswer | Answer], explain: bool) -> AsyncIterator[str]:
    """Yield an answer's events: the moments, the text as it grows, and the whole."""
    text = None
    try:
        async for step in steps:
            if isinstance(step, Answer):
                yield event("answer", service.to_json(step, explain))
                return
            if text is None:
                moments = service.spans_json(step.spans)
                parts = {"within": step.within, "parts": step.parts}
                yield event("moments", {"spans": moments, "not_there": step.not_there, **parts})
            if step.text and step.text != text:
                yield event("text", {"text": step.text})
            text = step.text
    except ChunkV2LError as error:
        yield event("error", {"error": service.describe(error)})


def write_vtt(cues: Sequence[ChannelCue]) -> str:
    """Return cues as WebVTT; whatever would be taken for markup is escaped."""
    blocks = ["WEBVTT"]
    for cue in cues:
        text = cue.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_vtt_time(cue.start)} --> {_vtt_time(max(cue.end, cue.start + 0.001))}\n{text}")
    return "\n\n".join(blocks) + "\n"


def _vtt_time(seconds: float) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}.{whole % 1000:03}"
