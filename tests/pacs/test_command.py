"""``lungcls predict --dicom`` and ``--formats`` as users call them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from lungcls.cli.main import app


@pytest.fixture(scope="module")
def films(
    tmp_path_factory: pytest.TempPathFactory, film: Callable[..., Dataset], encoded: Any, phantom: Any
) -> Path:
    folder = tmp_path_factory.mktemp("films")
    (folder / "a.dcm").write_bytes(encoded(film(ImagerPixelSpacing=[0.2, 0.2])))
    (folder / "b.dcm").write_bytes(encoded(film(PatientOrientation=["R", "F"])))
    Image.fromarray((phantom.image * 255).astype(np.uint8)).save(folder / "c.png")
    return folder


@pytest.fixture(scope="module")
def result(films: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    out = tmp_path_factory.mktemp("out")
    arguments = ["predict", str(films), "-o", str(out), "--dicom", "seg,sr,gsps,sc"]
    return CliRunner().invoke(app, [*arguments, "--formats", "nifti,coco,png,csv"]), out


def test_every_file_is_there_and_a_png_without_a_study_is_said(result: tuple[Any, Path]) -> None:
    done, out = result
    assert done.exit_code == 1
    assert "c.png: found an image that is no DICOM file and belongs to no study" in done.output
    assert sorted(path.name for path in (out / "dicom").iterdir()) == [
        f"{film}.{kind}.dcm" for film in "ab" for kind in ("gsps", "sc", "seg", "sr")
    ]
    assert {path.name for path in (out / "nifti").iterdir()} == {f"{film}.nii.gz" for film in "abc"}
    assert {path.name for path in (out / "labels").iterdir()} == {f"{film}.png" for film in "abc"}
    assert len(json.loads((out / "coco.json").read_text())["images"]) == 3


def test_the_segmentation_is_the_mask_that_was_written(result: tuple[Any, Path]) -> None:
    _, out = result
    mask = np.asarray(Image.open(out / "masks" / "a.png")) > 0
    seg = pydicom.dcmread(out / "dicom" / "a.seg.dcm")
    assert (seg.pixel_array.astype(bool).any(axis=0) == mask).all()
    card = json.loads((out / "predictions.json").read_text())["weights"]["segmenter"]
    algorithm = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmParameters == f"weights={card['name']},sha256={card['sha256']}"


def test_a_flipped_film_has_its_lungs_the_other_way_round(result: tuple[Any, Path]) -> None:
    _, out = result
    with (out / "measurements.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["zone"] == "whole"]
    places = {(Path(row["path"]).name, row["lung"]): float(row["centroid_x"]) for row in rows}
    assert places["a.dcm", "right_lung"] < places["a.dcm", "left_lung"]
    assert places["b.dcm", "left_lung"] < places["b.dcm", "right_lung"]
    assert places["c.png", "image_left_lung"] < places["c.png", "image_right_lung"]
    assert [bool(row["area_mm2"]) for row in rows] == [True, True, False, False, False, False]


def test_what_of_the_lungs_is_not_known_is_noted_once_for_every_film(result: tuple[Any, Path]) -> None:
    _, out = result
    rows = json.loads((out / "predictions.json").read_text())["predictions"]
    notes = {Path(row["path"]).name: row["export"]["notes"] for row in rows}
    unknown = "left and right are unknown: the film does not say where the patient's left is"
    assert notes == {"a.dcm": [], "b.dcm": [], "c.png": [unknown]}


def test_a_new_study_is_made_where_it_is_asked_for_and_patients_are_taken_off(
    films: Path, tmp_path: Path
) -> None:
    arguments = ["segment", str(films), "-o", str(tmp_path / "out"), "--dicom", "seg,sr", "--new-study"]
    done = CliRunner().invoke(app, [*arguments, "--deidentify", str(tmp_path / "key")])
    assert done.exit_code == 0, done.output
    paths = list((tmp_path / "out" / "dicom").iterdir())
    assert len(paths) == 7  # of the PNG the film too
    for path in paths:
        dataset = pydicom.dcmread(path)
        assert path.name.startswith(f"{dataset.SOPInstanceUID}.")
        assert "Muster" not in str(dataset)
    film = next(path for path in paths if path.name.endswith(".film.dcm"))
    study = pydicom.dcmread(film).StudyInstanceUID
    assert sum(pydicom.dcmread(path).StudyInstanceUID == study for path in paths) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "out", "--dicom", "rtstruct"], "expected some of seg, sr, gsps, sc"),
        (["-o", "out", "--formats", "mha"], "expected some of nifti, coco, png, csv"),
        (["--dicom", "seg"], "name a folder with --out"),
    ],
)
def test_wrong_use_is_one_line(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["segment", str(films / "a.dcm"), *arguments])
    assert done.exit_code == 2, done.output
    assert words in done.output
