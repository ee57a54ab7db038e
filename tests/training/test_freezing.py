"""Schedules in stages: what is frozen stays as it was, batch norm's statistics included."""

from __future__ import annotations

import csv
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lungcls.data import Dataset, Record
from lungcls.errors import RecipeError
from lungcls.models import create_model
from lungcls.models.layers import layers
from lungcls.phantom import chest_phantom
from lungcls.recipes import Recipe, load_recipe
from lungcls.study.context import RunContext
from lungcls.training import train
from lungcls.training.freezing import frozen_layers
from lungcls.weights import load_card, save_weights

CPU = RunContext("cpu", workers=0)

ARCHITECTURE = {"model": "cnn-vgg-bn", "size": 16, "classes": 3}
RECIPE = """
name = "staged"
task = "classification"
input_size = 16
loss = "focal"
augmentation = "none"
optimizer = "adam"
schedule = "constant"
learning_rate = 1e-2
weight_decay = 0.0
l2_conv = 1e-4
batch_size = 16
select = "loss"
stages = %s
[model]
model = "cnn-vgg-bn"
pretrained = "%s"
[region]
name = "full"
"""


class ThreeClasses(Dataset):
    """Twenty-four phantoms a class, of three classes that are not the library's."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.classes = ("first", "second", "third")
        for number, label in enumerate(self.classes):
            for index in range(24):
                file = f"{label}-{index}.png"
                pixels = chest_phantom(32, seed=24 * number + index).image * (0.4 + 0.3 * number)
                Image.fromarray((pixels * 255).astype("uint8")).save(root / file)
                self.records.append(Record(file, label, group=file))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return ThreeClasses(tmp_path_factory.mktemp("three"))


@pytest.fixture
def start(tmp_path: Path, make_card_values: Any) -> Path:
    torch.manual_seed(0)
    values = make_card_values(
        name="start", architecture=ARCHITECTURE, input_size=16, classes=("first", "second", "third")
    )
    return save_weights(tmp_path, create_model(ARCHITECTURE).state_dict(), **values)


def _recipe(folder: Path, start: Path, stages: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(RECIPE % (stages, start))
    return load_recipe(path)


def _last(run: Path) -> dict[str, torch.Tensor]:
    """The network after the last epoch, whichever epoch was kept."""
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}


def test_a_frozen_backbone_keeps_its_weights_and_statistics(
    dataset: Dataset, start: Path, tmp_path: Path
) -> None:
    recipe = _recipe(tmp_path, start, '[{ size = 16, epochs = 2, train = "head" }]')
    card = load_card(train(recipe, dataset, tmp_path / "run", context=CPU))
    assert card.classes == dataset.classes
    assert card.architecture == ARCHITECTURE
    before = create_model({**ARCHITECTURE, "pretrained": str(start)}).state_dict()
    after = _last(tmp_path / "run")
    backbone = [key for key in before if ".features." in key]
    assert any("running_mean" in key for key in backbone)
    assert all(torch.equal(before[key], after[key]) for key in backbone)
    assert not torch.equal(before["network.classifier.1.weight"], after["network.classifier.1.weight"])


def test_the_second_stage_trains_the_last_layers_at_its_own_rate(
    dataset: Dataset, start: Path, tmp_path: Path
) -> None:
    stages = (
        '[{ size = 16, epochs = 1, train = "head" }, '
        "{ size = 16, epochs = 1, learning_rate = 1e-3, train = 3 }]"
    )
    train(_recipe(tmp_path, start, stages), dataset, tmp_path / "run", context=CPU)
    before = create_model({**ARCHITECTURE, "pretrained": str(start)}).state_dict()
    after = _last(tmp_path / "run")
    changed = {key.rpartition(".")[0] for key in before if not torch.equal(before[key], after[key])}
    # The last convolution, its batch norm, the linear layer.
    assert changed == {"network.features.19", "network.features.21", "network.classifier.1"}
    with (tmp_path / "run" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["learning_rate"]) for row in rows] == [1e-2, 1e-3]
    wanted = {"train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "validation_macro_f1"}
    assert wanted <= rows[0].keys()


def test_layers_that_a_network_has_not() -> None:
    network = create_model(ARCHITECTURE)
    assert frozen_layers(network, "all") == []
    assert frozen_layers(network, 1) == layers(network)[:-1]
    with pytest.raises(RecipeError, match="train = 99: the network has 13 layers"):
        frozen_layers(network, 99)


def test_a_checkpoint_an_epoch_is_named_with_its_loss(dataset: Dataset, start: Path, tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, start, "[{ size = 16, epochs = 3 }]")
    train(recipe, dataset, tmp_path / "run", context=RunContext("cpu", workers=0, keep_checkpoints=True))
    with (tmp_path / "run" / "history.csv").open() as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file)]
    names = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    expected = {f"epoch={epoch:03d}-validation_loss={loss:.4f}.ckpt" for epoch, loss in enumerate(losses)}
    assert names == {*expected, "last.ckpt"}


def test_an_epoch_that_is_no_better_is_still_where_a_run_goes_on(
    dataset: Dataset, start: Path, tmp_path: Path
) -> None:
    stages = '[{ size = 16, epochs = 3, train = "head", learning_rate = 1e-30 }]'
    train(_recipe(tmp_path, start, stages), dataset, tmp_path / "run", context=CPU)
    checkpoints = {path.name: path for path in (tmp_path / "run" / "checkpoints").iterdir()}
    last = torch.load(checkpoints.pop("last.ckpt"), weights_only=True)
    (best,) = checkpoints.values()
    # The rate changes nothing, so that the first epoch stays the best one.
    assert (torch.load(best, weights_only=True)["epoch"], last["epoch"]) == (0, 2)


def test_early_stopping_by_the_loss(dataset: Dataset, start: Path, tmp_path: Path) -> None:
    # A rate at which nothing gets better, and no statistics that could.
    stages = '[{ size = 16, epochs = 9, train = "head" }]'
    recipe = replace(_recipe(tmp_path, start, stages), learning_rate=1e-12, patience=2)
    train(recipe, dataset, tmp_path / "run", context=CPU)
    with (tmp_path / "run" / "history.csv").open() as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 3
    assert losses[1:] == losses[:1] * 2


def test_a_run_that_had_stopped_is_not_trained_on(
    dataset: Dataset, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = '[{ size = 16, epochs = 9, train = "head" }]'
    recipe = replace(_recipe(tmp_path, start, stages), learning_rate=1e-12, patience=2)
    history = _killed_at_the_end(recipe, dataset, tmp_path / "run", monkeypatch)
    train(recipe, dataset, tmp_path / "run", context=CPU)
    assert (tmp_path / "run" / "history.csv").read_text() == history


def test_a_run_whose_folder_was_moved_is_finished_with_its_best_epoch(
    dataset: Dataset, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = '[{ size = 16, epochs = 3, train = "head", learning_rate = 1e-30 }]'
    recipe = _recipe(tmp_path, start, stages)
    _killed_at_the_end(recipe, dataset, tmp_path / "run", monkeypatch)
    (tmp_path / "run").rename(tmp_path / "moved")
    longer = replace(recipe, stages=(replace(recipe.stages[0], epochs=4),))
    stated = tmp_path / "moved" / "recipe.json"
    stated.write_text(stated.read_text().replace('"epochs": 3', '"epochs": 4'))
    assert train(longer, dataset, tmp_path / "moved", context=CPU).is_file()
    (best,) = (tmp_path / "moved" / "checkpoints").glob("epoch=*")
    # The fourth epoch is no better than the first, which was trained before the move.
    assert torch.load(best, weights_only=True)["epoch"] == 0


def _killed_at_the_end(recipe: Recipe, dataset: Dataset, run: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Train, and fail before the weights are written; returns the history."""

    def finish(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(import_module("lungcls.training.train"), "finish", finish)
        with pytest.raises(RuntimeError, match="killed"):
            train(recipe, dataset, run, context=CPU)
    return (run / "history.csv").read_text()


def test_offline_copies_are_counted_in_the_card(dataset: Dataset, start: Path, tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, start, "[{ size = 16, epochs = 1 }]")
    recipe = replace(recipe, offline={"second": 40}, balance="class_weights")
    card = load_card(train(recipe, dataset, tmp_path / "run", context=CPU))
    assert card.training_data["with_copies"] == {"second": 40}
    assert card.training_data["images"]["train"]["second"] < 24


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"model": "cnn-vgg-bn", "classes": 4}, "the recipe's model has 4 classes, the dataset 3"),
        ({"model": "cnn-vgg-bn", "size": 32}, "cnn-vgg-bn takes one size of input, here 32"),
    ],
)
def test_a_model_that_does_not_fit_the_data_or_the_size(
    model: dict[str, Any], message: str, dataset: Dataset, start: Path, tmp_path: Path
) -> None:
    recipe = replace(_recipe(tmp_path, start, "[{ size = 16, epochs = 1 }]"), model=model)
    with pytest.raises(RecipeError, match=message):
        train(recipe, dataset, tmp_path / "run", context=CPU)
