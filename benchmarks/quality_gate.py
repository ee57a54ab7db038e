"""What the quality gate accepts and refuses, set by set, and what it costs.

    python benchmarks/quality_gate.py --data DIR

DIR holds ``radiography`` and, where present, ``montgomery``, ``shenzhen``, ``covid-chestxray-dataset`` and
``coronahack``. The gate is trained on the training part of ``radiography``, on drawings and on a few
photographs (``scripts/train_gate.py``); its thresholds come from the validation part. Measured here are the
test part, the other sets (``coronahack`` and ``covid-chestxray`` share images with ``radiography``), the
pictures of scikit-image, radiology files among pydicom's tests, and drawings by other code than that of
training; the kinds ``patterns`` and ``faces`` are in no way among the training's. Which score tells best what
is out of distribution is measured on the validation part. Writes ``benchmarks/results/quality_gate.json`` and
``.csv``.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import special
from sklearn.metrics import roc_auc_score

from lungcls.data import open_radiography, split_dataset
from lungcls.evaluation.results import write_results
from lungcls.finder import Finder
from lungcls.images import find_images, read_image
from lungcls.progress import bar
from lungcls.quality import Quality
from lungcls.regions import Pixels, whole_view
from lungcls.render.tables import format_table
from lungcls.versions import versions

RESULTS = Path(__file__).parent / "results"
SEED = 0


def judged(finder: Finder, images: Sequence[Path | Pixels]) -> list[Quality]:
    """What the finder says of films, as prediction hears it."""
    qualities: list[Quality] = []
    for start in range(0, len(images), 32):
        films = [read_image(one) for one in images[start : start + 32]]
        qualities += [lungs.quality for lungs in finder.find(films)]
    return qualities


def frontal_sets(data: Path) -> Iterator[tuple[str, list[Path], str | None]]:
    """Name, files of frontal films, and hash of the split."""
    database = open_radiography(data)
    split = split_dataset(database, seed=0)
    yield (
        "radiography, test part",
        [database.path(r) for r in split.select(database.records, "test")],
        split.hash,
    )
    for name in ("montgomery", "shenzhen"):
        if (data / name / "images").is_dir():
            yield name, find_images([data / name / "images"]), None
    if (data / "covid-chestxray-dataset").is_dir():
        yield "covid-chestxray, frontal", covid_chestxray(data, ("PA", "AP", "AP Supine", "AP Erect")), None
    if (data / "coronahack").is_dir():
        yield "coronahack", find_images([data / "coronahack"]), None


def covid_chestxray(data: Path, views: Sequence[str], modality: str = "X-ray") -> list[Path]:
    """The films of the collection whose metadata name one of the views."""
    root = data / "covid-chestxray-dataset"
    with (root / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["modality"] == modality and row["view"] in views]
    return [path for row in rows if (path := root / "images" / row["filename"]).is_file()]


def skimage_pictures() -> list[Pixels]:
    """The pictures that come with scikit-image, each whole, in its quarters, on its side and mirrored."""
    import skimage.data

    found = []
    for path in sorted((Path(skimage.data.__file__).parent).glob("*.*")):
        # The TIFF files are small patterns for tests of readers.
        if path.suffix not in (".png", ".jpg", ".jpeg"):
            continue
        pixels = read_image(path).pixels
        height, width = pixels.shape
        parts = [
            pixels[y : y + height // 2, x : x + width // 2] for y in (0, height // 2) for x in (0, width // 2)
        ]
        found += [
            np.ascontiguousarray(part)
            for part in (pixels, np.rot90(pixels), pixels[:, ::-1], 1 - pixels, *parts)
            if part.min() < part.max()
        ]
    return found


def other_examinations() -> list[Pixels]:
    """Slices and drawings among pydicom's test files: CT, MR, ultrasound, and no film of a chest."""
    from pydicom.data import get_testdata_file

    names = (
        "CT_small.dcm", "MR_small.dcm", "liver_1frame.dcm", "examples_palette.dcm", "examples_rgb_color.dcm",
        "examples_jpeg2k.dcm", "JPEG-lossy.dcm", "JPGExtended.dcm", "examples_ybr_color.dcm",
    )  # fmt: skip
    found = []
    for name in names:
        path = get_testdata_file(name, download=False)
        if path is None:
            continue
        try:
            found.append(read_image(path).pixels)
        except Exception:  # a file whose codec is not installed is no question for the gate
            continue
    return found


