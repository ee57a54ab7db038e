"""Train the network of the quality gate: ``gate.safetensors``, its card and ``gate-history.csv``.

    python scripts/train_gate.py --data DIR --out weights

DIR holds the COVID-19 Radiography Database; only its training part makes the views, and only its validation
part the thresholds. What is no X-ray is drawn (``lungcls.gate.drawings``); the few photographs among it are
those that come with scikit-learn and, where it is installed, matplotlib. About five minutes on one CPU core.
"""

from __future__ import annotations

import argparse
import logging
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_images

from lungcls.data import open_radiography
from lungcls.gate.training import GateRecipe, refit_thresholds, train_gate


def photographs() -> list[Image.Image]:
    """Photographs that come with Python packages; scikit-image's are kept for the benchmark."""
    found = [Image.fromarray(picture) for picture in load_sample_images().images]
    spec = find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "mpl-data" / "sample_data"
        paths = (folder / name for name in ("grace_hopper.jpg", "Minduka_Present_Blue_Pack.png", "logo2.png"))
        found += [Image.open(path) for path in paths if path.is_file()]
    return [picture.convert("L") for picture in found]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--out", type=Path, help="folder of the new weights")
    parser.add_argument("--refit", metavar="NAME|PATH", help="only choose the thresholds anew")
    parser.add_argument("--steps", type=int, default=GateRecipe.steps)
    parser.add_argument("--seed", type=int, default=GateRecipe.seed)
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or LUNGCLS_DATA must name the folder of the COVID-19 Radiography Database")
    if (options.out is None) == (options.refit is None):
        parser.error("give either --out or --refit")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = replace(GateRecipe(), steps=options.steps, seed=options.seed)
    if options.refit:
        refit_thresholds(recipe, open_radiography(options.data), options.refit, pictures=photographs())
        return
    path = train_gate(recipe, open_radiography(options.data), options.out, pictures=photographs())
    print(path)


if __name__ == "__main__":
    main()
