from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lungcls.classifier import Classifier
from lungcls.data import RadiographyDatabase, make_split
from lungcls.data.views import drawn_lungs
from lungcls.errors import DataError
from lungcls.evaluation.calibration import fit_temperature
from lungcls.evaluation.recalibrate import recalibrate, with_bias, write_calibrated
from lungcls.finder import Finder
from lungcls.study.study import Study, groups_of
from lungcls.weights import load_card, load_state


@pytest.fixture
def found(manifest_database: Path, tiny_classifier: Path, tiny_segmenter: Path, tmp_path: Path):
    database = RadiographyDatabase(manifest_database)
    split = make_split(database.records, seed=1)
    records = split.select(database.records, "validation")
    classifier, finder = Classifier.load(tiny_classifier, "cpu"), Finder.load(tiny_segmenter, None, "cpu")
    study = Study.open(database, finder, split=split, part="validation", cache=tmp_path, n_resamples=20)
    result = recalibrate(study, classifier)
    return database, records, split, classifier, result


def test_the_card_is_fitted_on_the_part(found, tmp_path: Path) -> None:
    database, records, split, classifier, result = found
    bare = [replace(one, mask="") for one in records]
    answers = Study(database, records, drawn_lungs(database, bare)).answers(classifier)
    logits, labels = answers.logits, answers.labels
    # The untrained segmenter finds no lungs, so that the whole image stands in either way.
    assert result.card.temperature == pytest.approx(fit_temperature(logits, labels), rel=1e-3)
    data = result.card.conformal["data"]
    assert data["split_hash"] == split.hash
    assert (data["part"], sum(data["images"].values())) == ("validation", len(records))
    known = result.card.conformal["classes"]
    for name, entry in known.items():
        own = [record for record in records if record.label == name]
        assert entry["images"] == len(own)
        assert entry["groups"] == len({record.group for record in own})
    assert list(result.card.metrics) == ["validation"]
    ece = result.after.calibration["calibrated"]["ece", ""].value
    assert result.card.metrics["validation"]["overall"]["ece"]["value"] == pytest.approx(ece)
    assert result.before.temperature == 1.5
    assert result.after.calibration["calibrated"]["nll", ""].value <= (
        result.before.calibration["calibrated"]["nll", ""].value
    )


def test_a_bias_by_class_makes_other_weights(
    manifest_database: Path, tiny_classifier: Path, tiny_segmenter: Path, tmp_path: Path
) -> None:
    database = RadiographyDatabase(manifest_database)
    records = [
        one for one in database.records if one.label != "COVID" or one.file.endswith(("1.png", "2.png"))
    ]
    classifier, finder = Classifier.load(tiny_classifier, "cpu"), Finder.load(tiny_segmenter, None, "cpu")
    study = Study.open(database, finder, records=records, cache=tmp_path, n_resamples=20)
    result = recalibrate(study, classifier, bias=True)
    with pytest.raises(DataError, match="holds other weights"):
        write_calibrated(result, tiny_classifier, tiny_classifier.parent)
    path = write_calibrated(result, tiny_classifier, tmp_path / "biased.safetensors")
    card, state = load_state(path)
    before = load_state(tiny_classifier)[1]
    assert [key for key in state if not torch.equal(state[key], before[key])] == ["classifier.bias"]
    added = (state["classifier.bias"] - before["classifier.bias"]).numpy()
    # COVID is the rarest by far, and the untrained network tells nothing else.
    assert added.argmin() == 0
    answers = study.answers(Classifier.load(path, "cpu"))
    logits, labels = answers.logits, answers.labels
    assert card.temperature == pytest.approx(fit_temperature(logits, labels), rel=1e-3)
    assert card.training_data["bias"]["part"] == "all"
    assert list(card.metrics) == ["all"]
    accuracy = card.metrics["all"]["overall"]["accuracy"]["value"]
    assert accuracy == pytest.approx((logits.argmax(1) == labels).mean())
    nll = [report.calibration["calibrated"]["nll", ""].value for report in (result.before, result.after)]
    assert nll[1] < nll[0]


def test_a_network_without_a_bias_a_class_is_refused() -> None:
    with pytest.raises(DataError, match="one bias a class; leave it out"):
        with_bias({"fc.weight": torch.zeros(2, 3), "fc.bias": torch.zeros(1)}, np.zeros(2))


def test_the_new_card_stands_beside_a_copy(found, tiny_classifier: Path, tmp_path: Path) -> None:
    result = found[-1]
    card = result.card
    content = tiny_classifier.read_bytes()
    folder = write_calibrated(result, tiny_classifier, tmp_path / "out")
    named = write_calibrated(result, str(tiny_classifier), tmp_path / "mine.safetensors")
    assert folder == tmp_path / "out" / tiny_classifier.name
    for path in (folder, named):
        loaded, _ = load_state(path)
        assert path.read_bytes() == content
        assert loaded.name == path.stem
        assert (loaded.temperature, loaded.conformal) == (card.temperature, card.conformal)
    # Again, and in the weights' own folder: only the card is written.
    assert write_calibrated(replace(result, card=load_card(folder)), folder, folder.parent) == folder
    assert sorted(path.name for path in folder.parent.iterdir()) == [
        "tiny-classifier.json", "tiny-classifier.safetensors",
    ]  # fmt: skip
    assert load_card(tiny_classifier).temperature == 1.5


def test_other_weights_are_not_overwritten(found, tiny_classifier: Path, tmp_path: Path) -> None:
    other = tmp_path / "a.safetensors"
    other.write_bytes(b"others")
    with pytest.raises(DataError, match=r"a\.safetensors holds other weights"):
        write_calibrated(found[-1], tiny_classifier, other)
    assert other.read_bytes() == b"others"
    assert not other.with_suffix(".json").exists()
    exported = tmp_path / "b.onnx"
    exported.write_bytes(b"graph")
    with pytest.raises(DataError, match=r"b\.onnx: an exported file is not copied"):
        write_calibrated(found[-1], exported, tmp_path / "new")


def test_a_class_that_the_classifier_does_not_know_is_named(found) -> None:
    database, records, _, classifier, _ = found
    strange = [replace(records[0], label="Tuberculosis"), *records[1:]]
    with pytest.raises(
        DataError, match="'Tuberculosis', which tiny-classifier does not know; it knows COVID"
    ):
        Study(database, strange, {}).answers(classifier)


def test_groups_come_from_the_dataset_then_the_patient_then_the_split(found) -> None:
    _, records, split, _, _ = found
    one = records[0]
    assert groups_of([one]) == [one.group]
    bare = replace(one, group="", patient="")
    assert groups_of([replace(bare, patient="p"), bare], split) == [split.groups[one.file]] * 2
    assert groups_of([replace(bare, patient="p")]) == ["p"]
    assert groups_of([bare]) == [""]
