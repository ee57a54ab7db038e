"""Training from a recipe, on phantoms: small, and killed in the middle."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image

from lungcls.classifier import Classifier
from lungcls.data import RadiographyDatabase, Record, split_dataset
from lungcls.data.views import drawn_lungs
from lungcls.errors import RecipeError
from lungcls.evaluation.calibration import fit_bias, fit_temperature
from lungcls.evaluation.segmentation import dice
from lungcls.images import read_image
from lungcls.labels import CLASSES
from lungcls.phantom import chest_phantom
from lungcls.recipes import Stage, load_recipe
from lungcls.regions import Region
from lungcls.segmenter import Segmenter
from lungcls.study.context import RunContext
from lungcls.study.study import Study
from lungcls.training import train
from lungcls.training.train import _chosen
from lungcls.weights import load_card, load_state

CPU = RunContext("cpu", workers=0)

SEGMENTER = """
name = "tiny-segmenter"
task = "segmentation"
input_size = 32
loss = "dice_bce"
augmentation = "segmentation"
batch_size = 8
learning_rate = 3e-3
ema_decay = 0.5
stages = [{ size = 16, epochs = 2 }, { size = 32, epochs = %d }]
[model]
model = "unet"
encoder = "tu-resnet18"
encoder_depth = 3
decoder_channels = [32, 16, 8]
"""

CLASSIFIER = """
name = "tiny-classifier"
task = "classification"
input_size = 32
loss = "cross_entropy"
augmentation = "classification"
batch_size = 8
balance = "%s"
label_smoothing = 0.05
patience = 1
segmenter = "%s"
stages = [{ size = 32, epochs = 1 }]
[model]
model = "densenet121"
[region]
name = "mask"
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> RadiographyDatabase:
    """Eighty phantoms in the database's own folders, twenty a class; one has no mask."""
    root = tmp_path_factory.mktemp("database")
    for number, label in enumerate(CLASSES):
        for kind in ("images", "masks"):
            (root / label / kind).mkdir(parents=True)
        for index in range(20):
            phantom = chest_phantom(64, seed=20 * number + index)
            name = f"{label}-{index + 1}.png"
            Image.fromarray((phantom.image * 255).astype(np.uint8)).save(root / label / "images" / name)
            if (number, index) != (0, 0):
                Image.fromarray(phantom.mask.astype(np.uint8) * 255).save(root / label / "masks" / name)
    return RadiographyDatabase(root)


def _recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def _history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def segmenter_run(database: RadiographyDatabase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmenter")
    train(load_recipe(_recipe(folder, SEGMENTER % 2)), database, folder / "run", context=CPU)
    return folder / "run"


def test_a_run_ends_in_weights_with_a_whole_card(segmenter_run: Path, database: RadiographyDatabase) -> None:
    path = segmenter_run / "tiny-segmenter.safetensors"
    card = load_card(path)
    assert card.task == "segmentation"
    assert card.region is None
    assert [(stage["size"], stage["epochs"]) for stage in card.recipe["stages"]] == [(16, 2), (32, 2)]
    # The image without a mask is in no part.
    images = card.training_data["images"]
    assert sum(sum(counts.values()) for counts in images.values()) < len(database.records) - 1
    assert card.metrics["validation"]["overall"]["dice_mean"]["value"] > 0
    assert {"torch", "python", "device"} <= card.versions.keys()
    mask = Segmenter.load(path, "cpu").segment([chest_phantom(50, seed=3).image])[0]
    assert mask.shape == (50, 50)


def test_the_threshold_is_the_best_at_the_masks_own_size(
    segmenter_run: Path, database: RadiographyDatabase
) -> None:
    """The phantoms have twice the side of the network's views."""
    path = segmenter_run / "tiny-segmenter.safetensors"
    segmenter = Segmenter.load(path, "cpu", fill_holes=False, keep_parts=0)
    split = split_dataset(database, seed=0)
    records = [record for record in split.select(database.records, "validation") if record.mask]
    pixels = [read_image(database.path(record)).pixels for record in records]
    truth = [database.read_mask(record) for record in records]
    scores = {}
    for threshold in (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7):
        segmenter.card = replace(segmenter.card, thresholds={"mask": threshold})
        scores[threshold] = np.mean([dice(a, b) for a, b in zip(segmenter.segment(pixels), truth)])
    assert load_card(path).thresholds["mask"] == max(scores, key=scores.__getitem__)


def test_history_has_a_row_an_epoch_with_the_stage_size(segmenter_run: Path) -> None:
    rows = _history(segmenter_run)
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["size"] for row in rows] == ["16", "16", "32", "32"]
    assert all(0 <= float(row["validation_dice"]) <= 1 for row in rows)
    losses = [float(row["train_loss"]) for row in rows]
    assert losses[1] < losses[0]


