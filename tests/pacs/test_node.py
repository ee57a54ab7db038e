"""The node: films in and answers out, kills, and senders that mean no good."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

pytest.importorskip("pynetdicom", reason="needs the extra pacs")

from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from lungcls.errors import OptionError
from lungcls.pacs.answering import SENT, Answer, Courier, Destination
from lungcls.pacs.node import FILMS, Node, NodeSettings
from lungcls.pacs.queue import FilmQueue

SETTINGS = NodeSettings("LUNGCLS", ("SENDER",), port=0, max_mb=2, max_associations=8, timeout=2)

STUB = """
# A node that answers each film with a small report, without a network.
import sys, logging
from pathlib import Path
from lungcls.pacs.answering import Answer, Courier, Destination
from lungcls.pacs.node import Node, NodeSettings
from lungcls.pacs.queue import FilmQueue
from lungcls.pacs.source import read_header
from lungcls.pacs.sr import Findings, make_sr
from lungcls.pacs.codes import Software, WeightFacts, stable_uid

logging.basicConfig(level=logging.INFO)
software = Software("1", WeightFacts("none", "0" * 64))

def answer(paths):
    for path in paths:
        header = read_header(path)
        uids = [stable_uid(kind, header.SOPInstanceUID) for kind in ("series", "instance")]
        yield Answer({"sr": make_sr(header, Findings(), [], software, *uids)})

folder, port, destination = sys.argv[1:]
settings = NodeSettings("LUNGCLS", ("SENDER",), port=int(port), timeout=10)
with FilmQueue(Path(folder)) as queue:
    with Courier(queue, answer, Destination.parse(destination), "LUNGCLS", 4), Node(queue, settings) as node:
        print("ready", node.port, flush=True)
        sys.stdin.read()
