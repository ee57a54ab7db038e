"""Prediction without torch: by blocked imports, and (slow) in an environment that never had it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lungcls
from lungcls.phantom import chest_phantom

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "requirements-light.txt"

# What the package depends on and the light install lacks.
HEAVY = (
    "albumentations",
    "cv2",
    "rich",
    "safetensors",
    "scipy",
    "segmentation_models_pytorch",
    "skimage",
    "sklearn",
    "timm",
    "torch",
    "torchvision",
    "typer",
)

PREDICT = """
import json, sys
import numpy as np
import lungcls
pixels = np.load(sys.argv[1])
prediction = lungcls.predict(pixels)
pipeline = lungcls.Pipeline(region="full")
(other,) = pipeline.stream([pixels])
print(json.dumps({
    "probabilities": [prediction.probabilities, other.probabilities],
    "engine": pipeline.segmenter.network.engine,
    "mask": int(prediction.lung_mask.sum()),
    "overlay": list(prediction.overlay().size),
    "version": lungcls.__version__,
    "loaded": sorted(set(sys.argv[2].split(",")) & {
        name for name, module in sys.modules.items() if module is not None
    }),
}))
"""


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.npy"
    np.save(path, chest_phantom(200, seed=4).image)
    return path


def _expected(film: Path) -> list[dict[str, float]]:
    pixels = np.load(film)
    return [
        lungcls.Pipeline(region=region, engine="torch", device="cpu").predict(pixels).probabilities
        for region in ("mask", "full")
    ]


def _check(answer: subprocess.CompletedProcess[str], film: Path) -> None:
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["engine"] == "onnxruntime"
    assert found["loaded"] == []
    assert found["overlay"] == [200, 200]
    assert found["mask"] > 0
    for probabilities, expected in zip(found["probabilities"], _expected(film)):
        assert list(probabilities) == list(expected)
        np.testing.assert_allclose(list(probabilities.values()), list(expected.values()), atol=1e-3)


def test_prediction_needs_nothing_heavy(film: Path) -> None:
    blocked = f"import sys\nfor name in {HEAVY}:\n    sys.modules[name] = None\n"
    path = os.pathsep.join([str(Path(lungcls.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", blocked + PREDICT, str(film), ",".join(HEAVY)]
    _check(
        subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True), film
    )


def test_the_light_requirements_are_dependencies_of_the_package() -> None:
    if not REQUIREMENTS.is_file():
        pytest.skip("the tests run without the checkout")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if line[:1] not in "#"]
    assert len(lines) == 5
    for line in lines:
        assert f'"{line}"' in project, f"{line} has another bound in pyproject.toml"
        assert re.split("[>=]", line)[0] not in HEAVY


@pytest.mark.slow
def test_the_light_install(film: Path, tmp_path: Path) -> None:
    """In a fresh environment, of less than 300 MB."""
    if not REQUIREMENTS.is_file():
        pytest.skip("the tests run without the checkout: there is no wheel to build")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "-o", tmp_path / "dist", ROOT], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    code = "import sysconfig; print(sysconfig.get_path('platlib'))"
    site = Path(
        subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    )
    before = _megabytes(site)
    for extra in (["--no-deps", wheel], ["-r", REQUIREMENTS]):
        subprocess.run([python, "-m", "pip", "install", "-q", *map(str, extra)], check=True)
    assert _megabytes(site) - before < 300
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    _check(
        subprocess.run(
            [python, "-c", PREDICT, str(film), ",".join(HEAVY)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        ),
        film,
    )


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
