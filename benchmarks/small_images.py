"""How small may a film be? Validation films are shrunk, and the answers compared with those before.

    python benchmarks/small_images.py --data DIR

Writes results/small_images.json and .csv: by side in pixels and by region, how many labels stay and how many
are right.
``lungcls.quality.MIN_SIDE`` is the smallest side from which on at least four fifths of the labels stay.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from lungcls.data import open_radiography, split_dataset
from lungcls.evaluation.results import write_results
from lungcls.images import Image, read_image
from lungcls.pipeline import Pipeline
from lungcls.prediction import Prediction
from lungcls.progress import bar
from lungcls.versions import versions

RESULTS = Path(__file__).parent / "results"
SIDES: Final = (16, 24, 32, 48, 64, 96, 128, 160, 192)


def main() -> None:
    options = options_of(__doc__)
    films, truth, about = validation_films(options)
    rows: list[dict[str, Any]] = []
    for region in ("mask", "full"):
        pipeline = Pipeline(region=region, device=options.device)
        before = [likeliest(one) for one in pipeline.predict(films)]
        for side in bar(SIDES, len(SIDES), f"shrinking, {region}"):
            after = [likeliest(one) for one in pipeline.predict([shrunk(film, side) for film in films])]
            rows.append(
                {
                    "region": region,
                    "side": side,
                    "films": len(films),
                    "labels_kept": round(float(np.mean(np.asarray(after) == before)), 4),
                    "accuracy": round(float(np.mean(np.asarray(after) == truth)), 4),
                    "accuracy_whole": round(float(np.mean(np.asarray(before) == truth)), 4),
                }
            )
    write_results(RESULTS, "small_images", rows, {**about, "rows": rows})


def options_of(document: str | None) -> argparse.Namespace:
    """Read the words of a benchmark that changes validation films."""
    parser = argparse.ArgumentParser(
        description=document, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of the radiography database, or one above it")
    parser.add_argument("--count", type=int, default=200, help="validation films, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def validation_films(options: argparse.Namespace) -> tuple[list[Image], list[str], dict[str, Any]]:
    """Draw films of the validation part: the films, their labels, and what reproduces the draw."""
    database = open_radiography(options.data)
    split = split_dataset(database)
    records = split.select(database.records, "validation")
    chosen = np.random.default_rng(options.seed).permutation(len(records))[: options.count]
    records = [records[index] for index in sorted(chosen)]
    about = {
        "part": "validation",
        "split_hash": split.hash,
        "seed": options.seed,
        "device": options.device,
        "versions": versions(),
    }
    films = [read_image(database.path(record)) for record in records]
    return films, [str(record.label) for record in records], about


def likeliest(answer: Prediction) -> str:
    """The most probable class of a film, also where its label is withheld."""
    return max(answer.probabilities, key=lambda name: answer.probabilities[name])


def shrunk(film: Image, side: int) -> Image:
    """A film whose shorter side has so many pixels."""
    scale = side / min(film.height, film.width)
    size = max(1, round(film.width * scale)), max(1, round(film.height * scale))
    small: npt.NDArray[np.float32] = np.asarray(
        PILImage.fromarray(film.pixels).resize(size, PILImage.Resampling.BILINEAR)
    )
    return replace(film, pixels=np.clip(small, 0, 1), path=None)


if __name__ == "__main__":
    main()