"""


class Archive:
    """What answers are sent to: counts what arrives, by SOP Instance UID."""

    def __init__(self) -> None:
        self.arrived: Counter[str] = Counter()
        self.datasets: dict[str, Dataset] = {}
        self.answering = 0x0000
        entity = AE(ae_title="ARCHIVE")
        entity.supported_contexts = [build_context(uid, ["1.2.840.10008.1.2.1"]) for uid in SENT]
        self._server = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        self.destination = f"ARCHIVE@127.0.0.1:{self._server.server_address[1]}"

    def _store(self, event: Any) -> int:
        if self.answering == 0:
            self.arrived[str(event.request.AffectedSOPInstanceUID)] += 1
            self.datasets[str(event.request.AffectedSOPInstanceUID)] = event.dataset
        return self.answering

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture
def archive() -> Iterator[Archive]:
    archive = Archive()
    yield archive
    archive.close()


@pytest.fixture
def answerer(phantom: Any, software: Any) -> Callable[[Sequence[Path]], Iterable[Answer]]:
    from lungcls.pacs.objects import make_objects
    from lungcls.pacs.source import read_header
    from lungcls.pacs.sr import Findings

    def answer(paths: Sequence[Path]) -> Iterable[Answer]:
        for path in paths:
            header = read_header(path)
            if header.PatientID == "no-chest":
                yield Answer({}, refused="no chest film: hand")
                continue
            if header.PatientID == "breaks":
                raise RuntimeError(f"something with {header.PatientName}")
            made = make_objects(header, phantom.mask, phantom.image, Findings(), software, ("seg", "sr"))
            yield Answer({str(kind): dataset for kind, dataset in made.datasets.items()})

    return answer


@pytest.fixture
def running(tmp_path: Path, archive: Archive, answerer: Any) -> Iterator[tuple[Node, FilmQueue]]:
    with FilmQueue(tmp_path / "queue") as queue:
        courier = Courier(queue, answerer, Destination.parse(archive.destination), "LUNGCLS")
        with courier, Node(queue, SETTINGS) as node:
            yield node, queue


def associate(port: int, title: str = "SENDER", called: str = "LUNGCLS") -> Any:
    entity = AE(ae_title=title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
    entity.requested_contexts = [build_context(uid, ["1.2.840.10008.1.2.1"]) for uid in FILMS]
    return entity.associate("127.0.0.1", port, ae_title=called)


def send(port: int, *films: Dataset, **options: Any) -> list[Dataset]:
    association = associate(port, **options)
    assert association.is_established
    try:
        return [association.send_c_store(film) for film in films]
    finally:
        if association.is_established:
            association.release()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_a_film_is_answered_once_however_often_it_is_sent(
    running: tuple[Node, FilmQueue], archive: Archive, film: Callable[..., Dataset]
) -> None:
    node, queue = running
    one = film()
    assert [status.Status for status in send(node.port, one, one)] == [0, 0]
    wait_for(lambda: queue.counts()["sent"] == 1)
    assert [status.Status for status in send(node.port, one)] == [0]
    time.sleep(1)
    assert queue.counts()["sent"] == 1
    assert list(archive.arrived.values()) == [1, 1]
    assert {dataset.Modality for dataset in archive.datasets.values()} == {"SEG", "SR"}
    assert {dataset.StudyInstanceUID for dataset in archive.datasets.values()} == {one.StudyInstanceUID}
    assert not list((queue.folder / "films").iterdir())
    assert not list((queue.folder / "answers").iterdir())


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"BodyPartExamined": "HAND"}, "BodyPartExamined is HAND: no chest film"),
        ({"ViewPosition": "LL"}, "no frontal film"),
        ({"PhotometricInterpretation": "RGB"}, "not grey"),
        ({"NumberOfFrames": 3}, "more than one frame"),
        ({"StudyInstanceUID": None}, "no StudyInstanceUID"),
        ({"Rows": 65535, "Columns": 65535}, "more than 64 megapixels"),
    ],
)
def test_what_is_no_chest_film_is_refused_with_a_reason(
    running: tuple[Node, FilmQueue], film: Callable[..., Dataset], tags: dict[str, Any], words: str
) -> None:
    node, queue = running
    (status,) = send(node.port, film(**tags))
    assert status.Status == 0xA900
    assert words in status.ErrorComment
    assert sum(queue.counts().values()) == 0


def test_what_the_gate_refuses_and_what_breaks_is_kept_in_mind_and_stops_nobody(
    running: tuple[Node, FilmQueue], film: Callable[..., Dataset]
) -> None:
    node, queue = running
    send(node.port, film(PatientID="no-chest"), film(PatientID="breaks"), film())
    wait_for(lambda: queue.waiting() == 0)
    counts = queue.counts()
    assert (counts["sent"], counts["refused"], counts["failed"]) == (1, 1, 1)
    reasons = {state: reason for _, state, reason in queue.troubles()}
    assert reasons["refused"] == "no chest film: hand"
    assert "RuntimeError" in reasons["failed"]
    assert "Muster" not in str(queue.troubles())
    assert queue.retry() == 1


def test_strangers_are_not_let_in(running: tuple[Node, FilmQueue]) -> None:
    node, _ = running
    assert not associate(node.port, title="STRANGER").is_established
    assert not associate(node.port, called="OTHER").is_established


def test_answers_wait_for_a_destination_that_is_away(
    tmp_path: Path, answerer: Any, film: Callable[..., Dataset], archive: Archive
) -> None:
    archive.answering = 0xA700
    with FilmQueue(tmp_path / "queue") as queue:
        courier = Courier(queue, answerer, Destination.parse(archive.destination), "LUNGCLS")
        with courier, Node(queue, SETTINGS) as node:
            send(node.port, film())
            wait_for(lambda: bool(queue.troubles()))
            assert queue.troubles()[0][1:] == ("answered", "status A700")
            archive.answering = 0
            wait_for(lambda: queue.counts()["sent"] == 1)
    assert list(archive.arrived.values()) == [1, 1]


def test_too_many_waiting_films_are_told_to_come_later(tmp_path: Path, film: Callable[..., Dataset]) -> None:
    settings = NodeSettings("LUNGCLS", ("SENDER",), port=0, max_waiting=1)
    with FilmQueue(tmp_path / "queue") as queue, Node(queue, settings) as node:
        assert [status.Status for status in send(node.port, film(), film())] == [0, 0xA700]


def test_a_queue_belongs_to_one_process(tmp_path: Path) -> None:
    with (
        FilmQueue(tmp_path / "queue"),
        pytest.raises(OptionError, match="another process works on this queue"),
    ):
        FilmQueue(tmp_path / "queue")


def test_what_a_kill_left_behind_is_removed(tmp_path: Path) -> None:
    with FilmQueue(tmp_path / "queue") as queue:
        queue.add("1.2.3", b"film")
    for name in ("films/9.9.dcm", "answers/9.9.seg.dcm", "films/.1.2.3.dcm.0123456789abcdef.part"):
        (tmp_path / "queue" / name).write_bytes(b"half")
    with FilmQueue(tmp_path / "queue") as queue:
        assert [film.uid for film in queue.to_answer(9)] == ["1.2.3"]
    assert [path.name for path in (tmp_path / "queue" / "films").iterdir()] == ["1.2.3.dcm"]
    assert not list((tmp_path / "queue" / "answers").iterdir())


def test_no_name_is_logged(
    running: tuple[Node, FilmQueue], film: Callable[..., Dataset], caplog: pytest.LogCaptureFixture
) -> None:
    node, queue = running
    texts = {"PatientName": "Geheim^Name", "PatientComments": "geheim", "StudyDescription": "geheim"}
    with caplog.at_level(logging.DEBUG, logger="lungcls"):
        send(
            node.port,
            film(**texts),
            film(PatientID="breaks", **texts),
            film(BodyPartExamined="HAND", **texts),
        )
        wait_for(lambda: queue.waiting() == 0)
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("lungcls"))
    assert "received" in ours
    assert "refused" in ours
    assert "geheim" not in ours.lower()
    assert b"geheim" not in (queue.folder / "queue.sqlite").read_bytes().lower()


def raw(port: int, *pieces: bytes) -> None:
    """Send bytes to a port, and read until the other side ends it."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        except OSError:
            pass  # ended by the node, as it should be


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_hostile_senders_bring_nothing_down(
    running: tuple[Node, FilmQueue], film: Callable[..., Dataset], archive: Archive, encoded: Any
) -> None:
    node, queue = running
    chance = random.Random(0)
    send(node.port, film())
    wait_for(lambda: queue.counts()["sent"] == 1)
    before, threads = resident_mb(), threading.active_count()
    for kind in range(256):
        raw(node.port, bytes([kind]) + chance.randbytes(chance.randrange(200)))
    # A unit of data that says to be 4 GB, and sends what it can.
    raw(node.port, struct.pack(">BBL", 1, 0, 0xFFFFFFFF), *[bytes(1 << 20)] * 64)
    # A film larger than is taken: 6 MB of 2.
    large = film()
    large.PixelData = bytes(6_000_000)
    # The connections before are ended after some seconds of silence; until then there may be too many.
    wait_for(lambda: threading.active_count() <= threads + 2)
    association = associate(node.port)
    status = association.send_c_store(large)
    assert not status or status.Status != 0
    association.abort()
    # A film whose pixels end early, and one whose header is nonsense.
    short = film()
    short.PixelData = short.PixelData[:100]
    nonsense = film(PatientBirthDate=None)
    nonsense.Rows = 1
    for bad in (short, nonsense):
        send(node.port, bad)
    # A SOP class that is not taken has no presentation context.
    entity = AE(ae_title="SENDER")
    entity.requested_contexts = [build_context("1.2.840.10008.5.1.4.1.1.2")]
    assert not entity.associate("127.0.0.1", node.port, ae_title="LUNGCLS").accepted_contexts
    wait_for(lambda: queue.waiting() == 0)
    assert [status.Status for status in send(node.port, film())] == [0]
    wait_for(lambda: queue.waiting() == 0)
    wait_for(lambda: threading.active_count() <= threads + 2)
    assert resident_mb() - before < 60


