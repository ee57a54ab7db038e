"""The comparison's arithmetic: equal budgets, subsets, and who is compared with whom."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lungcls.data import RadiographyDatabase, split_dataset
from lungcls.recipes import Stage, load_recipe
from lungcls.study.answers import Answers
from lungcls.study.compare import compare

SURE = np.log(np.array([[0.25, 0.75]] * 2))


@pytest.fixture(scope="module")
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("reference_systems")


@pytest.mark.parametrize(("images", "epochs"), [(1_000, 10), (250, 2), (120, 1), (10, 1)])
def test_every_recipe_sees_as_many_images(script: ModuleType, images: int, epochs: int) -> None:
    for name in (*script.REFERENCES, script.FROM_IMAGENET):
        recipe = script.budgeted(load_recipe(f"reference/{name}"), images, 100)
        assert recipe.epochs == epochs
        assert recipe.patience == 0
        assert all(stage.epochs > 0 for stage in recipe.stages)


def test_a_budget_is_spread_over_the_stages_as_they_are(script: ModuleType) -> None:
    recipe = script.budgeted(load_recipe("reference/cnn-vgg-bn"), 900, 100)
    assert recipe.stages == (Stage(256, 6, 4e-4), Stage(256, 3, 2e-4))


def test_a_short_run_does_not_keep_its_first_weights(script: ModuleType) -> None:
    recipe = load_recipe("classifier-full")
    assert script.budgeted(recipe, 320, 100).ema_decay == 0.0
    assert script.budgeted(recipe, 3_200, 100).ema_decay == pytest.approx(0.9)
    assert script.budgeted(recipe, 3_200_000, 100).ema_decay == recipe.ema_decay


def test_copies_count_as_images_seen(script: ModuleType, manifest_database: Path) -> None:
    database = RadiographyDatabase(manifest_database)
    split = split_dataset(database, seed=0)
    train = len(split.select(database.records, "train"))
    assert script.images_in_an_epoch(load_recipe("reference/cnn-4conv"), database, split) == train
    with_copies = script.images_in_an_epoch(load_recipe("reference/cnn-vgg-bn"), database, split)
    counts = [
        sum(r.label == name for r in split.select(database.records, "train")) for name in database.classes
    ]
    assert with_copies == train - min(counts) + 500


def test_a_subset_keeps_parts_and_classes(script: ModuleType, manifest_database: Path) -> None:
    database = RadiographyDatabase(manifest_database)
    split = split_dataset(database, seed=0)
    small = script.subset_of(database, split, {"train": 20, "validation": 8, "test": 8})
    assert small.counts()["train"] == 20
    for part in ("train", "validation", "test"):
        kept, all_of = ([r.label for r in one.select(database.records, part)] for one in (small, split))
        assert all(kept.count(name) >= min(2, all_of.count(name)) for name in database.classes)
    assert all(split.parts[file] == part for file, part in small.parts.items())
    assert small == script.subset_of(database, split, {"train": 20, "validation": 8, "test": 8})


def test_answers_are_read_back(script: ModuleType, tmp_path: Path) -> None:
    answers = Answers(
        "a",
        ("x", "y"),
        ("1", "2"),
        ("", ""),
        np.array([0, 1]),
        np.log(np.array([[0.25, 0.75]] * 2)),
        about={"n": 1},
    )
    script.save_answers(tmp_path / "answers.json", answers)
    again = script.read_answers(tmp_path / "answers.json", "a")
    assert again.files == answers.files
    np.testing.assert_allclose(again.probabilities, answers.probabilities)


def test_ours_minus_each_reference_that_sees_as_much(script: ModuleType) -> None:
    labels = np.arange(40) % 2
    sure = np.eye(2)[labels] * 0.8 + 0.1
    files = tuple(map(str, range(40)))
    plan = script.Plan(100, 1, None, True, "base", False)
    lines = [line for line in script.entries(plan) if "cnn-4conv" in line.name or line.ours]
    assert [line.name for line in lines] == [
        "cnn-4conv",
        "cnn-4conv, lungs only",
        "lungcls full",
        "lungcls mask",
    ]
    wrong = np.where(np.arange(40)[:, None] % 3 == 0, sure[:, ::-1], sure)
    found = compare(
        {
            line.name: [
                Answers(line.name, ("x", "y"), files, files, labels, np.log(sure if line.ours else wrong))
            ]
            for line in lines
        },
        n_resamples=1000,
    )
    rows = script.differences(lines, found).splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["lungcls full", "lungcls mask"]
    assert [row.split("|")[2].strip() for row in rows] == ["cnn-4conv", "cnn-4conv, lungs only"]
    for row in rows:
        assert row.split("|")[3].strip().startswith("0.")
        assert row.split("|")[5].strip() == "yes"


def test_the_reported_figures_say_whether_they_compare(script: ModuleType) -> None:
    text = script.reported()
    for figure in ("89.87%", "90.38%", "84.46%", "98.96%", "89.52%"):
        assert figure in text
    assert text.count("not comparable") == 5


def test_the_command_in_the_file_repeats_the_run(script: ModuleType) -> None:
    given = {
        "images_seen": 7500,
        "coronahack_images_seen": None,
        "seeds": None,
        "imagenet": False,
        "ours": "release-cpu",
    }
    whole = "python benchmarks/reference_systems.py --data DIR --images-seen 7500 --ours release-cpu"
    assert script.command(argparse.Namespace(**given, quick=False)) == whole
    quick = "python benchmarks/reference_systems.py --data DIR --quick --images-seen 7500"
    assert script.command(argparse.Namespace(**given, quick=True)) == quick


def test_the_time_of_a_run_is_that_of_its_epochs(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,size,seconds\n0,64,1.5\n1,64,2\n")
    assert script.training_seconds(tmp_path) == 3.5
