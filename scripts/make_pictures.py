"""Draw the README's pictures: a synthetic phantom, and what the shipped weights make of it.

python scripts/make_pictures.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import lungcls
from lungcls.phantom import chest_phantom

DOCS = Path(__file__).parent.parent / "docs"
SIZE = 512
GAP = 12
CAPTION = 28


def main() -> None:
    path = DOCS / "phantom.png"
    Image.fromarray(np.rint(chest_phantom(SIZE, seed=1).image * 255).astype(np.uint8)).save(path)
    prediction = lungcls.predict(path, device="cpu")
    seen = Image.fromarray(prediction.view).resize((SIZE, SIZE), Image.Resampling.NEAREST)
    most = max(prediction.probabilities.values())
    panels = [
        (Image.open(path), "synthetic phantom"),
        (prediction.overlay(), "stage 1: lungs"),
        (seen, f"stage 2 sees: {prediction.label} {most:.2f}"),
    ]
    sheet = Image.new("RGB", (3 * SIZE + 2 * GAP, SIZE + CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (picture, text) in enumerate(panels):
        left = number * (SIZE + GAP)
        sheet.paste(picture.convert("RGB"), (left, CAPTION))
        draw.text((left + 4, 4), text, fill="black", font_size=18)
    sheet.save(DOCS / "phantom_result.png", optimize=True)


if __name__ == "__main__":
    main()
