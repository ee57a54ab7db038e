"""The notebooks of the documentation run, on phantoms, each in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.stem for path in (ROOT / "docs" / "notebooks").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    for package in ("jupytext", "nbclient", "ipykernel", "pandas", "lightning", "highdicom", "nibabel"):
        pytest.importorskip(package, reason="the notebooks use the extras notebooks, train and dicom-out")
    from run_notebooks import run_notebook

    executed = run_notebook(ROOT / "docs" / "notebooks" / f"{name}.py", tmp_path)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert outputs
    assert not [one for one in outputs if one.output_type == "error"]
    # A command that fails says so in its stream, not by an error of the cell.
    assert "lungcls: " not in "".join(one.get("text", "") for one in outputs if one.output_type == "stream")
