"""Does an answer hang on how a film was kept? Validation films are changed, and the answers compared.

    python benchmarks/constancy.py --data DIR

No change takes anything from a film that a reader would miss: other grey levels, other pixels, another
compression. Writes results/constancy.json and .csv: by change and by region, how many labels change, with an
exact 95% interval, how many are right, and how many of the changed films are named as doubtful.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from small_images import likeliest, options_of, shrunk, validation_films
from statsmodels.stats.proportion import proportion_confint

from lungcls.evaluation.results import write_results
from lungcls.images import Image
from lungcls.pipeline import Pipeline
from lungcls.prediction import Prediction
from lungcls.progress import bar
from lungcls.render.tables import format_table

RESULTS = Path(__file__).parent / "results"

Pixels = npt.NDArray[np.float32]


def toned(change: Callable[[Pixels], Any]) -> Callable[[Image], Image]:
    """A change of grey levels alone."""
    return lambda film: replace(film, pixels=np.clip(change(film.pixels), 0, 1, dtype=np.float32), path=None)


def windowed(pixels: Pixels) -> Pixels:
    """As a DICOM window that cuts 2% at each end."""
    low, high = np.percentile(pixels, (2, 98))
    return (pixels - np.float32(low)) / np.float32(max(high - low, 1e-6))


def compressed(film: Image, quality: int = 50) -> Image:
    """A film after a JPEG of that quality."""
    buffer = io.BytesIO()
    PILImage.fromarray(np.rint(film.pixels * 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return replace(film, pixels=np.asarray(PILImage.open(buffer), np.float32) / np.float32(255), path=None)


def oblong(film: Image, aspect: float) -> Image:
    """A film whose rows are `aspect` times as far apart as its columns, as its file says."""
    size = film.width, max(1, round(film.height / aspect))
    rows = np.asarray(PILImage.fromarray(film.pixels).resize(size, PILImage.Resampling.BILINEAR))
    return replace(film, pixels=np.clip(rows, 0, 1), path=None, pixel_aspect=film.height / size[1])


CHANGES: Final[dict[str, Callable[[Image], Image]]] = {
    "12 bits in 16": toned(lambda pixels: pixels / 16),
    "14 bits in 16": toned(lambda pixels: pixels / 4),
    "gain 0.3": toned(lambda pixels: pixels * 0.3),
    "gain 0.5": toned(lambda pixels: pixels * 0.5),
    "gain 0.7": toned(lambda pixels: pixels * 0.7),
    "0.3 added to gain 0.4": toned(lambda pixels: 0.3 + pixels * 0.4),
    "window that cuts 2%": toned(windowed),
    "gamma 0.7": toned(lambda pixels: pixels**0.7),
    "gamma 1.4": toned(lambda pixels: pixels**1.4),
    "JPEG 50": compressed,
    "half of the pixels": lambda film: shrunk(film, min(film.height, film.width) // 2),
    "rows 1.5 times apart": lambda film: oblong(film, 1.5),
    "rows 2 times apart": lambda film: oblong(film, 2.0),
}


def row_of(
    region: str, change: str, before: npt.NDArray[np.str_], after: list[Prediction], truth: list[str]
) -> dict[str, Any]:
    """The figures of one change."""
    now = np.array([likeliest(one) for one in after])
    differ = before != now
    low, high = proportion_confint(int(differ.sum()), len(after), method="beta")
    return {
        "region": region,
        "change": change,
        "films": len(after),
        "labels that change": round(float(differ.mean()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "right before": round(float((before == truth).mean()), 4),
        "right after": round(float((now == truth).mean()), 4),
        "named as doubtful": round(float(np.mean([not one.quality.ok for one in after])), 4),
    }


def main() -> None:
    options = options_of(__doc__)
    films, truth, about = validation_films(options)
    rows = []
    for region in ("mask", "full"):
        pipeline = Pipeline(region=region, device=options.device)
        before = np.array([likeliest(one) for one in pipeline.predict(films)])
        for change in bar(CHANGES, len(CHANGES), f"changed films, {region}"):
            after = pipeline.predict([CHANGES[change](film) for film in films])
            rows.append(row_of(region, change, before, after, truth))
    command = f"python benchmarks/constancy.py --data DIR --count {options.count}"
    write_results(RESULTS, "constancy", rows, {**about, "command": command, "rows": rows})
    print(format_table(rows))


if __name__ == "__main__":
    main()
