"""Films of every kind go down every road with the real gate, and give the same tensors on each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from lungcls.ablation.masks import usable_lungs
from lungcls.classifier import Classifier
from lungcls.data import Record, Split
from lungcls.data.dataset import Dataset
from lungcls.data.views import region_views
from lungcls.evaluation.evaluate import evaluate
from lungcls.export.quantise import calibration_views
from lungcls.labels import CLASSES
from lungcls.phantom import chest_phantom
from lungcls.pipeline import Pipeline
from lungcls.prediction import Prediction
from lungcls.recipes import load_recipe
from lungcls.shortcuts.sample import Trial
from lungcls.shortcuts.subject import ClassifierSubject
from lungcls.study.context import RunContext
from lungcls.study.study import Study, views_for

SIDE = 224
KINDS = ("plain", "inverted", "dark", "stretched", "refused", "one_lunged")


def _dark(pixels: np.ndarray) -> np.ndarray:
    return 0.02 + 0.1 * pixels


def _one_lunged(number: int) -> np.ndarray:
    """Fill one lung with what the other parts of the chest are as bright as."""
    phantom = chest_phantom(SIDE, seed=number)
    half = phantom.mask & (np.arange(SIDE) >= SIDE // 2)
    return np.where(half, 0.85, phantom.image)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "plain": lambda pixels: pixels,
    "inverted": lambda pixels: 1 - pixels,
    "dark": _dark,
    "refused": lambda pixels: np.random.default_rng(0).random(pixels.shape),
}


def _write_dicom(path: Path, pixels: np.ndarray) -> None:
    """Write a film whose rows are half as dense as its columns."""
    ds = pydicom.Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    half = np.rint(255 * pixels[::2]).astype(np.uint8)
    ds.Modality, ds.PhotometricInterpretation, ds.SamplesPerPixel = "DX", "MONOCHROME2", 1
    ds.Rows, ds.Columns = half.shape
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.PixelSpacing = [0.4, 0.2]
    ds.PixelData = half.tobytes()
    ds.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two films of each kind: one for each part of the split."""
    dataset = Dataset(tmp_path_factory.mktemp("films"))
    dataset.classes = CLASSES
    for number in (0, 1):
        pixels = chest_phantom(SIDE, seed=number).image
        for kind in KINDS:
            name = f"{kind}-{number}.{'dcm' if kind == 'stretched' else 'png'}"
            if kind == "stretched":
                _write_dicom(dataset.root / name, pixels)
            else:
                changed = _one_lunged(number) if kind == "one_lunged" else CHANGES[kind](pixels)
                grey = np.rint(255 * changed).astype(np.uint8)
                Image.fromarray(grey).save(dataset.root / name)
            dataset.records.append(Record(name, CLASSES[number]))
    return dataset


@pytest.fixture(scope="module")
def split(films: Dataset) -> Split:
    parts = {r.file: "train" if "-0." in r.file else "validation" for r in films.records}
    return Split(parts, {file: file for file in parts})


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(region="mask", device="cpu", engine="torch")


@pytest.fixture(scope="module")
def predictions(films: Dataset, pipeline: Pipeline) -> dict[str, Prediction]:
    answers = pipeline.predict([films.path(record) for record in films.records])
    return {record.file: answer for record, answer in zip(films.records, answers)}


@pytest.fixture(scope="module")
def study(
    films: Dataset, pipeline: Pipeline, split: Split, tmp_path_factory: pytest.TempPathFactory
) -> Study:
    cache = tmp_path_factory.mktemp("cache")
    first = Study.open(films, pipeline.finder, cache=cache, n_resamples=20)
    # The second time from the cache.
    again = Study.open(films, pipeline.finder, cache=cache, n_resamples=20)
    assert [np.array_equal(a.mask, b.mask) for a, b in zip(first.films, again.films)] == [True] * len(first)
    return again


