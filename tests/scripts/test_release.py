"""All released weights in one go, on phantoms."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from release import train as release
from release.card import PICTURE
from release.measure import write_release

from lungcls.data import ClassFolders, RadiographyDatabase, Record, Split, make_split, open_dataset
from lungcls.errors import DataError
from lungcls.labels import CLASSES, NOTICE
from lungcls.phantom import chest_phantom
from lungcls.pipeline import Pipeline
from lungcls.recipes import Recipe, Stage, load_recipe
from lungcls.study.context import RunContext
from lungcls.weights import load_card

ROOT = Path(__file__).parents[2]


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


def _split(database: Path) -> Split:
    """Not the one that the recipes' seed makes: COVID and Normal are missing in its test part."""
    return make_split(RadiographyDatabase(database).records, seed=6)


def _other_collection(database: Path, root: Path) -> Path:
    """Four films of two classes; one of them is a film of the training part, in another class."""
    for label, seed in (("COVID", 901), ("COVID", 902), ("Normal", 903)):
        (root / label).mkdir(parents=True, exist_ok=True)
        pixels = (chest_phantom(64, seed=seed).image * 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / label / f"{seed}.png")
    split = _split(database)
    learnt = next(record for record in RadiographyDatabase(database).records if _in(split, record, "train"))
    shutil.copyfile(database / learnt.file, root / "Normal" / "copy.png")
    return root


def _in(split: Split, record: Record, part: str) -> bool:
    return split.parts[record.file] == part and record.label == "COVID"


def _release(database: Path, out: Path) -> Path:
    other = out / "other"
    if not other.is_dir():
        _other_collection(database, other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "load_recipe", _tiny)
        return release.train_release(
            RadiographyDatabase(database),
            out,
            schedule="cpu",
            split=_split(database),
            external={"other": ClassFolders(other)},
            context=RunContext("cpu", workers=0),
        )


@pytest.fixture(scope="module")
def database(_manifest: Path) -> Path:
    return _manifest


