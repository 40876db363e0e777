"""Refuse what doesn't come from a client of this server, before anything reads it: pure ASGI, around every door.

A page of another site may send requests to a server on the loopback interface, or get a name of its own resolved to it
(DNS rebinding); so the names by which the server is called are known ones, and an Origin must be the server's own.
Where a token is set, every request carries it: in `Authorization: Bearer`, or in a cookie that the login page sets.
Bodies are read here, within bounds of size and time. Every answer says what a browser may do with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from chunkv2l.serve.settings import LOOPBACK_NAMES, ServeSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE: Final = "chunkv2l"
LOGIN: Final = "/login"
OPEN_PATHS: Final = ("/login", "/static/style.css", "/static/icon.svg")
"""Addresses that need no token: the page that asks for it, and what that loads."""
METHODS: Final = ("GET", "HEAD", "POST", "DELETE")
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Final = (
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
)
MAX_HEADERS: Final = 32 << 10
"""Bytes of all headers."""
DRAINED: Final = 4 << 20
"""Bytes of a body that are taken off the line though it is too large: else the client never reads that it is."""
MAX_URL: Final = 8192
"""Bytes of a path with its query."""


class Guard:
    """The checks around an application."""

    def __init__(self, app: App, settings: ServeSettings) -> None:
        self._app, self._settings = app, settings
        self._names = {name.lower() for name in (*LOOPBACK_NAMES, settings.host, *settings.hosts)}
        self._cookie = None if settings.token is None else _sign(settings.token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = _Request(scope)
        refusal = self._refuse(request)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        if request.path == "/" and (moved := self._log_in_by_link(request)) is not None:
            await moved(send)
            return
        if not self._has_token(request):
            await self._ask_for_token(request, receive, send)
            return
        if request.path == LOGIN and request.method == "POST":
            await _redirect(send, "/", ())
            return
        await self._pass_on(request, scope, receive, send)

    # ---- checks of the header

    def _refuse(self, request: _Request) -> tuple[int, str] | None:
        """Return status and sentence for a request that no client of this server sends; None for others."""
        if len(request.headers_of("host")) != 1 or not self._is_known(request.host):
            return 421, "This server doesn't go by that name: call it by its address, or add --allow-host NAME."
        if request.is_malformed:
            return 400, "The address isn't valid."
        if len(request.raw_path) + len(request.query) > MAX_URL:
            return 414, "The address is too long."
        if request.size > MAX_HEADERS:
            return 431, "The request's header is too long."
        if request.method not in METHODS:
            return 405, "That method isn't known here."
        origins = request.headers_of("origin")
        if origins and origins != [f"{request.scheme}://{request.host}"]:
            return 403, "That request comes from another site."
        if request.header("sec-fetch-site") in ("cross-site", "same-site") and not request.is_visit:
            return 403, "That request comes from another site."
        if len(request.headers_of("content-length")) > 1:
            return 400, "The request has two lengths."
        return None

    def _is_known(self, host: str) -> bool:
        """Return whether the server may be called so: by a name that it has, or by an address, which nobody rebinds."""
        name, port = _split_port(host)
        if port not in ("", str(self._settings.port)):
            return False
        if name.lower() in self._names:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return not _is_local_only(self._settings.host)

    # ---- the token

    def _has_token(self, request: _Request) -> bool:
        token, cookie = self._settings.token, self._cookie
        if token is None or cookie is None or request.path in OPEN_PATHS[1:]:
            return True
        scheme, _, given = request.header("authorization").partition(" ")
        if scheme.lower() == "bearer":
            return _is_equal(given.strip(), token)
        return _is_equal(_read_cookie(request.header("cookie")), cookie)

    def _log_in_by_link(self, request: _Request) -> Callable[[Send], Awaitable[None]] | None:
        """Return what answers a link that holds the token, `/?token=…`: the cookie, and an address without it."""
        values = parse_qs(request.query.decode("ascii", "replace"), keep_blank_values=True)
        given = values.pop("token", None)
        if given is None or self._settings.token is None or not _is_equal(given[-1], self._settings.token):
            return None
        target = f"/?{urlencode(values, doseq=True)}" if values else "/"
        return lambda send: _redirect(send, target, self._cookie_header(request))

    async def _ask_for_token(self, request: _Request, receive: Receive, send: Send) -> None:
        if request.path == LOGIN and request.method == "POST":
            body = await self._read_body(request, receive, send)
            if body is None:
                return
            given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[-1].strip()
            if self._settings.token is not None and _is_equal(given, self._settings.token):
                await _redirect(send, "/", self._cookie_header(request))
                return
            await asyncio.sleep(0.5)  # guessing takes longer than asking
        if "text/html" in request.header("accept"):
            from chunkv2l.serve.templates import render

            page = render("login.html", is_wrong=request.method == "POST")
            await _respond(send, 401, page.encode(), "text/html; charset=utf-8", (("www-authenticate", "Bearer"),))
            return
        await _answer(send, 401, "This server needs its token: send it as Authorization: Bearer TOKEN.")

    def _cookie_header(self, request: _Request) -> tuple[tuple[str, str], ...]:
        secure = "; Secure" if request.scheme == "https" else ""
        return (("set-cookie", f"{COOKIE}={self._cookie}; Path=/; HttpOnly; SameSite=Strict{secure}"),)

    # ---- the body

    async def _pass_on(self, request: _Request, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._read_body(request, receive, send)
        if body is None:
            return
        if request.method == "POST" and not request.header("content-type").lower().startswith("application/json"):
            await _answer(send, 415, "Requests have JSON in them: Content-Type: application/json.")
            return
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = {name.lower() for name, _ in message["headers"]}
                added = [pair for pair in _encoded(HEADERS) if pair[0] not in named]
                if b"cache-control" not in named:
                    added.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._app(scope, replay, send_with_headers)

    async def _read_body(self, request: _Request, receive: Receive, send: Send) -> bytes | None:
        """Return the request's body; None after refusing it, or where the client has gone."""
        limits = self._settings.limits
        declared = request.header("content-length")
        body, deadline = bytearray(), time.monotonic() + limits.body_seconds
        if declared and (not declared.isdecimal() or int(declared[:20]) > DRAINED):
            await _answer(send, 413, f"A request may have {limits.body} bytes.")
            return None
        size = 0
        while True:
            try:
                message = await asyncio.wait_for(receive(), max(0.01, deadline - time.monotonic()))
            except (asyncio.TimeoutError, TimeoutError):
                await _answer(send, 408, "The request took too long to arrive.")
                return None
            if message["type"] != "http.request":
                return None
            size += len(message.get("body", b""))
            if size <= limits.body:
                body += message.get("body", b"")
            if size > DRAINED or (size > limits.body and not message.get("more_body")):
                await _answer(send, 413, f"A request may have {limits.body} bytes.")
                return None
            if not message.get("more_body"):
                return bytes(body)


