"""Both stages on a dataset: figures that can be known beforehand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from lungcls.classifier import Classifier
from lungcls.data import MaskFolder, RadiographyDatabase, make_split
from lungcls.data.views import drawn_lungs, region_views
from lungcls.evaluation.evaluate import classification_on, evaluate, segmentation_on
from lungcls.finder import Finder
from lungcls.study.answers import Answers
from lungcls.study.study import Study


@pytest.fixture
def database(manifest_database: Path) -> RadiographyDatabase:
    return RadiographyDatabase(manifest_database)


def test_true_masks_have_a_dice_of_one_and_images_without_a_mask_are_left_out(
    database: RadiographyDatabase,
) -> None:
    lungs = drawn_lungs(database, database.records)
    report = segmentation_on(Study(database, database.records, lungs, n_resamples=20))
    assert report.n_images == 4 * 23
    assert report.overall["dice_mean"].value == 1
    assert report.overall["failure_rate"].value == 0
    assert set(report.per_class) == {record.label for record in database.records}


def test_half_a_mask_has_a_lower_dice(database: RadiographyDatabase) -> None:
    lungs = drawn_lungs(database, database.records)
    for one in lungs.values():
        one.mask[:, :32] = False
    report = segmentation_on(Study(database, database.records, lungs, n_resamples=20))
    assert 0.4 < report.overall["dice_mean"].value < 0.9


def test_a_folder_of_masks_has_no_classes(original_database: Path) -> None:
    folder = MaskFolder(original_database / "Normal")
    lungs = drawn_lungs(folder, folder.records)
    report = segmentation_on(Study(folder, folder.records, lungs, n_resamples=20))
    assert report.per_class == {}
    assert report.overall["dice_mean"].value == 1


def test_logits_are_those_of_the_views_that_prediction_makes(
    database: RadiographyDatabase, tiny_classifier: Path
) -> None:
    classifier = Classifier.load(tiny_classifier, "cpu")
    records = database.records[:7]
    lungs = drawn_lungs(database, records)
    answers = Study(database, records, lungs).answers(classifier)
    views = region_views(list(lungs.values()), classifier.region, 32)
    np.testing.assert_allclose(answers.probabilities, classifier.probabilities(views), atol=1e-5)
    assert [classifier.card.classes[label] for label in answers.labels] == [
        record.label for record in records
    ]


def test_the_report_is_of_the_calibrated_probabilities(
    database: RadiographyDatabase, tiny_classifier: Path
) -> None:
    classifier = Classifier.load(tiny_classifier, "cpu")
    records = database.records
    labels = np.asarray([classifier.card.classes.index(record.label) for record in records])
    card, files = classifier.card, tuple(record.file for record in records)
    groups = tuple(record.group for record in records)
    logits = np.eye(4)[labels] * 3.0
    answers = Answers(card.name, card.classes, files, groups, labels, logits, card.temperature)
    report = classification_on(answers, card, n_resamples=20)
    assert report.overall["macro_f1"].value == 1
    confidence = softmax(np.array([3.0, 0, 0, 0]) / classifier.card.temperature)[0]
    assert report.overall["ece"].value == pytest.approx(1 - confidence)
    assert report.n_groups == len({record.group for record in records})


def test_an_evaluation_says_what_it_was_made_of(
    database: RadiographyDatabase, tiny_classifier: Path, tiny_segmenter: Path, tmp_path: Path
) -> None:
    split = make_split(database.records, seed=3)
    records = split.select(database.records, "test")
    finder, classifier = Finder.load(tiny_segmenter, None, "cpu"), Classifier.load(tiny_classifier, "cpu")
    study = Study.open(database, finder, split=split, part="test", cache=tmp_path, n_resamples=30)
    found = evaluate(study, finder.segmenter, [classifier])
    payload = found.payload
    assert payload["split_hash"] == split.hash
    assert payload["weights"] == {
        "tiny-segmenter": finder.segmenter.card.sha256,
        "tiny-classifier": classifier.card.sha256,
    }
    # The tiny weights name no split of theirs, so their test part may have been trained on.
    assert len(payload["notes"]) == 2
    assert "may have been trained on" in payload["notes"][0]
    assert {row["model"] for row in found.rows} == {"gate", "tiny-segmenter", "tiny-classifier"}

    stored = Path(__file__).parents[2] / "benchmarks" / "results" / "released_weights_radiography.json"
    if stored.is_file():
        # What the README's table is made of stays.
        assert set(json.loads(stored.read_text())) <= set(payload)
    # Every figure can be computed again from the answers.
    names = classifier.card.classes
    right = [max(names, key=lambda name: answer[name]) == answer["label"] for answer in found.answers]
    reports = payload["reports"]
    accuracy = reports["tiny-classifier"]["overall"]["accuracy"]["value"]
    assert np.mean(right) == pytest.approx(accuracy)
    assert len(found.answers) == len(records)


@pytest.mark.parametrize("name", ["montgomery", "shenzhen"])
def test_the_external_sets_are_mask_folders(real_data: Path, name: str) -> None:
    if not (real_data / name).is_dir():
        pytest.skip(f"{name} is not beside the radiography database")
    folder = MaskFolder(real_data / name)
    assert len(folder.records) > 100
    assert all(record.mask for record in folder.records)
    assert 0.1 < folder.read_mask(folder.records[0]).mean() < 0.6
