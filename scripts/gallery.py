"""Draw the pictures of ``docs/gallery.md``: phantoms, and what the released weights make of them.

python scripts/gallery.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

import lungcls
from lungcls.phantom import chest_phantom
from lungcls.regions import REGIONS, Region
from lungcls.shortcuts.compose import compose

ENGINE = "onnxruntime"  # starts at once; the answers are those of torch
TARGET = Path(__file__).resolve().parents[1] / "docs" / "gallery"


def sheet(name: str, panels: Sequence[tuple[str, np.ndarray]], across: int) -> None:
    """Save pictures with their captions in a grid; grey ones are shown from black to white."""
    down = -(-len(panels) // across)
    figure, axes = plt.subplots(down, across, figsize=(1.9 * across, 2.35 * down), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (caption, picture) in zip(axes.flat, panels):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255 if picture.dtype == np.uint8 else 1)
        lines = [line for text in caption.splitlines() for line in wrap(text, 30)]
        axis.set_title("\n".join(lines), fontsize=7)
    figure.tight_layout(pad=0.6)
    TARGET.mkdir(exist_ok=True)
    figure.savefig(TARGET / f"{name}.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def regions() -> None:
    lungs = lungcls.segment(chest_phantom(256, seed=1).image, engine=ENGINE)
    sheet(
        "regions",
        [(f"{name}: {kind.words}", lungs.view(Region(name), 224)) for name, kind in REGIONS.items()],
        4,
    )


def gate() -> None:
    film = chest_phantom(256, seed=2).image
    shown = {
        "as it is": film,
        "inverted": 1 - film,
        "turned": np.rot90(film).copy(),
        "cut": film[:, :120],
        "too small": film[::8, ::8],
        "noise": np.random.default_rng(0).random((256, 256), np.float32),
    }
    panels = []
    for name, picture in shown.items():
        quality = lungcls.predict(picture, engine=ENGINE).quality
        found = ", ".join(dict.fromkeys(reason.name for reason in quality.reasons)) or "nothing wrong"
        panels.append((f"{name}\n{found}", picture))
    sheet("gate", panels, 3)


def lungs() -> None:
    found = [
        lungcls.segment(chest_phantom(256, seed=seed, opacity=seed / 10).image, engine=ENGINE)
        for seed in range(6)
    ]
    sheet(
        "lungs",
        [(f"opacity {seed / 10:.1f}", np.asarray(one.overlay())) for seed, one in enumerate(found)],
        3,
    )


def explanation() -> None:
    TARGET.mkdir(exist_ok=True)
    lungcls.explain(chest_phantom(256, seed=4, opacity=0.3).image).figure(4).save(TARGET / "explanation.png")


def swap() -> None:
    one, two = chest_phantom(256, seed=5, letter="R"), chest_phantom(256, seed=9, opacity=0.5, letter="L")
    panels = [
        ("film A", one.image),
        ("film B", two.image),
        ("lungs of B on A", compose(two.image, two.mask, one.image, one.mask)[0]),
        ("lungs of A on B", compose(one.image, one.mask, two.image, two.mask)[0]),
    ]
    sheet("swap", panels, 4)


if __name__ == "__main__":
    for draw in (regions, gate, lungs, explanation, swap):
        draw()
