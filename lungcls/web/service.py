"""What stands behind the routes: the loaded weights, the two threads that use them, and the bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from starlette.requests import Request

from lungcls.web import answers, schemas
from lungcls.web.answers import ExplainTask, PredictTask
from lungcls.web.arrivals import Arrivals
from lungcls.web.forms import ExplainForm, PredictForm, SegmentForm
from lungcls.web.metrics import Metrics
from lungcls.web.places import Places
from lungcls.web.problems import Problem
from lungcls.web.process import ModelProcess, WorkerDiedError, WorkerHungError
from lungcls.web.settings import Settings
from lungcls.web.uploads import Form, Upload, file_problem, read_form
from lungcls.web.worker import Worker

Found = TypeVar("Found")


class Service:
    """Takes images in, waits for its threads, and gives answers or problems out.

    Parameters
    ----------
    settings : Settings
    process : type, default=ModelProcess
        What runs the networks: called as that class, with its methods and attributes.

    Raises
    ------
    WeightsError, ValueError, WorkerDiedError
        As :class:`lungcls.web.process.ModelProcess`.
    """

    def __init__(
        self, settings: Settings, process: Callable[[Settings, float], ModelProcess] = ModelProcess
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.arrivals = Arrivals(
            settings.max_uploads, int(settings.max_memory_mb * 1e6), settings.upload_timeout
        )
        self.places = Places(settings.max_requests)
        self.explain_places = Places(settings.max_explanations)
        self.predictor = process(settings, settings.timeout)
        # Only torch gives gradients, whatever engine runs the predictions. It starts with the first map.
        self.explainer = process(replace(settings, engine="torch"), settings.explain_timeout)
        self.models = self.predictor.start()
        self._predictions = Worker[PredictTask, Any](self._predict, settings.batch_size, "lungcls-predict")
        self._explanations = Worker[ExplainTask, Any](self._explain, 1, "lungcls-explain")
        self.metrics.watch_process("lungcls_predictor", lambda: self.predictor.pid)
        self.metrics.watch_process("lungcls_explainer", lambda: self.explainer.pid)
        self.metrics.watch(
            "lungcls_processes_replaced",
            "How often a process with the networks died or hung, and was replaced.",
            lambda: self.predictor.replaced + self.explainer.replaced,
        )
        self.metrics.watch(
            "lungcls_requests_in_work", "Requests that hold a place.", lambda: self.places.taken
        )
        self.metrics.watch(
            "lungcls_uploads_coming", "Bodies on their way in.", lambda: len(self.arrivals.coming)
        )
        self.metrics.watch("lungcls_held_bytes", "Bytes of all bodies.", lambda: self.arrivals.held)
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
        """Start the threads, and the processes where a stop has ended them."""
        self.arrivals.open()
        self.predictor.start()
        self._predictions.start()
        self._explanations.start()

    def stop(self) -> None:
        """Stop threads and processes; what waits is told so."""
        self.arrivals.close()
        self._predictions.stop()
        self._explanations.stop()
        self.predictor.stop()
        self.explainer.stop()

    @property
    def working(self) -> bool:
        """Whether both threads take jobs."""
        return self._predictions.alive and self._explanations.alive

    @asynccontextmanager
    async def incoming(self, request: Request, places: Places, max_files: int) -> AsyncIterator[Form]:
        """Read the form of a request, and hold a place for it from when it is whole.

        Raises
        ------
        Problem
        """
        places.check()
        with self.arrivals.body() as body:
            form = await read_form(request, self.settings, max_files, body)
            with places.take():
                yield form

    async def predict(
        self, uploads: Sequence[Upload], regions: tuple[str, ...], options: PredictForm | SegmentForm
    ) -> list[Any]:
        """Answer all images of a request, or tell what is wrong with which.

        Returns
        -------
        list of PredictedImage or of SegmentedImage
            As `options` is of which form.

        Raises
        ------
        Problem
        """
        futures = [self._predictions.submit(PredictTask(upload, regions, options)) for upload in uploads]
        return await _gathered(futures, uploads, self.settings.timeout)

    async def explain(self, upload: Upload, region: str, options: ExplainForm) -> schemas.ExplainAnswer:
        """Explain one image.

        Raises
        ------
        Problem
        """
        future = self._explanations.submit(ExplainTask(upload, region, options))
        answer: schemas.ExplainAnswer
        [answer] = await _gathered([future], [upload], self.settings.explain_timeout)
        return answer

    def _predict(self, tasks: Sequence[PredictTask]) -> list[Any]:
        started = time.perf_counter()
        try:
            return self.predictor.run(answers.predict, tasks)
        except WorkerDiedError as error:
            if len(tasks) == 1:
                return [error]
            # One of them is at fault: alone, it takes no other with it.
            return [self._predict([task])[0] for task in tasks]
        finally:
            self.metrics.batches.observe(len(tasks))
            self.metrics.batch_seconds.observe(time.perf_counter() - started)

    def _explain(self, tasks: Sequence[ExplainTask]) -> list[Any]:
        return self.explainer.run(answers.explain, tasks)


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
    gathered: list[Found] = []
    errors: list[tuple[int, str, Problem]] = []
    for place, (result, upload) in enumerate(zip(results, uploads)):
        if not isinstance(result, BaseException):
            gathered.append(result)
        elif isinstance(result, (asyncio.CancelledError, CancelledError)):
            raise Problem("not-ready", "The service is stopping.")
        elif isinstance(result, Problem):
            errors.append((place, upload.name, result))
        elif isinstance(result, WorkerDiedError):
            raise Problem(
                "worker-died",
                "The process that worked on the request ended, and was replaced. Send it again once; if that "
                "happens again, the file is at fault.",
            ) from result
        elif isinstance(result, WorkerHungError):
            raise Problem("worked-too-long", f"No answer within {timeout:g} seconds.") from result
        else:
            raise result
    if errors:
        raise file_problem(errors, len(uploads))
    return gathered


def service_of(request: Request) -> Service:
    """Return the service of the application that a request came to."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
