"""Does the suite of shortcut checks work? Shortcuts are planted, networks trained, and the checks asked.

    python benchmarks/judge.py --work DIR [--data DIR] [--kinds NAME...] [--strengths S...] [--seeds N]

A world has films of two classes with a disease, a blob high or low in a lung, that is always there, and one
planted shortcut. A strength s lets the shortcut agree with the class on (1 + s) / 2 of the films: at 0 it
tells nothing (the honest worlds, which have the same paint), at 1 it tells all. A small network is trained on
each world from nothing and examined by all checks that need no training. How far it took the shortcut is
measured beside: the share of its answers that change when the shortcut alone is turned round (``reliance``).

Films are phantoms; with ``--data`` they are films of radiography with masks, their own findings left out of
account. Each world's result is kept in ``--work``, and a second start goes on. Writes
``results/judge_phantoms.json`` and ``.csv`` (``judge_films*`` with ``--data``) and the table of
``benchmarks/README.md``; ``--table`` only that.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from marks import between_marks
from PIL import Image
from scipy import ndimage
from scipy.stats import binomtest
from skimage.transform import resize
from torch import nn

from lungcls.data import RadiographyDatabase, Split, open_radiography
from lungcls.data.views import drawn_lungs
from lungcls.evaluation.results import write_results
from lungcls.files import write_json, write_text
from lungcls.images import read_image
from lungcls.phantom import chest_phantom
from lungcls.progress import bar
from lungcls.regions import Region, view
from lungcls.render.tables import format_table
from lungcls.shortcuts import ModuleSubject
from lungcls.shortcuts.check import Audit, choose_checks
from lungcls.shortcuts.suite import examine
from lungcls.study.study import Study
from lungcls.versions import versions

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent / "README.md"
CLASSES: Final = ("COVID", "Normal")
SIDE: Final = 64
FILMS: Final = {"train": 480, "test": 240}
STRENGTHS: Final = (0.2, 0.4, 0.6, 0.8, 1.0)
STRONG: Final = 0.8
SEEDS: Final = 2  # honest worlds of each kind of paint
STEPS: Final = 300
RESAMPLES: Final = 300
PER_PAIR: Final = 40

Pixels = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Paint = Callable[[Pixels, Mask, np.random.Generator], tuple[Pixels, Mask]]


def marker(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Put a white letter beside the shoulder."""
    image[4:10, 5:7] = image[8:10, 5:10] = 0.97
    return image, mask


