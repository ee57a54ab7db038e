"""An ablation on phantoms, from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lungcls.ablation.arms import ARMS, choose_arms
from lungcls.ablation.masks import shuffled_masks, usable_masks
from lungcls.ablation.run import ablate
from lungcls.cli.main import app
from lungcls.data import RadiographyDatabase, split_dataset
from lungcls.data.views import region_views
from lungcls.errors import DataError
from lungcls.recipes import load_recipe
from lungcls.regions import REGIONS, Region

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")


def _command(recipe: Path, data: Path, out: Path, *more: str) -> list[str]:
    return [
        "ablate",
        "--recipe",
        str(recipe),
        "--data",
        str(data),
        "--out",
        str(out),
        "--masks",
        "truth",
        "--device",
        "cpu",
        "--workers",
        "0",
        "--resamples",
        "50",
        *more,
    ]


def test_every_region_and_control_of_the_issue_is_an_arm() -> None:
    assert set(REGIONS) <= {arm.region for arm in ARMS.values()}
    assert {"mask_shuffled", "thumbnail8", "thumbnail16", "histogram"} <= ARMS.keys()
    assert [arm.name for arm in choose_arms(["thumbnail", "full"])] == ["full", "thumbnail8", "thumbnail16"]
    with pytest.raises(DataError, match="unknown arms lungs; the arms are full"):
        choose_arms(["lungs"])


def test_ablate_trains_tests_swaps_and_goes_on(
    recipe_file: Path, manifest_database: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arms = "full,mask,mask_shuffled,thumbnail8,histogram"
    command = _command(recipe_file, manifest_database, out, "--arms", arms, "--seeds", "2")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    payload = json.loads((out / "results" / "ablation.json").read_text())
    figures = {(row["arm"], row["masks"], row["metric"], row["class"]): row for row in payload["figures"]}
    names = {key[:2] for key in figures}
    assert names == {
        ("full", ""),
        ("mask", "truth"),
        ("mask_shuffled", "truth"),
        ("thumbnail8", ""),
        ("histogram", ""),
    }
    accuracy = figures["mask", "truth", "accuracy", ""]
    assert (accuracy["seeds"], figures["histogram", "", "accuracy", ""]["seeds"]) == (2, 1)
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["sd"] >= 0
    assert ("mask", "truth", "specificity_at_95_covid_sensitivity", "") in figures
    assert ("mask", "truth", "f1", "Viral Pneumonia") in figures
    swaps = {(row["trained"], row["tested"]) for row in payload["swaps"]}
    assert swaps == {
        (a, b) for a in ("full", "mask", "mask_shuffled") for b in ("full", "mask", "mask_shuffled")
    }
    tests = {(row["arm"], row["test"]) for row in payload["differences"] if row["test"] != "delong_class"}
    assert len(tests) == 4 * 3
    # Four images have no mask; no arm may see them.
    assert payload["left_out"] == 4
    assert sum(sum(part.values()) for part in payload["images"].values()) == 4 * 23
    with (out / "results" / "ablation_differences.csv").open() as file:
        assert {"p", "p_holm", "only_arm"} <= set(next(csv.DictReader(file)))
    assert (out / "results" / "ablation_swap.png").read_bytes().startswith(b"\x89PNG")

    # A killed run is made up for, a finished one is left alone, a further arm is added.
    weights = out / "runs" / "full" / "seed-0" / "full.safetensors"
    before = weights.stat().st_mtime_ns
    (out / "runs" / "mask-truth" / "seed-1" / "mask-truth.json").unlink()
    (out / "answers" / "mask-truth-seed-1.npz").unlink()
    again = CliRunner().invoke(
        app, _command(recipe_file, manifest_database, out, "--arms", arms + ",silhouette")
    )
    assert again.exit_code == 0, again.output
    assert weights.stat().st_mtime_ns == before
    assert (out / "runs" / "silhouette-truth" / "seed-0" / "silhouette-truth.safetensors").is_file()
    assert (out / "runs" / "mask-truth" / "seed-1" / "mask-truth.json").is_file()

    recipe_file.write_text(recipe_file.read_text().replace("5e-3", "4e-3"))
    other = CliRunner().invoke(app, _command(recipe_file, manifest_database, out, "--arms", arms))
    assert other.exit_code == 2
    assert "another recipe" in other.stderr


def test_predicted_and_true_masks_side_by_side(
    recipe_file: Path, manifest_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An untrained segmenter finds no lungs; the true masks stand in for its answer.
    database = RadiographyDatabase(manifest_database)
    from lungcls.ablation import run as module

    def masks(database: RadiographyDatabase, source: str, *rest: object) -> dict[str, np.ndarray]:
        found = usable_masks(database, "truth", None, tmp_path)
        return dict(list(found.items())[::2] + list(found.items())[1::4]) if source == "predicted" else found

    monkeypatch.setattr(module, "usable_masks", masks)
    found = ablate(
        load_recipe(recipe_file),
        database,
        tmp_path / "out",
        arms=["full", "silhouette"],
        seeds=1,
        masks="both",
        device="cpu",
        workers=0,
        n_resamples=0,
        limit=12,
    )
    assert {(row["arm"], row["masks"]) for row in found.rows} == {
        ("full", ""),
        ("silhouette", "predicted"),
        ("silhouette", "truth"),
    }
    counts = found.payload["images"]
    assert all(10 <= sum(part[label] for part in counts.values()) <= 16 for label in counts["train"])


def test_shuffled_masks_come_from_other_groups_of_the_same_part(manifest_database: Path) -> None:
    database = RadiographyDatabase(manifest_database)
    split = split_dataset(database)
    masks = usable_masks(database, "truth", None, manifest_database)
    records = [record for record in database.records if record.file in masks]
    # A mask's one lit pixel tells whose it was.
    marked = {}
    for number, record in enumerate(records):
        marked[record.file] = np.zeros((16, 16), bool)
        marked[record.file].flat[number] = True
    givers = {
        file: records[int(mask.ravel().argmax())].file
        for file, mask in shuffled_masks(marked, records, split, 0).items()
    }
    assert set(givers) == {record.file for record in records}
    assert all(split.groups[one] != split.groups[other] for one, other in givers.items())
    assert all(split.parts[one] == split.parts[other] for one, other in givers.items())
    assert shuffled_masks(marked, records, split, 0).keys() == givers.keys()


def test_masks_of_another_size_are_fitted_to_their_image(manifest_database: Path) -> None:
    database = RadiographyDatabase(manifest_database)
    record = database.records[0]
    large = np.kron(database.read_mask(record), np.ones((2, 2), bool))
    views = [
        region_views(database, [record], Region("mask"), 48, {record.file: mask})
        for mask in (large, database.read_mask(record))
    ]
    assert np.array_equal(*views)
