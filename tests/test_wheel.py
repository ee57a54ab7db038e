"""The packages: what is in them, and that the wheel, installed elsewhere, predicts and is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import lungcls
from lungcls.recipes import recipe_names
from lungcls.weights import released

ROOT = Path(__file__).parent.parent

PREDICT = """
import json, sys
import numpy as np
import lungcls
from lungcls.phantom import chest_phantom
image = chest_phantom(200, seed=4).image
results = [lungcls.predict(image, region=region, device="cpu") for region in ("mask", "full")]
print(json.dumps({"file": lungcls.__file__, "version": lungcls.__version__,
                  "results": [p.to_dict() for p in results], "shape": results[0].lung_mask.shape}))
"""

USERS = """
import numpy as np
from typing_extensions import assert_type

import lungcls
from lungcls import Explanation, Failure, Lungs, Pipeline, Prediction, Predictions
from lungcls.data import Record, open_dataset

one = lungcls.predict("film.png", device="cpu")
assert_type(one, Prediction)
assert_type(one.label, str | None)
assert_type(one.probabilities, dict[str, float])
assert_type(lungcls.predict(["a.png", "b.dcm"]), Predictions)
assert_type(lungcls.explain("film.png", gate=None), Explanation)
for kept in Pipeline().stream(["a.png"], on_error="return", classify=False):
    assert_type(kept, Lungs | Failure)


def lungs_share(path: str) -> float:
    mask = lungcls.segment(path).mask
    return float(np.mean(mask))


def labels(paths: list[str]) -> list[str | None]:
    return [found.label for found in Pipeline(region="crop").predict(paths)]


records: list[Record] = open_dataset("films").records
wrong: int = one.label  # type: ignore[assignment]
lungcls.predict(3.5)  # type: ignore[call-overload]
lungcls.predict("film.png", regoin="full")  # type: ignore[call-overload]
lungcls.Ensemble(["a", "b"], region="full")  # type: ignore[call-arg]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("the tests run without the checkout: there is no wheel to build")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_carries_weights_recipes_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"segmenter", "classifier-mask", "classifier-full"} <= set(released())
    for name in released():
        assert {f"lungcls/_weights/{name}.safetensors", f"lungcls/_weights/{name}.json"} <= names
    assert {f"lungcls/recipes/{name}.toml" for name in recipe_names()} <= names
    assert "lungcls/py.typed" in names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


def _predict(python: Path, folder: Path) -> dict[str, object]:
    # From a folder far from the checkout, and without its paths.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [python, "-c", PREDICT], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    content: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return content


def _environment(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def _check(found: dict[str, object], environment: Path) -> None:
    assert str(found["file"]).startswith(str(environment))
    assert found["version"] == lungcls.__version__
    assert found["shape"] == [200, 200]
    for result in found["results"]:  # type: ignore[attr-defined]
        assert sum(result["probabilities"].values()) == pytest.approx(1)
        assert result["quality"]["lungs"] == 2


def test_twine_finds_nothing_wrong_with_the_packages(wheel: Path, tmp_path: Path) -> None:
    pytest.importorskip("twine", reason="twine is not installed")
    command = [sys.executable, "-m", "build", "--sdist", "--outdir", str(tmp_path), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (source,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "lungcls/__init__.py", "weights/segmenter.safetensors"} <= names
    assert not any(name.startswith(("benchmarks/", "docs/")) for name in names)
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(source)],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the package installed anew; this environment lends the rest, to save minutes."""
    environment = tmp_path_factory.mktemp("installed") / "environment"
    python = _environment(environment)
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", query], capture_output=True, text=True, check=True).stdout
    Path(site.strip(), "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_an_installed_wheel_predicts(installed: Path, tmp_path: Path) -> None:
    _check(_predict(installed, tmp_path), installed.parent.parent)


@pytest.mark.slow
def test_a_users_script_is_checked_against_the_installed_package(installed: Path, tmp_path: Path) -> None:
    """Types reach the user: right use passes ``mypy --strict``, and wrong use does not."""
    script = tmp_path / "users.py"
    script.write_text(USERS, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MYPY"))}
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed), str(script)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_wheel_with_all_its_dependencies_predicts(wheel: Path, tmp_path: Path) -> None:
    """Nothing is lent: what pyproject.toml names is all that there is."""
    environment = tmp_path / "environment"
    python = _environment(environment)
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    _check(_predict(python, tmp_path), environment)
