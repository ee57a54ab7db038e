"""What an installation weighs on disk: the default one, one with torch's CPU build, and one without torch.

    python benchmarks/install_size.py [--torch-cpu 'torch==A+cpu' 'torchvision==B+cpu' --find-links DIR]

Makes a new virtual environment for each by uv, installs this checkout into it, predicts the phantom of the
documentation there, and writes ``benchmarks/results/install_size.json``: bytes of all files of the
environment, packages, torch's version, and what was answered. The CPU build is measured where ``--torch-cpu``
names both packages: a torchvision of another build does not run. Nothing is drawn at random.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lungcls.evaluation.results import write_results
from lungcls.versions import versions

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
FILM = "docs/phantom.png"

PREDICT = f"""
import json, lungcls
p = lungcls.predict({FILM!r}, device="cpu")
print(json.dumps([p.label, round(p.probabilities[p.label], 3)]))
"""


def uv(*words: str | Path) -> str:
    """Run uv from the checkout and return what it prints."""
    command = [sys.executable, "-m", "uv", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def measure(name: str, installs: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Install step by step into a new environment, and measure it."""
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "environment"
        uv("venv", "--python", sys.executable, environment)
        python = environment / "bin" / "python"
        start = time.perf_counter()
        for words in installs:
            uv("pip", "install", "--python", python, *words)
        seconds = time.perf_counter() - start
        packages = json.loads(uv("pip", "list", "--python", python, "--format", "json"))
        done = subprocess.run([python, "-c", PREDICT], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr}")
        size = sum(
            one.stat().st_size for one in environment.rglob("*") if one.is_file() and not one.is_symlink()
        )
        return {
            "install": name,
            "commands": [f"pip install {' '.join(words)}" for words in installs],
            "bytes": size,
            "packages": len(packages),
            "torch": next((one["version"] for one in packages if one["name"] == "torch"), None),
            "answer": json.loads(done.stdout),
            "seconds": round(seconds, 1),
        }


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch-cpu", nargs="+", metavar="REQUIREMENT", help="of torch and of torchvision")
    parser.add_argument("--find-links", metavar="DIR_OR_URL", default="", help="where the CPU build is")
    asked = parser.parse_args()
    rows = [measure("default", [["."]])]
    if asked.torch_cpu:
        links = ["--find-links", asked.find_links] if asked.find_links else []
        rows.append(measure("cpu", [[*links, *asked.torch_cpu], ["."]]))
        rows[-1]["commands"][0] = (
            f"pip install {' '.join(asked.torch_cpu)}"  # where from is this machine's own
        )
    rows.append(measure("light", [["--no-deps", "."], ["-r", "requirements-light.txt"]]))
    payload = {
        "film": FILM,
        "seed": None,
        "split_hash": None,
        "device": "cpu",
        "versions": versions(),
        "installs": rows,
    }
    table = [{key: row[key] for key in ("install", "bytes", "packages", "torch", "seconds")} for row in rows]
    for path in write_results(RESULTS, "install_size", table, payload):
        print(path)


if __name__ == "__main__":
    main()
