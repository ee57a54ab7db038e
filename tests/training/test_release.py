"""All released weights in one go, on phantoms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lungcls.data import RadiographyDatabase
from lungcls.labels import CLASSES, NOTICE
from lungcls.phantom import chest_phantom
from lungcls.pipeline import Pipeline
from lungcls.recipes import Recipe, Stage, load_recipe
from lungcls.training import release
from lungcls.weights import load_card


@pytest.mark.parametrize("schedule", sorted(release.SCHEDULES))
@pytest.mark.parametrize("step", release.STEPS)
def test_every_step_of_every_schedule_is_a_recipe_that_names_its_weights(schedule: str, step: str) -> None:
    recipe = load_recipe(f"{release.SCHEDULES[schedule]}/{step}")
    assert recipe.name == step
    # What a step starts from, an earlier step makes.
    earlier = release.STEPS[: release.STEPS.index(step)]
    assert not recipe.init or recipe.init in earlier
    if recipe.region is not None:
        assert f"classifier-{recipe.region.name}" == step
        assert recipe.segmenter in earlier


def test_an_unknown_schedule_is_refused(original_database: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="known are gpu, cpu"):
        release.train_release(RadiographyDatabase(original_database), tmp_path, schedule="tpu")


def _tiny(name: str | Path) -> Recipe:
    """The real recipe, cut to one epoch at 32 pixels."""
    return replace(load_recipe(name), stages=(Stage(32, 1),), input_size=32, batch_size=16)


def _release(database: Path, out: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "load_recipe", _tiny)
        return release.train_release(
            RadiographyDatabase(database), out, schedule="cpu", device="cpu", workers=0
        )


@pytest.fixture(scope="module")
def database(_manifest: Path) -> Path:
    return _manifest


@pytest.fixture(scope="module")
def released(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _release(database, tmp_path_factory.mktemp("release"))


def test_a_release_holds_all_weights_and_they_work_together(released: Path) -> None:
    names = {path.stem for path in released.glob("*.safetensors")}
    assert names == set(release.STEPS)
    for region in ("full", "crop", "mask"):
        card = load_card(released / f"classifier-{region}.safetensors")
        # No path of the machine that trained stands in a card.
        assert card.recipe["init"] in ("", "classifier-full")
        assert card.training_data["init"] == (
            None if region == "full" else load_card(released / "classifier-full.safetensors").sha256
        )
    pipeline = Pipeline(
        classifier=released / "classifier-crop.safetensors",
        segmenter=released / "segmenter.safetensors",
        device="cpu",
    )
    assert set(pipeline.predict(chest_phantom(64, seed=1).image).probabilities) == set(CLASSES)


def test_the_model_card_has_the_figures_of_the_files(released: Path) -> None:
    text = (released / "README.md").read_text(encoding="utf-8")
    results = json.loads(
        (released.parent / "results" / "released_weights_radiography.json").read_text(encoding="utf-8")
    )
    for name in release.STEPS[1:]:
        value = results["reports"][name]["overall"]["macro_f1"]["value"]
        assert f"| `{name}` | macro-F1 | {results['images']:,} | {value:.3f} (" in text
    assert "| `classifier-mask` | Viral Pneumonia | kermany |" in text
    assert NOTICE in text


def test_a_finished_release_trains_nothing_again(released: Path, database: Path) -> None:
    def times() -> list[int]:
        runs = [released.parent / step / "history.csv" for step in release.STEPS]
        return [path.stat().st_mtime_ns for path in runs]

    before = times()
    assert _release(database, released.parent) == released
    assert times() == before