class _Request:
    """The header of a request, read once."""

    def __init__(self, scope: Scope) -> None:
        self.method = str(scope["method"])
        self.path = str(scope["path"])
        self.raw_path: bytes = scope.get("raw_path") or self.path.encode()
        self.query: bytes = scope.get("query_string", b"")
        self.scheme = str(scope.get("scheme", "http"))
        self._headers: list[tuple[bytes, bytes]] = list(scope["headers"])

    @property
    def size(self) -> int:
        """Bytes of all headers."""
        return sum(len(name) + len(value) for name, value in self._headers)

    def headers_of(self, name: str) -> list[str]:
        """Return all values of a header."""
        wire = name.encode()
        return [value.decode("latin-1") for key, value in self._headers if key.lower() == wire]

    def header(self, name: str) -> str:
        """Return a header's first value; "" where there is none."""
        return next(iter(self.headers_of(name)), "")

    @property
    def host(self) -> str:
        """The name and port that the client calls the server by."""
        return self.header("host").strip()

    @property
    def is_visit(self) -> bool:
        """Say whether somebody follows a link to one of the pages."""
        is_page = self.path == "/" or self.path.startswith("/movie/")
        is_document = self.header("sec-fetch-mode") == "navigate" and self.header("sec-fetch-dest") == "document"
        return is_page and is_document and self.method == "GET"

    @property
    def is_malformed(self) -> bool:
        """Say whether the path has what no path here has: bytes that aren't UTF-8, steps upwards, backslashes."""
        if not self.path.startswith("/"):
            return True
        text = self.path
        if any(ord(letter) < 32 or letter in "\\\x7f\ufffd" or 0xD800 <= ord(letter) < 0xE000 for letter in text):
            return True
        return any(part in ("..", ".") for part in text.split("/")) or "//" in text or _has_bad_bytes(self.raw_path)


def _has_bad_bytes(raw_path: bytes) -> bool:
    """Return whether a path's escapes stand for bytes that aren't UTF-8."""
    from urllib.parse import unquote_to_bytes

    try:
        unquote_to_bytes(raw_path).decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _split_port(host: str) -> tuple[str, str]:
    """Return name and port of a Host header; the port is "" where there is none."""
    if host.startswith("["):
        name, bracket, port = host.partition("]")
        return f"{name}{bracket}", port.removeprefix(":")
    name, _, port = host.partition(":")
    return name, port


def _is_local_only(host: str) -> bool:
    from chunkv2l.serve.settings import is_loopback

    return is_loopback(host)


def _sign(token: str) -> str:
    """Return the cookie's value, from which the token can't be learned."""
    return hmac.new(token.encode(), b"chunkv2l cookie", hashlib.sha256).hexdigest()


def _is_equal(given: str, secret: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _read_cookie(header: str) -> str:
    """Return the value of the server's cookie, "" where there is none.

    Python's own parser knows quoted values, in which a backslash may take time that grows with the header's square.
    """
    for pair in header.split(";"):
        name, _, value = pair.partition("=")
        if name.strip() == COOKIE:
            return value.strip()
    return ""


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers]


async def _answer(send: Send, status: int, sentence: str) -> None:
    """Answer with an error as JSON."""
    extra = (("connection", "close"),) if status in (408, 413) else ()
    await _respond(send, status, json.dumps({"error": sentence}).encode(), "application/json", extra)


async def _redirect(send: Send, target: str, extra: tuple[tuple[str, str], ...]) -> None:
    await _respond(send, 303, b"", "text/plain", (("location", target), *extra))


async def _respond(send: Send, status: int, body: bytes, media: str, extra: tuple[tuple[str, str], ...] = ()) -> None:
    headers = (("content-type", media), ("content-length", str(len(body))), ("cache-control", "no-store"), *extra)
    await send({"type": "http.response.start", "status": status, "headers": _encoded((*headers, *HEADERS))})
    await send({"type": "http.response.body", "body": body})