def test_a_finished_run_is_not_trained_again(segmenter_run: Path, database: RadiographyDatabase) -> None:
    path = segmenter_run / "tiny-segmenter.safetensors"
    before = path.stat().st_mtime_ns
    recipe = load_recipe(segmenter_run.parent / "recipe.toml")
    assert train(recipe, database, segmenter_run, context=CPU) == path
    assert path.stat().st_mtime_ns == before


def test_a_folder_keeps_to_its_recipe(segmenter_run: Path, database: RadiographyDatabase) -> None:
    recipe = replace(load_recipe(segmenter_run.parent / "recipe.toml"), learning_rate=0.5)
    with pytest.raises(RecipeError, match="another recipe"):
        train(recipe, database, segmenter_run, context=CPU)


def test_a_folder_keeps_to_its_labels(segmenter_run: Path, database: RadiographyDatabase) -> None:
    recipe = load_recipe(segmenter_run.parent / "recipe.toml")
    other = copy(database)
    other.records = [replace(one, label=CLASSES[0]) for one in database.records]
    with pytest.raises(RecipeError, match="a run with another labels"):
        train(recipe, other, segmenter_run, split=split_dataset(database, seed=recipe.split_seed))


def test_weights_of_another_split_are_named(
    segmenter_run: Path, database: RadiographyDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = segmenter_run / "tiny-segmenter.safetensors"
    recipe = load_recipe(_recipe(tmp_path, CLASSIFIER % ("none", weights)))
    other = split_dataset(database, seed=5)
    card = load_card(train(recipe, database, tmp_path / "run", split=other, context=CPU))
    used = load_card(weights).training_data["split_hash"]
    assert card.training_data["other_splits"] == {"tiny-segmenter": used}
    assert f"tiny-segmenter was trained with the split {used}" in caplog.text
    (note,) = Study(database, [], {}, other, "test").notes(card)
    assert note.endswith(f"({card.name} rests on it)")
    (note,) = Study(database, [], {}).notes(card)
    assert "was trained on part of these images" in note


def test_a_run_leaves_the_environment_as_it_was_and_takes_over_what_a_kill_left(
    database: RadiographyDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    monkeypatch.delenv("PL_SEED_WORKERS", raising=False)
    small = {"model": "densenet", "growth": 4, "blocks": [1], "stem": 4}
    recipe = replace(
        load_recipe(_recipe(tmp_path, CLASSIFIER % ("none", ""))), region=Region("full"), model=small
    )
    draft = tmp_path / "run" / "draft"
    draft.mkdir(parents=True)
    (draft / ".tiny.safetensors.0123456789abcdef.part").write_bytes(b"half")
    path = train(recipe, database, tmp_path / "run", context=CPU)
    assert not draft.exists()
    assert (os.environ["PL_GLOBAL_SEED"], os.environ.get("PL_SEED_WORKERS")) == ("7", None)
    # Another description is no other run.
    assert train(replace(recipe, description="later"), database, tmp_path / "run", context=CPU) == path
    with pytest.raises(RecipeError, match="a run with another recipe"):
        train(replace(recipe, learning_rate=0.5), database, tmp_path / "run", context=CPU)


@pytest.mark.parametrize(("device", "devices"), [("cuda:1", [1]), ("cuda", 2), ("cpu", 1)])
def test_a_numbered_device_is_that_one(device: str, devices: Any) -> None:
    assert _chosen(device, 2 if device == "cuda" else 1) == devices
    if ":" in device:
        with pytest.raises(RecipeError, match="for several give 'cuda' alone"):
            _chosen(device, 2)


def test_the_same_seed_gives_the_same_weights_whatever_the_workers_and_with_views_on_disk(
    segmenter_run: Path, database: RadiographyDatabase, tmp_path: Path
) -> None:
    recipe = load_recipe(segmenter_run.parent / "recipe.toml")
    context = RunContext("cpu", views_folder=tmp_path / "views")
    again = train(recipe, database, tmp_path / "again", context=context)
    _, first = load_state(segmenter_run / "tiny-segmenter.safetensors")
    _, second = load_state(again)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_global_random_state_is_left_alone(
    segmenter_run: Path, database: RadiographyDatabase, tmp_path: Path
) -> None:
    recipe = load_recipe(
        _recipe(tmp_path, CLASSIFIER % ("none", segmenter_run / "tiny-segmenter.safetensors"))
    )
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    train(recipe, database, tmp_path / "run", context=CPU)
    assert torch.equal(torch.rand(3), wanted)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("balance", ["class_weights", "sampler"])
def test_a_classifier_trains_on_predicted_masks(
    balance: str, segmenter_run: Path, database: RadiographyDatabase, tmp_path: Path
) -> None:
    weights = segmenter_run / "tiny-segmenter.safetensors"
    recipe = load_recipe(_recipe(tmp_path, CLASSIFIER % (balance, weights)))
    card = load_card(train(recipe, database, tmp_path / "run", context=CPU))
    assert card.classes == CLASSES
    assert card.region == {"name": "mask", "margin": 0.05, "dilate": 0.0}
    assert card.training_data["segmenter"] == load_card(weights).sha256
    assert 0.02 <= card.temperature <= 50
    assert len(list((tmp_path / "run").glob("lungs-*.npz"))) == 1


def _logits(database: RadiographyDatabase, records: list[Record], weights: Path) -> tuple[Any, Any]:
    study = Study(database, records, drawn_lungs(database, records))
    answers = study.answers(Classifier.load(weights, "cpu"))
    return answers.logits, answers.labels


def test_a_bias_is_fitted_on_validation_and_put_into_the_last_layer(
    database: RadiographyDatabase, tmp_path: Path
) -> None:
    recipe = replace(
        load_recipe(_recipe(tmp_path, CLASSIFIER % ("class_weights", ""))), region=Region("full")
    )
    plain = train(recipe, database, tmp_path / "plain", context=CPU)
    path = train(replace(recipe, bias="validation"), database, tmp_path / "run", context=CPU)
    card, state = load_state(path)
    before = load_state(plain)[1]
    changed = [key for key in state if not torch.equal(state[key], before[key])]
    assert changed == ["classifier.bias"]
    records = split_dataset(database, seed=0).select(database.records, "validation")
    logits, labels = _logits(database, records, plain)
    added = (state["classifier.bias"] - before["classifier.bias"]).double().numpy()
    # The file keeps 11 bits of each number.
    np.testing.assert_allclose(added, fit_bias(logits, labels), atol=2e-3, rtol=2**-11)
    assert card.training_data["bias"]["part"] == "validation"
    # The card's figures are those of the very file.
    logits, _ = _logits(database, records, path)
    assert card.temperature == pytest.approx(fit_temperature(logits, labels), rel=1e-3)
    accuracy = card.metrics["validation"]["overall"]["accuracy"]["value"]
    assert accuracy == pytest.approx((logits.argmax(1) == labels).mean())


@pytest.mark.parametrize(
    ("region", "options"),
    [
        ("mask", {"mask_jitter": 0.05, "mixup": 0.2}),
        ("full", {"other_surroundings": 0.5, "cutmix": 1.0}),
    ],
)
def test_a_classifier_trains_on_lungs_that_change(
    database: RadiographyDatabase, segmenter_run: Path, tmp_path: Path, region: str, options: dict[str, float]
) -> None:
    text = CLASSIFIER % ("class_weights", segmenter_run / "tiny-segmenter.safetensors")
    recipe = replace(load_recipe(_recipe(tmp_path, text)), region=Region(region), **options)
    card = load_card(train(recipe, database, tmp_path / "run", context=CPU))
    # The masks were predicted for `full` too, since its surroundings were changed by them.
    assert card.training_data["segmenter"] == load_card(segmenter_run / "tiny-segmenter.safetensors").sha256
    assert card.region == Region(region).to_dict()


class _Stop(Callback):
    """Ends a run at the start of its second epoch, as a kill would."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("killed")


def test_what_a_step_draws_is_the_same_after_a_kill(database: RadiographyDatabase, tmp_path: Path) -> None:
    small = {"model": "densenet", "growth": 4, "blocks": [1, 1], "stem": 4, "dropout": 0.5}
    recipe = replace(
        load_recipe(_recipe(tmp_path, CLASSIFIER % ("none", "segmenter"))),
        region=Region("full"), model=small, stages=(Stage(16, 2),), mixup=0.4, cutmix=1.0, patience=0,
    )  # fmt: skip
    kept = {"context": CPU}
    whole = train(recipe, database, tmp_path / "whole", **kept)
    with pytest.raises(RuntimeError, match="killed"):
        train(recipe, database, tmp_path / "killed", callbacks=[_Stop()], **kept)
    resumed = train(recipe, database, tmp_path / "killed", **kept)
    assert len(_history(tmp_path / "killed")) == 2
    assert load_card(resumed).sha256 == load_card(whole).sha256


def test_a_classifier_learns_from_a_teacher(
    database: RadiographyDatabase, tmp_path: Path, tiny_classifier: Path
) -> None:
    teacher = load_card(tiny_classifier)
    recipe = replace(
        load_recipe(_recipe(tmp_path, CLASSIFIER % ("none", "segmenter"))),
        region=Region(**(teacher.region or {})),
        teachers=("wise",),
        distillation=1.0,
    )
    lungs = drawn_lungs(database, database.records)
    path = train(
        recipe,
        database,
        tmp_path / "run",
        context=CPU,
        lungs=lungs,
        earlier={"wise": tiny_classifier},
    )
    assert load_card(path).training_data["teachers"] == [teacher.sha256]
    # No checkpoint and no weight file holds the teacher.
    assert not any("teacher" in key for key in load_state(path)[1])


def test_init_from_another_architecture_is_refused(
    segmenter_run: Path, database: RadiographyDatabase, tmp_path: Path
) -> None:
    weights = segmenter_run / "tiny-segmenter.safetensors"
    recipe = load_recipe(_recipe(tmp_path, CLASSIFIER % ("none", weights)))
    with pytest.raises(RecipeError, match="start from weights of the same architecture"):
        train(replace(recipe, init=str(weights)), database, tmp_path / "run", context=CPU)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_an_unbroken_one(
    segmenter_run: Path, database: RadiographyDatabase, tmp_path: Path
) -> None:
    """The recipe of `segmenter_run` through the command line, killed after its second epoch."""
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "lungcls", "train", str(segmenter_run.parent / "recipe.toml")]
    command += ["--data", str(database.root), "--out", str(out), "--device", "cpu", "--workers", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / "history.csv").is_file() or len(_history(out)) < 2:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "no second epoch within two minutes"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "tiny-segmenter.safetensors").exists()

    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [row["epoch"] for row in _history(out)] == ["0", "1", "2", "3"]
    assert json.loads((out / "recipe.json").read_text())["recipe"]["name"] == "tiny-segmenter"
    _, unbroken = load_state(segmenter_run / "tiny-segmenter.safetensors")
    _, resumed = load_state(out / "tiny-segmenter.safetensors")
    assert all(torch.allclose(unbroken[key], resumed[key], atol=1e-3) for key in unbroken)
