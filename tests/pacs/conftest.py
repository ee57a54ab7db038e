"""Films as archives hold them, with lungs that are known without a network."""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungcls.phantom import chest_phantom

pytest.importorskip("highdicom", reason="needs the extra dicom-out")

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from lungcls.pacs.codes import Software, WeightFacts

CR, DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
SOFTWARE = Software("1.2.3", WeightFacts("segmenter", "a" * 64), (WeightFacts("classifier-mask", "b" * 64),))


def make_film(
    pixels: np.ndarray,
    sop_class: str = CR,
    bits: int = 12,
    syntax: str = ExplicitVRLittleEndian,
    mirrored: bool = False,
    **tags: Any,
) -> Dataset:
    """A DICOM film of an image in [0, 1]; a tag of None is left out."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.SOPClassUID = sop_class
    data.SOPInstanceUID, data.StudyInstanceUID, data.SeriesInstanceUID = (generate_uid() for _ in range(3))
    data.Modality = {CR: "CR", DX: "DX"}.get(sop_class, "OT")
    data.PatientName, data.PatientID, data.PatientSex = "Muster^Erika", "P-0815", "F"
    data.PatientBirthDate, data.StudyDate, data.StudyTime = "19640812", "20240102", "101112"
    data.AccessionNumber, data.StudyID, data.ReferringPhysicianName = "A1", "S1", "Haus^Gregor"
    data.Manufacturer, data.BodyPartExamined, data.SeriesNumber, data.InstanceNumber = "Maker", "CHEST", 1, 1
    data.PatientOrientation = ["L", "F"]
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.PhotometricInterpretation = "MONOCHROME1" if mirrored else "MONOCHROME2"
    data.BitsAllocated = 8 if bits == 8 else 16
    data.BitsStored, data.HighBit = bits, bits - 1
    values = np.rint((1 - pixels if mirrored else pixels) * (2**bits - 1))
    raw = values.astype(np.uint8 if bits == 8 else np.uint16).tobytes()
    data.PixelData = raw + b"\0" * (len(raw) % 2)
    data["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in tags.items():
        if value is None:
            del data[keyword]
        else:
            setattr(data, keyword, value)
    return data


def film_bytes(data: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def phantom() -> Any:
    """A chest of odd size, with its lung mask; the patient's left is at the image's right."""
    return chest_phantom(201, seed=3)


@pytest.fixture(scope="session")
def software() -> Software:
    return SOFTWARE


@pytest.fixture(scope="session")
def film(phantom: Any) -> Callable[..., Dataset]:
    """Make a film of the phantom; see :func:`make_film`."""

    def of_phantom(**options: Any) -> Dataset:
        return make_film(phantom.image, **options)

    return of_phantom


@pytest.fixture(scope="session")
def encoded() -> Callable[[Dataset], bytes]:
    """Write a film to bytes."""
    return film_bytes


@pytest.fixture(scope="session")
def film_of() -> Callable[..., Dataset]:
    """Make a film of any image."""
    return make_film


@pytest.fixture(scope="session")
def tool() -> Callable[..., str]:
    """Run an external program and return what it printed; skips where it is not installed."""

    def run(name: str, *arguments: str | Path, check: bool = True) -> str:
        program = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
        if program is None:
            pytest.skip(f"{name} is not installed")
        done = subprocess.run(
            [program, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            errors="replace",
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@dataclass(frozen=True)
class Orthanc:
    """A running one."""

    http: int
    dicom: int
    node: int

    @property
    def rest(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    @property
    def web(self) -> str:
        return f"{self.rest}/dicom-web"

    def modalities(self, study: str) -> list[str]:
        from lungcls.pacs.dicomweb import connect

        found = connect(self.web).search_for_instances(study_instance_uid=study, fields=["Modality"])
        return sorted(item["00080060"]["Value"][0] for item in found)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A real Orthanc with DICOMweb, on loopback; skips where it is not installed."""
    requests = pytest.importorskip("requests", reason="needs the extra pacs")
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not PLUGIN.exists():
        pytest.skip("no Orthanc with DICOMweb here: apt-get install orthanc orthanc-dicomweb")
    folder = tmp_path_factory.mktemp("orthanc")
    ports = Orthanc(free_port(), free_port(), free_port())
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": ports.http,
        "DicomPort": ports.dicom,
        "DicomAet": "ORTHANC",
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full"},
        "DicomModalities": {"lungcls": ["LUNGCLS", "127.0.0.1", ports.node]},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        for _ in range(300):
            try:
                if requests.get(f"{ports.web}/studies", timeout=5).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.1)
        else:
            pytest.fail((folder / "log").read_text()[-2000:])
        yield ports
    finally:
        process.terminate()
        process.wait()
