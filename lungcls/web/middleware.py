"""Around every request: security headers, counting, and an answer without a trace where something broke."""

from __future__ import annotations

import time
from typing import Final

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lungcls.web.metrics import Metrics
from lungcls.web.problems import internal

HEADERS: Final[dict[str, str]] = {
    # Everything comes from here; pictures come as data URLs, and what the user chose as blobs.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Origin-Agent-Cluster": "?1",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_DRAIN_SECONDS: Final = 5


class SecurityHeaders:
    """Adds the headers, and forbids caching of what is about someone's image.

    It stands outside of everything else, so that an unforeseen error gets them too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self.app(scope, receive, with_headers)
        except Exception as error:
            answer = internal(error)
            if not started:
                await answer(scope, receive, with_headers)


class Counting:
    """Counts requests and the time that they took.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    paths : frozenset of str
        Paths that are counted by name; others would let strangers make any number of time series.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self.app = app
        self.metrics = metrics
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
            label = path if path in self.paths else "other"
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
            self.metrics.requests.labels(label, method, str(status)).inc()
            self.metrics.seconds.labels(label).observe(time.perf_counter() - started)
            if kind := scope.get("state", {}).get("problem"):
                self.metrics.refused.labels(kind).inc()


class Drain:
    """Reads what is left of a refused body before it answers.

    A client that is still sending when the connection closes sees a broken connection in place of the answer.

    Parameters
    ----------
    app : ASGI application
    most : int
        Bytes after which the connection is closed all the same.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        complete = False
        # Such a client has not begun to send, and will not when it sees the refusal.
        expects = Headers(scope=scope).get("expect", "").lower() == "100-continue"
        begun = False

        async def noted() -> Message:
            nonlocal complete, begun
            message = await receive()
            begun = True
            complete = complete or message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        async def drained(message: Message) -> None:
            # Who was too slow is not waited for again, nor is anyone when the service stops.
            waited = message.get("status") in (408, 503)
            if message["type"] == "http.response.start" and not (
                complete or waited or (expects and not begun)
            ):
                size = 0
                with anyio.move_on_after(_DRAIN_SECONDS):
                    while not complete and size <= self.most:
                        size += len((await noted()).get("body", b""))
            await send(message)

        await self.app(scope, noted, drained)
