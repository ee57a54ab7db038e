"""The networks in a process of their own: what ends it costs one request, and a new one takes its place.

Images of strangers go through decoders in C and Rust. One that crashes, hangs or takes all memory there
leaves the service standing, which only passes bytes on.
"""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import TypeVar

from lungcls.errors import LungclsError
from lungcls.web.models import Models
from lungcls.web.settings import Settings
from lungcls.weights import Card

_log = logging.getLogger(__name__)

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class WorkerDiedError(LungclsError):
    """The process ended while it worked."""


class WorkerHungError(LungclsError):
    """The process did not answer in time, and was ended."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """What the process has loaded; attributes as those of :class:`lungcls.web.models.Models`."""

    regions: tuple[str, ...]
    default_region: str
    classes: tuple[str, ...]
    cards: dict[str, Card]


class ModelProcess:
    """A process that holds the networks and works on one batch at a time.

    Used by one thread; `stop` by any.

    Parameters
    ----------
    settings : Settings
    timeout : float
        Seconds after which a batch that is not answered counts as hung.

    Attributes
    ----------
    pid : int or None
        Of the process, while it runs.
    replaced : int
        How often a new one had to take its place.
    """

    def __init__(self, settings: Settings, timeout: float) -> None:
        self._settings = settings
        self._timeout = timeout
        self._executor: ProcessPoolExecutor | None = None
        self._loading: Future[tuple[int, Loaded]] | None = None
        self.pid: int | None = None
        self.replaced = 0

    def start(self) -> Loaded:
        """Start the process unless it runs, and return what it has loaded.

        Raises
        ------
        WeightsError, ValueError
            As :class:`lungcls.web.models.Models`.
        WorkerDiedError
            If the process ends while it loads.
        """
        self._ready()
        assert self._loading is not None
        return self._loading.result()[1]

    def stop(self) -> None:
        """End the process, whatever it does; it keeps nothing that could be lost."""
        executor, self._executor = self._executor, None
        pid, self.pid = self.pid, None
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if executor is not None:
            executor.shutdown(cancel_futures=True)

    def run(self, function: Callable[[Sequence[Job]], list[Answer]], jobs: Sequence[Job]) -> list[Answer]:
        """Run a function of a module on jobs, in the process.

        Raises
        ------
        WorkerDiedError, WorkerHungError
            A new process is then being started.
        """
        try:
            future = self._ready().submit(function, jobs)
        except BrokenExecutor:  # it died while it had nothing to do, which is no fault of these jobs
            self._replace()
            future = self._ready().submit(function, jobs)
        try:
            return future.result(self._timeout)
        except BrokenExecutor as error:
            self._replace()
            raise WorkerDiedError("the process for the networks ended while it worked") from error
        except FutureTimeoutError as error:
            if future.done():
                raise  # from the function itself
            self._replace()
            raise WorkerHungError(f"the networks did not answer within {self._timeout:g} seconds") from error

    def _begin(self) -> None:
        self._executor = ProcessPoolExecutor(1, _context())
        self._loading = self._executor.submit(_load, self._settings)

    def _ready(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._begin()
        assert self._executor is not None
        assert self._loading is not None
        try:
            self.pid = self._loading.result()[0]
        except BrokenExecutor as error:
            self.stop()
            raise WorkerDiedError(
                "the process for the networks ended while it loaded them, expected it to be ready; is there "
                "enough memory? A script that calls create_app must do so under if __name__ == '__main__'"
            ) from error
        except BaseException:
            self.stop()
            raise
        return self._executor

    def _replace(self) -> None:
        _log.error("process %s, which ran the networks, died or hung; a new one takes its place", self.pid)
        self.replaced += 1
        self.stop()
        self._begin()


def _context() -> BaseContext:
    # A plain fork would inherit the threads and locks of the service. A fork server has none, and has
    # imported what takes seconds, so that a process that died is soon replaced.
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lungcls.web.answers", "torch", "segmentation_models_pytorch"])
    return context


def models() -> Models:
    """Return the networks of this process."""
    assert _models is not None
    return _models


_models: Models | None = None


def _load(settings: Settings) -> tuple[int, Loaded]:
    global _models
    # The service decides when this process ends: Ctrl-C and a stop of the system go to both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _models = Models(settings)
    loaded = Loaded(_models.regions, _models.default_region, _models.classes, _models.cards)
    return os.getpid(), loaded


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
