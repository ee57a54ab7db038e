"""A folder keeps to its work, whatever the work is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lungcls.errors import RecipeError
from lungcls.recipes import load_recipe
from lungcls.study.folder import claim


def test_the_same_work_goes_on_and_other_work_is_refused(tmp_path: Path) -> None:
    path, recipe = tmp_path / "run.json", load_recipe("ablation")
    claim(path, "a run", recipe=recipe.to_dict(), split_hash="a")
    text = path.read_text()
    claim(path, "a run", recipe=replace(recipe, description="other words").to_dict(), split_hash="a")
    assert path.read_text() == text
    with pytest.raises(RecipeError, match=r"holds a run with another recipe, split hash \(run.json"):
        claim(path, "a run", recipe=replace(recipe, seed=9).to_dict(), split_hash="b")


def test_what_an_older_lungcls_did_not_write_down_is_no_difference(tmp_path: Path) -> None:
    path, recipe = tmp_path / "run.json", load_recipe("ablation")
    values = recipe.to_dict()
    del values["tone"]
    path.write_text(json.dumps({"recipe": values}))
    claim(path, "a run", recipe=recipe.to_dict(), split_hash="a")
