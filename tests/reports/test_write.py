"""A report of runs and weight files, on phantoms."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lungcls.data import RadiographyDatabase, split_dataset
from lungcls.errors import DataError
from lungcls.models import create_model
from lungcls.reports import write_report
from lungcls.reports.runs import find_runs
from lungcls.weights import save_weights

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib (the extra plots) is not installed"
)
HISTORY = "epoch,size,train_loss,validation_macro_f1\n0,16,0.9,0.2\n1,16,0.8,0.3\n"


@pytest.fixture
def runs(manifest_database: Path, tmp_path: Path, make_card_values: Any) -> list[Path]:
    """A finished run of a small network, and one that was killed."""
    split = split_dataset(RadiographyDatabase(manifest_database), seed=0)
    folders = []
    for name in ("first", "second"):
        folder = tmp_path / name
        split.write_csv(folder / "split.csv")
        (folder / "history.csv").write_text(HISTORY)
        (folder / "recipe.json").write_text(json.dumps({"recipe": {"name": name}, "split_hash": split.hash}))
        folders.append(folder)
    architecture = {"model": "cnn-vgg-bn", "size": 16, "classes": 4}
    values = make_card_values(
        name="first", architecture=architecture, input_size=16, region={"name": "full"},
        training_data={"split_hash": split.hash},
    )  # fmt: skip
    save_weights(folders[0], create_model(architecture).state_dict(), **values)
    return folders


def test_a_report_of_a_run_a_weight_file_and_a_killed_run(
    runs: list[Path], manifest_database: Path, tiny_classifier: Path, tiny_segmenter: Path, tmp_path: Path
) -> None:
    database = RadiographyDatabase(manifest_database)
    out = tmp_path / "report"
    written = write_report(
        [*runs, tiny_classifier], database, out, segmenter=tiny_segmenter, n_resamples=50, device="cpu"
    )
    assert written.page.is_file()
    assert any("second is not finished" in note for note in written.notes)
    assert written.comparison is not None
    assert list(written.comparison.models) == ["first", "tiny-classifier", "ensemble"]
    test = split_dataset(database, seed=0).select(database.records, "test")
    with (out / "first" / "confusion.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert int(row["images"]) == sum(record.label == row["true"] for record in test)
    names = {path.name for path in (out / "first").iterdir()}
    assert {"curves.png", "confusion.png", "classes.png", "roc.png", "mistakes.png", "answers.csv"} <= names
    assert {path.name for path in (out / "second").iterdir()} == {"curves.png", "curves.csv"}
    assert (out / "ensemble" / "roc.csv").is_file()
    page = written.page.read_text()
    assert 'src="first/confusion.png"' in page
    assert "McNemar p" in page
    kept = json.loads((out / "comparison.json").read_text())
    assert kept["images"] == len(test)
    assert all(row["latency_ms"] > 0 and row["bytes"] > 0 for row in kept["models"])


def test_runs_of_one_name_are_told_apart(runs: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs[0], other)
    assert [run.name for run in find_runs([runs[0], other])] == ["first (first)", "first (other)"]
    with pytest.raises(DataError, match="named twice"):
        find_runs([runs[0], runs[0]])


def test_runs_of_different_splits_are_not_compared(
    runs: list[Path], manifest_database: Path, tmp_path: Path
) -> None:
    database = RadiographyDatabase(manifest_database)
    split_dataset(database, seed=1).write_csv(runs[1] / "split.csv")
    with pytest.raises(DataError, match="different splits"):
        write_report(runs, database, tmp_path / "out", device="cpu")


def test_a_folder_that_is_no_run(tmp_path: Path, manifest_database: Path) -> None:
    with pytest.raises(DataError, match=r"no run of `lungcls train` \(its recipe.json is missing\)"):
        find_runs([manifest_database])
    with pytest.raises(DataError, match="unknown part 'dev'"):
        write_report([], RadiographyDatabase(manifest_database), tmp_path, part="dev")
