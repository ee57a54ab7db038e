"""Two synthetic worlds: one whose classes are painted into the lungs, one whose classes stand beside them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import nn

from lungcls.data import RadiographyDatabase, Split
from lungcls.labels import CLASSES
from lungcls.phantom import chest_phantom
from lungcls.regions import Region, view
from lungcls.shortcuts import ModuleSubject

SIDE, INPUT = 64, 32
EACH = {"train": 48, "test": 40}


def paint_lungs(image: np.ndarray, mask: np.ndarray, label: int) -> np.ndarray:
    """Darken or brighten one lung or both: nothing outside the lungs tells the class."""
    left = mask & (np.arange(SIDE) < SIDE // 2)
    right = mask & ~left
    changed = image.copy()
    if label & 1:
        changed[left] = 0.25 * changed[left] + 0.7
    if label & 2:
        changed[right] = 0.25 * changed[right] + 0.7
    return changed


def paint_corner(image: np.ndarray, mask: np.ndarray, label: int) -> np.ndarray:
    """Brighten one corner, outside the lungs."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    corner = ((rows < SIDE // 2) == (label < 2)) & ((columns < SIDE // 2) == (label % 2 == 0))
    near = (np.minimum(rows, SIDE - 1 - rows) < 14) & (np.minimum(columns, SIDE - 1 - columns) < 14)
    changed = image.copy()
    changed[corner & near & ~mask] = 0.95
    return changed


def make_world(root: Path, paint: Callable[..., np.ndarray]) -> tuple[RadiographyDatabase, Split]:
    rows: list[dict[str, Any]] = []
    parts = {}
    for label, name in enumerate(CLASSES):
        for number in range(sum(EACH.values())):
            phantom = chest_phantom(SIDE, seed=1000 * label + number, letter=None)
            # Phantoms resemble each other more than people do: clouds of its own make each one another film.
            clouds = gaussian_filter(np.random.default_rng((label, number)).normal(size=(SIDE, SIDE)), 2)
            image = np.clip(phantom.image + 0.05 * clouds / clouds.std(), 0, 1)
            picture = paint(image, phantom.mask, label)
            file, mask = f"{name}/images/{name}-{number}.png", f"{name}/masks/{name}-{number}.png"
            for path, pixels in ((file, picture), (mask, phantom.mask)):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.rint(pixels * 255.0).astype(np.uint8)).save(root / path)
            parts[file] = "train" if number < EACH["train"] else "test"
            source, processing = ("rsna", "kermany")[number % 2], "aabc"[number % 4]
            rows.append(
                {
                    "file": file,
                    "label": name,
                    "mask": mask,
                    "source": source,
                    "patient": "",
                    "group": f"{name}-{number}",
                    "processing": processing,
                }
            )
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return RadiographyDatabase(root), Split(parts, {row["file"]: row["group"] for row in rows})


def train_small(database: RadiographyDatabase, split: Split, region: Region, steps: int) -> ModuleSubject:
    """A small network in plain torch, as a user's own."""
    from lungcls.images import read_image

    records = split.select(database.records, "train")
    views = np.stack(
        [view(read_image(database.path(r)).pixels, database.read_mask(r), region, INPUT) for r in records]
    )
    labels = torch.tensor([CLASSES.index(r.label) for r in records])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(1, 12, 5, 2, 2),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, 2, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(384, 4),
        )
        optimizer = torch.optim.Adam(module.parameters(), 3e-3)
        batch = torch.from_numpy(views).float().div(255).sub(0.5).div(0.25).unsqueeze(1)
        for _ in range(steps):
            chosen = torch.randint(len(batch), (48,))
            way = torch.randint(-2, 3, (2,)).tolist()
            shown = torch.roll(batch[chosen], way, (2, 3))
            shown = shown * (0.8 + 0.4 * torch.rand(48, 1, 1, 1)) + 0.3 * torch.randn(48, 1, 1, 1)
            loss = nn.functional.cross_entropy(module(shown + 0.1 * torch.randn_like(shown)), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return ModuleSubject(module, CLASSES, INPUT, region=region, name=f"small-{region.name}")


@pytest.fixture(scope="session")
def honest_world(tmp_path_factory: pytest.TempPathFactory) -> tuple[RadiographyDatabase, Split]:
    return make_world(tmp_path_factory.mktemp("honest"), paint_lungs)


@pytest.fixture(scope="session")
def cheating_world(tmp_path_factory: pytest.TempPathFactory) -> tuple[RadiographyDatabase, Split]:
    return make_world(tmp_path_factory.mktemp("cheating"), paint_corner)


@pytest.fixture(scope="session")
def honest(honest_world: tuple[RadiographyDatabase, Split]) -> ModuleSubject:
    return train_small(*honest_world, Region("full"), 250)


@pytest.fixture(scope="session")
def cheat(cheating_world: tuple[RadiographyDatabase, Split]) -> ModuleSubject:
    return train_small(*cheating_world, Region("background"), 150)
