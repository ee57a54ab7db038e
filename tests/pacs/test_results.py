"""``Prediction.to_dicom``: who answered, and for which films objects can be made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

import lungcls
from lungcls.errors import ImageError, OptionError


@pytest.fixture(scope="module")
def pipeline(tiny_segmenter: Path, tiny_classifier: Path) -> lungcls.Pipeline:
    return lungcls.Pipeline(segmenter=tiny_segmenter, classifier=tiny_classifier, gate=None, fallback=None)


def test_a_prediction_becomes_objects_of_its_study(
    pipeline: lungcls.Pipeline, film: Callable[..., Dataset], encoded: Any, phantom: Any, tmp_path: Path
) -> None:
    source = film()
    (tmp_path / "film.dcm").write_bytes(encoded(source))
    prediction = pipeline.predict(tmp_path / "film.dcm")
    made = prediction.to_dicom(pipeline, ["sc", "sr"])
    assert list(made) == ["sr", "sc"]
    assert {dataset.StudyInstanceUID for dataset in made.values()} == {source.StudyInstanceUID}
    report = encoded(made["sr"])
    assert f"sha256={pipeline.classifier.card.sha256}".encode() in report
    assert prediction.label.encode() in report


def test_a_picture_needs_a_new_study(pipeline: lungcls.Pipeline, phantom: Any, tmp_path: Path) -> None:
    Image.fromarray((phantom.image * 255).astype(np.uint8)).save(tmp_path / "film.png")
    prediction = pipeline.predict(tmp_path / "film.png")
    with pytest.raises(ImageError, match="no DICOM file and belongs to no study"):
        prediction.to_dicom(pipeline)
    made = prediction.to_dicom(pipeline, ["sr"], new_study=True)
    assert list(made) == ["film", "sr"]
    assert made["film"].StudyInstanceUID == made["sr"].StudyInstanceUID
    assert (made["film"].PatientID, made["film"].StudyDate) == (None, None)
    assert np.abs(made["film"].pixel_array / 65535 - prediction.lungs.pixels()).max() < 1e-4


def test_another_pipeline_is_not_named_for_what_it_did_not_answer(
    pipeline: lungcls.Pipeline,
    film: Callable[..., Dataset],
    encoded: Any,
    tmp_path: Path,
    tiny_segmenter: Path,
) -> None:
    (tmp_path / "film.dcm").write_bytes(encoded(film()))
    prediction = pipeline.predict(tmp_path / "film.dcm")
    other = lungcls.Pipeline(segmenter=tiny_segmenter, classifier="classifier-full", gate=None)
    with pytest.raises(OptionError, match="answered by tiny-classifier"):
        prediction.to_dicom(other)