def noise(rng: np.random.Generator) -> Pixels:
    """Noise of a chance kind, spread and grain."""
    kind = rng.integers(3)
    size = int(rng.integers(100, 400))
    field = [
        rng.random((size, size)), rng.normal(0.5, 0.15, (size, size)), rng.poisson(3, (size, size)) / 10
    ][kind]  # fmt: skip
    picture = Image.fromarray((np.clip(field, 0, 1) * 255).astype(np.uint8))
    return to_unit(picture.filter(ImageFilter.GaussianBlur(float(rng.choice([0, 0, 1, 3, 10])))))


def flat(rng: np.random.Generator) -> Pixels:
    """A grey square with a trace of noise: without any it is no image and is refused when it is read."""
    level = rng.uniform(0.05, 0.95)
    pixels = level + rng.uniform(0.001, 0.02) * rng.normal(size=(224, 224))
    return np.clip(pixels, 0, 1).astype(np.float32)


def gradient(rng: np.random.Generator) -> Pixels:
    """A ramp, a vignette or a wave."""
    x, y = np.meshgrid(np.linspace(-1, 1, 256), np.linspace(-1, 1, 256))
    a, b, c = rng.normal(size=3)
    ramp = [
        a * x + b * y,
        np.hypot(x - a / 3, y - b / 3),
        np.cos(4 * a * x + 4 * b * y + c),
        x * y * a + x * b,
    ]
    field = ramp[int(rng.integers(4))]
    return ((field - field.min()) / np.ptp(field)).astype(np.float32)


def text_page(rng: np.random.Generator) -> Pixels:
    """Random words in a random size."""
    canvas = Image.new("L", (425, 550), 255)
    draw = ImageDraw.Draw(canvas)
    height = int(rng.integers(9, 26))
    font = ImageFont.load_default(height)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    y = int(rng.integers(10, 60))
    while y < 540:
        words = ("".join(rng.choice(letters, int(rng.integers(1, 10)))) for _ in range(14))
        draw.text(
            (int(rng.integers(15, 40)), y), " ".join(words)[: 800 // height], int(rng.integers(0, 90)), font
        )
        y += int(height * 1.35) + (height if rng.random() < 0.1 else 0)
    return to_unit(canvas)


def drawing(rng: np.random.Generator) -> Pixels:
    """Faces, houses, trees, stars and scribbles in outline."""
    canvas = Image.new("L", (320, 320), int(rng.choice([255, 255, 235, 20])))
    pen = 0 if canvas.getpixel((0, 0)) != 20 else 240
    draw = ImageDraw.Draw(canvas)
    width = int(rng.integers(2, 8))
    for _ in range(int(rng.integers(1, 4))):
        cx, cy, r = (float(v) for v in rng.uniform((60, 60, 30), (260, 260, 120)))
        kind = rng.integers(5)
        if kind == 0:
            draw.ellipse((cx - r, cy - r, cx + r, cy + r), outline=pen, width=width)
            for side in (-1, 1):
                eye = cx + side * r * 0.4
                draw.ellipse((eye - 6, cy - r * 0.3 - 6, eye + 6, cy - r * 0.3 + 6), fill=pen)
            draw.arc((cx - r * 0.6, cy - r * 0.2, cx + r * 0.6, cy + r * 0.7), 20, 160, pen, width)
        elif kind == 1:
            draw.rectangle((cx - r, cy, cx + r, cy + r), outline=pen, width=width)
            draw.polygon([(cx - r, cy), (cx, cy - r), (cx + r, cy)], outline=pen, width=width)
        elif kind == 2:
            draw.line([(cx, cy + r), (cx, cy)], pen, width * 2)
            draw.ellipse((cx - r * 0.7, cy - r, cx + r * 0.7, cy + r * 0.2), outline=pen, width=width)
        elif kind == 3:
            angles = np.arange(11) * np.pi * 0.8
            draw.line([(cx + r * np.sin(a), cy - r * np.cos(a)) for a in angles], pen, width)
        else:
            walk = np.cumsum(rng.normal(0, 25, (40, 2)), axis=0) + np.array([cx, cy])
            draw.line([tuple(point) for point in walk.tolist()], pen, width, "curve")
    return to_unit(canvas)


def chart(rng: np.random.Generator) -> Pixels:
    """A pie, a histogram or a map of squares."""
    canvas = Image.new("L", (300, 240), 255)
    draw = ImageDraw.Draw(canvas)
    kind = rng.integers(3)
    if kind == 0:
        edges = [0.0, *np.sort(rng.uniform(0, 360, 5)).tolist(), 360.0]
        for start, end in pairwise(edges):
            draw.pieslice((60, 30, 240, 210), start, end, fill=int(rng.integers(30, 240)), outline=0)
    elif kind == 1:
        for index, height in enumerate(rng.gamma(3, 25, 20).tolist()):
            draw.rectangle(
                (30 + 12 * index, 220 - min(height, 200), 40 + 12 * index, 220), fill=100, outline=0
            )
    else:
        cells = rng.integers(0, 256, (8, 10)).astype(np.uint8)
        canvas.paste(Image.fromarray(cells).resize((240, 192), Image.Resampling.NEAREST), (30, 24))
    return to_unit(canvas)


def screenshot(rng: np.random.Generator) -> Pixels:
    """A window with a menu, a list and text."""
    canvas = Image.new("L", (480, 300), int(rng.choice([30, 245])))
    ink = 255 if canvas.getpixel((0, 0)) == 30 else 20
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, 480, 22), fill=int(rng.integers(60, 200)))
    draw.rectangle((0, 22, int(rng.integers(60, 160)), 300), fill=int(rng.integers(60, 220)))
    font = ImageFont.load_default(11)
    for y in range(34, 290, int(rng.integers(13, 24))):
        draw.text((8, y), "item " * int(rng.integers(1, 3)), ink, font)
        draw.text((170, y), "value of the thing " * int(rng.integers(1, 4)), ink, font)
    return to_unit(canvas)


