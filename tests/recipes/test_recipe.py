from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lungcls.data.augmentation import AUGMENTATIONS
from lungcls.errors import RecipeError
from lungcls.models import create_model
from lungcls.recipes import Stage, grouped_recipes, load_recipe, recipe_names
from lungcls.recipes import recipe as recipe_module
from lungcls.recipes.checks import GROUPS
from lungcls.recipes.recipe import recipe_from_dict
from lungcls.regions import Region

MINIMAL = """
name = "mine"
task = "classification"
input_size = 64
loss = "cross_entropy"
augmentation = "none"
stages = [{ size = 32, epochs = 2 }, { size = 64, epochs = 3 }]
[model]
model = "densenet121"
[region]
name = "crop"
margin = 0.1
"""


@pytest.fixture
def values() -> dict[str, Any]:
    return {
        "name": "mine",
        "task": "classification",
        "input_size": 64,
        "loss": "cross_entropy",
        "augmentation": "none",
        "stages": [{"size": 32, "epochs": 2}, {"size": 64, "epochs": 3}],
        "model": {"model": "densenet121"},
        "region": {"name": "crop", "margin": 0.1},
    }


def test_a_file_of_ones_own(tmp_path: Path, values: dict[str, Any]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    recipe = load_recipe(path)
    assert recipe == load_recipe(str(path)) == recipe_from_dict(values)
    assert recipe.region == Region("crop", 0.1)
    assert recipe.stages == (Stage(32, 2), Stage(64, 3))
    assert recipe.segmenter == "segmenter"


def test_the_schedule(values: dict[str, Any]) -> None:
    recipe = recipe_from_dict(values)
    assert recipe.epochs == 5
    assert [recipe.size_at(epoch) for epoch in range(7)] == [32, 32, 64, 64, 64, 64, 64]


@pytest.mark.parametrize("name", recipe_names())
def test_packaged_recipes(name: str) -> None:
    recipe = load_recipe(name)
    # A second half of a schedule makes the same weights as the first.
    assert name.rpartition("/")[2].removesuffix("-finetune") == recipe.name
    assert recipe.augmentation in AUGMENTATIONS
    assert recipe.description.strip()
    # A network may well be used at a larger size than it was trained at, hardly at a smaller one. The
    # released segmenter alone is, at a size that was chosen on validation.
    below = 16 if name == "release-cpu/segmenter" else 0
    assert recipe.stages[-1].size <= recipe.input_size + below
    create_model({**recipe.model, "pretrained": "none"})  # its options fit
    # As a run's folder and a weight card keep it.
    assert recipe_from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_the_packaged_recipes_are_those_of_the_released_weights() -> None:
    assert {"segmenter", "classifier-mask", "classifier-full"} <= set(recipe_names())
    # Split alike, or one network's test images would be another's training images.
    assert len({load_recipe(name).split_seed for name in recipe_names()}) == 1


def test_a_description_changes_nothing(values: dict[str, Any]) -> None:
    recipe = recipe_from_dict(values)
    assert replace(recipe, description="for my thesis") == recipe


def test_missing_recipes_list_what_there_is(tmp_path: Path) -> None:
    for name in ("nothing", tmp_path / "nothing.toml"):
        with pytest.raises(RecipeError, match=r"nothing.*: no such recipe; .*classifier-mask"):
            load_recipe(name)


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"name = 1\nname = 2"])
def test_what_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"mine\.toml: not readable as TOML"):
        load_recipe(path)


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL.replace('loss = "cross_entropy"', 'loss = "dice_bce"'))
    with pytest.raises(
        RecipeError, match=r"mine\.toml: loss is 'dice_bce'; for classification: cross_entropy"
    ):
        load_recipe(path)