def border(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Leave a grey margin, as a scanner does."""
    image[:4] = image[-4:] = 0.45
    return image, mask


def collimation(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Black out the sides."""
    image[:, :3] = image[:, -3:] = 0.0
    return image, mask


def grain(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Add the grain of another detector."""
    return image + 0.06 * rng.normal(size=image.shape), mask


def tone(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Give the film another grey curve."""
    return np.clip(image, 0, 1) ** 0.7, mask


def sharpness(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Take the finest details away."""
    return ndimage.gaussian_filter(image, 0.8), mask


def compression(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Keep the film as a poor JPEG."""
    file = io.BytesIO()
    Image.fromarray(_grey(image)).save(file, "JPEG", quality=12)
    return np.asarray(Image.open(file)) / 255.0, mask


def outline(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Cut the bases off the mask, as a dense effusion does."""
    rows = np.flatnonzero(mask.any(1))
    cut = mask.copy()
    cut[int(rows[0] + 0.8 * len(rows)) :] = False
    return image, cut


def scale(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Show the chest smaller, as another distance does."""
    return _shrunk(image, 0.85, 0.85), _shrunk(mask, 0.85, 0.85)


def size(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Make the chest less high than wide, as a child's is."""
    return _shrunk(image, 0.8, 1.0), _shrunk(mask, 0.8, 1.0)


def texture(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Lay a fine pattern over the lungs."""
    return image + 0.05 * mask * rng.choice([-1.0, 1.0], image.shape), mask


def lung_tone(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Brighten the lungs alone."""
    return image + 0.08 * mask, mask


def tube(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Let a tube come down from the neck."""
    column = SIDE // 2 + int(rng.integers(-2, 3))
    image[: SIDE // 2, column : column + 2] = 0.97
    return image, mask


def labels(image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Mark the lungs of the hospital whose labels are wrong."""
    return image + 0.06 * mask, mask


@dataclass(frozen=True)
class Kind:
    """A shortcut: how it is painted, what the network sees, and whether it goes with the source.

    Of ``mislabelled`` worlds it is the source that is painted, and its films' labels that agree with it.
    """

    paint: Paint
    region: str
    with_source: bool = False
    mislabelled: bool = False


KINDS: Final[dict[str, Kind]] = {
    "marker": Kind(marker, "full"),
    "border": Kind(border, "full"),
    "collimation": Kind(collimation, "full"),
    "tube": Kind(tube, "full"),
    "scale": Kind(scale, "full"),
    "source grain, whole film": Kind(grain, "full", with_source=True),
    "source grain, lungs": Kind(grain, "mask", with_source=True),
    "tone": Kind(tone, "mask"),
    "lung tone": Kind(lung_tone, "mask"),
    "sharpness": Kind(sharpness, "mask"),
    "compression": Kind(compression, "mask"),
    "outline": Kind(outline, "mask"),
    "size": Kind(size, "mask"),
    "texture": Kind(texture, "mask"),
    "label noise by source": Kind(labels, "mask", with_source=True, mislabelled=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="folder of finished worlds; what it holds is not made anew")
    parser.add_argument("--data", help="folder of the radiography database, or one above it")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--strengths", nargs="+", type=float, default=list(STRENGTHS))
    parser.add_argument("--seeds", type=int, default=SEEDS, help="honest worlds of each kind")
    parser.add_argument(
        "--part", nargs=2, type=int, default=(0, 1), metavar=("K", "N"), help="every Nth world"
    )
    parser.add_argument("--table", action="store_true", help="write the table from the result files alone")
    options = parser.parse_args()
    options.part = tuple(options.part)
    name = "judge_films" if options.data else "judge_phantoms"
    if not options.table:
        if options.work is None:
            parser.error("--work is needed")
        run(options, name)
    if (RESULTS / f"{name}.json").is_file() and options.part == (0, 1):
        results = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        write_text(README, between_marks(README.read_text(encoding="utf-8"), name, table(results)))


def run(options: argparse.Namespace, name: str) -> None:
    """Make the worlds that are not made yet, and the tables of all."""
    torch.set_num_threads(1)
    worlds = [(kind, strength, 0) for kind in options.kinds for strength in options.strengths]
    worlds += [(kind, 0.0, seed) for kind in options.kinds for seed in range(options.seeds)]
    chests = real_chests(options.data) if options.data else phantom_chests()
    folder = Path(options.work) / name
    folder.mkdir(parents=True, exist_ok=True)
    mine = worlds[options.part[0] :: options.part[1]]
    for kind, strength, seed in bar(mine, len(mine), "planting shortcuts"):
        if not (kept := _kept(folder, kind, strength, seed)).is_file():
            result = judged(kind, strength, seed, chests, folder)
            write_json(kept, result)
    if options.part == (0, 1):
        results = [json.loads(_kept(folder, *world).read_text(encoding="utf-8")) for world in worlds]
        rows = [
            {key: value for key, value in result.items() if key != "verdicts"} | result["verdicts"]
            for result in results
        ]
        about = {
            "films": FILMS,
            "side": SIDE,
            "steps": STEPS,
            "n_resamples": RESAMPLES,
            "strong": STRONG,
            "versions": versions(),
            "device": "cpu",
        }
        write_results(RESULTS, name, rows, {**about, **summary(results), "worlds": results})


def _kept(folder: Path, kind: str, strength: float, seed: int) -> Path:
    return folder / f"{kind.replace(' ', '-').replace(',', '')}-{strength:g}-{seed}.json"


def phantom_chests(count: int = sum(FILMS.values())) -> list[tuple[Pixels, Mask]]:
    """Draw one chest a film; clouds of its own make each one another person."""
    chests = []
    for number in range(count):
        phantom = chest_phantom(SIDE, seed=number, letter=None)
        clouds = ndimage.gaussian_filter(np.random.default_rng(number).normal(size=(SIDE, SIDE)), 2)
        chests.append((phantom.image + 0.04 * clouds / clouds.std(), phantom.mask))
    return chests


def real_chests(data: str) -> list[tuple[Pixels, Mask]]:
    """Read healthy adults' films with masks, one of each group, small."""
    database = open_radiography(data)
    wanted, chests, groups = sum(FILMS.values()), [], set()
    for record in database.records:
        if (
            record.label == "Normal"
            and record.mask
            and record.source == "rsna"
            and record.group not in groups
        ):
            groups.add(record.group)
            pixels = resize(read_image(database.path(record)).pixels, (SIDE, SIDE), anti_aliasing=True)
            mask = resize(database.read_mask(record).astype(float), (SIDE, SIDE), anti_aliasing=True) > 0.5
            chests.append((pixels.astype(float), mask))
            if len(chests) == wanted:
                return chests
    raise SystemExit(f"{data}: {len(chests)} healthy films with masks, {wanted} are needed")


def judged(
    kind: str, strength: float, seed: int, chests: Sequence[tuple[Pixels, Mask]], folder: Path
) -> dict[str, Any]:
    """Plant one world, train a network in it and examine it."""
    began = time.perf_counter()
    entropy = int(hashlib.sha256(f"{kind} {strength:g} {seed}".encode()).hexdigest()[:8], 16)
    rng = np.random.default_rng(entropy)
    plan = plan_of(KINDS[kind], strength, rng)
    root = folder / f"world-{entropy}"
    database, split = _written(root, KINDS[kind], plan, chests, entropy)
    try:
        region = Region(KINDS[kind].region)
        network = _trained(database, split, region, entropy % 2**31)
        subject = ModuleSubject(network, CLASSES, SIDE, region=region, name=f"{kind} {strength:g}")
        records = split.select(database.records, "test")
        study = Study(database, records, drawn_lungs(database, records), split, "test", n_resamples=RESAMPLES)
        checks = [check.name for check in choose_checks() if check.name not in ("external", "trust_abroad")]
        examination = examine(subject, study, checks=checks, audit=Audit(per_pair=PER_PAIR))
        test = [film for film in plan if film["part"] == "test"]
        turned = [{**film, "planted": not film["planted"]} for film in test]
        answers = [
            _answers(subject, KINDS[kind], films, chests, entropy).argmax(1) for films in (test, turned)
        ]
    finally:
        shutil.rmtree(root)
    truth = np.asarray([film["disease"] for film in test])
    return {
        "kind": kind,
        "region": KINDS[kind].region,
        "strength": strength,
        "seed": seed,
        "accuracy": round(float((answers[0] == truth).mean()), 4),
        "reliance": round(float((answers[0] != answers[1]).mean()), 4),
        "failed": [one.name for one in examination.checks if one.verdict == "fail"],
        "verdicts": {one.name: one.verdict for one in examination.checks},
        "seconds": round(time.perf_counter() - began, 1),
    }


def plan_of(kind: Kind, strength: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Say of each film what it shows: the disease, the shortcut, its source, part and label."""
    plan = []
    for number in range(sum(FILMS.values())):
        disease = number % 2
        agrees = rng.random() < (1 + strength) / 2
        planted = bool(disease) == agrees
        source = int(planted) if kind.with_source else int(rng.integers(2))
        stated = disease
        if kind.mislabelled:  # the source says nothing of the disease, but its labels are bent towards it
            source = int(rng.integers(2))
            planted = bool(source)
            stated = source if rng.random() < strength / 2 else disease
        part = "train" if number < FILMS["train"] else "test"
        plan.append(
            {
                "number": number,
                "disease": disease,
                "label": stated if part == "train" or kind.mislabelled else disease,
                "planted": planted,
                "source": source,
                "part": part,
            }
        )
    return plan


def picture(
    kind: Kind, film: dict[str, Any], chests: Sequence[tuple[Pixels, Mask]], entropy: int
) -> tuple[Pixels, Mask]:
    rng = np.random.default_rng((entropy, film["number"]))
    image, mask = chests[film["number"]]
    image = _with_disease(image.copy(), mask, film["disease"], rng)
    if film["planted"]:
        image, mask = kind.paint(image, mask, rng)
    return np.clip(image, 0.0, 1.0), mask


def _with_disease(image: Pixels, mask: Mask, disease: int, rng: np.random.Generator) -> Pixels:
    """Put a bright blob high or low in one lung; its size and brightness tell nothing of the class."""
    rows = np.flatnonzero(mask.any(1))
    row = rows[0] + (0.35 if disease == 0 else 0.68) * len(rows)
    columns = np.flatnonzero(mask[int(row)])
    column = columns[int((0.2 if rng.random() < 0.5 else 0.8) * len(columns))]
    y, x = np.mgrid[:SIDE, :SIDE]
    width = rng.uniform(3.0, 5.0)
    bright = rng.uniform(0.06, 0.22) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * width**2))
    return np.where(mask, image + bright, image)


def _written(
    root: Path, kind: Kind, plan: list[dict[str, Any]], chests: Sequence[tuple[Pixels, Mask]], entropy: int
) -> tuple[RadiographyDatabase, Split]:
    """Write a world as a dataset."""
    rows, parts = [], {}
    for film in plan:
        name = CLASSES[film["label"]]
        file = f"{name}/images/{name}-{film['number']}.png"
        drawn = file.replace("images", "masks")
        shown, mask = picture(kind, film, chests, entropy)
        for path, pixels in ((file, shown), (drawn, mask)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_grey(pixels)).save(root / path)
        parts[file] = film["part"]
        origin = {"source": ("rsna", "kermany")[film["source"]], "processing": "ac"[film["source"]]}
        rows.append({"file": file, "label": name, "mask": drawn, "group": file, "patient": "", **origin})
    with (root / "manifest.csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return RadiographyDatabase(root), Split(parts, {file: file for file in parts})


def _answers(
    subject: ModuleSubject,
    kind: Kind,
    films: list[dict[str, Any]],
    chests: Sequence[tuple[Pixels, Mask]],
    entropy: int,
) -> npt.NDArray[np.float32]:
    pictures = [picture(kind, film, chests, entropy) for film in films]
    shown = [(_grey(image).astype(np.float32) / 255, mask) for image, mask in pictures]
    return subject.logits(np.stack([view(image, mask, subject.region, SIDE) for image, mask in shown]))


def _trained(database: RadiographyDatabase, split: Split, region: Region, seed: int) -> nn.Module:
    """Train a small network as a user would: shifts, flips of brightness and noise against overfitting."""
    records = split.select(database.records, "train")
    views = np.stack(
        [view(read_image(database.path(r)).pixels, database.read_mask(r), region, SIDE) for r in records]
    )
    truth = torch.tensor([CLASSES.index(r.label) for r in records])
    batch = torch.from_numpy(views).float().div(255).sub(0.5).div(0.25).unsqueeze(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            *_block(1, 16), *_block(16, 32), *_block(32, 48), nn.AdaptiveAvgPool2d((4, 4)), nn.Flatten(),
            nn.Dropout(0.3), nn.Linear(48 * 16, len(CLASSES)),
        )  # fmt: skip
        optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS)
        for _ in range(STEPS):
            chosen = torch.randint(len(batch), (48,))
            way = torch.randint(-2, 3, (2,)).tolist()
            shown = torch.roll(batch[chosen], way, (2, 3))
            shown = shown * (0.9 + 0.2 * torch.rand(48, 1, 1, 1)) + 0.1 * torch.randn(48, 1, 1, 1)
            loss = nn.functional.cross_entropy(network(shown), truth[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def _block(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def _grey(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.rint(np.clip(pixels.astype(float), 0, 1) * 255).astype(np.uint8)


def _shrunk(picture: npt.NDArray[Any], down: float, across: float) -> npt.NDArray[Any]:
    """Shrink what a picture shows, in a picture of the same size whose edges are drawn on."""
    height, width = round(SIDE * down), round(SIDE * across)
    small = resize(picture.astype(float), (height, width), anti_aliasing=True)
    above, left = (SIDE - height) // 2, (SIDE - width) // 2
    sides = ((above, SIDE - height - above), (left, SIDE - width - left))
    if picture.dtype == bool:
        return np.pad(small, sides) > 0.5
    return np.pad(small, sides, mode="edge")


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Say how many cheats are found and how many honest networks are failed."""
    strong = [one for one in results if one["strength"] >= STRONG]
    relying = [one for one in strong if one["reliance"] >= 0.1]
    honest = [one for one in results if one["strength"] == 0]
    alarming = {name for one in honest for name in one["failed"]}
    asked = [verdict for one in honest for verdict in one["verdicts"].values() if verdict != "not applicable"]
    return {
        "strong_found": _share([bool(one["failed"]) for one in strong]),
        "relying_found": _share([bool(one["failed"]) for one in relying]),
        "found_beyond_honest": _share([bool(set(one["failed"]) - alarming) for one in strong]),
        "honest_failed": _share([bool(one["failed"]) for one in honest]),
        "honest_verdicts_failed": _share([verdict == "fail" for verdict in asked]),
    }


def _share(hits: list[bool]) -> dict[str, Any]:
    if not hits:
        return {"n": 0}
    found = binomtest(sum(hits), len(hits))
    ends = found.proportion_ci()
    return {"n": len(hits), "value": found.statistic, "low": ends.low, "high": ends.high}


@lru_cache
def _letters() -> dict[str, str]:
    return {check.name: str(check.letter or check.number) for check in choose_checks()}


def table(found: dict[str, Any]) -> str:
    """Return the table of cheats by strength, with the checks that fail, as Markdown."""
    worlds: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for one in found["worlds"]:
        worlds[one["kind"], one["region"]].append(one)
    rows = []
    for (kind, region), results in worlds.items():
        row: dict[str, Any] = {"planted": kind, "the network sees": region}
        for strength in sorted({one["strength"] for one in found["worlds"]}):
            here = [one for one in results if one["strength"] == strength]
            reliance = float(np.mean([one["reliance"] for one in here])) if here else float("nan")
            failed = sorted({_letters()[name] for one in here for name in one["failed"]})
            row["honest" if strength == 0 else f"{strength:g}"] = (
                f"{reliance:.2f}: {' '.join(failed) or 'none'}"
            )
        caught = [one["strength"] for one in results if one["strength"] > 0 and one["failed"]]
        row["weakest found"] = f"{min(caught):g}" if caught else "none"
        rows.append(row)
    words = {
        "strong_found": f"of the networks in worlds of strength {found['strong']:g} and more fail a check",
        "relying_found": "of those of them that change a tenth of their answers with the shortcut",
        "found_beyond_honest": "of the strong fail a check that no network of an honest world fails",
        "honest_failed": "of the networks in honest worlds fail any check",
        "honest_verdicts_failed": "of all verdicts on these",
    }
    lines = [
        f"- {one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}] {text} (n = {one['n']})"
        for key, text in words.items()
        if "value" in (one := found[key])
    ]
    return (
        f"{format_table(rows)}\n\nIn each cell: the share of answers that change when the shortcut alone is "
        "turned round, and the checks that fail.\n\n" + "\n".join(lines)
    )


if __name__ == "__main__":
    main()