@pytest.fixture(scope="module")
def released(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _release(database, tmp_path_factory.mktemp("release"))


@pytest.mark.slow
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


@pytest.mark.slow
def test_every_step_has_the_split_that_was_given(released: Path, database: Path) -> None:
    split = _split(database)
    for name in release.STEPS:
        card = load_card(released / f"{name}.safetensors")
        assert card.training_data["split_hash"] == split.hash
        if card.task == "classification":
            assert card.conformal["data"]["split_hash"] == split.hash
    results = json.loads((released.parent / "results/released_weights_radiography.json").read_text())
    assert (results["split_hash"], results["notes"]) == (split.hash, [])
    assert results["images"] == split.counts()["test"]


@pytest.mark.slow
def test_the_model_card_says_what_was_trained_on(released: Path, database: Path) -> None:
    text = (released / "README.md").read_text(encoding="utf-8")
    section = text.split("## Data\n")[1].split("## ")[0]
    split = _split(database)
    counts = load_card(released / "classifier-full.safetensors").training_data["images"]["train"]
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    assert (
        "- `classifier-crop`, `classifier-full`, `classifier-mask`: COVID-19 Radiography Database, split "
        f"`{split.hash}`: {split.counts()['train']} images ({listed}) in training;"
    ) in section
    assert "- `segmenter`: " in section
    assert "in more than one part: 0." in section
    # These are true of the copy that the shipped weights were trained on.
    for word in ("COVID-QU-Ex", "reduced copy", "trimmed_copies", "unlabelled", "Montgomery"):
        assert word not in text


def test_a_split_that_tears_groups_is_told_of() -> None:
    split = Split({"a": "train", "b": "test", "c": "test"}, {"a": "g", "b": "g", "c": "c"})
    assert "in more than one part: 1." in release._about(split)


def test_what_would_fail_after_the_training_fails_before(manifest_database: Path, tmp_path: Path) -> None:
    database = RadiographyDatabase(manifest_database)
    for name in ("COVID", "healthy"):
        source = manifest_database / name.replace("healthy", "Normal") / "images"
        shutil.copytree(source, tmp_path / "bare" / name)
    with pytest.raises(DataError, match=r"bare has no lung masks .* not of the classes COVID, Lung_Opacity"):
        release.train_release(database, tmp_path / "out", external={"bare": ClassFolders(tmp_path / "bare")})
    files = [record.file for record in database.records]
    split = Split(dict.fromkeys(files, "train") | {files[0]: "validation"}, dict(zip(files, files)))
    with pytest.raises(DataError, match="no image of the dataset is in the part 'test'"):
        release.train_release(database, tmp_path / "out", split=split)
    assert not (tmp_path / "out").exists()


def _door(*words: object) -> tuple[int, str]:
    command = [sys.executable, "-m", "lungcls", "train-release", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.slow
def test_the_door_runs_the_script_with_all_that_is_typed(manifest_database: Path, tmp_path: Path) -> None:
    code, text = _door("--help")
    assert (code, "--split" in text, "--layout" in text) == (0, True, True)
    files = [record.file for record in RadiographyDatabase(manifest_database).records]
    split = Split(dict.fromkeys(files, "train") | {files[0]: "validation"}, dict(zip(files, files)))
    split.write_csv(tmp_path / "split.csv")
    command = ["--data", manifest_database, "-o", tmp_path / "out", "--split", tmp_path / "split.csv"]
    code, text = _door(*command)
    assert (code, text.count("\n")) == (2, 1)
    assert "no image of the dataset is in the part 'test'" in text


@pytest.mark.parametrize("words", [["--schedule", "weekly"], ["--no-such-option"]])
def test_wrong_use_of_the_door(words: list[str], manifest_database: Path, tmp_path: Path) -> None:
    code, text = _door("--data", manifest_database, "-o", tmp_path / "out", *words)
    assert code == 2
    assert "Traceback" not in text
    assert not (tmp_path / "out").exists()


def test_without_a_checkout_the_door_says_where_the_script_lives(
    manifest_database: Path, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "lungcls", tmp_path / "lungcls", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "lungcls", "train-release", "--data", str(manifest_database)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "scripts/release.py of lungcls's source tree" in ended.stderr


def test_no_collection_overwrites_the_test_part(manifest_database: Path, tmp_path: Path) -> None:
    database = RadiographyDatabase(manifest_database)
    with pytest.raises(ValueError, match="named 'radiography'"):
        write_release(
            database, _split(manifest_database), None, [], {"radiography": database}, tmp_path, tmp_path
        )  # type: ignore[arg-type]
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.slow
def test_the_model_card_has_the_figures_of_the_files(released: Path) -> None:
    text = (released / "README.md").read_text(encoding="utf-8")
    results = json.loads(
        (released.parent / "results" / "released_weights_radiography.json").read_text(encoding="utf-8")
    )
    for name in release.STEPS[1:]:
        value = results["reports"][name]["overall"]["macro_f1"]["value"]
        assert f"| `{name}` | macro-F1 | {results['images']:,} | {value:.3f} (" in text
    assert "| `classifier-mask` | Viral Pneumonia | kermany |" in text
    assert "| `classifier-mask` | F1 of COVID | 0 | - |" in text
    assert NOTICE in text


@pytest.mark.slow
def test_classifiers_are_measured_on_other_collections_without_what_they_learnt_from(released: Path) -> None:
    results = released.parent / "results"
    found = json.loads((results / "released_weights_other.json").read_text(encoding="utf-8"))
    assert found["images"] == 3
    assert "1 of 4 images were left out as near duplicates of images of the training" in found["notes"][-1]
    assert set(found["reports"]) == set(release.STEPS[1:])
    section = (released / "README.md").read_text(encoding="utf-8").split("## Other collections\n")[1]
    section = section.split("## Known failures")[0]
    assert f"- other: {found['notes'][-1]}" in section
    recall = found["reports"]["classifier-mask"]["per_class"]["COVID"]["recall"]["value"]
    assert f"| other | `classifier-mask` | COVID | 2 | {recall:.3f}" in section
    # Classes that the collection does not have are left out.
    assert "Viral Pneumonia |" not in section.replace("| Viral Pneumonia (", "| (")


@pytest.mark.slow
def test_the_model_card_shows_the_picture_beside_it(released: Path) -> None:
    text = (released / "README.md").read_text(encoding="utf-8")
    assert f"]({PICTURE})" in text.split("## Known failures")[1]
    with Image.open(released / PICTURE) as picture:
        assert min(picture.size) > 500


@pytest.mark.slow
def test_a_finished_release_trains_nothing_again(released: Path, database: Path) -> None:
    def times() -> list[int]:
        runs = [released.parent / step / "history.csv" for step in release.STEPS]
        return [path.stat().st_mtime_ns for path in runs]

    before = times()
    assert _release(database, released.parent) == released
    assert times() == before


@pytest.mark.slow
def test_a_dataset_of_other_classes_is_released_too(database: Path, tmp_path: Path) -> None:
    two = open_dataset(database, classes="binary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "load_recipe", _tiny)
        split = make_split(two.records, seed=6)
        weights = release.train_release(
            two, tmp_path, schedule="cpu", split=split, context=RunContext("cpu", workers=0)
        )
    assert load_card(weights / "classifier-mask.safetensors").classes == two.classes == ("COVID", "other")
    text = (weights / "README.md").read_text(encoding="utf-8")
    assert "| `classifier-mask` | recall of other |" in text
    assert "Viral Pneumonia is all children" not in text
