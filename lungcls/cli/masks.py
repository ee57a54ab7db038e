"""``lungcls masks``: correct lung masks by hand, and fine-tune the segmenter on them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from lungcls.cli.lazy import Commands
from lungcls.cli.options import Cache, Device, Epochs, RunFolder, Seed, SegmenterName, Workers

app = typer.Typer(help="Correct lung masks, and train on them.", cls=Commands, add_completion=False)

_HOST = "127.0.0.1"


@app.command()
def review(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="Films, or images/ with films."),
    ],
    segmenter: SegmenterName = "segmenter",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8001,
    device: Device = "auto",
) -> None:
    """Open a page on this machine with each film and its mask: brush, erase, smooth, save as PNG.

    Masks are kept in FOLDER/masks, under the films' names; the segmenter draws those that are not there yet.
    """
    import uvicorn

    from lungcls.cli.parts import check_weights
    from lungcls.cli.serve import check_free
    from lungcls.finder import Finder
    from lungcls.web.review import Reviewed, create_review

    check_weights([segmenter], "segmentation")
    check_free(_HOST, port)
    reviewed = Reviewed(folder, Finder.load(segmenter, device=device))
    config = uvicorn.Config(create_review(reviewed), host=_HOST, port=port, log_level="warning")
    server = uvicorn.Server(config)
    sockets = [config.bind_socket()]
    typer.echo(
        f"{len(reviewed.films)} films: open http://{_HOST}:{sockets[0].getsockname()[1]} (Ctrl+C stops); "
        f"then lungcls masks finetune {folder} -o RUN"
    )
    with suppress(KeyboardInterrupt):  # which uvicorn raises once more after an orderly end
        server.run(sockets)


@app.command()
def finetune(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="That was reviewed.")
    ],
    out: RunFolder,
    segmenter: SegmenterName = "segmenter",
    seed: Seed = 0,
    epochs: Epochs = None,
    cache: Cache = None,
    device: Device = "auto",
    workers: Workers = 1,
) -> None:
    """Fine-tune the segmenter on the masks of a folder: `lungcls finetune FOLDER --task segmentation`."""
    from lungcls.cli.finetune import finetune as run

    run(
        folder,
        out,
        task="segmentation",
        start=segmenter,
        seed=seed,
        epochs=epochs,
        cache=cache,
        device=device,
        workers=workers,
    )
