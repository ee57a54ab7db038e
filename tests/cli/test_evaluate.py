"""``lungcls evaluate`` on datasets that have classes, masks, both or neither that fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lungcls.cli.main import app
from lungcls.data import RadiographyDatabase, Split, make_split, open_dataset
from lungcls.labels import CLASSES

Run = Callable[..., Result]


@pytest.fixture
def evaluate(weights: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with small weights, which also stand for the released classifiers."""
    from lungcls.cli import evaluate as module

    monkeypatch.setattr(module, "RELEASED", (weights["mask"],))

    def run(data: Path, *words: object) -> Result:
        command = ["evaluate", "--data", data, "--segmenter", weights["segmenter"], "--resamples", 20]
        command += ["--cache", tmp_path / "cache", "-o", tmp_path / "out", "--no-plots", "--device", "cpu"]
        return CliRunner().invoke(app, [*map(str, command), *map(str, words)])

    return run


@pytest.fixture
def payload(tmp_path: Path) -> Callable[[], dict[str, Any]]:
    def read() -> dict[str, Any]:
        content: dict[str, Any] = json.loads((tmp_path / "out/evaluation.json").read_text())
        return content

    return read


@pytest.fixture
def make_folders(manifest_database: Path, tmp_path: Path) -> Callable[..., Path]:
    """Make a folder a class from the database's images: its ``names`` by the database's classes."""

    def make(names: dict[str, str], masks: bool = False) -> Path:
        root = tmp_path / "folders"
        for label, name in names.items():
            shutil.copytree(manifest_database / label / "images", root / name / "images")
            if masks:
                shutil.copytree(manifest_database / label / "masks", root / name / "masks")
        return root

    return make


def make_coronahack(root: Path, images: Path) -> Path:
    """24 Normal, 24 bacterial, 24 viral and 24 COVID-19 images in the layout of CoronaHack."""
    rows = ["X_ray_image_name,Label,Dataset_type,Label_2_Virus_category,Label_1_Virus_category"]
    findings = {
        "COVID": "Pnemonia,TRAIN,COVID-19,Virus",
        "Lung_Opacity": "Pnemonia,TRAIN,,bacteria",
        "Normal": "Normal,TRAIN,,",
        "Viral Pneumonia": "Pnemonia,TRAIN,,Virus",
    }
    folder = root / "train"
    folder.mkdir(parents=True)
    for label, finding in findings.items():
        for path in sorted((images / label / "images").iterdir()):
            shutil.copyfile(path, folder / path.name)
            rows.append(f"{path.name},{finding}")
    (root / "Chest_xray_Corona_Metadata.csv").write_text("\n".join(rows) + "\n")
    return root


def test_class_folders_without_masks_are_classified(
    evaluate: Run, make_folders: Callable[..., Path], payload: Callable[[], dict[str, Any]]
) -> None:
    done = evaluate(make_folders({"COVID": "COVID", "Normal": "Normal"}), "--part", "all")
    assert done.exit_code == 0, done.output
    assert "stage 1 is not evaluated" in done.stdout
    assert "only stage 1" not in done.output
    found = payload()
    assert (found["part"], found["images"]) == ("all", 48)
    assert list(found["reports"]) == ["tiny-classifier"]


