"""Put the doors of the server together into one ASGI application."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import chunkv2l
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.sanitize import quoted
from chunkv2l.serve.api import create_api
from chunkv2l.serve.chat import create_chat, error_json
from chunkv2l.serve.guard import Guard
from chunkv2l.serve.page import add_pages
from chunkv2l.serve.refusals import Busy, Forbidden, NotReady, TooSlow, Unavailable, UnknownMovie
from chunkv2l.serve.service import Service
from chunkv2l.serve.templates import render
from chunkv2l.serve.tools import create_tools

logger = logging.getLogger(__name__)

STATUS: dict[type[ChunkV2LError], int] = {
    UnknownMovie: 404,
    NotReady: 409,
    Busy: 429,
    TooSlow: 504,
    Forbidden: 403,
    Unavailable: 503,
}
"""Statuses of errors; those of other input are 400, those of the server 500."""
UNCHECKED = TransportSecuritySettings(enable_dns_rebinding_protection=False)
"""The guard has checked names and origins already."""
DESCRIPTION = """Ask movies whose indexes lie under the paths that the server was given. The answers are those of the
command line, key by key. Errors are {"error": "a sentence"}."""


def create_app(service: Service, warm_up: bool = True) -> Guard:
    """Return the application, guarded.

    Args:
        warm_up: look at the indexes and load the model as soon as the server starts.
    """

    tools = create_tools(service)
    tools.streamable_http_app(stateless_http=True, json_response=True, transport_security=UNCHECKED)

    async def show_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ChunkV2LError)
        return _respond(request, status_of(error), service.describe(error))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if warm_up:
            threading.Thread(target=service.warm_up, name="warm up", daemon=True).start()
        async with tools.session_manager.run():
            yield
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="chunkv2l",
        version=chunkv2l.__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # both pages fetch their scripts from elsewhere
        redoc_url=None,
        telemetry={"auto_configure": False},  # variables of the environment send no question anywhere
    )
    app.include_router(create_api(service))
    app.include_router(create_chat(service))
    # without sessions, a GET waits for messages that never come
    app.router.routes.append(Route("/mcp", _Endpoint(tools), methods=["POST"], include_in_schema=False))
    add_pages(app, service)
    app.add_exception_handler(ChunkV2LError, show_error)
    app.add_exception_handler(RequestValidationError, _show_invalid)
    app.add_exception_handler(HTTPException, _show_status)
    app.add_exception_handler(ClientDisconnect, _show_nothing)
    app.add_exception_handler(Exception, _show_fault)
    return Guard(app, service.settings)


class _Endpoint:
    """The MCP endpoint as an ASGI application."""

    def __init__(self, tools: MCPServer[Any]) -> None:
        self._tools = tools

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._tools.session_manager.handle_request(scope, receive, send)


def status_of(error: ChunkV2LError) -> int:
    """Return the status that stands for an error."""
    for kind_of_error, status in STATUS.items():
        if isinstance(error, kind_of_error):
            return status
    return 400 if isinstance(error, InputError) else 500


def _respond(request: Request, status: int, sentence: str) -> Response:
    """Return an error: a page for people, and JSON for programs; where OpenAI's clients read it, in their form."""
    headers = {"retry-after": "1"} if status in (429, 503) else None
    text = sentence.encode(errors="replace").decode()
    path, accepts = request.url.path, request.headers.get("accept", "")
    if "text/html" in accepts and not path.startswith(("/api/", "/v1/", "/mcp", "/static/")):
        return HTMLResponse(render("error.html", sentence=text), status, headers=headers)
    error_type = "server_error" if status >= 500 else "invalid_request_error"
    body = error_json(text, error_type) if path.startswith("/v1/") else {"error": text}
    return JSONResponse(body, status, headers=headers)


async def _show_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return _respond(request, 422, f"The request isn't valid: {quoted(where) or 'its body'}: {quoted(first['msg'])}.")


async def _show_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = {404: "There is nothing at this address.", 405: "That method isn't known here."}
    return _respond(request, error.status_code, sentence.get(error.status_code, f"{quoted(error.detail)}."))


async def _show_nothing(request: Request, _error: Exception) -> Response:
    return _respond(request, 499, "The client has gone.")


async def _show_fault(request: Request, error: Exception) -> Response:
    logger.error("A request failed.", exc_info=error)
    return _respond(request, 500, f"This is a fault of the server ({type(error).__name__}): its log says more.")
