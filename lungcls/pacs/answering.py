"""From the queue to the destination: films are answered, and answers are sent until they have arrived."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.presentation import build_context

from lungcls.errors import LungclsError, OptionError
from lungcls.pacs.deidentify import Deidentifier
from lungcls.pacs.queue import FilmQueue
from lungcls.pacs.results import objects_of, software_of
from lungcls.pacs.source import read_header

if TYPE_CHECKING:
    from lungcls.pipeline import Pipeline

_log = logging.getLogger(__name__)

SENT: tuple[str, ...] = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.11.1",
    "1.2.840.10008.5.1.4.1.1.7",
)
"""SOP classes of answers: segmentation, comprehensive report, presentation state, secondary capture."""

_PAUSE = 0.5


@dataclass(frozen=True)
class Answer:
    """What became of a film.

    Attributes
    ----------
    datasets : dict of str to Dataset
        By kind; empty where there is no answer.
    refused : str
        Why it gets none, where it is no chest film.
    failed : str
        What went wrong; never a value of the file.
    """

    datasets: dict[str, Dataset]
    refused: str = ""
    failed: str = ""


Answerer = Callable[[Sequence[Path]], Iterable[Answer]]


@dataclass(frozen=True)
class Destination:
    """Where answers go."""

    ae_title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Read ``AET@host:port``; OptionError for anything else."""
        title, _, place = text.partition("@")
        host, _, port = place.rpartition(":")
        if not (title and host and port.isdigit() and 0 < int(port) < 65536 and len(title) <= 16):
            raise OptionError(
                f"destination {text!r}: expected AETITLE@host:port, such as ORTHANC@127.0.0.1:4242"
            )
        return cls(title, host, int(port))


def answer_films(
    pipeline: Pipeline,
    kinds: Sequence[str],
    deidentifier: Deidentifier | None = None,
    viewer_plane: bool = False,
) -> Answerer:
    """Return the function that answers films with a pipeline.

    Parameters
    ----------
    pipeline : Pipeline
    kinds : sequence of {"seg", "sr", "gsps", "sc"}
    deidentifier : Deidentifier, optional
        Takes the patient off the answers.
    viewer_plane : bool, default=False
        Of segmentations: see :func:`lungcls.pacs.seg.make_seg`.
    """
    from lungcls.prediction import Failure

    software = software_of(pipeline)

    def one(path: Path, result: Any) -> Answer:
        if isinstance(result, Failure):
            return Answer({}, failed=f"the film cannot be read ({type(result.error).__name__})")
        if not result.quality.accepted:
            names = ", ".join(reason.name for reason in result.quality.reasons) or "not accepted"
            return Answer({}, refused=f"no chest film: {names}")
        header = read_header(path)
        if deidentifier is not None:
            header = deidentifier.film(header, path.stem)
        objects = objects_of(result, header, software, kinds, viewer_plane)
        return Answer({str(kind): dataset for kind, dataset in objects.datasets.items()})

    def answer(paths: Sequence[Path]) -> Iterable[Answer]:
        results = pipeline.stream([str(path) for path in paths], on_error="return")
        for path, result in zip(paths, results):
            try:
                yield one(path, result)
            except LungclsError as error:
                yield Answer({}, failed=f"no answer can be written ({type(error).__name__})")

    return answer


class Courier:
    """Works the queue in two threads of its own; used as a context it runs.

    Parameters
    ----------
    queue : FilmQueue
    answerer : Answerer
    destination : Destination
    ae_title : str
        Its own.
    batch_size : int, default=8
        Films that are answered together.
    timeout : float, default=60
        Seconds to wait for the destination.
    """

    def __init__(
        self,
        queue: FilmQueue,
        answerer: Answerer,
        destination: Destination,
        ae_title: str,
        batch_size: int = 8,
        timeout: float = 60,
    ) -> None:
        self._queue = queue
        self._answerer = answerer
        self._destination = destination
        self._batch_size = batch_size
        self._stop = threading.Event()
        self._entity = AE(ae_title=ae_title)
        self._entity.acse_timeout = self._entity.dimse_timeout = self._entity.network_timeout = timeout
        self._entity.requested_contexts = [
            build_context(sop_class, ["1.2.840.10008.1.2.1"]) for sop_class in SENT
        ]
        self._threads = [
            threading.Thread(target=self._run, args=(step,), name=step.__name__, daemon=True)
            for step in (self.answer_some, self.send_some)
        ]

    def __enter__(self) -> Courier:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def answer_some(self) -> bool:
        """Answer the films that wait longest; False where none waits."""
        films = self._queue.to_answer(self._batch_size)
        if not films:
            return False
        try:
            answers = list(self._answerer([film.path for film in films]))
        except Exception as error:
            if len(films) > 1:  # one film shall not take the others with it
                answers = [answer for film in films for answer in self._alone(film.path)]
            else:
                answers = [Answer({}, failed=f"no answer can be made ({type(error).__name__})")]
        for film, answer in zip(films, answers):
            if answer.refused:
                _log.warning("%s: refused: %s", film.uid, answer.refused)
                self._queue.refuse(film, answer.refused)
            elif answer.failed or not answer.datasets:
                reason = answer.failed or "nothing of what was asked for can be written"
                _log.error("%s: failed: %s", film.uid, reason)
                self._queue.fail(film, reason)
            else:
                self._queue.answer(film, answer.datasets)
                _log.info("%s: answered with %s", film.uid, ", ".join(answer.datasets))
        return True

    def send_some(self) -> bool:
        """Send answers that are due; False where none is, or the destination cannot be reached."""
        films = self._queue.to_send(64)
        if not films:
            return False
        destination = self._destination
        association = self._entity.associate(
            destination.host, destination.port, ae_title=destination.ae_title
        )
        try:
            for film in films:
                reason = "the destination cannot be reached"
                for file in self._queue.answers(film):
                    if not association.is_established:
                        break
                    reason = _store(association, file)
                    if reason:
                        break
                    self._queue.sent(film, file)
                else:
                    _log.info("%s: sent to %s", film.uid, destination.ae_title)
                    continue
                _log.warning("%s: not sent: %s; it is tried again", film.uid, reason)
                self._queue.postpone(film, reason)
        finally:
            if association.is_established:
                association.release()
        return True

    def _alone(self, path: Path) -> list[Answer]:
        try:
            return list(self._answerer([path]))
        except Exception as error:
            return [Answer({}, failed=f"no answer can be made ({type(error).__name__})")]

    def _run(self, step: Callable[[], bool]) -> None:
        while not self._stop.is_set():
            try:
                busy = step()
            except Exception as error:  # a full disk, say: nothing is lost, and it may pass
                _log.error("%s: %s; it is tried again", step.__name__, type(error).__name__)
                busy = False
            if not busy:
                self._stop.wait(_PAUSE)


def _store(association: Any, file: Path) -> str:
    """Send one file; return why it did not arrive."""
    try:
        status = association.send_c_store(pydicom.dcmread(file))
    except Exception as error:
        return f"sending failed ({type(error).__name__})"
    if not status or "Status" not in status:
        return "the destination gave no answer"
    # Warnings (B000 and so on) say that it was kept.
    return "" if status.Status == 0 or status.Status >> 12 == 0xB else f"status {status.Status:04X}"
