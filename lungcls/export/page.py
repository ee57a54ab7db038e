"""A page that answers in the browser alone: the graphs, a runtime for them, and a script, as plain files."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lungcls import pixels
from lungcls.conformal import checked_coverage
from lungcls.errors import LungclsError, MissingExtraError, OptionError
from lungcls.files import atomic_write, cache_folder
from lungcls.gate.screening import FOREIGN, KINDS, MESSAGES, SURE
from lungcls.labels import NOTICE
from lungcls.pipeline import fallback_of
from lungcls.prediction import HIGH, MODERATE
from lungcls.quality import MIN_SIDE, WITHHOLDING
from lungcls.quality import mask as mask_limits
from lungcls.regions import Region
from lungcls.versions import versions
from lungcls.weights import Card, find_weights, load_card

if TYPE_CHECKING:
    import onnx

SOURCES: Final = Path(__file__).parent / "page_files"
"""Our own part of the page, and the names and hashes of the packages that it is bundled with."""

_PLAIN: Final = ("index.html", "style.css", "icon.svg")
_SCRIPTS: Final = ("page.js", "worker.js", "offline.js")
_RUNTIME: Final = "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"
_FILM_LIMITS: Final = ("NARROW", "ENOUGH_LEVELS", "SQUARE", "ODD_ASPECT", "COLOUR", "COLOURED")
_LIMITS: Final = (
    *("MIN_AREA", "MIN_BALANCE", "MIN_MERGED_WIDTH", "MAX_AREA", "MAX_BORDER", "MAX_TILT"),
    *("MIN_COMPACTNESS", "MIN_SYMMETRY", "MIN_AGREEMENT"),
)


def build_page(
    folder: str | Path,
    *,
    segmenter: str | Path = "segmenter",
    classifier: str | Path = "classifier-mask",
    fallback: str | Path | None = "auto",
    gate: str | Path = "gate",
    coverage: float = 0.9,
) -> int:
    """Write a page that needs no server but one for files.

    The first build fetches the packages of ``page_files/package-lock.json`` with npm, by their hashes, into
    the cache (:func:`lungcls.files.cache_folder`); later ones need no network.

    Parameters
    ----------
    folder : path-like
        Made if it is missing. Files of the same name are replaced.
    segmenter, classifier, fallback, gate : str or path-like
        As :class:`lungcls.Pipeline` takes them. Each has its ONNX graph beside it.
    coverage : float, default=0.9
        How often the conformal set shall hold the true class.

    Returns
    -------
    int
        Bytes of all files, which is what a visitor loads.

    Raises
    ------
    WeightsError
        If weights or graphs are missing or damaged.
    OptionError
        If the fallback does not fit the classifier, or the coverage is not between 0 and 1.
    MissingExtraError
        If the packages of the extra ``export`` are missing.
    LungclsError
        If npm is missing or fails.
    """
    checked_coverage(coverage)
    try:
        from lungcls.export.film_graphs import MEASURES, classifier_graph, gate_graph, segmenter_graph
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "onnx", "export", "building the page") from error
    stand_in = fallback_of(fallback, classifier, load_card(classifier))
    modules = _modules()
    packed: dict[str, bytes] = {}
    gate_card, gate_model = gate_graph(gate)
    segmenter_card, segmenter_model = segmenter_graph(segmenter)
    main_card, main_model = classifier_graph(classifier)
    stages = {
        "gate": _packed(gate, gate_card.name, gate_model, packed),
        "segmenter": _packed(segmenter, segmenter_card.name, segmenter_model, packed),
    }
    region = Region(**(main_card.region or {}))
    classifiers: dict[str, Any] = {
        "main": {
            **_packed(classifier, main_card.name, main_model, packed),
            "classes": main_card.classes,
            "region": region.name,
            "needs_mask": region.needs_mask,
        }
    }
    if region.needs_mask:
        other = stand_in if isinstance(stand_in, (str, Path)) else classifier
        whole_card, whole_model = classifier_graph(other, whole=True)
        classifiers["fallback"] = {
            **_packed(other, f"{whole_card.name}-whole", whole_model, packed),
            "name": whole_card.name,
            "classes": whole_card.classes,
        }
    packed["runtime.wasm"] = (modules / _RUNTIME).read_bytes()
    rules = {
        **rules_of(gate_card, coverage),
        "measures": MEASURES,
        "stages": stages,
        "classifiers": classifiers,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in packed.items()},
        "lungcls": versions()["lungcls"],
        "notice": NOTICE,
    }
    files = {f"{name}.gzip": gzip.compress(content, 9, mtime=0) for name, content in packed.items()}
    files["page.json"] = json.dumps(rules, indent=1).encode()
    files["licences.txt"] = _licences(modules).encode()
    files |= {name: (SOURCES / name).read_bytes() for name in _PLAIN}
    files |= _bundled(modules, files)
    for name, content in files.items():
        with atomic_write(Path(folder) / name) as file:
            file.write(content)
    return sum(map(len, files.values()))


def rules_of(gate: Card, coverage: float) -> dict[str, Any]:
    """Return every limit by which ``page_files/films.js`` and ``judge.js`` judge, JSON-safe.

    Parameters
    ----------
    gate : Card
        Of the gate, whose thresholds are among them.
    coverage : float
    """
    return {
        "gate": {
            "kinds": KINDS,
            "foreign": FOREIGN,
            "sure": SURE,
            "thresholds": gate.thresholds,
            "messages": MESSAGES,
        },
        "film": {name: getattr(pixels, name) for name in _FILM_LIMITS},
        "mask": {name: getattr(mask_limits, name) for name in _LIMITS},
        "MIN_SIDE": MIN_SIDE,
        "withholding": WITHHOLDING,
        "HIGH": HIGH,
        "MODERATE": MODERATE,
        "coverage": coverage,
    }


def _packed(
    weights: str | Path, name: str, model: onnx.ModelProto, packed: dict[str, bytes]
) -> dict[str, str | None]:
    """Put a graph, and the file that its weights are in, among the files; return what they are called."""
    outside = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for location in outside:
        content = (find_weights(weights).parent / location).read_bytes()
        if packed.setdefault(location, content) != content:
            raise OptionError(f"two of the weights are files of the name {location}; rename one of them")
    packed[f"{name}.onnx"] = model.SerializeToString()
    return {"name": name, "graph": f"{name}.onnx", "weights": next(iter(outside), None)}


def _modules() -> Path:
    """The folder of the fetched packages, filled once for each lock file."""
    lock = (SOURCES / "package-lock.json").read_bytes()
    kept = cache_folder() / f"page-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not kept.is_dir():
        npm = shutil.which("npm")
        if npm is None:
            raise LungclsError(
                "building the page needs npm, which is not installed; install Node.js, https://nodejs.org"
            )
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".page-") as scratch:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SOURCES / name, scratch)
            _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], Path(scratch))
            fresh = Path(scratch) / "node_modules"
            if not kept.is_dir():  # another build may have been faster
                os.replace(fresh, kept)
    return kept


def _run(command: list[str], folder: Path, **environment: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise LungclsError(
            f"{Path(command[0]).name} failed: {' '.join(last)}; building the page needs it to work"
        )


def _bundled(modules: Path, files: dict[str, bytes]) -> dict[str, bytes]:
    """Our scripts with the packages that they import, one file each."""
    names = ["./", *sorted(files), "page.js", "worker.js"]
    digest = hashlib.sha256()
    for source in sorted([*SOURCES.glob("*.js"), SOURCES / "package-lock.json"]):
        digest.update(source.read_bytes())
    for name in sorted(files):
        digest.update(files[name])
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            str(modules / ".bin" / "esbuild"),
            *(str(SOURCES / name) for name in _SCRIPTS),
            "--bundle",
            "--format=esm",
            "--minify",
            "--log-level=error",
            "--external:node:*",
            f"--define:FILES={json.dumps(names)}",
            f"--define:VERSION={json.dumps(digest.hexdigest()[:16])}",
            f"--outdir={scratch}",
        ]
        _run(command, SOURCES, NODE_PATH=str(modules))
        return {name: (Path(scratch) / name).read_bytes() for name in _SCRIPTS}


def _licences(modules: Path) -> str:
    """The terms of all that is bundled, as they ask for."""
    return "\n\n".join(f"{name}\n\n{text}" for name, text in _terms(modules))


def _terms(modules: Path) -> Iterator[tuple[str, str]]:
    lock = json.loads((SOURCES / "package-lock.json").read_text(encoding="utf-8"))
    for place, package in sorted(lock["packages"].items()):
        folder = modules / place.removeprefix("node_modules/")
        if not place or place.startswith("node_modules/@esbuild") or not folder.is_dir():
            continue
        name = place.removeprefix("node_modules/")
        licences = sorted(path for path in folder.iterdir() if path.name.lower().startswith("licen"))
        text = "\n".join(
            path.read_text(encoding="utf-8", errors="replace") for path in licences if path.is_file()
        )
        yield f"{name} {package['version']}", text or f"Licence: {package.get('license', 'see its package')}"
