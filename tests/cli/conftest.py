"""X-rays whose lungs are known without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Draw = Callable[..., Path]


@pytest.fixture
def weights(tiny_segmenter: Path, tiny_classifier: Path) -> dict[str, str]:
    """Paths of an untrained segmenter and an untrained classifier of the region ``mask``."""
    return {"segmenter": str(tiny_segmenter), "mask": str(tiny_classifier)}


@pytest.fixture
def known_lungs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stage 1 take what is darker than 0.3 for lung, as :func:`draw` draws it."""
    from lungcls.segmenter import Segmenter

    def segment(self: Segmenter, images: Sequence[Any], aspects: Any = None) -> list[tuple[Any, float]]:
        return [(pixels < 0.3, 1.0) for pixels in images]

    monkeypatch.setattr(Segmenter, "segment_with_agreement", segment)


@pytest.fixture
def draw() -> Draw:
    """Write an X-ray of dark lungs on grey, as 8 or 16 bits by the dtype."""

    def write(
        path: Path, shape: tuple[int, int] = (150, 200), lungs: int = 2, seed: int = 0, dtype: Any = np.uint8
    ) -> Path:
        height, width = shape
        pixels = np.random.default_rng(seed).uniform(0.5, 0.9, shape)
        for lung in range(lungs):
            left = width // 8 + lung * width // 2
            pixels[height // 6 : -height // 6, left : left + width // 4] = 0.1
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(pixels * np.iinfo(dtype).max).astype(dtype)).save(path)
        return path

    return write
