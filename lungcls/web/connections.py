"""Connections as uvicorn keeps them, with an end to those that only hold on.

uvicorn waits without end for the head of a request and for a client to take its answer, and tells everyone to
come back where too many connections are open. Here it is the one that does nothing that has to go.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from lungcls.web.middleware import HEADERS
from lungcls.web.problems import Problem

_idle: WeakKeyDictionary[ServerState, dict[Connection, None]] = WeakKeyDictionary()


class Connection(H11Protocol):
    """One connection; what uvicorn takes as ``http``.

    ``limit_concurrency`` bounds the connections: one more ends the one that has waited longest without a
    request, or itself where all have one.

    Attributes
    ----------
    head_seconds : float
        Time from the connection, or a first byte after a request, to the end of a request's head.
    stall_seconds : float
        Time in which a client must have taken `stall_bytes` of its answer, or all of it.
    """

    head_seconds: ClassVar[float] = 10
    stall_seconds: ClassVar[float] = 10
    stall_bytes: ClassVar[int] = 160_000

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._most = self.limit_concurrency
        self.limit_concurrency = None  # or uvicorn would refuse requests
        self._waiting = _idle.setdefault(self.server_state, {})
        self._head: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room where there is none."""
        super().connection_made(transport)
        if (connection := transport.get_extra_info("socket")) is not None:
            # Or the system takes in megabytes of an answer for a client that does not.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.stall_bytes)
        self._watch_head()
        if self._most is not None and len(self.connections) > self._most:
            next(iter(self._waiting), self).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._unwatch_head()
        if self._stall is not None:
            self._stall.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and note whether they made a head complete."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch_head()
        elif self._head is None and not self.transport.is_closing():
            self._watch_head()

    def on_response_complete(self) -> None:
        """Wait for the next request, and for the client to take the answer."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._waiting.setdefault(self)
        self._watch_stall()

    def pause_writing(self) -> None:
        """Note that the client takes its answer more slowly than it is made."""
        super().pause_writing()
        self._watch_stall()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the form of every other refusal."""
        answer = Problem("malformed", "This is no HTTP request that can be read.").response()
        headers = [*answer.raw_headers, *((k.lower().encode(), v.encode()) for k, v in HEADERS.items())]
        event = h11.Response(status_code=400, headers=[*headers, (b"connection", b"close")])
        for part in (event, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(part) or b"")
        self.transport.close()

    def _watch_head(self) -> None:
        self._waiting.setdefault(self)
        self._head = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _unwatch_head(self) -> None:
        self._waiting.pop(self, None)
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _watch_stall(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left and self._stall is None:
            self._stall = self.loop.call_later(self.stall_seconds, self._check_stall, left)

    def _check_stall(self, before: int) -> None:
        self._stall = None
        if self.transport.get_write_buffer_size() > max(0, before - self.stall_bytes):
            self.transport.abort()
        else:
            self._watch_stall()
