"""What must be importable without torch, which takes seconds to load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lungcls

LIGHT = (
    "lungcls",
    "lungcls.errors",
    "lungcls.labels",
    "lungcls.files",
    "lungcls.images",
    "lungcls.regions",
    "lungcls.conformal",
    "lungcls.uncertainty",
    "lungcls.ensemble",
    "lungcls.weights",
    "lungcls.quality",
    "lungcls.models",
    "lungcls.recipes",
    "lungcls.segmenter",
    "lungcls.classifier",
    "lungcls.data",
    "lungcls.data.views",
    "lungcls.data.duplicates",
    "lungcls.explanation",
    "lungcls.engines",
    "lungcls.pipeline",
)


def _run(code: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(lungcls.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)


@pytest.mark.parametrize("module", ["lungcls", "lungcls.data"])
def test_importing_is_silent_and_loads_no_torch(module: str) -> None:
    result = _run(f"import sys, {module}; sys.exit('torch' in sys.modules)")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_no_light_module_loads_torch() -> None:
    # In one process: the first that loads it is named.
    code = f"""
import importlib, sys
for name in {LIGHT}:
    importlib.import_module(name)
    if "torch" in sys.modules:
        sys.exit(name)
"""
    result = _run(code)
    assert (result.returncode, result.stderr) == (0, "")
