"""Run the notebooks of the documentation on phantoms, each in an empty folder.

    python scripts/run_notebooks.py [NAME...]

Executed copies go to ``build/notebooks``, from where the site takes the outputs. A cell that fails
ends the run with its error. Needs ``pip install '.[notebooks]'``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "docs" / "notebooks").glob("*.py"))


def run_notebook(source: Path, folder: Path, timeout: int = 600) -> nbformat.NotebookNode:
    """Run a jupytext script as a notebook.

    Parameters
    ----------
    source : Path
    folder : Path
        Where its kernel runs.
    timeout : int, default=600
        Seconds that a cell may take.

    Returns
    -------
    NotebookNode
        With its outputs.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    notebook = jupytext.read(source)
    # The command `lungcls` is the one of this environment, and speaks of this checkout.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    modules = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    environment = {**os.environ, "PATH": path, "PYTHONPATH": modules}
    environment.pop("LUNGCLS_DATA", None)  # films are drawn
    return client.execute(env=environment)


def main() -> None:
    names = sys.argv[1:] or [source.stem for source in SOURCES]
    target = ROOT / "build" / "notebooks"
    target.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        if source.stem in names:
            with tempfile.TemporaryDirectory() as folder:
                notebook = run_notebook(source, Path(folder))
            nbformat.write(notebook, target / f"{source.stem}.ipynb")
            print(source.stem)


if __name__ == "__main__":
    main()