def pattern(rng: np.random.Generator) -> Pixels:
    """Cells, spirals, mazes, tiles and hatching, of which training has none."""
    size = 224
    y, x = np.mgrid[:size, :size] / size
    kind = rng.integers(5)
    if kind == 0:
        seeds = rng.random((int(rng.integers(5, 60)), 2))
        away = np.hypot(x[..., None] - seeds[:, 0], y[..., None] - seeds[:, 1])
        field = away.argmin(-1) * 37 % 97 / 97 if rng.random() < 0.5 else np.sort(away, -1)[..., 0]
    elif kind == 1:
        turns = rng.uniform(2, 9)
        field = np.sin(np.arctan2(y - 0.5, x - 0.5) + turns * 6.28 * np.hypot(x - 0.5, y - 0.5))
    elif kind == 2:
        cells = int(rng.integers(8, 30))
        slant = np.kron(rng.random((cells, cells)) < 0.5, np.ones((size // cells + 1,) * 2))[:size, :size]
        field = np.where(slant, np.abs((x + y) * cells % 1 - 0.5), np.abs((x - y) * cells % 1 - 0.5)) < 0.12
    elif kind == 3:
        tile = Image.fromarray(rng.integers(0, 256, (6, 6)).astype(np.uint8)).resize((28, 28))
        field = np.tile(np.asarray(tile, np.float64), (8, 8))
    else:
        field = ((x * 40 + 4 * np.sin(6 * y)) % 1 < 0.4) * (0.3 + 0.7 * (np.hypot(x - 0.5, y - 0.4) < 0.3))
    field = np.asarray(field, np.float64)
    return ((field - field.min()) / max(float(np.ptp(field)), 1e-9)).astype(np.float32)


def face(rng: np.random.Generator) -> Pixels:
    """A shaded face before a wall: as symmetric as a chest, with dark places beside a bright middle."""
    y, x = np.mgrid[-1:1:240j, -1:1:200j]
    light = rng.normal(size=2) * 0.15
    field = rng.uniform(0.1, 0.9) + light[0] * x + light[1] * y
    wide, high = rng.uniform(0.45, 0.7), rng.uniform(0.6, 0.85)
    head = (x / wide) ** 2 + (y / high) ** 2
    field = np.where(head < 1, rng.uniform(0.4, 0.8) - 0.2 * head + 0.15 * x * rng.normal(), field)
    hair = (head < 1.15) & (y < -high * rng.uniform(0.3, 0.6))
    field = np.where(hair, rng.uniform(0, 0.4), field)
    for side in (-1, 1):
        eye = ((x - side * wide * 0.42) / 0.13) ** 2 + ((y + 0.12) / 0.07) ** 2
        field = np.where(eye < 1, rng.uniform(0, 0.25), field)
    field = np.where(((x / (wide * 0.4)) ** 2 + ((y - high * 0.5) / 0.06) ** 2) < 1, 0.25, field)
    shoulders = (np.abs(x) < 0.5 + 0.5 * (y - high)) & (y > high * 0.95)
    field = np.where(shoulders & (head >= 1), rng.uniform(0, 0.9), field)
    picture = Image.fromarray((np.clip(field, 0, 1) * 255).astype(np.uint8))
    return to_unit(picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 2.5)))))


