"""An ablation on phantoms, from the command line."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lungcls.ablation.arms import ARMS, choose_arms
from lungcls.ablation.masks import harmonised_lungs, shuffled_lungs, usable_lungs
from lungcls.ablation.run import ablate
from lungcls.cli.main import app
from lungcls.data import RadiographyDatabase, split_dataset
from lungcls.data.harmonisation import grey_levels, sharpness
from lungcls.errors import DataError
from lungcls.finder import Finder
from lungcls.lungs import Lungs
from lungcls.recipes import load_recipe
from lungcls.regions import REGIONS
from lungcls.study.context import RunContext

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
    assert {"mask_harmonised", "statistics", "outline", "frame"} <= ARMS.keys()
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
    stored = Path(__file__).parents[2] / "benchmarks" / "results" / "ablation_quick.json"
    if stored.is_file():
        # What the benchmark's tables are made of stays.
        kept = json.loads(stored.read_text())
        assert set(kept) <= set(payload)
        for table in ("figures", "differences", "swaps"):
            assert set(kept[table][0]) <= set(payload[table][0]), table
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
    more = arms + ",silhouette,mask_harmonised,statistics,outline,frame"
    again = CliRunner().invoke(app, _command(recipe_file, manifest_database, out, "--arms", more))
    assert again.exit_code == 0, again.output
    payload = json.loads((out / "results" / "ablation.json").read_text())
    known = {(row["arm"], row["masks"]) for row in payload["figures"]}
    assert known >= {(name, "truth") for name in ("mask_harmonised", "statistics", "outline", "frame")}
    assert weights.stat().st_mtime_ns == before
    assert (out / "runs" / "silhouette-truth" / "seed-0" / "silhouette-truth.safetensors").is_file()
    assert (out / "runs" / "mask-truth" / "seed-1" / "mask-truth.json").is_file()

    recipe_file.write_text(recipe_file.read_text().replace("5e-3", "4e-3"))
    other = CliRunner().invoke(app, _command(recipe_file, manifest_database, out, "--arms", arms))
    assert other.exit_code == 2
    assert "another recipe" in other.stderr


def test_harmonised_lungs_have_the_grey_levels_and_sharpness_of_the_training_films(
    manifest_database: Path, tmp_path: Path
) -> None:
    database = RadiographyDatabase(manifest_database)
    lungs = usable_lungs(database, "truth", Finder(None, None), tmp_path)
    records = [record for record in database.records if record.file in lungs]
    path = tmp_path / "harmonised.json"
    harmonised = harmonised_lungs(lungs, records[:20], path)
    stated = json.loads(path.read_text())
    reference = [sharpness(lungs[r.file].pixels(), lungs[r.file].mask) for r in records[:20]]
    assert stated["sharpness"] == pytest.approx(np.quantile(reference, 0.05))
    for record in records[20:26]:
        before, after = lungs[record.file], harmonised[record.file]
        levels = grey_levels(after.pixels(), after.mask)
        assert np.abs(levels - stated["levels"]).max() < 0.02
        assert np.array_equal(before.pixels()[~before.mask], after.pixels()[~after.mask])
        assert after.box == before.box
    # A run that goes on reads the file, and no film is measured again.
    again = harmonised_lungs(lungs, [], path)
    assert np.array_equal(again[records[0].file].pixels(), harmonised[records[0].file].pixels())


def test_predicted_and_true_masks_side_by_side(
    recipe_file: Path, manifest_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An untrained segmenter finds no lungs; the true masks stand in for its answer.
    database = RadiographyDatabase(manifest_database)
    from lungcls.ablation import run as module

    def usable(database: RadiographyDatabase, source: str, *rest: object) -> dict[str, Lungs]:
        lungs = usable_lungs(database, "truth", Finder(None, None), tmp_path)
        return dict(list(lungs.items())[::2] + list(lungs.items())[1::4]) if source == "predicted" else lungs

    monkeypatch.setattr(module, "usable_lungs", usable)
    found = ablate(
        load_recipe(recipe_file),
        database,
        tmp_path / "out",
        arms=["full", "silhouette"],
        seeds=1,
        masks="both",
        context=RunContext("cpu", workers=0),
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
    lungs = usable_lungs(database, "truth", Finder(None, None), manifest_database)
    records = [record for record in database.records if record.file in lungs]
    # A mask's one lit pixel tells whose it was.
    marked = {}
    for number, record in enumerate(records):
        mask = np.zeros((64, 64), bool)
        mask.flat[number] = True
        marked[record.file] = replace(lungs[record.file], mask=mask)
    shuffled = shuffled_lungs(marked, records, split, 0)
    givers = {file: records[int(one.mask.ravel().argmax())].file for file, one in shuffled.items()}
    assert set(givers) == {record.file for record in records}
    assert all(split.groups[one] != split.groups[other] for one, other in givers.items())
    assert all(split.parts[one] == split.parts[other] for one, other in givers.items())
    # The film stays its own.
    assert all(np.array_equal(one.pixels(), lungs[file].pixels()) for file, one in shuffled.items())


def test_a_mask_of_another_size_is_fitted_to_its_film(manifest_database: Path) -> None:
    database = RadiographyDatabase(manifest_database)
    split = split_dataset(database)
    lungs = usable_lungs(database, "truth", Finder(None, None), manifest_database)
    records = [record for record in database.records if record.file in lungs]
    large = {file: replace(one, mask=np.kron(one.mask, np.ones((2, 2), bool))) for file, one in lungs.items()}
    shapes = {one.mask.shape for one in shuffled_lungs(large, records, split, 0).values()}
    assert shapes == {(128, 128)}
    first = records[0].file
    mixed = shuffled_lungs({**large, first: lungs[first]}, records, split, 0)
    assert mixed[first].mask.shape == (64, 64)
    assert 0.1 < mixed[first].mask.mean() < 0.6
