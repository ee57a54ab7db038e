"""Beside a real PACS: Orthanc with its DICOMweb plugin, on loopback."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from typer.testing import CliRunner

pytest.importorskip("pynetdicom", reason="needs the extra pacs")
pytest.importorskip("dicomweb_client", reason="needs the extra pacs")

import requests
from pynetdicom import AE

from lungcls.cli.main import app
from lungcls.errors import DataError
from lungcls.pacs.answering import Answer, Courier, Destination
from lungcls.pacs.dicomweb import connect, find_films, pull, push
from lungcls.pacs.node import Node, NodeSettings
from lungcls.pacs.objects import make_objects
from lungcls.pacs.queue import FilmQueue
from lungcls.pacs.source import read_header
from lungcls.pacs.sr import Findings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def node(orthanc: Any, tmp_path: Path, phantom: Any, software: Any) -> Iterator[FilmQueue]:
    def answer(paths: Sequence[Path]) -> Iterable[Answer]:
        for path in paths:
            header = read_header(path)
            made = make_objects(
                header, phantom.mask, phantom.image, Findings(), software, ("seg", "sr", "gsps", "sc")
            )
            yield Answer({str(kind): dataset for kind, dataset in made.datasets.items()})

    destination = Destination("ORTHANC", "127.0.0.1", orthanc.dicom)
    settings = NodeSettings("LUNGCLS", ("ORTHANC", "SENDER"), port=orthanc.node)
    with (
        FilmQueue(tmp_path / "queue") as queue,
        Courier(queue, answer, destination, "LUNGCLS"),
        Node(queue, settings),
    ):
        yield queue


def wait_until_sent(queue: FilmQueue, number: int) -> None:
    for _ in range(600):
        if queue.counts()["sent"] == number:
            return
        time.sleep(0.05)
    pytest.fail(f"{queue.counts()} {queue.troubles()}")


def test_a_film_by_stow_goes_through_orthanc_to_the_node_and_its_answer_comes_back(
    orthanc: Any,
    node: FilmQueue,
    film: Callable[..., Dataset],
    tmp_path: Path,
    encoded: Any,
    phantom: Any,
) -> None:
    source = film()
    (tmp_path / "film.dcm").write_bytes(encoded(source))
    assert [done.state for done in push(connect(orthanc.web), [tmp_path / "film.dcm"])] == ["done"]
    identifier = requests.post(f"{orthanc.rest}/tools/lookup", data=source.SOPInstanceUID, timeout=9).json()
    reply = requests.post(f"{orthanc.rest}/modalities/lungcls/store", data=identifier[0]["ID"], timeout=30)
    assert reply.ok, reply.text
    wait_until_sent(node, 1)
    assert orthanc.modalities(source.StudyInstanceUID) == ["CR", "OT", "PR", "SEG", "SR"]
    series = connect(orthanc.web).search_for_series(
        study_instance_uid=source.StudyInstanceUID, search_filters={"Modality": "SEG"}
    )
    seg = connect(orthanc.web).retrieve_series(source.StudyInstanceUID, series[0]["0020000E"]["Value"][0])[0]
    frames = np.asarray(seg.pixel_array).astype(bool)
    assert (frames.any(axis=0) == phantom.mask).all()


def test_a_film_by_c_store_is_answered_into_its_study(
    orthanc: Any, node: FilmQueue, film: Callable[..., Dataset]
) -> None:
    source = film(PatientOrientation=None)
    for title, port in (("ORTHANC", orthanc.dicom), ("LUNGCLS", orthanc.node)):
        entity = AE(ae_title="SENDER")
        entity.add_requested_context(source.SOPClassUID, "1.2.840.10008.1.2.1")
        association = entity.associate("127.0.0.1", port, ae_title=title)
        assert association.send_c_store(source).Status == 0
        association.release()
    wait_until_sent(node, 1)
    assert orthanc.modalities(source.StudyInstanceUID) == ["CR", "OT", "PR", "SEG", "SR"]


def test_films_are_fetched_page_by_page_and_once(
    orthanc: Any, film: Callable[..., Dataset], tmp_path: Path, encoded: Any
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(7):
        source = film(PatientID="pages")
        (tmp_path / "in" / f"{number}.dcm").write_bytes(encoded(source))
    arguments = [orthanc.web, str(tmp_path / "in"), "--journal", str(tmp_path / "journal")]
    done = CliRunner().invoke(app, ["dicom", "push", *arguments])
    assert done.exit_code == 0, done.output
    assert "7 sent, 0 were there, 0 failed" in done.output
    assert "0 sent, 7 were there" in CliRunner().invoke(app, ["dicom", "push", *arguments]).output

    fetch = ["dicom", "pull", orthanc.web, "-o", str(tmp_path / "out"), "--where", "PatientID=pages"]
    done = CliRunner().invoke(app, [*fetch, "--page", "3", "--limit", "4"])
    assert "4 fetched, 0 were there, 0 failed" in done.output, done.output
    done = CliRunner().invoke(app, [*fetch, "--page", "2"])
    assert "3 fetched, 4 were there, 0 failed" in done.output, done.output
    paths = list((tmp_path / "out").rglob("*.dcm"))
    assert len(paths) == 7
    assert all(pydicom.dcmread(path).pixel_array.shape == (201, 201) for path in paths)


def test_what_is_fetched_and_sent_can_be_without_its_patient(
    orthanc: Any, film: Callable[..., Dataset], tmp_path: Path, encoded: Any
) -> None:
    source = film(PatientID="secret-id")
    (tmp_path / "film.dcm").write_bytes(encoded(source))
    key = ["--deidentify", str(tmp_path / "key")]
    list(push(connect(orthanc.web), [tmp_path / "film.dcm"]))
    fetch = ["dicom", "pull", orthanc.web, "-o", str(tmp_path / "out"), "--where", "PatientID=secret-id"]
    done = CliRunner().invoke(app, [*fetch, *key, "--keep", "PatientSex"])
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "out").rglob("*.dcm")
    fetched = pydicom.dcmread(path)
    assert b"secret-id" not in path.read_bytes()
    assert fetched.PatientSex == "F"
    assert source.StudyInstanceUID not in str(path)

    arguments = [orthanc.web, str(tmp_path / "film.dcm"), "--journal", str(tmp_path / "journal")]
    assert CliRunner().invoke(app, ["dicom", "push", *arguments, *key]).exit_code == 0
    assert orthanc.modalities(str(fetched.StudyInstanceUID)) == ["CR"]


def test_what_fails_is_named_and_the_rest_is_done(
    orthanc: Any, film: Callable[..., Dataset], tmp_path: Path, encoded: Any
) -> None:
    (tmp_path / "a.dcm").write_bytes(b"no DICOM at all")
    (tmp_path / "b.dcm").write_bytes(encoded(film()))
    arguments = [orthanc.web, str(tmp_path), "--journal", str(tmp_path / "journal")]
    done = CliRunner().invoke(app, ["dicom", "push", *arguments])
    assert done.exit_code == 1
    assert "1 sent, 0 were there, 1 failed" in done.output
    assert "a.dcm" in done.output


def test_a_service_that_is_not_there_is_named(tmp_path: Path) -> None:
    client = connect(f"http://127.0.0.1:{free_port()}/dicom-web", timeout=2)
    client.set_http_retry_params(retry=False)
    with pytest.raises(DataError, match="expected a DICOMweb service"):
        list(pull(client, find_films(client, {}), tmp_path))
