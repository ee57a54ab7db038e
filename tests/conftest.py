"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real X-rays; tests that need it are skipped where it is absent."""
    root = os.environ.get("LUNGCLS_DATA")
    if not root:
        pytest.skip("LUNGCLS_DATA is not set: no real X-rays to test on")
    path = Path(root)
    if not (path / "radiography" / "manifest.csv").is_file():
        pytest.skip(f"LUNGCLS_DATA={root} holds no radiography/manifest.csv")
    return path
