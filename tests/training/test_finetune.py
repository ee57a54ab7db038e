"""From a folder or a table to a calibrated model with its figures, on phantoms and small networks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning", reason="training needs the extra train")

import torch
from click.testing import Result
from typer.testing import CliRunner

import lungcls
from lungcls.cli.main import app
from lungcls.data import Dataset, Split, open_dataset
from lungcls.errors import DataError, OptionError, RecipeError
from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.multilabel import FindingsReport
from lungcls.models import create_model
from lungcls.models.layers import head, last_block, layers
from lungcls.recipes import load_recipe
from lungcls.study.context import RunContext
from lungcls.training.finetune import Finetuned, finetune
from lungcls.training.losses import FindingsLoss
from lungcls.weights import load_card, load_state, save_weights

SMALL = {"model": "densenet", "growth": 4, "blocks": [2, 2], "stem": 8}
CONTEXT = RunContext(device="cpu", workers=0)


def command(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, make_card_values: Any) -> Path:
    """Weights of a small network of whole films, never trained."""
    torch.manual_seed(0)
    state = create_model({**SMALL, "classes": 4}).state_dict()
    values = make_card_values(
        name="small-full", architecture={**SMALL, "classes": 4}, input_size=32, region={"name": "full"}
    )
    return save_weights(tmp_path_factory.mktemp("start"), state, **values)


def split_of(dataset: Dataset) -> Split:
    """The phantoms in parts by the numbers in their names: with so few, chance leaves gaps."""
    names = {one.file: Path(one.file).stem.rpartition("-") for one in dataset.records}
    groups = {file: f"{name} {int(number) // 2}" for file, (name, _, number) in names.items()}
    place = {file: int(number) // 2 % 6 for file, (*_, number) in names.items()}
    parts = {file: {0: "validation", 1: "test"}.get(number, "train") for file, number in place.items()}
    return Split(parts, groups)


@pytest.fixture
def findings(manifest_database: Path) -> Path:
    """A table of two findings over the phantoms; a finding is what the class's name says."""
    with (manifest_database / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    path = manifest_database / "findings.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "patient", "Opacity", "Virus"])
        for number, row in enumerate(rows):
            marks = {"COVID": (1, 1), "Lung_Opacity": (1, 0), "Normal": (0, 0)}.get(row["label"], (0, 1))
            writer.writerow([row["file"], row["group"], marks[0], "" if number % 9 == 0 else marks[1]])
    return path


def test_own_classes(manifest_database: Path, start: Path, tmp_path: Path) -> None:
    classes = {"COVID": "sick", "Lung_Opacity": "sick", "Viral Pneumonia": "child", "Normal": "well"}
    dataset = open_dataset(manifest_database, classes=classes)
    run: dict[str, Any] = {"start": start, "gate": None, "epochs": 1, "n_resamples": 20, "context": CONTEXT}
    run["split"] = split_of(dataset)
    found = finetune(dataset, tmp_path, name="mine", **run)
    card, frozen = load_card(found.weights), load_card(found.frozen)
    assert card.classes == frozen.classes == ("sick", "child", "well")
    assert card.conformal["classes"].keys() == set(card.classes)
    assert {row["model"] for row in found.rows} == {"finetuned", "frozen features"}
    assert json.loads((tmp_path / "test.json").read_text())["split_hash"] == found.split.hash
    # Of the features as they were nothing has changed; then the last block alone, and its norms.
    before, probe, after = (load_state(path)[1] for path in (start, found.frozen, found.weights))
    changed = {name for name in before if not torch.equal(probe[name], after[name])}
    assert {name for name in before if not torch.equal(before[name], probe[name])} == {
        "classifier.weight",
        "classifier.bias",
    }
    assert changed
    assert all(name.startswith(("features.denseblock2", "features.norm5", "classifier")) for name in changed)
    film = np.random.default_rng(0).random((64, 64), np.float32)
    pipe = lungcls.Pipeline(classifier=found.weights, gate=None, device="cpu")
    assert set(pipe.predict(film).probabilities) == set(card.classes)
    # The same call again goes on, and is done at once; another seed is another run.
    assert finetune(dataset, tmp_path, name="mine", **run).weights == found.weights
    with pytest.raises(RecipeError, match="another"):
        finetune(dataset, tmp_path, name="mine", seed=1, **run)


def test_several_findings_a_film(findings: Path, start: Path, tmp_path: Path) -> None:
    dataset = open_dataset(findings)
    found = finetune(
        dataset,
        tmp_path,
        start=start,
        split=split_of(dataset),
        gate=None,
        epochs=1,
        n_resamples=20,
        context=CONTEXT,
    )
    card = load_card(found.weights)
    assert card.multilabel
    assert card.classes == tuple(card.platt) == tuple(card.thresholds) == ("Opacity", "Virus")
    figures = {(row["model"], row["metric"], row["finding"]) for row in found.rows}
    assert {("finetuned", name, "Virus") for name in ("auroc", "average_precision", "f1", "ece")} <= figures
    film = np.random.default_rng(0).random((64, 64), np.float32)
    pipe = lungcls.Pipeline(classifier=found.weights, gate=None, device="cpu", tta=2)
    prediction = pipe.predict(film)
    said = [name for name, value in prediction.probabilities.items() if value >= card.thresholds[name]]
    assert prediction.findings == tuple(said)
    assert prediction.label == ("|".join(said) or "none")
    assert prediction.confidence is not None
    assert prediction.confidence >= min(*card.thresholds.values(), *(1 - t for t in card.thresholds.values()))
    assert prediction.words().startswith("Findings: ")
    assert prediction.to_dict()["findings"] == said
    assert prediction.disagreement >= 0
    with pytest.raises(OptionError, match="an ensemble is of classifiers that give one class"):
        lungcls.Ensemble([found.weights, found.frozen], gate=None, device="cpu")
    _judged(findings, found, tmp_path)


def _judged(findings: Path, found: Finetuned, tmp_path: Path) -> None:
    """What was trained on findings is measured, calibrated and reported by the commands for classes."""
    split, out = tmp_path / "split.csv", tmp_path / "judged"
    found.split.write_csv(split)
    common = ["--data", findings, "--split", split, "--resamples", "20", "--device", "cpu"]
    result = command("evaluate", "--classifier", found.weights, "-o", out, *common)
    assert result.exit_code == 0, result.output
    payload = json.loads((out / "evaluation.json").read_text())
    report = payload["reports"][found.weights.stem]
    stated = json.loads((tmp_path / "test.json").read_text())["reports"]["finetuned"]
    assert report["per_class"]["Virus"]["auroc"] == stated["per_class"]["Virus"]["auroc"]
    with (out / "evaluation_answers.csv").open() as file:
        rows = list(csv.DictReader(file))
    said = [float(row["Virus"]) >= load_card(found.weights).thresholds["Virus"] for row in rows]
    assert ["Virus" in row["predicted"].split(";") for row in rows] == said

    result = command("calibrate", found.weights, "-o", out / "calibrated", "--part", "test", *common)
    assert result.exit_code == 0, result.output
    card = load_card(out / "calibrated" / found.weights.name)
    assert card.conformal["data"]["part"] == "test"
    assert card.conformal["data"]["images"].keys() == {"Opacity", "Virus"}
    assert card.platt != load_card(found.weights).platt
    refused = command("calibrate", found.weights, "--bias", "--part", "test", *common)
    assert refused.exit_code == 2
    assert "leave the bias out" in refused.stderr

    result = command("report", found.weights, found.frozen, "-o", out / "report", *common)
    assert result.exit_code == 0, result.output
    page = (out / "report" / "index.html").read_text()
    assert "average precision" in page
    pictures = sorted((out / "report").glob("*/findings.png"))
    assert len(pictures) == 2
    assert all(f"{path.parent.name}/findings.png" in page for path in pictures)

    result = command("evaluate", "--classifier", "classifier-full", *common)
    assert result.exit_code == 2
    assert "several findings a film, classifier-full gives one class" in result.stderr


def test_own_masks(manifest_database: Path, tiny_segmenter: Path, tmp_path: Path) -> None:
    dataset = open_dataset(manifest_database)
    dataset = dataset.only(one for one in dataset.records if one.label in ("COVID", "Normal"))
    found = finetune(
        dataset,
        tmp_path,
        start=tiny_segmenter,
        split=split_of(dataset),
        task="segmentation",
        gate=None,
        epochs=1,
        context=CONTEXT,
    )
    assert load_card(found.weights).task == "segmentation"
    assert {row["model"] for row in found.rows} == {"finetuned", "before"}


def test_what_cannot_be_learnt_is_refused(manifest_database: Path, start: Path, tmp_path: Path) -> None:
    dataset, out = open_dataset(manifest_database), tmp_path / "run"
    with pytest.raises(OptionError, match="made for classification"):
        finetune(dataset, out, start=start, task="segmentation")
    with pytest.raises(OptionError, match="task is 'detection'"):
        finetune(dataset, out, task="detection")
    parts = dict.fromkeys((one.file for one in dataset.records), "train")
    parts |= {one.file: ("validation", "test")[i % 2] for i, one in enumerate(dataset.records[:40])}
    with pytest.raises(DataError, match=r"no film of .*Normal \(validation\)"):
        finetune(dataset, out, start=start, split=Split(parts, {file: file for file in parts}))
    assert not out.exists()


def test_unknown_findings_have_no_part_in_the_loss() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    loss = FindingsLoss()
    known = loss(logits, torch.tensor([[1, -1], [0, -1]]))
    assert known == pytest.approx(float(loss(logits[:, :1], torch.tensor([[1], [0]]))))
    assert FindingsLoss([3.0, 1.0])(logits, torch.tensor([[1, 0], [0, 0]])) > loss(
        logits, torch.tensor([[1, 0], [0, 0]])
    )


@pytest.mark.parametrize(
    ("name", "block"),
    [("densenet121", "features.denseblock4"), ("resnet50", "network.layer4"), ("vgg16", "")],
)
def test_the_last_block_of_a_network(name: str, block: str) -> None:
    with torch.device("meta"):
        network = create_model({"model": name})
    names = {part: key for key, part in network.named_modules()}
    found = last_block(network)
    assert found == layers(network)[-len(found) :]
    assert set(head(network)) <= set(found)
    assert names[found[0]].startswith(block) if block else found == head(network)


def test_the_recipe_names_the_block() -> None:
    assert [stage.train for stage in load_recipe("finetune").stages] == ["block"]


def test_a_report_of_findings_is_json_safe() -> None:
    report = FindingsReport({("f1", ""): Estimate(0.5), ("f1", "Mass"): Estimate(0.5)}, {"Mass": (1, 2)})
    figure = {"value": 0.5, "low": None, "high": None}
    assert report.to_dict()["overall"] == {"f1": figure}
    assert report.to_dict()["per_class"] == {"Mass": {"support": 1, "absent": 2, "f1": figure}}
