from __future__ import annotations

from pathlib import Path

import pytest

from lungcls.errors import RecipeError
from lungcls.recipes import load_recipe
from lungcls.recipes.space import changed, default_space, load_space


def test_values_reach_inside_a_recipe() -> None:
    recipe = load_recipe("reference/mobilenet-v2-finetune")
    found = changed(recipe, {"learning_rate": 0.5, "model.dropout": 0.1, "stages.1.learning_rate": 3e-5})
    assert (found.learning_rate, found.model["dropout"]) == (0.5, 0.1)
    assert [stage.learning_rate for stage in found.stages] == [0.0, 3e-5]
    assert recipe.stages[1].learning_rate == 1e-5


@pytest.mark.parametrize("key", ["lerning_rate", "stages.7.learning_rate", "stages.x.size", "name.x"])
def test_keys_that_a_recipe_lacks(key: str) -> None:
    with pytest.raises(RecipeError):
        changed(load_recipe("reference/mobilenet-v2"), {key: 1})


def test_an_impossible_value_is_an_error_of_the_recipe() -> None:
    with pytest.raises(RecipeError, match="batch_size is 0"):
        changed(load_recipe("reference/mobilenet-v2"), {"batch_size": 0})


def test_the_default_space_fits_its_recipe() -> None:
    focal = default_space(load_recipe("reference/mobilenet-v2"))
    assert "label_smoothing" not in focal  # that of cross-entropy
    assert {"learning_rate", "model.dropout", "balance"} <= focal.keys()
    staged = default_space(load_recipe("reference/cnn-vgg-bn"))
    assert {"stages.0.learning_rate", "stages.1.learning_rate"} <= staged.keys()
    assert "learning_rate" not in staged
    assert "balance" not in default_space(load_recipe("segmenter"))
    for name in ("reference/mobilenet-v2", "reference/cnn-vgg-bn", "segmenter", "classifier-mask"):
        recipe = load_recipe(name)
        lowest = {
            key: item["choices"][0] if "choices" in item else item["low"]
            for key, item in default_space(recipe).items()
        }
        changed(recipe, lowest)


def test_a_space_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(
        '[learning_rate]\nlow = 1e-4\nhigh = 1e-2\nlog = true\n["model.dropout"]\nchoices = [0.1, 0.2]\n'
    )
    assert load_space(path)["model.dropout"] == {"choices": [0.1, 0.2]}


@pytest.mark.parametrize(
    "text", ["", "learning_rate = 3", "[a]\nlow = 1", "[a]\nlow = 2\nhigh = 1", "[a]\nchoices = []", "[a"]
)
def test_what_is_no_space_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"space\.toml"):
        load_space(path)
