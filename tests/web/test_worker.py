"""Gathering jobs into batches."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from lungcls.web.worker import Worker


class Doubler:
    """Doubles numbers, and can be held while it does."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Event()
        self.release = threading.Event()
        self.release.set()

    def __call__(self, jobs: list[int]) -> list[int | Exception]:
        self.batches.append(jobs)
        self.begun.set()
        assert self.release.wait(10)
        return [ValueError("odd") if job % 2 else 2 * job for job in jobs]


@pytest.fixture
def doubler() -> Doubler:
    return Doubler()


@pytest.fixture
def worker(doubler: Doubler) -> Iterator[Worker[int, int]]:
    made: Worker[int, int] = Worker(doubler, 3, "test")
    made.start()
    yield made
    doubler.release.set()
    made.stop()


def test_a_failure_takes_only_its_own_place(worker: Any) -> None:
    futures = [worker.submit(job) for job in (2, 3, 4)]
    assert futures[0].result(10) == 4
    with pytest.raises(ValueError, match="odd"):
        futures[1].result(10)
    assert futures[2].result(10) == 8


def test_what_waits_becomes_a_batch(worker: Any, doubler: Doubler) -> None:
    doubler.release.clear()
    futures = [worker.submit(0)]
    assert doubler.begun.wait(10)
    futures += [worker.submit(job) for job in (2, 4, 6, 8)]
    assert worker.waiting == 4
    doubler.release.set()
    assert [future.result(10) for future in futures] == [0, 4, 8, 12, 16]
    assert doubler.batches == [[0], [2, 4, 6], [8]]


def test_a_cancelled_job_is_not_worked_on(worker: Any, doubler: Doubler) -> None:
    doubler.release.clear()
    worker.submit(0)
    assert doubler.begun.wait(10)
    gone, kept = worker.submit(2), worker.submit(4)
    assert gone.cancel()
    doubler.release.set()
    assert kept.result(10) == 8
    assert doubler.batches == [[0], [4]]


def test_a_batch_that_breaks_leaves_the_worker_alive() -> None:
    def run(jobs: list[int]) -> list[int]:
        return [10 // job for job in jobs]

    worker: Worker[int, int] = Worker(run, 1, "test")
    worker.start()
    with pytest.raises(ZeroDivisionError):
        worker.submit(0).result(10)
    assert worker.submit(5).result(10) == 2
    worker.stop()


def test_stopping_cancels_what_waits(worker: Any, doubler: Doubler) -> None:
    doubler.release.clear()
    first = worker.submit(2)
    assert doubler.begun.wait(10)
    second = worker.submit(4)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    while worker.alive:
        doubler.begun.wait(0.01)
    doubler.release.set()
    with pytest.raises(CancelledError):
        second.result(10)
    stopping.join(10)
    assert first.result(10) == 4
    assert not worker.alive
    assert worker.submit(6).cancelled()
    worker.start()
    assert worker.submit(8).result(10) == 16
