from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lungcls.cli.main import app

pytest.importorskip("matplotlib", reason="matplotlib (the extra plots) is not installed")


def test_a_report_of_a_weight_file(manifest_database: Path, weights: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "report"
    arguments = ["report", weights["mask"], "--data", str(manifest_database), "--out", str(out)]
    arguments += [
        "--segmenter",
        weights["segmenter"],
        "--device",
        "cpu",
        "--resamples",
        "20",
        "--images",
        "3",
    ]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "tiny-classifier" in result.output
    assert "macro-F1" in result.output
    assert str(out / "index.html") in result.output.replace("\n", "")
    assert (out / "tiny-classifier" / "roc.png").is_file()
