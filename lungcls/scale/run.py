"""A run over any number of films: a manifest in, Parquet shards out, nothing lost when it is cut short."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from lungcls.errors import DataError
from lungcls.scale.machine import Machine
from lungcls.scale.progress import Progress, Snapshot
from lungcls.scale.results import Counts, count_rows
from lungcls.scale.shards import ShardFolder, Start
from lungcls.scale.sources import Input, input_root, open_input
from lungcls.scale.worker import MASKS, Job, Masks, Summary
from lungcls.versions import package_versions

_PACKAGES: Final = (
    "lungcls",
    "numpy",
    "pillow",
    "pyarrow",
    "fsspec",
    "torch",
    "onnxruntime",
    "openvino",
    "ray",
)

_POLL: Final = 5.0


class Engine(Protocol):
    """What does the shards: this machine (:class:`lungcls.scale.machine.Machine`) or a Ray cluster."""

    def __enter__(self) -> Engine: ...

    def __exit__(self, *error: Any) -> None: ...

    @property
    def rows(self) -> int | None:
        """Rows done so far; None where only whole shards are counted."""

    def about(self) -> dict[str, Any]:
        """Return what the rows depend on."""

    def work(self, source: Input, done: set[int], tick: Callable[[], None]) -> Iterator[Summary]:
        """Do the shards that are not done, and return what came of each as it ends."""


@dataclass(frozen=True)
class Report:
    """What came of a run.

    Attributes
    ----------
    folder : str
    counts : Counts
        Over all shards, those of earlier starts included.
    rows : int
        That this start did.
    seconds : float
        That this start took.
    lost : tuple of Summary
        Shards that were given up.
    """

    folder: str
    counts: Counts
    rows: int
    seconds: float
    lost: tuple[Summary, ...] = ()


def run(
    inputs: Sequence[str],
    out: str | os.PathLike[str],
    *,
    column: str | None = None,
    root: str | None = None,
    rows_per_shard: int = 1024,
    masks: Masks = "rle",
    workers: int | None = None,
    ray: str | None = None,
    gpus_per_worker: float | None = None,
    value_range: tuple[float, float] | None = None,
    report: Callable[[Snapshot], None] = lambda snapshot: None,
    **options: Any,
) -> Report:
    """Classify all films of a manifest, folder, pattern, tar or zip file; a second start goes on.

    Parameters
    ----------
    inputs : sequence of str
        As :func:`lungcls.scale.sources.open_input` takes them.
    out : path or URI
        Folder for the shards (:mod:`lungcls.scale.shards`).
    column : str, optional
        The manifest's column of URIs.
    root : str, optional
        What relative paths are below; by default the folder of the manifest.
    rows_per_shard : int, default=1024
        A killed worker loses at most the shard in work.
    masks : {"rle", "png", "none"}, default="rle"
        As COCO run lengths in a column, or as PNG in a tar file a shard.
    workers : int, optional
        Worker processes; by default chosen from what there is.
    ray : str, optional
        Work on a Ray cluster: its address, ``auto`` for the one that this machine belongs to, or ``local``
        for one on this machine that ends with the run.
    gpus_per_worker : float, optional
        On Ray, of each worker; by default one where the cluster has GPUs, else none.
    value_range : (low, high), optional
        As in :func:`lungcls.predict`.
    report : callable
        Told about once a second how far the run is.
    **options
        Of :class:`lungcls.Pipeline`; ``classifier`` may be a list, which makes an ensemble.

    Returns
    -------
    Report

    Raises
    ------
    DataError
        If the inputs are no films or manifests, or the folder holds another run.
    StorageError
        If a manifest cannot be read or the output not be written. What is done stays.
    WeightsError, ValueError
        As :class:`lungcls.Pipeline`.
    MissingExtraError
        If a package of the extra ``scale``, or ``ray``, is missing.

    Notes
    -----
    A shard is complete as soon as its file is there, and only then. Two starts at the same time share the
    shards: each claims one before it works on it (:class:`lungcls.scale.shards.Claims`). The same film in the
    same shard goes through the networks in the same batch, so that a run that was killed ends in the same
    rows as one that was not.
    """
    if masks not in MASKS:
        raise ValueError(f"masks is {masks!r}; expected one of {', '.join(MASKS)}")
    folder = ShardFolder(os.fspath(out))
    listing = folder.root.below("inputs.parquet")
    source = open_input(inputs, listing, column=column, rows_per_shard=rows_per_shard)
    job = Job(
        folder=folder.uri,
        start="",
        root=input_root(inputs) if root is None else root,
        options=options,
        masks=masks,
        value_range=value_range,
        input_type=source.input_type,
    )
    identity = source.identity()
    with Start(folder) as start:
        job = replace(job, start=start.name)
        with _engine(job, workers, ray, gpus_per_worker) as engine:
            folder.begin({**engine.about(), "input": identity})
            return _work(folder, source, engine, rows_per_shard, report)


def _engine(job: Job, workers: int | None, ray: str | None, gpus: float | None) -> Engine:
    if ray is None:
        return Machine(job, workers)
    from lungcls.scale.on_ray import Cluster

    return Cluster(job, ray, workers, gpus)


def _work(
    folder: ShardFolder, source: Input, engine: Engine, size: int, report: Callable[[Snapshot], None]
) -> Report:
    began = time.monotonic()
    done = folder.done()
    progress = Progress(_rows_before(done, source, size), len(done), source.total)

    def tick() -> None:
        report(progress.snapshot(engine.rows))

    lost: list[Summary] = []
    while True:
        elsewhere = 0
        for summary in engine.work(source, done | {one.shard for one in lost}, tick):
            progress.add(summary)
            elsewhere += summary.state == "elsewhere"
            if summary.state == "lost":
                lost.append(summary)
            tick()
        if not elsewhere:
            break
        # Other starts are at these. They end, or their claims fall to this one.
        time.sleep(_POLL)
        tick()
        done = folder.done()
        progress.elsewhere = 0
    counts = count_rows(folder.uri)
    missing = [] if source.shard_count is None else sorted(set(range(source.shard_count)) - folder.done())
    if set(missing) - {one.shard for one in lost}:
        raise DataError(f"{folder.uri}: the shards {missing[:10]} are not there although they were done")
    if not lost:
        folder.end({**counts.to_dict(), "versions": package_versions(_PACKAGES)})
    return Report(folder.uri, counts, progress.finished_rows, time.monotonic() - began, tuple(lost))


def _rows_before(done: set[int], source: Input, size: int) -> int:
    if source.total is None:
        return len(done) * size if source.shard_count is None else 0
    last = source.total // size
    return sum(size if index < last else source.total % size for index in done)