def to_unit(picture: Image.Image) -> Pixels:
    return np.asarray(picture, np.float32) / np.float32(255)


DRAWN: dict[str, Callable[[np.random.Generator], Pixels]] = {
    "noise": noise,
    "flat grey": flat,
    "gradients": gradient,
    "text pages": text_page,
    "drawings": drawing,
    "charts": chart,
    "screenshots": screenshot,
    "patterns": pattern,
    "faces": face,
}


def rate(found: Sequence[bool]) -> float:
    return float(np.mean(found)) if len(found) else float("nan")


def refusals(finder: Finder) -> list[dict[str, Any]]:
    """How many pictures that are no X-rays of a chest get no label."""
    sets = {"scikit-image's pictures": skimage_pictures(), "CT, MR and other DICOM": other_examinations()}
    for number, (name, draw) in enumerate(DRAWN.items()):
        rng = np.random.default_rng([SEED, number])
        sets[name] = [pixels for pixels in (draw(rng) for _ in range(60)) if pixels.min() < pixels.max()]
    rows, every = [], []
    for name, pictures in sets.items():
        refused = [not quality.accepted for quality in judged(finder, pictures)]
        alone = [not quality.accepted for quality in judged(Finder(None, finder.gate), pictures)]
        every += refused
        rows.append(
            {
                "what": "refused",
                "set": name,
                "images": len(refused),
                "value": rate(refused),
                "gate_alone": rate(alone),
                "target": 0.99,
            }
        )
    rows.append(
        {"what": "refused", "set": "all of these", "images": len(every), "value": rate(every), "target": 0.99}
    )
    return rows


def turned(finder: Finder, name: str, films: Sequence[Pixels]) -> list[dict[str, Any]]:
    """How many films are seen to be turned or inverted, and how many are called so by name."""
    ways: dict[str, Callable[[Pixels], Pixels]] = {
        "rotated_90": lambda film: np.rot90(film),
        "rotated_180": lambda film: np.rot90(film, 2),
        "rotated_270": lambda film: np.rot90(film, 3),
        "inverted": lambda film: np.float32(1) - film,
    }
    rows = []
    for kind, change in ways.items():
        found = judged(Finder(None, finder.gate), [np.ascontiguousarray(change(film)) for film in films])
        names = [[reason.name for reason in quality.reasons] for quality in found]
        row = {
            "what": f"{kind}, seen", "set": name, "images": len(found),
            "value": rate([bool(n) for n in names]),
            "by_name": rate([kind in n for n in names]), "target": 0.95,
        }  # fmt: skip
        if kind == "inverted":
            row["corrected"] = rate([bool(quality.corrected) for quality in found])
        rows.append(row)
    return rows


def scores(found: Sequence[Quality]) -> dict[str, npt.NDArray[np.float64]]:
    """Scores by which odd films might be told from frontal ones, higher for odder."""
    symmetry = [quality.values.get("symmetry", 0.0) for quality in found]
    chest = np.array([quality.values["chest"] for quality in found])
    frontal = chest * [quality.values["frontal"] for quality in found]
    return {
        "gate: 1 - P(frontal)": 1 - frontal,
        "gate: feature distance": np.array([quality.values["distance"] for quality in found]),
        "mask: 1 - symmetry": 1 - np.array(symmetry),
        "gate and mask: 1 - P(frontal) * symmetry": 1 - frontal * np.array(symmetry),
        "gate: P(no chest)": 1 - chest,
    }


