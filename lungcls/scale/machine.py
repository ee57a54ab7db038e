"""One machine: worker processes that are chosen from what it has, and replaced where they die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import psutil

from lungcls.scale.sources import Input, Shard
from lungcls.scale.worker import Job, Summary, Worker

DEATHS: Final = 3
"""How many workers a shard may cost before it is given up."""

_THREADS: Final = 4
_MEMORY: Final = 2 << 30


@dataclass(frozen=True)
class Plan:
    """One worker process: the processors that it may use (none: all) and its device."""

    cpus: tuple[int, ...]
    device: str


def plans(device: str, workers: int | None = None, *, gpus: int = 0) -> list[Plan]:
    """Share the machine out among workers.

    Parameters
    ----------
    device : str
        As asked for.
    workers : int, optional
        How many; by default one a GPU, and without GPUs one for four processors and 2 GiB of free memory.
    gpus : int, default=0
        GPUs to share out.
    """
    cpus = available_cpus()
    fitting = min(len(cpus) // _THREADS, psutil.virtual_memory().available // _MEMORY)
    count = min(workers or gpus or max(1, fitting), len(cpus))
    shares = [
        tuple(cpus[number * len(cpus) // count : (number + 1) * len(cpus) // count])
        for number in range(count)
    ]
    return [
        Plan(share if count > 1 else (), f"cuda:{number % gpus}" if gpus else device)
        for number, share in enumerate(shares)
    ]


def available_cpus() -> list[int]:
    """Return the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


class Machine:
    """Workers on this machine.

    Parameters
    ----------
    job : Job
    workers : int, optional
        As :func:`plans` takes it.
    """

    def __init__(self, job: Job, workers: int | None = None) -> None:
        self._job = job
        self._workers = workers
        self._context = multiprocessing.get_context("spawn")
        self._counter: Any = self._context.Value("q", 0)
        device = job.options.get("device", "auto")
        self._slots = [_Slot(job, plan, self._context, self._counter) for plan in plans(device, workers)]

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *error: Any) -> None:
        for slot in self._slots:
            slot.kill()

    @property
    def rows(self) -> int:
        """Rows done by all workers so far."""
        return int(self._counter.value)

    @property
    def processes(self) -> int:
        """How many workers there are."""
        return len(self._slots)

    def about(self) -> dict[str, Any]:
        """Load the first worker, and return what it says of the run.

        Raises
        ------
        WeightsError, ValueError
            As :class:`lungcls.Pipeline`.
        """
        about, gpus = self._slots[0].call(_about).result()
        if gpus and self._job.options.get("device", "auto") in ("auto", "cuda"):
            shared = plans("cuda", self._workers, gpus=gpus)
            if len(shared) != 1:
                self._slots[0].kill()
                self._slots = [_Slot(self._job, plan, self._context, self._counter) for plan in shared]
        return about  # type: ignore[no-any-return]

    def work(self, source: Input, done: set[int], tick: Callable[[], None]) -> Iterator[Summary]:
        """Do the shards that are not done, and return what came of each as it ends.

        Parameters
        ----------
        source : Input
            Read no further than two shards a worker ahead.
        done : set of int
            Numbers of the shards that are left out.
        tick : callable
            Called about once a second.

        Raises
        ------
        StorageError
            If the output cannot be written.
        """
        remaining = source.shards(done)
        deaths: Counter[int] = Counter()
        while True:
            # The second waits in the worker's queue, so that no worker waits for this process.
            for slot in sorted(self._slots * 2, key=lambda slot: len(slot.queue)):
                if len(slot.queue) < 2 and (shard := next(remaining, None)) is not None:
                    slot.submit(shard)
            busy = [slot for slot in self._slots if slot.queue]
            if not busy:
                return
            wait([slot.queue[0][0] for slot in busy], timeout=1, return_when=FIRST_COMPLETED)
            tick()
            for slot in busy:
                while slot.queue and slot.queue[0][0].done():
                    task, shard = slot.queue[0]
                    try:
                        summary = task.result()
                    except BrokenProcessPool:
                        deaths[shard.index] += 1
                        if deaths[shard.index] < DEATHS:
                            slot.restart()
                            break
                        problem = f"its worker process died {DEATHS} times"
                        summary = Summary(shard.index, "lost", problem=problem)
                        slot.queue.popleft()
                        slot.restart()
                        yield summary
                        break
                    slot.queue.popleft()
                    yield summary


class _Slot:
    """A worker process, and the shards that wait for it; the first is in work."""

    def __init__(self, job: Job, plan: Plan, context: Any, counter: Any) -> None:
        self._job = replace(job, options={**job.options, "device": plan.device})
        self._plan = plan
        self._context = context
        self._counter = counter
        self.queue: deque[tuple[Future[Summary], Shard]] = deque()
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        words = (self._job, self._plan.cpus, self._counter)
        return ProcessPoolExecutor(1, mp_context=self._context, initializer=_begin, initargs=words)

    def call(self, function: Callable[..., Any], *words: Any) -> Future[Any]:
        return self._pool.submit(function, *words)

    def submit(self, shard: Shard) -> None:
        try:
            task = self.call(_work, shard)
        except BrokenProcessPool as error:
            # It died between two shards; the task that says so is treated like one that began.
            task = Future()
            task.set_exception(error)
        self.queue.append((task, shard))

    def restart(self) -> None:
        """Replace a dead process; what waited for it waits again."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._new_pool()
        shards = [shard for _, shard in self.queue]
        self.queue.clear()
        for shard in shards:
            self.submit(shard)

    def kill(self) -> None:
        """End the process, in the middle of a shard if need be."""
        processes = [*(self._pool._processes or {}).values()]
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with suppress(OSError, ValueError):
                process.kill()


_worker: Worker | None = None
_begin_error: Exception | None = None
_count: Any = None


def _begin(job: Job, cpus: tuple[int, ...], counter: Any) -> None:
    """Make this process a worker."""
    global _worker, _begin_error, _count
    _count = counter
    # Ctrl-C is the main process's to answer, which then ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)
    try:
        _worker = Worker(job)
    except Exception as error:
        # An exception here would be told only as a broken pool.
        _begin_error = error


def _follow_parent() -> None:
    """End with the main process, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _ready() -> Worker:
    if _begin_error is not None:
        raise _begin_error
    assert _worker is not None
    return _worker


def _about() -> tuple[dict[str, Any], int]:
    """What the run depends on, and how many GPUs the machine has where the pipeline runs on one."""
    worker = _ready()
    gpus = 0
    if worker.pipeline.segmenter.device.startswith("cuda"):
        import torch

        gpus = torch.cuda.device_count()
    return worker.about(), gpus


def _work(shard: Shard) -> Summary:
    def tell(rows: int) -> None:
        with _count.get_lock():
            _count.value += rows

    return _ready().work(shard, tell)