def test_the_films_are_of_the_kinds_that_they_are_called(predictions: dict[str, Prediction]) -> None:
    for file, found in predictions.items():
        kind = file.partition("-")[0]
        if kind != "one_lunged":
            assert (found.label is None) == (kind == "refused"), file
        assert ("inverted" in found.quality.corrected) == (kind == "inverted"), file
        assert found.fallback == (kind in ("refused", "one_lunged")), file


def test_evaluation_and_calibration_answer_as_prediction(
    study: Study, pipeline: Pipeline, predictions: dict[str, Prediction]
) -> None:
    answers = study.answers(pipeline.answerer)
    for place, file in enumerate(answers.files):
        expected = predictions[file]
        assert answers.probabilities[place] == pytest.approx(list(expected.probabilities.values()), abs=1e-5)
        assert answers.accepted is not None
        assert answers.fallback is not None
        assert answers.accepted[place] == (expected.label is not None)
        assert answers.fallback[place] == expected.fallback
    found = evaluate(study, pipeline.segmenter, [pipeline.answerer])
    counts = {key: found.payload["films"][key] for key in ("all", "accepted", "refused", "corrected")}
    labelled = sum(one.label is not None for one in predictions.values())
    # Two that were inverted, and two whose pixels are not square.
    assert counts == {"all": 12, "accepted": labelled, "refused": 12 - labelled, "corrected": 4}
    report = found.payload["reports"]["classifier-mask"]
    assert (report["n_images"], report["labelled"]["n_images"]) == (12, labelled)
    by_film = {row["file"]: row for row in found.answers}
    assert by_film["inverted-0.png"]["corrected"] == 1
    assert by_film["refused-0.png"]["accepted"] == 0
    assert by_film["one_lunged-1.png"]["fallback"] == 1


def test_training_sees_what_prediction_sees(
    films: Dataset, split: Split, predictions: dict[str, Prediction], pipeline: Pipeline, tmp_path: Path
) -> None:
    pytest.importorskip("lightning")
    from lungcls.training.data import TrainingData

    recipe = load_recipe("release-cpu/classifier-mask")
    assert recipe.region == pipeline.classifier.region
    data = TrainingData(recipe, films, split, {}, None, "gate", RunContext("cpu", cache=tmp_path))
    for part in ("train", "validation"):
        views = data.load(part, pipeline.classifier.card.input_size).views
        for record, view in zip(data.records[part], views):
            _same(view, predictions[record.file], pipeline)


def test_audit_ablation_and_quantisation_see_what_prediction_sees(
    study: Study, films: Dataset, predictions: dict[str, Prediction], pipeline: Pipeline, tmp_path: Path
) -> None:
    classifier = pipeline.classifier
    trial = Trial.open(ClassifierSubject(Classifier.load("classifier-mask", "cpu", engine="torch")), study)
    seen = trial.views(trial.sample.pixels, trial.sample.masks)
    lungs = usable_lungs(films, "predicted", pipeline.finder, tmp_path)
    card = classifier.card
    cut = region_views(
        [lungs[r.file] for r in trial.sample.records], classifier.region, card.input_size, tone=card.tone
    )
    for record, view, other in zip(trial.sample.records, seen, cut):
        _same(other, predictions[record.file], pipeline)
        assert np.array_equal(view, other), record.file
    usable = {r.file for r in trial.sample.records}
    assert usable == set(lungs) == {f for f, found in predictions.items() if not found.fallback}
    shown = calibration_views(films, films.records, classifier, pipeline.finder, count=len(films.records))
    for record, view in zip(films.records, shown):
        _same(view, predictions[record.file], pipeline)
    assert np.array_equal(views_for(classifier, study.films), shown)


def _same(view: np.ndarray, found: Prediction, pipeline: Pipeline) -> None:
    """A view of the classifier, where it was the one that answered."""
    if not found.fallback:
        assert np.array_equal(view, found.view), found.path
    else:
        lungs, card = found.lungs, pipeline.classifier.card
        assert np.array_equal(view, lungs.view(pipeline.classifier.region, card.input_size, card.tone))
