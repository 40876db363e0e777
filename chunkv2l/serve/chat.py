"""The OpenAI-compatible endpoint under /v1: a model's name is a movie, or a message names one as `video_url`.

The last message of the user is the question. Nothing else enters the prompt, neither earlier messages nor what the
index says. The answer's text is the message; all that `ask --json` prints is beside it, under the key "chunkv2l".
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from chunkv2l.answer.answer import Answer, PartialAnswer
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.serve.answering import Question
from chunkv2l.serve.catalogue import Entry
from chunkv2l.serve.events import stream, while_connected
from chunkv2l.serve.refusals import UnknownMovie
from chunkv2l.serve.service import Service


class Part(BaseModel):
    """A part of a message: text, or the address of a movie under the server's paths."""

    type: str
    text: str | None = None
    video_url: dict[str, Any] | None = None


class Message(BaseModel):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[Part], Field(max_length=256)] | None = None


class StreamOptions(BaseModel):
    """Choices for an answer in pieces."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A request for a chat completion. What has no meaning here, such as a temperature, is accepted and left alone."""

    model_config = ConfigDict(extra="ignore")

    model: Annotated[str, Field(max_length=1000)]
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=1)] = 1


def create_chat(service: Service) -> APIRouter:
    """Return the routes under /v1."""
    router = APIRouter(prefix="/v1", tags=["OpenAI-compatible"])

    @router.get("/models", summary="The movies, as models")
    async def list_models() -> JSONResponse:
        entries = [entry for entry in await run_in_threadpool(service.catalogue.entries) if entry.index is not None]
        return JSONResponse({"object": "list", "data": [_model_json(entry) for entry in entries]})

    @router.get("/models/{movie_id}", summary="A movie, as a model")
    async def show_model(movie_id: str) -> JSONResponse:
        return JSONResponse(_model_json(await run_in_threadpool(service.catalogue.entry, movie_id)))

    @router.post("/chat/completions", summary="Ask a movie")
    async def complete(body: ChatRequest, request: Request) -> Response:
        """Answer the last message of the user; with `stream`, in pieces as they are generated."""
        entry = await run_in_threadpool(_choose_movie, service, body)
        movie = await run_in_threadpool(service.catalogue.open, entry.id)
        question = service.parse(Question(_read_question(body.messages)))
        reply = _Reply(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), body.model)
        if body.stream:
            with_usage = body.stream_options is not None and body.stream_options.include_usage
            return stream(_tell(service, service.ask_in_steps(movie, question), reply, with_usage))
        answer = await while_connected(request, service.ask(movie, question))
        return JSONResponse(reply.whole(answer, _usage(service, answer)))

    return router


class _Reply:
    """The parts that all pieces of one completion share."""

    def __init__(self, reply_id: str, created: int, model: str) -> None:
        self._shared = {"id": reply_id, "created": created, "model": model}

    def whole(self, answer: Answer, usage: dict[str, Any]) -> dict[str, Any]:
        """Return a completion in one piece."""
        message = {"role": "assistant", "content": answer.answer, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        named = {"object": "chat.completion"}
        return {**self._shared, **named, "choices": [choice], "usage": usage, "chunkv2l": answer.to_json()}

    def piece(self, delta: dict[str, str], reason: str | None = None, **more: Any) -> str:
        """Return the event of a piece."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return self._event({"choices": [choice], **more})

    def usage(self, usage: dict[str, Any]) -> str:
        """Return the event that says what was used."""
        return self._event({"choices": [], "usage": usage})

    def _event(self, values: dict[str, Any]) -> str:
        return f"data: {json.dumps({**self._shared, 'object': 'chat.completion.chunk', **values}, allow_nan=False)}\n\n"


async def _tell(
    service: Service, steps: AsyncIterator[PartialAnswer | Answer], reply: _Reply, with_usage: bool
) -> AsyncIterator[str]:
    """Yield the events of a completion: the text's growth, its end, and what was used."""
    yield reply.piece({"role": "assistant", "content": ""})
    sent = ""
    try:
        async for step in steps:
            text = step.answer if isinstance(step, Answer) else step.text.rstrip("\ufffd")  # half of a letter
            if text.startswith(sent) and len(text) > len(sent):
                yield reply.piece({"content": text[len(sent) :]})
                sent = text
            if isinstance(step, Answer):
                yield reply.piece({}, "stop", chunkv2l=step.to_json())
                if with_usage:
                    yield reply.usage(_usage(service, step))
    except ChunkV2LError as error:
        yield f"data: {json.dumps(error_json(service.describe(error), 'server_error'))}\n\n"
    yield "data: [DONE]\n\n"


def error_json(sentence: str, error_type: str) -> dict[str, Any]:
    """Return an error as OpenAI's clients read it."""
    return {"error": {"message": sentence, "type": error_type, "param": None, "code": None}}


def _usage(service: Service, answer: Answer) -> dict[str, Any]:
    """Return the tokens that were used. Moments are scored and not generated, so that their prompt has none."""
    prompt, said = service.answering.count_tokens(answer)
    details = {"visual_tokens": answer.visual_tokens, "cached_tokens": 0}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": said,
        "total_tokens": prompt + said,
        "prompt_tokens_details": details,
    }


def _model_json(entry: Entry) -> dict[str, Any]:
    created = 0
    if entry.index is not None and entry.index.exists():
        created = int(entry.index.stat().st_mtime)
    return {"id": entry.id, "object": "model", "created": created, "owned_by": "chunkv2l", "name": entry.name}


def _choose_movie(service: Service, body: ChatRequest) -> Entry:
    """Return the movie that a request names: by the last `video_url`, else by the model's name.

    Raises:
        InputError: an address that isn't a file's, or a part that is no text and no movie.
        UnknownMovie: there is none of that name.
    """
    address = None
    for message in body.messages:
        for part in message.content if isinstance(message.content, list) else ():
            if part.type == "video_url" and part.video_url is not None:
                address = part.video_url.get("url")
            elif part.type != "text":
                raise InputError(f'A message has text and video_url parts only, not "{part.type[:80]}".')
    if address is None:
        return service.catalogue.find_named(body.model)
    return _find_by_address(service, address)


def _find_by_address(service: Service, address: object) -> Entry:
    """Return the movie under the server's paths that an address names: "file:///…", a path, or a file's name."""
    if not isinstance(address, str) or len(address) > 4096:
        raise InputError("A video_url's url is a movie under the paths that the server was given: its path or name.")
    match = re.fullmatch(r"file://(?:localhost)?(/.*)", address, re.DOTALL)
    name = match[1] if match else address
    if match is None and re.match(r"[a-z][a-z0-9+.-]+:", address, re.IGNORECASE):
        raise InputError(
            "Movies aren't fetched and aren't sent: a video_url names one under the paths that the server was given."
        )
    entry = service.catalogue.find(Path(name)) or service.catalogue.find(Path(unquote(name)))  # clients differ
    if entry is None:
        raise UnknownMovie(f'There is no movie "{name[-80:]}" with an index under the paths that the server was given.')
    return entry


def _read_question(messages: Sequence[Message]) -> str:
    """Return the text of the user's last message.

    Raises:
        InputError: there is none.
    """
    for message in reversed(messages):
        if message.role == "user" and message.content is not None:
            if isinstance(message.content, str):
                return message.content
            return "\n".join(part.text for part in message.content if part.type == "text" and part.text)
    raise InputError("There is no message of the user to answer.")