def test_the_split_is_applied_to_any_dataset(
    evaluate: Run, make_folders: Callable[..., Path], payload: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    root = make_folders({"COVID": "COVID", "Normal": "Normal"})
    split = make_split(open_dataset(root).records, seed=3)
    split.write_csv(tmp_path / "split.csv")
    done = evaluate(root, "--part", "validation", "--split", tmp_path / "split.csv")
    assert done.exit_code == 0, done.output
    found = payload()
    assert (found["part"], found["split_hash"]) == ("validation", split.hash)
    assert found["images"] == split.counts()["validation"]


def test_the_split_is_applied_to_masks_alone(
    evaluate: Run, manifest_database: Path, payload: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    folder = manifest_database / "COVID"
    files = [record.file for record in open_dataset(folder).records]
    split = Split(dict.fromkeys(files, "train") | dict.fromkeys(files[:5], "test"), dict(zip(files, files)))
    split.write_csv(tmp_path / "split.csv")
    done = evaluate(folder, "--split", tmp_path / "split.csv")
    assert done.exit_code == 0, done.output
    assert (payload()["part"], payload()["images"]) == ("test", 5)


def test_all_images_of_a_collection_hold_those_that_were_trained_on(
    evaluate: Run,
    manifest_database: Path,
    weights: dict[str, str],
    payload: Callable[[], dict[str, Any]],
    tmp_path: Path,
) -> None:
    trained = tmp_path / "trained.safetensors"
    shutil.copyfile(weights["mask"], trained)
    card = json.loads(Path(weights["mask"]).with_suffix(".json").read_text())
    card |= {"name": "trained", "training_data": {"dataset": RadiographyDatabase(manifest_database).title}}
    trained.with_suffix(".json").write_text(json.dumps(card))
    words = ("--classifier", trained, "--classifier", weights["mask"], "--part", "all")
    done = evaluate(manifest_database, *words)
    assert done.exit_code == 0, done.output
    (note,) = [note for note in payload()["notes"] if "trained" in note]
    assert note.startswith("trained was trained on part of these images")
    assert f"Note: {note}" in done.stdout


def test_coronahack_with_the_four_classes(
    evaluate: Run, manifest_database: Path, payload: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    root = make_coronahack(tmp_path / "corona", manifest_database)
    refused = evaluate(root)
    assert refused.exit_code == 2
    assert "'Pneumonia/COVID-19'" in refused.stderr
    assert "--classes four" in refused.stderr
    done = evaluate(root, "--classes", "four", "--layout", "coronahack", "--part", "all")
    assert done.exit_code == 0, done.output
    # What the dataset says of itself stands beside its figures.
    assert "children of one hospital" in done.stdout
    assert payload()["reports"]["tiny-classifier"]["classes"] == list(CLASSES)


def test_unknown_classes_leave_stage_one_only_where_there_are_masks(
    evaluate: Run,
    make_folders: Callable[..., Path],
    weights: dict[str, str],
    payload: Callable[[], dict[str, Any]],
) -> None:
    root = make_folders({"COVID": "ill", "Normal": "well"}, masks=True)
    done = evaluate(root, "--part", "all")
    assert done.exit_code == 0, done.output
    assert "'ill', 'well'" in done.stderr
    assert "--classes" in done.stderr
    assert list(payload()["reports"]) == ["dark-segmenter"]
    # A classifier that was asked for is not left out.
    refused = evaluate(root, "--part", "all", "--classifier", weights["mask"])
    assert refused.exit_code == 2
    assert "tiny-classifier does not know" in refused.stderr


def test_masks_alone_say_that_no_classifier_was_run(
    evaluate: Run, manifest_database: Path, weights: dict[str, str], payload: Callable[[], dict[str, Any]]
) -> None:
    done = evaluate(manifest_database / "COVID", "--classifier", weights["mask"])
    assert done.exit_code == 0, done.output
    assert "has no classes: only stage 1 is evaluated" in done.stderr
    assert list(payload()["reports"]) == ["dark-segmenter"]


def test_a_split_file_for_all_images_is_wrong_use(
    evaluate: Run, manifest_database: Path, tmp_path: Path
) -> None:
    done = evaluate(manifest_database, "--part", "all", "--split", tmp_path / "split.csv")
    assert done.exit_code == 2
    assert "--split" in done.stderr


def test_nothing_to_evaluate_is_an_error(evaluate: Run, manifest_database: Path, tmp_path: Path) -> None:
    folder = manifest_database / "COVID"
    files = [record.file for record in open_dataset(folder).records]
    bare = next(file for file in files if file.endswith("COVID-24.png"))
    split = Split(dict.fromkeys(files, "train") | {bare: "test"}, dict(zip(files, files)))
    split.write_csv(tmp_path / "split.csv")
    done = evaluate(folder, "--split", tmp_path / "split.csv")
    assert done.exit_code == 2
    assert "nothing to evaluate" in done.stderr
