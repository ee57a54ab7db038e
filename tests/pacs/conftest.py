"""Films as archives hold them, with lungs that are known without a network."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
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
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
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
