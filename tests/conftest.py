"""Fixtures shared by all tests."""

from __future__ import annotations

import csv
import importlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:  # processes of several threads slow each other on shared cores
    for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_variable, "1")

import numpy as np
import pytest
from PIL import Image

try:
    from absl import logging as absl_logging
except ImportError:
    pass
else:
    # Its handler closes the stream that it has, pytest's own, when a server sets up its logging.
    absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

from lungcls.labels import CLASSES
from lungcls.phantom import chest_phantom
from lungcls.weights import save_weights

METADATA_URLS = {
    "COVID": "https://sirm.org/category/senza-categoria/covid-19/",
    "Lung_Opacity": "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data",
    "Normal": "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data",
    "Viral Pneumonia": "https://www.kaggle.com/paultimothymooney/chest-xray-pneumonia",
}


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests find out of the user's cache; processes that they start inherit it."""
    os.environ["LUNGCLS_CACHE"] = str(tmp_path_factory.mktemp("cache"))


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


@pytest.fixture(scope="session")
def benchmark_script() -> Callable[[str], ModuleType]:
    """Import a script of benchmarks/ by its name; what needs one is skipped where there is no checkout."""
    if not (Path(__file__).parents[1] / "benchmarks").is_dir():
        pytest.skip("the tests run without the checkout: there are no benchmarks")
    return importlib.import_module


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="session")
def _original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openpyxl = pytest.importorskip("openpyxl", reason="the database's metadata are Excel files")
    root = tmp_path_factory.mktemp("original")
    for position, label in enumerate(CLASSES):
        workbook = openpyxl.Workbook()
        workbook.active.append(["FILE NAME", "FORMAT", "SIZE", "URL"])
        for number in (1, 2):
            phantom = chest_phantom(299, seed=10 * position + number)
            _save(phantom.image, root / label / "images" / f"{label}-{number}.png")
            # As in the database: masks are RGB and smaller than their images.
            mask = Image.fromarray(phantom.mask.astype(np.uint8) * 255).resize(
                (256, 256), Image.Resampling.NEAREST
            )
            path = root / label / "masks" / f"{label}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            mask.convert("RGB").save(path)
            # The database writes NORMAL here and Normal in the files' names.
            name = f"{label.upper() if label == 'Normal' else label}-{number}"
            workbook.active.append([name, "PNG", "256*256", METADATA_URLS[label]])
        workbook.save(root / f"{label}.metadata.xlsx")
    return root


@pytest.fixture
def original_database(_original: Path, tmp_path: Path) -> Path:
    """A database in the original layout: two phantoms a class. A copy of the test's own, free to damage."""
    return Path(shutil.copytree(_original, tmp_path / "original"))


@pytest.fixture(scope="session")
def _manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("manifest")
    rows = []
    for position, label in enumerate(CLASSES):
        for number in range(1, 25):
            file, mask = f"{label}/images/{label}-{number}.png", f"{label}/masks/{label}-{number}.png"
            phantom = chest_phantom(64, seed=100 * position + number)
            _save(phantom.image, root / file)
            if number != 24:
                _save(phantom.mask.astype(np.float32), root / mask)
            rows.append(
                {
                    "file": file,
                    "label": label,
                    "mask": mask if number != 24 else "",
                    "source": "kermany" if label == "Viral Pneumonia" else "rsna",
                    "patient": f"{label} p{number // 2}" if number < 7 else "",
                    # Images 2k and 2k + 1 of a class are of one patient or near duplicates of each other.
                    "group": f"{label} g{number // 2}",
                    "processing": "a",
                }
            )
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture
def manifest_database(_manifest: Path, tmp_path: Path) -> Path:
    """A database with a manifest: 24 small phantoms a class, the last without a mask. The test's own copy."""
    return Path(shutil.copytree(_manifest, tmp_path / "manifest"))


def card_values(**changes: Any) -> dict[str, Any]:
    """Values for :func:`lungcls.weights.save_weights`: a small untrained classifier, with `changes`."""
    return {
        "name": "tiny",
        "task": "classification",
        "architecture": {"model": "densenet121", "classes": 4},
        "input_size": 32,
        "value_range": (0.0, 1.0),
        "mean": 0.5,
        "std": 0.25,
        "region": {"name": "mask", "margin": 0.05, "dilate": 0.01},
        "classes": CLASSES,
        "temperature": 1.5,
        "thresholds": {},
        "training_data": {},
        "recipe": {},
        "metrics": {},
        "versions": {},
        "licence": "none",
        **changes,
    }


@pytest.fixture(scope="session")
def make_card_values() -> Any:
    """The function :func:`card_values`, since tests cannot import from this file."""
    return card_values


def _seeded(architecture: dict[str, Any]) -> Any:
    import torch

    from lungcls.models import create_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return create_model(architecture)


@pytest.fixture(scope="session")
def tiny_segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weight file of a small U-Net for 64 pixels that was never trained."""
    architecture = {"model": "unet", "encoder": "tu-resnet18", "decoder_channels": [16, 16, 8, 8]}
    values = card_values(
        name="tiny-segmenter",
        task="segmentation",
        architecture=architecture,
        input_size=64,
        region=None,
        classes=("lung",),
        temperature=1.0,
        thresholds={"mask": 0.5},
    )
    return save_weights(tmp_path_factory.mktemp("weights"), _seeded(architecture).state_dict(), **values)


@pytest.fixture(scope="session")
def dark_segmenter(tiny_segmenter: Path) -> Any:
    """A stage 1 that takes for lung what is darker than 0.3."""
    from lungcls.segmenter import Segmenter

    class DarkSegmenter(Segmenter):
        def segment_with_agreement(self, images: Any, aspects: Any = None) -> Any:
            return [(pixels < 0.3, 1.0) for pixels in images]

    loaded = Segmenter.load(tiny_segmenter, "cpu")
    return DarkSegmenter(loaded.card, loaded.network)


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weight file of a DenseNet121 for 32 pixels that was never trained; its region is ``mask``."""
    values = card_values(name="tiny-classifier")
    state = _seeded(values["architecture"]).state_dict()
    return save_weights(tmp_path_factory.mktemp("weights"), state, **values)


def _lively_state(architecture: dict[str, Any]) -> dict[str, Any]:
    import torch

    from lungcls.models import create_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        state = create_model(architecture).state_dict()
        # As of a trained network: norms that do something.
        for name, value in state.items():
            if name.endswith("running_mean"):
                value.normal_(0, 0.2)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 2)
    return state


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory, make_card_values: Any) -> dict[str, Path]:
    """Weight files of a small segmenter and a small classifier by task, each with its graph."""
    from lungcls.export import write_graph

    folder = tmp_path_factory.mktemp("stages")
    unet = {"model": "unet", "encoder": "tu-resnet18", "encoder_depth": 2, "decoder_channels": [16, 8]}
    cnn = {"model": "cnn-4conv", "classes": 4, "channels": 1, "size": 64}
    paths = {
        "segmentation": save_weights(
            folder,
            _lively_state(unet),
            **make_card_values(
                name="small-segmenter",
                task="segmentation",
                architecture=unet,
                input_size=64,
                region=None,
                classes=("lung",),
                temperature=1.0,
                thresholds={"mask": 0.5},
            ),
        ),
        "classification": save_weights(
            folder, _lively_state(cnn), **make_card_values(name="small-cnn", architecture=cnn, input_size=64)
        ),
    }
    for path in paths.values():
        write_graph(path)
    return paths