@pytest.mark.slow
def test_many_silent_connections_keep_nobody_out(
    running: tuple[Node, FilmQueue], film: Callable[..., Dataset]
) -> None:
    node, _ = running
    threads = threading.active_count()
    held = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(100)]
    # Two threads an association: no more than four times those that are let in at a time.
    assert threading.active_count() - threads <= 2 * 4 * SETTINGS.max_associations + 4
    for connection in held:
        connection.close()
    wait_for(lambda: threading.active_count() <= threads + 2, 20)
    assert [status.Status for status in send(node.port, film())] == [0]


@pytest.mark.slow
def test_thousands_of_associations_leave_no_trace(running: tuple[Node, FilmQueue]) -> None:
    node, _ = running
    for _ in range(50):
        associate(node.port).release()
    before = resident_mb()
    for number in range(3000):
        association = associate(node.port, title="SENDER" if number % 3 else "STRANGER")
        if association.is_established:
            association.abort() if number % 2 else association.release()
    wait_for(lambda: threading.active_count() < 20)
    assert resident_mb() - before < 40
    assert len(os.listdir("/proc/self/fd")) < 100


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """The stub node in a process of its own, to be killed."""

    def __init__(self, folder: Path, destination: str) -> None:
        self._command = [sys.executable, str(folder / "node.py"), str(folder / "queue")]
        (folder / "node.py").write_text(STUB)
        self._destination, self.port, self._log = destination, free_port(), folder / "log"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, str(self.port), self._destination],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith(b"ready")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        with self.process:  # waits for its end and closes the pipes
            pass


