"""A search over a recipe, begun, killed and gone on with."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from lungcls.data import RadiographyDatabase, split_dataset
from lungcls.errors import RecipeError
from lungcls.recipes import load_recipe
from lungcls.recipes.recipe import Recipe
from lungcls.study.context import RunContext
from lungcls.weights import load_card

optuna = pytest.importorskip("optuna", reason="optuna (the extra tune) is not installed")

RECIPE = """
name = "tiny"
task = "classification"
input_size = 16
loss = "cross_entropy"
augmentation = "none"
batch_size = 32
stages = [{ size = 16, epochs = 1 }]
[model]
model = "cnn-vgg-bn"
[region]
name = "full"
"""
SPACE: dict[str, dict[str, Any]] = {
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "batch_size": {"choices": [16, 32]},
}


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return load_recipe(path)


def _trials(out: Path) -> list[dict[str, str]]:
    with (out / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_search_goes_on_after_a_kill(
    recipe: Recipe, manifest_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lungcls.training import tune as module

    database = RadiographyDatabase(manifest_database)
    out = tmp_path / "search"
    options: dict[str, Any] = {"space": SPACE, "context": RunContext("cpu", workers=0)}
    module.tune(recipe, database, out, trials=1, **options)
    # A killed process leaves its trial as running.
    study = optuna.load_study(study_name="lungcls", storage=f"sqlite:///{out / 'study.db'}")
    study.enqueue_trial({"learning_rate": 2e-3, "batch_size": 16})
    killed = study.ask({
        "learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
        "batch_size": optuna.distributions.CategoricalDistribution([16, 32]),
    })  # fmt: skip
    assert killed.params["learning_rate"] == 2e-3

    shown: list[dict[str, Any]] = []
    found = module.tune(recipe, database, out, trials=2, on_trial=shown.append, **options)
    rows = _trials(out)
    assert [row["state"] for row in rows] == ["complete", "fail", "complete"]
    assert (rows[2]["learning_rate"], rows[2]["batch_size"]) == ("0.002", "16")
    assert len(shown) == 1
    scores = [float(row["validation_score"]) for row in rows if row["validation_score"]]
    assert found.score == max(scores)
    # The score is the weights' own on validation, and the recipe that was written makes them.
    card = load_card(found.weights)
    assert card.metrics["validation"]["overall"]["macro_f1"]["value"] == found.score
    assert card.training_data["images"].keys() == {"train", "validation"}
    written = load_recipe(out / "best.toml")
    assert written == found.recipe
    assert written.learning_rate == found.values["learning_rate"]

    monkeypatch.setattr(module, "train", lambda *a, **k: pytest.fail("there is nothing left to train"))
    assert module.tune(recipe, database, out, trials=2, **options).score == found.score
    with pytest.raises(RecipeError, match="holds a search with another space"):
        module.tune(recipe, database, out, trials=2, space={"batch_size": {"choices": [8]}})
    with pytest.raises(RecipeError, match="another split hash"):
        module.tune(recipe, database, out, split=split_dataset(database, seed=1), **options)
