"""The server: uvicorn with the connections of :mod:`lungcls.web.connections` and an orderly end."""

from __future__ import annotations

import math
import socket
from contextlib import suppress
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from lungcls.web.connections import Connection
from lungcls.web.service import Service

MAX_CONNECTIONS: Final = 1000
_SPARE_FILES: Final = 200  # of the process: weights, pipes, log files


class Server(uvicorn.Server):
    """A server that finishes what it has taken in.

    At the end, requests that are whole are worked on and answered; bodies that are still coming in are told
    that the service stops.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking requests, finish those that run, and stop."""
        self._service.arrivals.close()
        await super().shutdown(sockets)


def make_server(app: FastAPI, **options: Any) -> Server:
    """Return the server of an application of :func:`lungcls.web.create_app`.

    Parameters
    ----------
    app : FastAPI
    **options
        More of :class:`uvicorn.Config`, such as ``host`` and ``port``.
    """
    service: Service = app.state.service
    settings = service.settings
    values: dict[str, Any] = {
        "http": Connection,
        "ws": "none",
        "server_header": False,
        "limit_concurrency": _most_connections(),
        "backlog": 4096,
        "timeout_keep_alive": 15,
        "timeout_graceful_shutdown": math.ceil(max(settings.timeout, settings.explain_timeout)),
    }
    return Server(uvicorn.Config(app, **{**values, **options}), service)


def _most_connections() -> int:
    """Return how many connections the limit on open files of this process allows."""
    with suppress(ImportError):  # Windows has no such limit
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            return max(16, min(MAX_CONNECTIONS, soft - _SPARE_FILES))
    return MAX_CONNECTIONS
