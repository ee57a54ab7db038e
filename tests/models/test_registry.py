from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lungcls.models
from lungcls.classifier import Classifier
from lungcls.data import open_radiography
from lungcls.errors import OptionError, RecipeError, WeightsError
from lungcls.models import MODELS, ModelSpec, create_model, registry
from lungcls.models.layers import head
from lungcls.recipes.recipe import recipe_from_dict
from lungcls.study.context import RunContext
from lungcls.weights import load_card


class Mine(nn.Module):
    """A user's own network: nothing of it is known to the library."""

    def __init__(self, classes: int = 4, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, width, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.last = nn.Linear(4 * width, classes)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(self.body(views))
        return logits


@pytest.fixture
def registered() -> Iterator[ModelSpec]:
    yield lungcls.models.register("mine", Mine, size=32, description="a network of my own")
    del registry._SPECS["mine"]


def _recipe(**model: Any) -> dict[str, Any]:
    return {
        "name": "my-run", "task": "classification", "input_size": 32, "loss": "cross_entropy",
        "augmentation": "none", "stages": [{"size": 32, "epochs": 1, "train": "head"}],
        "model": {"model": "mine", **model}, "region": {"name": "full"},
    }  # fmt: skip


def test_a_network_of_ones_own_goes_from_a_recipe_to_answers(
    registered: ModelSpec, manifest_database: Any, tmp_path: Any
) -> None:
    from lungcls.training.train import train

    recipe = recipe_from_dict(_recipe(width=6))
    here = RunContext("cpu", workers=0)
    weights = train(recipe, open_radiography(manifest_database), tmp_path / "run", context=here)
    card = load_card(weights)
    assert card.architecture == {"model": "mine", "width": 6, "classes": 4}
    classifier = Classifier.load(weights, "cpu", engine="torch")
    views = np.zeros((2, 32, 32), np.uint8)
    assert classifier.probabilities(views).shape == (2, 4)
    # It can be gone on from, as any other.
    again = create_model({"model": "mine", "width": 6, "pretrained": str(weights)})
    assert isinstance(again, Mine)


def test_what_is_known_of_it(registered: ModelSpec) -> None:
    assert MODELS["mine"] is registered
    assert registered.input == [1, 32, 32]
    assert registered.parameters == 8 * 25 + 8 + 32 * 4 + 4
    network = create_model({"model": "mine", "classes": 3})
    assert head(network) == [network.last]


def test_weights_of_a_network_that_is_not_registered_say_so(make_card_values: Any, tmp_path: Any) -> None:
    from lungcls.weights import save_weights

    values = make_card_values(architecture={"model": "mine"})
    path = save_weights(tmp_path, Mine().state_dict(), **values)
    with pytest.raises(WeightsError, match=r"unknown model 'mine'.*lungcls\.models\.register"):
        Classifier.load(path, "cpu", engine="torch")
    with pytest.raises(RecipeError, match=r"unknown model 'mine'.*lungcls\.models\.register"):
        recipe_from_dict(_recipe())


def test_by_dotted_name(registered: ModelSpec) -> None:
    spec = lungcls.models.register("mine", "collections:OrderedDict", replace=True)
    assert spec.builder().__name__ == "OrderedDict"


@pytest.mark.parametrize(
    ("name", "build", "fields", "message"),
    [
        ("resnet50", Mine, {}, "'resnet50' is registered already; give another name, or replace=True"),
        ("", Mine, {}, "the name of a network is ''"),
        ("mine", 3, {}, "build is 3; expected a function"),
        ("mine", "my.package", {}, "expected a function, or 'package.module:function'"),
        ("mine", Mine, {"task": "detection"}, "task is 'detection'; expected one of"),
    ],
)
def test_what_cannot_be_registered_is_named(
    name: str, build: Any, fields: dict[str, Any], message: str
) -> None:
    before = dict(MODELS)
    with pytest.raises(OptionError, match=message):
        lungcls.models.register(name, build, **fields)
    assert dict(MODELS) == before


def test_the_registry_is_read_only() -> None:
    with pytest.raises(TypeError):
        MODELS["mine"] = MODELS["unet"]  # type: ignore[index]


def test_listing_loads_no_torch() -> None:
    code = (
        "import sys, lungcls.models as m; print([(s.name, s.input) for s in m.MODELS.values()]); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
