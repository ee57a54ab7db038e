"""How true lung masks are made up: the measurements behind the thresholds of ``lungcls.quality``.

    python scripts/mask_statistics.py --data DIR

DIR holds the datasets, each in a folder of its own: ``radiography`` (the COVID-19 Radiography Database),
``montgomery`` and ``shenzhen`` (with ``images`` and ``masks``); those that are missing are left out. The
limits stand on the training part of the first alone (``train``); other masks only show how many miss them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage import measure

from lungcls.data import open_dataset, split_dataset
from lungcls.data.splits import PARTS
from lungcls.files import atomic_write
from lungcls.quality.mask import (
    MAX_AREA,
    MAX_BORDER,
    MAX_TILT,
    MIN_AREA,
    MIN_BALANCE,
    MIN_COMPACTNESS,
    MIN_MERGED_WIDTH,
    MIN_SYMMETRY,
    mask_quality,
)
from lungcls.regions import Mask

TRAINED = "radiography"
DATASETS = (TRAINED, "montgomery", "shenzhen")
PERCENTILES = (0, 0.1, 1, 5, 50, 95, 99, 99.9, 100)
RESULT = Path(__file__).parent.parent / "benchmarks" / "results" / "mask_statistics.json"


MEASURES = ("border", "compactness", "tilt", "symmetry")
LIMITS = {
    "mask_too_large": MAX_AREA,
    "cut_off": MAX_BORDER,
    "ragged_mask": MIN_COMPACTNESS,
    "tilted": MAX_TILT,
    "asymmetric": MIN_SYMMETRY,
}


def figures(mask: Mask) -> tuple[float, ...]:
    """Area, parts, balance, width over height of either lung and of both together, and the gate's measures.

    Last comes for each of LIMITS whether the mask misses it.
    """
    parts = sorted(measure.regionprops(measure.label(mask, connectivity=1)), key=lambda part: -part.area)
    boxes = np.array([part.bbox for part in parts[:2]])
    both = (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0))
    balance = parts[1].area / parts[0].area if len(parts) > 1 else 0.0
    shapes = (shape(boxes[0]), shape(boxes[-1]), shape(both))
    found = mask_quality(mask)
    measured = (found.values.get(name, np.nan) for name in MEASURES)
    missed = {reason.name for reason in found.reasons}
    return (float(mask.mean()), len(parts), balance, *shapes, *measured, *(name in missed for name in LIMITS))


def shape(box: Any) -> float:
    top, left, bottom, right = box
    return float((right - left) / (bottom - top))


def summary(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    area, parts, balance, first, second, both, *others = values.T
    measures, limits = others[: len(MEASURES)], others[len(MEASURES) :]
    single = np.concatenate([first, second])
    spread = {"area": area, "parts": parts, "balance": balance, "lung_shape": single, "pair_shape": both}
    spread |= dict(zip(MEASURES, measures))
    return {
        "masks": len(values),
        "percentiles": {
            name: {str(p): round(float(np.nanpercentile(column, p)), 4) for p in PERCENTILES}
            for name, column in spread.items()
        },
        "missed": {
            f"area < {MIN_AREA}": int((area < MIN_AREA).sum()),
            f"balance < {MIN_BALANCE}": int((balance < MIN_BALANCE).sum()),
            f"lung_shape >= {MIN_MERGED_WIDTH}": int((single >= MIN_MERGED_WIDTH).sum()),
            f"pair_shape < {MIN_MERGED_WIDTH}": int((both < MIN_MERGED_WIDTH).sum()),
            **{
                f"{name} ({limit})": int(column.sum())
                for (name, limit), column in zip(LIMITS.items(), limits)
            },
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    found: dict[str, npt.NDArray[np.float64]] = {}
    result: dict[str, Any] = {"limits_set_on": "train"}
    for name in DATASETS:
        if not (options.data / name).is_dir():
            print(f"{name}: not in {options.data}, left out")
            continue
        dataset = open_dataset(options.data / name)
        parts = {name: dataset.records}
        if name == TRAINED:
            split = split_dataset(dataset, seed=0)
            parts = {part: split.select(dataset.records, part) for part in PARTS}
            result["split_hash"] = split.hash
        for part, records in parts.items():
            rows = [figures(dataset.read_mask(record)) for record in records if record.mask]
            found[part] = np.array(rows, np.float64)
    if not found:
        parser.error(f"{options.data} holds none of {', '.join(DATASETS)}")
    result |= {name: summary(values) for name, values in found.items()}
    judged = [values for name, values in found.items() if name != "train"]
    if judged:
        result["judged_on"] = summary(np.concatenate(judged))
    with atomic_write(options.out, "w") as file:
        file.write(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: one["missed"] for name, one in result.items() if "missed" in one}, indent=1))


if __name__ == "__main__":
    main()