def test_unknown_and_missing_keys_are_named(values: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"unknown keys lerning_rate; known are .*learning_rate"):
        recipe_from_dict({**values, "lerning_rate": 1e-3})
    for key in ("name", "task", "model", "stages", "input_size", "loss", "augmentation"):
        with pytest.raises(RecipeError, match=f"missing keys {key}$"):
            recipe_from_dict({name: value for name, value in values.items() if name != key})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("task", "detection"),
        ("loss", "hinge"),
        ("focal_gamma", -1),
        ("l2_conv", -1e-4),
        ("optimizer", "lion"),
        ("schedule", "linear"),
        ("select", "test"),
        ("bias", "test"),
        ("offline", {"COVID": 0}),
        ("offline", {"COVID": "many"}),
        ("stages", [{"size": 64, "epochs": 1, "train": "tail"}]),
        ("stages", [{"size": 64, "epochs": 1, "train": 0}]),
        ("stages", [{"size": 64, "epochs": 1, "learning_rate": -1.0}]),
        ("balance", "mixup"),
        ("region", None),
        ("region", {"name": "lungs"}),
        ("region", {"name": "crop", "margin": 3}),
        ("region", {"name": "crop", "grow": 3}),
        ("stages", []),
        ("stages", 3),
        ("stages", [{"size": 64}]),
        ("stages", [{"size": 0, "epochs": 1}]),
        ("stages", [{"size": 64, "epochs": 0}]),
        ("stages", [{"size": "64", "epochs": 1}]),
        ("input_size", 0),
        ("input_size", 64.5),
        ("input_size", "64"),
        ("batch_size", -1),
        ("batch_size", True),
        ("learning_rate", 0),
        ("learning_rate", "fast"),
        ("std", 0.0),
        ("warmup", 1.0),
        ("label_smoothing", -0.1),
        ("ema_decay", 1),
        ("model", "densenet121"),
        ("mixup", -0.1),
        ("cutmix", "often"),
        ("mask_jitter", 0.5),
        ("other_surroundings", 1.5),
        ("distillation", -1),
        ("distillation_temperature", 0),
        ("teachers", "classifier-full"),
        ("teachers", [1]),
        ("seed", 0.5),
        ("init", False),
    ],
)
def test_impossible_values_are_named(values: dict[str, Any], key: str, value: Any) -> None:
    expected = "size|epochs|stage|train|'int' object is not iterable" if key == "stages" else key
    with pytest.raises(RecipeError, match=f"mine: .*({expected})"):
        recipe_from_dict({**values, key: value}, "mine")


@pytest.mark.parametrize(
    ("region", "key"), [("full", "mask_jitter"), ("crop", "mask_jitter"), ("mask", "other_surroundings")]
)
def test_what_changes_the_lungs_fits_the_region(values: dict[str, Any], region: str, key: str) -> None:
    with pytest.raises(RecipeError, match=f"{key} goes with the regions .* not with {region}"):
        recipe_from_dict({**values, "region": {"name": region}, key: 0.1})


def test_masks_are_needed_for_the_region_or_what_changes_beside_it(values: dict[str, Any]) -> None:
    whole = recipe_from_dict({**values, "region": {"name": "full"}})
    assert not whole.needs_masks
    assert not whole.lungs_beside
    changed = replace(whole, other_surroundings=0.5)
    assert changed.needs_masks
    assert changed.lungs_beside
    assert recipe_from_dict({**values, "region": {"name": "mask"}}).needs_masks


def test_offline_copies_have_no_lungs_beside_them(values: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="no lungs beside them"):
        recipe_from_dict(
            {**values, "region": {"name": "mask"}, "mask_jitter": 0.02, "offline": {"COVID": 50}}
        )


def test_mixed_labels_are_of_cross_entropy(values: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="mixup and cutmix go with the loss cross_entropy, not with focal"):
        recipe_from_dict({**values, "loss": "focal", "label_smoothing": 0.0, "mixup": 0.2})


def test_a_recipe_with_teachers_is_read_back(values: dict[str, Any]) -> None:
    recipe = recipe_from_dict({**values, "teachers": ["a", "b.safetensors"]})
    assert recipe.teachers == ("a", "b.safetensors")
    assert recipe_from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_a_segmenter_has_no_region(values: dict[str, Any]) -> None:
    segmenter = {**values, "task": "segmentation", "loss": "dice_bce", "model": {"model": "unet"}}
    with pytest.raises(RecipeError, match="a segmentation recipe none"):
        recipe_from_dict(segmenter)
    del segmenter["region"]
    assert recipe_from_dict(segmenter).region is None


