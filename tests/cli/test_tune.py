from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lungcls.cli.main import app

pytest.importorskip("optuna", reason="optuna (the extra tune) is not installed")


def test_a_search_from_the_command_line(
    manifest_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the command hands on; the search itself is tested beside its module."""
    from lungcls.recipes import load_recipe
    from lungcls.training import tune as module

    asked: dict[str, Any] = {}

    def search(recipe: Any, database: Any, out: Path, **options: Any) -> module.Tuned:
        asked.update(options, recipe=recipe, database=database, out=out)
        options["on_trial"](
            {"trial": 0, "state": "complete", "validation_score": 0.5, "learning_rate": 0.01, "folder": "x"}
        )
        return module.Tuned(recipe, out / "x.safetensors", 0.5, {"learning_rate": 0.01})

    monkeypatch.setattr(module, "tune", search)
    space = tmp_path / "space.toml"
    space.write_text("[learning_rate]\nlow = 1e-4\nhigh = 1e-2\n")
    arguments = ["tune", "reference/cnn-4conv", "--data", str(manifest_database), "-o", str(tmp_path / "out")]
    arguments += ["--trials", "3", "--epochs", "2", "--space", str(space), "--no-prune"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "trial 0: complete, 0.5000 on validation; learning_rate 0.01" in result.output
    assert asked["recipe"] == load_recipe("reference/cnn-4conv").cut(2)
    assert asked["space"] == {"learning_rate": {"low": 1e-4, "high": 1e-2}}
    assert (asked["trials"], asked["prune"]) == (3, False)
    assert len(asked["database"].records) == 96