def separation(odd: dict[str, Sequence[Quality]], frontal: Sequence[Quality]) -> list[dict[str, Any]]:
    """AUROC of each score for each odd set against frontal films of the same collection."""
    rows = []
    usual = scores(frontal)
    for name, found in odd.items():
        if not found:
            continue
        for score, values in scores(found).items():
            truth = np.concatenate([np.ones(len(values)), np.zeros(len(usual[score]))])
            area = roc_auc_score(truth, np.concatenate([values, usual[score]]))
            rows.append({"what": f"AUROC, {score}", "set": name, "images": len(values), "value": float(area)})
        rows.append(
            {
                "what": "flagged or refused",
                "set": name,
                "images": len(found),
                "value": rate([not q.ok for q in found]),
            }
        )
        rows.append(
            {
                "what": "refused",
                "set": name,
                "images": len(found),
                "value": rate([not q.accepted for q in found]),
            }
        )
    return rows


def novelty(finder: Finder, data: Path, device: str) -> list[dict[str, Any]]:
    """Which score tells what is out of the training data's distribution: the choice behind the gate's.

    On validation films, against odd versions of the same films and drawings, none of them in training.
    """
    from lungcls.classifier import Classifier
    from lungcls.gate.drawings import ct_slice, stranger
    from lungcls.regions import view

    database = open_radiography(data)
    records = split_dataset(database, seed=0).select(database.records, "validation")
    films = [read_image(database.path(record)).pixels for record in records[:: max(1, len(records) // 200)]]
    rng = np.random.default_rng(SEED + 1)
    odd = {
        "turned films": [
            np.ascontiguousarray(np.rot90(film, 1 + n % 3)) for n, film in enumerate(films[::2])
        ],
        "inverted films": [np.float32(1) - film for film in films[::2]],
        "parts of films": [film[: film.shape[0] * 3 // 5, : film.shape[1] * 3 // 5] for film in films[::2]],
        "drawn CT slices": [ct_slice(rng, 224).astype(np.float32) / 255 for _ in range(60)],
        "drawn strangers": [stranger(rng, 224).astype(np.float32) / 255 for _ in range(150)],
    }
    classifier = Classifier.load("classifier-full", device)

    def scored(pictures: Sequence[Pixels]) -> dict[str, npt.NDArray[np.float64]]:
        assert finder.gate is not None
        outputs = finder.gate.outputs(
            np.stack([whole_view(p, finder.gate.card.input_size)[0] for p in pictures])
        )
        size, region = classifier.card.input_size, classifier.region
        views = [view(picture, None, region, size) for picture in pictures]
        logits = np.concatenate(
            [classifier.logits(np.stack(views[i : i + 32])) for i in range(0, len(views), 32)]
        )
        chest = special.softmax(outputs[:, :-1], axis=1)
        return {
            "gate: 1 - P(frontal)": 1 - chest[:, 0],
            "gate: feature distance": outputs[:, -1],
            "gate: energy of the frontal logit": -outputs[:, 0],
            "classifier: energy": -special.logsumexp(logits, axis=1),
            "classifier: 1 - highest probability": 1 - special.softmax(logits, axis=1).max(1),
        }

    usual, rows = scored(films), []
    for name, pictures in odd.items():
        for score, values in scored([p for p in pictures if p.min() < p.max()]).items():
            truth = np.concatenate([np.ones(len(values)), np.zeros(len(films))])
            area = float(roc_auc_score(truth, np.concatenate([values, usual[score]])))
            missed = float((values <= np.quantile(usual[score], 0.95)).mean())
            rows.append(
                {
                    "what": f"AUROC, {score}",
                    "set": f"validation films against {name}",
                    "images": len(values),
                    "value": area,
                    "missed_at_5_percent_false_alarms": missed,
                }
            )
    return rows


def cost(finder: Finder, paths: Sequence[Path], device: str) -> list[dict[str, Any]]:
    """Time of predictions with and without the gate, taken in turns: a busy machine is fair to both."""
    from lungcls.pipeline import Pipeline

    rows = []
    pipes = {
        name: Pipeline(gate=one, segmenter=finder.segmenter, device=device)
        for name, one in (("with", finder.gate), ("without", None))
    }
    for label, files in (("of the set", [str(path) for path in paths]),):
        taken: dict[str, list[float]] = {name: [] for name in pipes}
        for turn in range(9):
            for name, pipe in pipes.items():
                start = time.process_time()
                list(pipe.stream(files, batch_size=16))
                if turn:
                    taken[name].append((time.process_time() - start) / len(files))
        plain = float(np.median(taken["without"]))
        extra = float(np.median(np.subtract(taken["with"], taken["without"]))) / plain
        rows += [
            {
                "what": "CPU ms an image, without gate",
                "set": label,
                "images": len(files),
                "value": 1000 * plain,
            },
            {
                "what": "added by the gate, share",
                "set": label,
                "images": len(files),
                "value": extra,
                "target": 0.05,
            },
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--gate", default="gate", help="weights of the gate, by name or path")
    parser.add_argument("--segmenter", default="segmenter", help="weights of stage 1, by name or path")
    parser.add_argument("--most", type=int, default=0, help="films a set at most, evenly spaced; 0 for all")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or LUNGCLS_DATA must name the folder that holds radiography")
    data, start = Path(options.data), time.perf_counter()
    finder = Finder.load(options.segmenter, options.gate, options.device)
    assert finder.segmenter is not None
    assert finder.gate is not None
    rows: list[dict[str, Any]] = []
    split_hash = None
    for name, paths, hashed in frontal_sets(data):
        split_hash = split_hash or hashed
        if options.most:
            paths = paths[:: max(1, len(paths) // options.most)]
        found: list[Quality] = []
        by_gate: list[Quality] = []
        for first in bar(range(0, len(paths), 64), -(-len(paths) // 64), name):
            found += judged(finder, paths[first : first + 64])
            by_gate += judged(Finder(None, finder.gate), paths[first : first + 64])
        named = [[reason.name for reason in quality.reasons] for quality in found]
        gate_ok = [quality.accepted and quality.ok for quality in by_gate]
        rows += [
            {
                "what": "accepted (a label is given)",
                "set": name,
                "images": len(found),
                "value": rate([q.accepted for q in found]),
                "target": 0.97,
            },
            {
                "what": "accepted and not flagged by the gate",
                "set": name,
                "images": len(found),
                "value": rate(gate_ok),
                "target": 0.97,
            },
            {
                "what": "nothing wrong, mask included",
                "set": name,
                "images": len(found),
                "value": rate([q.ok for q in found]),
            },
            *(
                {
                    "what": f"reason {reason}",
                    "set": name,
                    "images": len(found),
                    "value": rate([reason in n for n in named]),
                }
                for reason in sorted({reason for n in named for reason in n})
            ),
        ]
        films = [read_image(path).pixels for path in paths[:: max(1, len(paths) // 400)]]
        rows += turned(finder, name, films)
        if name.startswith("covid-chestxray"):
            lateral = judged(finder, covid_chestxray(data, ("L",)))
            slices = judged(finder, covid_chestxray(data, ("Axial", "Coronal"), "CT"))
            rows += separation({"covid-chestxray, lateral": lateral, "covid-chestxray, CT": slices}, found)
        if name.startswith("radiography"):
            rows += cost(finder, paths[:32], options.device)
    rows += refusals(finder)
    rows += novelty(finder, data, options.device)
    payload = {
        "command": "python benchmarks/quality_gate.py --data DIR",
        "seed": SEED,
        "split_hash": split_hash,
        "films_a_set_at_most": options.most or None,
        "gate": {
            "name": finder.gate.card.name, "sha256": finder.gate.card.sha256,
            "thresholds": finder.gate.card.thresholds,
        },
        "segmenter": {"name": finder.segmenter.card.name, "sha256": finder.segmenter.card.sha256},
        "device": finder.gate.device,
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "duration_s": round(time.perf_counter() - start, 1),
        "rows": rows,
    }  # fmt: skip
    write_results(options.out, "quality_gate", rows, payload)
    print(format_table(rows))


if __name__ == "__main__":
    main()
