"""Small networks that need no torch, and films for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="the extra 'scale' is not installed")
pytest.importorskip("fsspec", reason="the extra 'scale' is not installed")
pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")


@pytest.fixture(scope="session")
def options(stages: dict[str, Path]) -> dict[str, Any]:
    """Options of a pipeline that loads in a moment."""
    return {
        "segmenter": str(stages["segmentation"]),
        "classifier": str(stages["classification"]),
        "gate": None,
        "engine": "onnxruntime",
        "device": "cpu",
        "batch_size": 4,
    }


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Paths of ten films, no two alike."""
    folder = tmp_path_factory.mktemp("films")
    paths = []
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 255, (40 + number, 50), np.uint8)
        pixels[10:30, 5:20] //= 8
        pixels[10:30, 30:45] //= 8
        path = folder / f"film{number}.png"
        Image.fromarray(pixels).save(path)
        paths.append(str(path))
    return paths


@pytest.fixture
def bucket(films: list[str]) -> Iterator[Callable[[str], str]]:
    """An object store in memory, emptied afterwards; call it for a URI."""
    import fsspec

    fs = fsspec.filesystem("memory")
    for path in films:
        fs.pipe_file(f"/films/{Path(path).name}", Path(path).read_bytes())
    yield lambda name: f"memory://{name}"
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
