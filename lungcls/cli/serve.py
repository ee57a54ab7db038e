"""``lungcls serve``: the web page and the REST service."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import typer

from lungcls.cli.options import Device


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; others can reach only 0.0.0.0 or ::.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            "--classifier",
            metavar="NAME|PATH",
            help="Weights of stage 2, once a region; by default every released region.",
            show_default=False,
        ),
    ] = None,
    segmenter: Annotated[
        str, typer.Option("--segmenter", metavar="NAME|PATH", help="Weights of stage 1.")
    ] = "segmenter",
    no_gate: Annotated[
        bool, typer.Option("--no-gate", help="Do without the check that an image is a chest X-ray.")
    ] = False,
    device: Device = "auto",
    engine: Annotated[str, typer.Option(help="auto, torch, onnxruntime or openvino.")] = "auto",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images that run together.")] = 8,
    max_upload_mb: Annotated[float, typer.Option("--max-upload-mb", help="Largest request.")] = 32,
    max_megapixels: Annotated[float, typer.Option("--max-megapixels", help="Largest image.")] = 32,
    max_files: Annotated[int, typer.Option("--max-files", min=1, help="Most files of a request.")] = 8,
    max_requests: Annotated[
        int, typer.Option("--max-requests", min=1, help="Requests at a time; the next one gets 429.")
    ] = 32,
    max_explanations: Annotated[
        int, typer.Option("--max-explanations", min=1, help="Explanations at a time.")
    ] = 4,
    timeout: Annotated[float, typer.Option(help="Seconds until a prediction must be there.")] = 60,
    explain_timeout: Annotated[
        float, typer.Option("--explain-timeout", help="Seconds until an explanation must be there.")
    ] = 120,
    upload_timeout: Annotated[
        float, typer.Option("--upload-timeout", help="Seconds until a request must have arrived.")
    ] = 30,
    root_path: Annotated[
        str, typer.Option("--root-path", help="Path under which a proxy serves the page, such as /lungcls.")
    ] = "",
    access_log: Annotated[bool, typer.Option(help="Log every request (address, path, status).")] = True,
) -> None:
    """Serve the web page and the REST service, on this machine alone unless told otherwise.

    Nothing that is sent is kept. There is no password and no TLS: put a proxy in front before others may
    reach it (docs/web.md).
    """
    import uvicorn

    from lungcls.web import Settings, create_app

    typer.echo("lungcls: loading the weights")
    app = create_app(
        Settings(
            classifiers=tuple(classifier or ()),
            segmenter=segmenter,
            gate=None if no_gate else "gate",
            device=device,
            engine=engine,
            batch_size=batch_size,
            max_upload_mb=max_upload_mb,
            max_megapixels=max_megapixels,
            max_files=max_files,
            max_requests=max_requests,
            max_explanations=max_explanations,
            timeout=timeout,
            explain_timeout=explain_timeout,
            upload_timeout=upload_timeout,
        )
    )
    if not _is_loopback(host):
        typer.echo(
            f"lungcls: others can reach {host} without a password, and unencrypted; docs/web.md shows how to "
            "put nginx in front",
            err=True,
        )
    uvicorn.run(
        app,
        host=host,
        port=port,
        root_path=root_path,
        access_log=access_log,
        server_header=False,
        ws="none",
        # Far above the places of the service: only a flood of idle connections meets it.
        limit_concurrency=max_requests + max_explanations + 256,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=15,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