def test_a_stage_has_its_own_rate_and_layers(values: dict[str, Any]) -> None:
    stages = [
        {"size": 64, "epochs": 2, "train": "head"},
        {"size": 64, "epochs": 3, "learning_rate": 1e-5, "train": 9},
    ]
    recipe = recipe_from_dict({**values, "stages": stages, "learning_rate": 4e-4})
    assert [recipe.rate_at(epoch) for epoch in range(6)] == [4e-4, 4e-4, 1e-5, 1e-5, 1e-5, 1e-5]
    assert [recipe.stage_at(epoch).train for epoch in (0, 1, 2, 9)] == ["head", "head", 9, 9]


def test_a_bias_is_of_classification(values: dict[str, Any]) -> None:
    assert recipe_from_dict({**values, "bias": "validation"}).bias == "validation"
    other = {**values, "task": "segmentation", "loss": "dice_bce", "region": None, "bias": "validation"}
    with pytest.raises(RecipeError, match="bias goes with classification"):
        recipe_from_dict(other)


def test_all_faults_are_named_at_once(values: dict[str, Any]) -> None:
    faults = {
        "learning_rate": float("nan"), "weight_decay": -1, "patience": -5, "seed": -3, "std": float("inf"),
        "loss": "hinge", "tone": "loud", "model": {"model": "resnet5"}, "lerning_rate": 1,
        "stages": [{"size": 0, "epochs": 1}, {"size": 64}], "mixup": 0.2, "offline": {"COVID": 5},
        "mask_jitter": 0.01,
    }  # fmt: skip
    with pytest.raises(RecipeError) as caught:
        recipe_from_dict({**values, **faults})
    for said in (
        "unknown keys lerning_rate", "learning_rate is nan", "weight_decay is -1", "patience is -5",
        "seed is -3", "std is inf", "loss is 'hinge'", "tone is 'loud'", "unknown model 'resnet5'",
        "stage 1: size is 0", "stage 2: missing keys epochs", "mixup and cutmix go with",
        "mask_jitter goes with the regions", "offline copies have no lungs",
    ):  # fmt: skip
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"model": "unet"}, "the model 'unet' is not for classification"),
        ({"model": "gate"}, "the model 'gate' is not for classification"),
        ({}, "unknown model None; the models are .*densenet121"),
        (
            {"model": "efficientnet-lite0", "pretrained": "imagenet"},
            "mean and std are 0.5 and 0.25; the ImageNet weights of EfficientNet-Lite expect 0.5 and 0.5",
        ),
    ],
)
def test_a_model_fits_its_recipe(values: dict[str, Any], model: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe_from_dict({**values, "model": model})
    lite = {"model": "efficientnet-lite0", "pretrained": "imagenet"}
    assert recipe_from_dict({**values, "model": lite, "mean": 0.5, "std": 0.5}).std == 0.5


def test_the_packaged_recipes_leave_the_classes_to_the_dataset() -> None:
    for name in recipe_names():
        assert "classes" not in load_recipe(name).model, name


def test_the_packaged_recipes_are_listed_in_groups() -> None:
    groups = grouped_recipes()
    assert tuple(groups) == GROUPS
    entries = [entry for group in groups.values() for entry in group]
    assert sorted(entry.name for entry in entries) == recipe_names()
    for entry in entries:
        assert entry.time
        assert entry.description
    released = groups["released on a CPU"]
    assert released[0].task == "segmentation"
    assert all(entry.result.startswith("validation ") for entry in released)


def test_label_smoothing_is_of_cross_entropy(values: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="label_smoothing goes with the loss cross_entropy, not with focal"):
        recipe_from_dict({**values, "loss": "focal", "label_smoothing": 0.1})


def test_the_reference_recipes_are_packaged_with_what_was_left_out() -> None:
    names = {
        "cnn-4conv",
        "cnn-strided",
        "cnn-vgg-bn",
        "cnn-3conv-512",
        "mobilenet-v2",
        "mobilenet-v2-finetune",
    }
    assert {f"reference/{name}" for name in names} <= set(recipe_names())
    for name in names - {"mobilenet-v2-finetune"}:
        path = Path(recipe_module.__file__).parent / "reference" / f"{name}.toml"
        assert "Left out" in path.read_text(encoding="utf-8")
        # None of their epochs is cut to a few batches, and none sees augmented copies outside training.
        recipe = load_recipe(f"reference/{name}")
        assert recipe.optimizer == "adam"
        assert recipe.augmentation == "none"
