"""What is turned away at the door: strangers' names for this machine, other sites' pages, unknown options."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lungcls.web.problems import Problem

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
"""Names by which a browser of this machine calls it."""

_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_PORTS: Final = {"http": 80, "https": 443}


class Admission:
    """Checks the head of every request.

    - ``Host`` must be one of the names that this service is known by, or the address at which the connection
      came in: a page whose name an attacker points at this machine (DNS rebinding) has another one.
    - A request that a page of another site sends (``Sec-Fetch-Site``, or ``Origin`` where a browser does not
      send that) is refused, so that no site can use the visitor's access to the service.
    - No path takes options in the query, and a body comes as it is, not compressed: neither is passed over
      without a word.

    Parameters
    ----------
    app : ASGI application
    hosts : sequence of str
        Names, also ``*.example.org``; ``*`` for any.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app = app
        self.hosts = tuple(host.lower().strip("[]") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Problem as problem:
            scope.setdefault("state", {})["problem"] = problem.kind
            await problem.response()(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._knows(_name(host), scope):
            raise Problem(
                "foreign-host",
                f"{host[:100] or 'No name'!r} is no name of this service; whoever runs it can add it with "
                "--allowed-host.",
            )
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        # `none` is the user's own doing; a link on another site's page may be followed.
        other_site = site not in (None, "same-origin", "none") and scope["method"] not in _SAFE
        if other_site or (origin is not None and not _same(origin, host)):
            raise Problem("foreign-origin", "A page of another site may not use this service.")
        if scope["query_string"]:
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            names = ", ".join(dict.fromkeys(name[:40] for name, _ in query)) or "text without a name"
            raise Problem(
                "unknown-option",
                f"The address ends in unknown options ({names}); send options as fields of the form, as "
                "/reference says.",
            )
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Problem("compressed-body", "Send the body as it is, without Content-Encoding.")

    def _knows(self, name: str, scope: Scope) -> bool:
        server = scope.get("server")
        if server is not None and name == server[0]:
            try:
                ipaddress.ip_address(name)
                return True
            except ValueError:
                pass  # the name that a test client made up
        return any(
            host in ("*", name) or (host.startswith("*.") and name.endswith(host[1:])) for host in self.hosts
        )


def _name(host: str) -> str:
    """Return the name in ``name:port``, in lower case and without the brackets of an IPv6 address."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _same(origin: str, host: str) -> bool:
    """Tell whether an origin is the site of this host; a port is compared only where the host tells it."""
    try:
        theirs, ours = urlsplit(origin), urlsplit(f"//{host}")
        port = theirs.port or _PORTS.get(theirs.scheme)
        return bool(theirs.hostname) and theirs.hostname == ours.hostname and ours.port in (None, port)
    except ValueError:
        return False
