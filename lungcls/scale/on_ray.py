"""Many machines: the shards as a Ray dataset, worked on by actors that load the engine once."""

from __future__ import annotations

import logging
import os
import pickle
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import ray
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from lungcls.errors import LungclsError
from lungcls.scale.machine import DEATHS, available_cpus
from lungcls.scale.shards import ShardFolder
from lungcls.scale.sources import Input
from lungcls.scale.storage import place
from lungcls.scale.worker import Job, Summary, Worker

_THREADS: Final = 4


class Cluster:
    """Workers on a Ray cluster; Ray Data feeds them, holds them back and replaces them.

    Parameters
    ----------
    job : Job
    address : str
        As ``ray.init`` takes it; ``local`` starts a cluster on this machine that ends with the run. Where Ray
        has been started in this process, that cluster is used.
    workers : int, optional
        At most so many actors; by default as many as the cluster has room for.
    gpus : float, optional
        GPUs of each; by default one where the cluster has any.

    Raises
    ------
    LungclsError
        If the cluster cannot be reached.

    Notes
    -----
    What is done is decided by the shards that are there, as on one machine, so that a run can be begun on one
    road and ended on the other. Ray's row checkpoints would be a second book beside them, and are not used.
    """

    def __init__(self, job: Job, address: str, workers: int | None, gpus: float | None) -> None:
        self._job = job
        self._ours = not ray.is_initialized()
        if self._ours:
            try:
                ray.init(address, logging_level=logging.WARNING, log_to_driver=False)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise LungclsError(
                    f"--ray {address}: no such Ray cluster can be reached ({error})"
                ) from error
        room = ray.cluster_resources()
        cpus = room.get("CPU", 1)
        self._gpus = min(1.0, room.get("GPU", 0.0)) if gpus is None else gpus
        fitting = (
            max(1, int(room.get("GPU", 0) / self._gpus)) if self._gpus else max(1, int(cpus // _THREADS))
        )
        self._workers = workers or fitting
        # Reading needs no processor of its own; a cluster full of workers could else never read.
        self._cpus = max(1, min(_THREADS, int(cpus // self._workers)))

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._ours:
            ray.shutdown()

    @property
    def rows(self) -> None:
        """Only whole shards are counted."""

    def about(self) -> dict[str, Any]:
        """Load a worker somewhere on the cluster, and return what it says of the run.

        Raises
        ------
        WeightsError, ValueError
            As :class:`lungcls.Pipeline`.
        """
        task = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus)(_about)
        answer = pickle.loads(ray.get(task.remote(self._job)))
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    def work(self, source: Input, done: set[int], tick: Callable[[], None]) -> Iterator[Summary]:
        """Do the shards that are not done, and return what came of each as it ends; `tick` as the others."""
        answers: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()

        def pull() -> None:
            try:
                for row in self._dataset(source, done).iter_rows():
                    answers.put(row["answer"])
                answers.put(None)
            except BaseException as error:
                answers.put(error)

        threading.Thread(target=pull, daemon=True).start()
        finished = set(done)
        while True:
            tick()
            try:
                answer = answers.get(timeout=1)
            except queue.Empty:
                continue
            if answer is None:
                break
            if isinstance(answer, BaseException):
                raise LungclsError(f"Ray has given up: {answer}") from answer
            summary = pickle.loads(answer)
            if isinstance(summary, Exception):
                raise summary
            finished.add(summary.shard)
            yield summary
        # Ray drops a block whose task its actors do not survive.
        finished |= ShardFolder(self._job.folder).done()
        for shard in source.shards(finished):
            yield Summary(shard.index, "lost", problem=f"its worker died {DEATHS} times")

    def _dataset(self, source: Input, done: set[int]) -> ray.data.Dataset:
        context = ray.data.DataContext.get_current().copy()
        # A block a shard: Ray would else gather shards for minutes before anybody works on the first.
        context.target_max_block_size = 1
        context.target_min_block_size = 1
        context.enable_progress_bars = False
        context.max_errored_blocks = -1
        with ray.data.DataContext.current(context):
            shards = ray.data.read_datasource(
                _Shards(source, frozenset(done)), override_num_blocks=1, ray_remote_args={"num_cpus": 0.01}
            )
            return shards.map_batches(
                _Actor,
                fn_constructor_args=(self._job, self._cpus),
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(
                    min_size=1, max_size=self._workers, max_tasks_in_flight_per_actor=2
                ),
                num_cpus=self._cpus,
                num_gpus=self._gpus,
                max_restarts=-1,
                max_task_retries=DEATHS - 1,
            )


class _Shards(Datasource):  # type: ignore[misc]
    """The shards of an input, a row each, read one after the other by one task."""

    def __init__(self, source: Input, done: frozenset[int]) -> None:
        super().__init__()
        self._source = source
        self._done = done

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *others: Any, **options: Any) -> list[ReadTask]:
        source, done = self._source, self._done

        def read() -> Iterator[pa.Table]:
            try:
                for shard in source.shards(done):
                    yield pa.table({"item": [pickle.dumps(shard)]})
            except Exception as error:
                yield pa.table({"item": [pickle.dumps(error)]})

        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(read, unknown)]


class _Actor:
    """A worker in an actor of Ray's."""

    def __init__(self, job: Job, cpus: int) -> None:
        _keep_to(cpus, job.start)
        self._worker = Worker(job)

    def __call__(self, batch: pa.Table) -> pa.Table:
        answers = []
        for item in batch["item"].to_pylist():
            shard = pickle.loads(item)
            # An error that ends the run goes home as a value: Ray would try the block again.
            try:
                answer = shard if isinstance(shard, Exception) else self._worker.work(shard)
            except Exception as error:
                answer = error
            answers.append(pickle.dumps(answer))
        return pa.table({"answer": answers})


def _about(job: Job) -> bytes:
    try:
        return pickle.dumps(Worker(job).about())
    except Exception as error:
        return pickle.dumps(error)


def _keep_to(count: int, start: str) -> None:
    """Keep this process to as many processors as Ray reserved for it, others than its neighbours'.

    Ray only counts processors, and an engine would take all of them.
    """
    cpus = available_cpus()
    if not hasattr(os, "sched_setaffinity"):
        return
    for first in range(0, len(cpus) - count + 1, count):
        seat = Path(tempfile.gettempdir(), f"lungcls-{start}", str(first))
        if place(seat).create(str(os.getpid()).encode()) or not _holds(seat):
            seat.write_text(str(os.getpid()))
            os.sched_setaffinity(0, cpus[first : first + count])
            return


def _holds(seat: Path) -> bool:
    """Whether the process that took a seat is alive."""
    import psutil

    try:
        return bool(psutil.pid_exists(int(seat.read_text())))
    except (OSError, ValueError):
        return True
