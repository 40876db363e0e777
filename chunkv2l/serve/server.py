"""Run the server until it is told to stop: one process, one event loop, on one address."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from chunkv2l.errors import InputError
from chunkv2l.serve.app import create_app
from chunkv2l.serve.service import Service

GRACE: Final = 60
"""Seconds in which what runs may end after SIGTERM."""
_TOO_LATE: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class PunctualProtocol(H11Protocol):
    """HTTP/1.1 whose clients have a time to send a header and to take an answer; uvicorn itself would wait for ever."""

    def __init__(self, *arguments: Any, header_seconds: float, answer_seconds: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._header_seconds, self._answer_seconds = header_seconds, answer_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._timer is None and self.conn.trailing_data[0]:
            self._start_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._start_answer_timer()
        if self._timer is None and self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._start_timer()

    def pause_writing(self) -> None:
        """Give the client some seconds to take what waits for it: the buffer is full."""
        super().pause_writing()
        self._start_answer_timer()

    def resume_writing(self) -> None:
        """Write on, and give the client time for the rest: it has taken most of the buffer."""
        super().resume_writing()
        self._start_answer_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_answer_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self._header_seconds, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_answer_timer(self) -> None:
        self._stop_answer_timer()
        self._answer_timer = self.loop.call_later(self._answer_seconds, self._drop)

    def _stop_answer_timer(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None

    def _drop(self) -> None:
        """Close the connection at once if something still waits to be taken."""
        self._answer_timer = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _give_up(self) -> None:
        self._timer = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.write(_TOO_LATE)
            self.transport.close()


def serve(service: Service, started: Callable[[], None] | None = None) -> None:
    """Serve until SIGTERM or Ctrl+C; then refuse what is new, and let what runs end.

    Args:
        started: called once the address is listened to.

    Raises:
        InputError: the address can't be listened to.
    """
    settings = service.settings
    with closing(_listen(settings.host, settings.port)) as listener:
        Server(service, started).run(sockets=[listener])


def configure(service: Service) -> uvicorn.Config:
    """Return uvicorn's configuration: no access log (addresses hold questions), no proxies, no web sockets."""
    limits = service.settings.limits

    class Protocol(PunctualProtocol):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            times = {"header_seconds": limits.header_seconds, "answer_seconds": limits.answer_seconds}
            super().__init__(*arguments, **times, **named)

    return uvicorn.Config(
        create_app(service),
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=32 << 10,
    )


class Server(uvicorn.Server):
    """uvicorn's server, which stops the service first, and says when it listens."""

    def __init__(self, service: Service, started: Callable[[], None] | None = None) -> None:
        super().__init__(configure(service))
        self._service = service
        self._when_started = started

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.stop()  # what is watched ends, so that its watchers go
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._when_started is not None:
            self._when_started()


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket."""
    try:
        family, kind_of_socket, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind_of_socket, protocol)
    except (OSError, OverflowError) as error:
        raise InputError(f"There is no address {host} on this machine ({error}): choose another --host.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise InputError(
            f"Port {port} of {host} can't be listened to ({error.strerror}): choose another --port."
        ) from error
    return listener
