"""What stands behind the routes: the loaded weights, the two threads that use them, and the bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from typing import TypeVar

import anyio
from starlette.requests import Request

from lungcls.errors import ImageError
from lungcls.web.metrics import Metrics
from lungcls.web.models import Answer, Explained, ExplainJob, Job, Models
from lungcls.web.places import Places
from lungcls.web.problems import Problem
from lungcls.web.settings import Settings
from lungcls.web.uploads import Upload, file_problem, image_problem
from lungcls.web.worker import Worker

Found = TypeVar("Found", Answer, Explained)


class Service:
    """Takes images in, waits for its threads, and gives answers or problems out.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    WeightsError, ValueError
        As :class:`lungcls.web.models.Models`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.models = Models(settings)
        self.metrics = Metrics()
        self.places = Places(settings.max_requests)
        self.explain_places = Places(settings.max_explanations)
        # Drawing a large film takes several times its own memory.
        self.drawing = anyio.CapacityLimiter(2)
        self._predictions = Worker[Job, Answer](self._work, settings.batch_size, "lungcls-predict")
        self._explanations = Worker[ExplainJob, Explained](self.models.explain, 1, "lungcls-explain")
        self.metrics.watch(
            "lungcls_requests_in_work", "Requests that hold a place.", lambda: self.places.taken
        )
        self.metrics.watch(
            "lungcls_queue_images",
            "Images that wait for their batch.",
            lambda: self._predictions.waiting,
        )
        self.metrics.watch(
            "lungcls_explanations_in_work",
            "Explanations that wait or are worked on.",
            lambda: self.explain_places.taken,
        )

    def start(self) -> None:
        """Start the threads."""
        self._predictions.start()
        self._explanations.start()

    def stop(self) -> None:
        """Stop the threads; what waits is told so."""
        self._predictions.stop()
        self._explanations.stop()

    @property
    def working(self) -> bool:
        """Whether both threads take jobs."""
        return self._predictions.alive and self._explanations.alive

    async def predict(self, uploads: Sequence[Upload], regions: tuple[str, ...]) -> list[Answer]:
        """Answer all images of a request, or tell what is wrong with which.

        Raises
        ------
        Problem
        """
        futures = [self._predictions.submit(Job(upload.content, upload.name, regions)) for upload in uploads]
        return await _gathered(futures, uploads, self.settings.timeout)

    async def explain(self, upload: Upload, region: str, method: str, target: str | None) -> Explained:
        """Explain one image.

        Raises
        ------
        Problem
        """
        job = ExplainJob(upload.content, upload.name, region, method, target)
        future = self._explanations.submit(job)
        return (await _gathered([future], [upload], self.settings.explain_timeout))[0]

    def _work(self, jobs: list[Job]) -> list[Answer | Exception]:
        started = time.perf_counter()
        try:
            return self.models.work(jobs)
        finally:
            self.metrics.batches.observe(len(jobs))
            self.metrics.batch_seconds.observe(time.perf_counter() - started)


async def _gathered(
    futures: Sequence[Future[Found]], uploads: Sequence[Upload], timeout: float
) -> list[Found]:
    waiting = asyncio.gather(*(asyncio.wrap_future(future) for future in futures), return_exceptions=True)
    try:
        results = await asyncio.wait_for(waiting, timeout)
    except (TimeoutError, asyncio.TimeoutError) as error:  # two classes until Python 3.11
        begun = any(future.running() or (future.done() and not future.cancelled()) for future in futures)
        if begun:
            raise Problem("worked-too-long", f"No answer within {timeout:g} seconds.") from error
        raise Problem("waited-too-long", f"Still waiting after {timeout:g} seconds.") from error
    found: list[Found] = []
    errors: list[tuple[int, str, Problem]] = []
    for place, (result, upload) in enumerate(zip(results, uploads)):
        if not isinstance(result, BaseException):
            found.append(result)
        elif isinstance(result, (asyncio.CancelledError, CancelledError)):
            raise Problem("not-ready", "The service is stopping.")
        elif isinstance(result, ImageError):
            errors.append((place, upload.name, image_problem(result)))
        else:
            raise result
    if errors:
        raise file_problem(errors, len(uploads))
    return found


def service_of(request: Request) -> Service:
    """Return the service of the application that a request came to."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
