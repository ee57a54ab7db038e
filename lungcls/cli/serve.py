"""``lungcls serve``: the web page and the REST service."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

import typer

from lungcls.cli.options import takes
from lungcls.cli.parts import check_weights
from lungcls.errors import OptionError
from lungcls.web import Settings, create_app
from lungcls.web.server import make_server


@takes(Settings, without=("classifiers", "allowed_hosts"))
def serve(
    settings: Settings,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others can reach only 0.0.0.0 or ::.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            "--classifier",
            metavar="NAME|PATH",
            help="Weights of stage 2, once a region; by default every released region.",
            show_default=False,
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allowed-host",
            metavar="NAME",
            help="Name by which others reach the service, such as films.example.org; may be repeated.",
            show_default=False,
        ),
    ] = None,
    root_path: Annotated[
        str, typer.Option("--root-path", help="Path under which a proxy serves the page, such as /lungcls.")
    ] = "",
    access_log: Annotated[
        bool, typer.Option("--access-log/--no-access-log", help="Log every request (address, path, status).")
    ] = True,
) -> None:
    """Serve the web page and the REST service, on this machine alone unless told otherwise.

    Nothing that is sent is kept. There is no password and no TLS: put a proxy in front before others may
    reach it (docs/web.md).
    """
    check_weights([settings.segmenter], "segmentation")
    check_weights([settings.gate] if settings.gate else [], "gate")
    check_weights(classifier or [], "classification")
    check_free(host, port)
    typer.echo("lungcls: loading the weights")
    app = create_app(
        replace(settings, classifiers=tuple(classifier or ()), allowed_hosts=tuple(allowed_host or ()))
    )
    if not _is_loopback(host):
        typer.echo(
            f"lungcls: others can reach {host} without a password, and unencrypted; docs/web.md shows how to "
            "put nginx in front",
            err=True,
        )
    server = make_server(app, host=host, port=port, root_path=root_path, access_log=access_log)
    with suppress(KeyboardInterrupt):  # which uvicorn raises once more after an orderly end
        server.run()


def check_free(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on before the weights are loaded."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise OptionError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}; --host and --port take others"
        ) from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
