"""One thread that gathers what is waiting into batches."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class Worker(Generic[Job, Answer]):
    """Runs jobs in batches, in the order in which they came.

    While a batch is worked on the next jobs wait, and all of them (up to `batch_size`) make the next batch:
    the busier the service, the larger its batches, and a lone request waits for nobody.

    Parameters
    ----------
    run : callable
        Takes a list of jobs and returns as many answers, an exception among them for a job that failed.
    batch_size : int
    name : str
        Of the thread.
    """

    def __init__(
        self, run: Callable[[list[Job]], Sequence[Answer | Exception]], batch_size: int, name: str
    ) -> None:
        self._run = run
        self._batch_size = batch_size
        # Not bounded here: places are taken before a request is read, which bounds what can be submitted.
        self._waiting: queue.SimpleQueue[tuple[Job, Future[Answer]] | None] = queue.SimpleQueue()
        self._name = name
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, also after a stop."""
        self._stopped.clear()
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10) -> None:
        """Cancel what waits, and wait for the batch in work."""
        self._stopped.set()
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        """Whether jobs are taken."""
        return self._thread is not None and self._thread.is_alive() and not self._stopped.is_set()

    @property
    def waiting(self) -> int:
        """Number of jobs that no batch has taken yet."""
        return self._waiting.qsize()

    def submit(self, job: Job) -> Future[Answer]:
        """Queue a job; one that is cancelled before its batch starts costs nothing."""
        future: Future[Answer] = Future()
        if self._stopped.is_set():
            future.cancel()
        else:
            self._waiting.put((job, future))
        return future

    def _work(self) -> None:
        while batch := self._gather():
            if self._stopped.is_set():
                for _, future in batch:
                    future.cancel()
            started = [(job, future) for job, future in batch if future.set_running_or_notify_cancel()]
            if started:
                self._answer(started)
            # Else the last batch would be held in memory until the next one comes.
            del batch, started

    def _answer(self, batch: list[tuple[Job, Future[Answer]]]) -> None:
        answers: Sequence[Answer | Exception]
        try:
            answers = self._run([job for job, _ in batch])
        except BaseException as error:  # whatever it was, the thread goes on with the next batch
            answers = [error if isinstance(error, Exception) else RuntimeError(repr(error))] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _gather(self) -> list[tuple[Job, Future[Answer]]]:
        """Wait for a job and take those behind it; none at the end."""
        batch = []
        while (entry := self._waiting.get()) is not None:
            batch.append(entry)
            if len(batch) == self._batch_size or self._waiting.empty():
                return batch
        for _, future in batch:
            future.cancel()
        return []
