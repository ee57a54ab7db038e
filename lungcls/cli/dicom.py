"""``lungcls dicom``: a node beside a PACS, and films and results over DICOMweb."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from lungcls.cli.exporting import ViewerPlane
from lungcls.cli.options import BatchSize, Device, Engine, SegmenterName
from lungcls.errors import OptionError

if TYPE_CHECKING:
    from dicomweb_client.api import DICOMwebClient

    from lungcls.pacs.deidentify import Deidentifier
    from lungcls.pacs.dicomweb import Transferred

app = typer.Typer(help="A DICOM node, and DICOMweb.", no_args_is_help=True)

Deidentify: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--deidentify",
        metavar="KEYFILE",
        help="Take the patient off what goes out; the file holds the project's key, made if missing.",
        show_default=False,
    ),
]
Keep: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="KEYWORD",
        help="With --deidentify, keep this too, such as PatientSex.",
        show_default=False,
    ),
]
Url: TypeAlias = Annotated[
    str, typer.Argument(metavar="URL", help="DICOMweb service, such as http://127.0.0.1:8042/dicom-web.")
]
User: TypeAlias = Annotated[
    str, typer.Option("--user", help="User name; the password is read from LUNGCLS_DICOMWEB_PASSWORD.")
]
Queue: TypeAlias = Annotated[Path, typer.Option("--queue", help="Folder of the queue.")]


@app.command("serve")
def serve(
    to: Annotated[str, typer.Option("--to", metavar="AET@HOST:PORT", help="Where answers go.")],
    allow: Annotated[list[str], typer.Option("--allow", metavar="AET", help="AE title that may send films.")],
    queue: Queue = Path("lungcls-queue"),
    dicom: Annotated[
        str, typer.Option("--dicom", metavar="seg,sr,gsps,sc", help="What is answered.")
    ] = "seg,sr",
    aet: Annotated[str, typer.Option("--aet", help="AE title of this node.")] = "LUNGCLS",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 11112,
    region: Annotated[str, typer.Option("--region", help="Which released classifier.")] = "",
    classifier: Annotated[
        str, typer.Option("--classifier", metavar="NAME|PATH", help="Weights of stage 2.")
    ] = "",
    segmenter: SegmenterName = "segmenter",
    no_gate: Annotated[
        bool, typer.Option("--no-gate", help="Answer films that do not look like chest X-rays too.")
    ] = False,
    device: Device = "auto",
    engine: Engine = "auto",
    batch_size: BatchSize = 8,
    max_mb: Annotated[float, typer.Option("--max-mb", help="Largest film.")] = 128,
    max_megapixels: Annotated[float, typer.Option("--max-megapixels", help="Largest image.")] = 64,
    max_waiting: Annotated[int, typer.Option("--max-waiting", min=1, help="Most films that wait.")] = 10_000,
    max_associations: Annotated[
        int, typer.Option("--max-associations", min=1, help="Most senders at a time.")
    ] = 16,
    timeout: Annotated[float, typer.Option(help="Seconds of silence that end an association.")] = 30,
    deidentify: Deidentify = None,
    keep: Keep = None,
    viewer_plane: ViewerPlane = False,
) -> None:
    """Take chest films by C-STORE and answer with DICOM objects, until it is stopped.

    A film is on disk before its sender is told so, and is answered once, whatever happens in between. Nothing
    of a patient is logged. There is no encryption: keep the port inside the hospital (docs/pacs.md).
    """
    from lungcls.pacs.answering import Courier, Destination, answer_films
    from lungcls.pacs.node import Node, NodeSettings
    from lungcls.pacs.objects import checked_kinds
    from lungcls.pacs.queue import FilmQueue
    from lungcls.pipeline import Pipeline

    kinds = checked_kinds([name.strip() for name in dicom.split(",") if name.strip()])
    destination = Destination.parse(to)
    settings = NodeSettings(
        aet, tuple(allow), host, port, max_mb, max_megapixels, max_waiting, max_associations, timeout
    )
    cleaner = _deidentifier(deidentify, keep)
    _log_without_patients()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    # It listens while the weights are loaded: a PACS that forwards a film once shall not miss it.
    with FilmQueue(queue) as films, Node(films, settings) as node:
        _say(f"{aet} listens on {host}:{node.port}, answers go to {to}; loading the weights")
        pipeline = Pipeline(
            region=region or None,
            classifier=classifier or None,
            segmenter=segmenter,
            gate=None if no_gate else "gate",
            device=device,
            engine=engine,
            batch_size=batch_size,
            max_megapixels=max_megapixels,
        )
        with Courier(
            films, answer_films(pipeline, kinds, cleaner, viewer_plane), destination, aet, batch_size
        ):
            _say("ready")
            stopped.wait()
            _say("stopping")


@app.command("queue")
def show_queue(
    queue: Queue = Path("lungcls-queue"),
    retry: Annotated[bool, typer.Option("--retry", help="Let films that failed be answered again.")] = False,
) -> None:
    """Say what waits in a queue and what went wrong, by UID; the node must be stopped."""
    from lungcls.pacs.queue import FilmQueue

    if not (queue / "queue.sqlite").is_file():
        raise OptionError(f"{queue}: found no queue there, expected the folder of `lungcls dicom serve`")
    with FilmQueue(queue) as films:
        if retry:
            typer.echo(f"{films.retry()} films are answered again when the node starts")
        for state, number in films.counts().items():
            typer.echo(f"{state:>9} {number}")
        for uid, state, reason in films.troubles():
            typer.echo(f"{uid}: {state}: {reason}")


@app.command("pull")
def pull_films(
    url: Url,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the films.")],
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="KEYWORD=VALUE",
            help="Filter, such as Modality=CR or StudyDate=20240101-.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Most films; 0 for all.")] = 0,
    page: Annotated[int, typer.Option("--page", min=1, help="Films a search request.")] = 100,
    user: User = "",
    deidentify: Deidentify = None,
    keep: Keep = None,
) -> None:
    """Fetch films from a DICOMweb service; what is there already is not fetched again.

    Exit code: 0 all done, 1 some failed (each is named, the rest is done), 2 wrong use.
    """
    import itertools

    from lungcls.pacs.dicomweb import find_films, pull

    filters = dict(_pair(text) for text in where or ())
    films = find_films(_client(url, user), filters, page)
    chosen = itertools.islice(films, limit) if limit else films
    _sum_up(pull(_client(url, user), chosen, out, _deidentifier(deidentify, keep)), "fetched")


@app.command("push")
def push_files(
    url: Url,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="DICOM files and folders of them.")],
    journal: Annotated[Path, typer.Option("--journal", help="File that remembers what has arrived.")] = Path(
        ".lungcls-pushed.jsonl"
    ),
    user: User = "",
    deidentify: Deidentify = None,
    keep: Keep = None,
) -> None:
    """Send DICOM files to a DICOMweb service; what has arrived is not sent again.

    Exit code: 0 all done, 1 some failed (each is named, the rest is done), 2 wrong use.
    """
    from lungcls.pacs.dicomweb import push

    paths = [path for entry in files for path in _dicom_files(entry)]
    if not paths:
        raise OptionError("found no DICOM file (*.dcm) there, expected at least one; name files or folders")
    _sum_up(push(_client(url, user), paths, journal, _deidentifier(deidentify, keep)), "sent")


def _dicom_files(entry: Path) -> list[Path]:
    return sorted(entry.rglob("*.dcm")) if entry.is_dir() else [entry]


def _client(url: str, user: str) -> DICOMwebClient:
    from lungcls.pacs.dicomweb import connect

    if not url.startswith(("http://", "https://")):
        raise OptionError(f"{url}: expected an address that starts with http:// or https://")
    return connect(
        url,
        user,
        os.environ.get("LUNGCLS_DICOMWEB_PASSWORD", ""),
        os.environ.get("LUNGCLS_DICOMWEB_TOKEN", ""),
    )


def _say(text: str) -> None:
    typer.echo(f"lungcls: {text}")
    sys.stdout.flush()


def _deidentifier(path: Path | None, keep: list[str] | None) -> Deidentifier | None:
    from lungcls.pacs.deidentify import Deidentifier

    if path is None:
        if keep:
            raise OptionError("--keep belongs to --deidentify; name the key file too")
        return None
    return Deidentifier.from_file(path, keep or ())


def _pair(text: str) -> tuple[str, str]:
    keyword, separator, value = text.partition("=")
    if not (keyword and separator and value):
        raise OptionError(f"--where {text!r}: expected KEYWORD=VALUE, such as Modality=CR")
    return keyword, value


def _sum_up(results: Iterable[Transferred], done: str) -> None:
    counts = {"done": 0, "known": 0, "failed": 0}
    for result in results:
        counts[result.state] += 1
        if result.state == "failed":
            typer.echo(f"lungcls: {result.name}: {result.reason}", err=True)
    typer.echo(f"{counts['done']} {done}, {counts['known']} were there, {counts['failed']} failed")
    if counts["failed"]:
        raise typer.Exit(1)


def _log_without_patients() -> None:
    """Log what this package says, and nothing of the libraries below it: their messages quote files."""
    root: Any = logging.getLogger()
    root.addHandler(logging.NullHandler())
    ours = logging.getLogger("lungcls.pacs")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False
    warnings.simplefilter("ignore")