def deliver(port: int, films: Sequence[Dataset]) -> None:
    """Send films as a modality does: again, until each has been taken."""
    waiting = list(films)
    end = time.monotonic() + 300
    while waiting and time.monotonic() < end:
        association = associate(port)
        while association.is_established and waiting:
            try:
                status = association.send_c_store(waiting[0])
            except (RuntimeError, ValueError):
                break
            if not status or status.get("Status") != 0:
                break
            waiting.pop(0)
        if association.is_established:
            association.release()
        else:
            time.sleep(0.2)
    assert not waiting


def killed_run(
    tmp_path: Path, archive: Archive, film: Callable[..., Dataset], number: int, senders: int, kills: int
) -> None:
    films = [film() for _ in range(number)]
    node = Process(tmp_path, archive.destination)
    threads = [
        threading.Thread(target=deliver, args=(node.port, films[place::senders])) for place in range(senders)
    ]
    for thread in threads:
        thread.start()
    chance = random.Random(1)
    for kill in range(kills):
        # At a random moment of the work that is left.
        goal = (kill + chance.uniform(0.2, 0.9)) * number / (kills + 1)
        wait_for(lambda goal=goal: len(archive.arrived) >= goal, 300)  # type: ignore[misc]
        node.kill()
        node.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: len(archive.arrived) >= number, 300)
    time.sleep(1)
    node.kill()
    assert len(archive.arrived) == number  # none lost, and a report sent twice is the same object
    assert {dataset.StudyInstanceUID for dataset in archive.datasets.values()} == {
        film.StudyInstanceUID for film in films
    }
    assert sum(archive.arrived.values()) <= number + kills  # at most the one that was under way
    with FilmQueue(tmp_path / "queue") as queue:
        assert queue.counts() == {"received": 0, "answered": 0, "sent": number, "refused": 0, "failed": 0}


@pytest.mark.slow
def test_killed_twice_nothing_is_lost_or_doubled(
    tmp_path: Path, archive: Archive, film: Callable[..., Dataset]
) -> None:
    killed_run(tmp_path, archive, film, number=30, senders=3, kills=2)


@pytest.mark.slow
def test_500_films_of_8_associations_and_five_kills(
    tmp_path: Path, archive: Archive, film: Callable[..., Dataset]
) -> None:
    killed_run(tmp_path, archive, film, number=500, senders=8, kills=5)
