"""X-rays whose lungs are known, and a network that finds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Draw = Callable[..., Path]


@pytest.fixture(scope="session")
def finds_dark(tmp_path_factory: pytest.TempPathFactory, make_card_values: Any) -> Path:
    """Weights of a network of one's own that takes what is darker than 0.3 for lung, as `draw` draws it.

    What is black stays outside: letterboxes are.
    """
    import torch

    import lungcls.models
    from lungcls.weights import save_weights

    class Dark(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.darker_than = torch.nn.Parameter(torch.tensor([0.3]))

        def forward(self, views: torch.Tensor) -> torch.Tensor:
            return torch.where(views > 0.02, 200 * (self.darker_than - views), -60.0)

    lungcls.models.register("dark", Dark, size=256, task="segmentation", replace=True)
    values = make_card_values(
        name="dark-segmenter", task="segmentation", architecture={"model": "dark"}, input_size=256,
        region=None, classes=("lung",), mean=0.0, std=1.0, temperature=1.0, thresholds={"mask": 0.5},
    )  # fmt: skip
    return save_weights(tmp_path_factory.mktemp("dark"), Dark().state_dict(), **values)


@pytest.fixture
def weights(finds_dark: Path, tiny_classifier: Path) -> dict[str, str]:
    """Paths of a segmenter of dark lungs and an untrained classifier of the region ``mask``."""
    return {"segmenter": str(finds_dark), "mask": str(tiny_classifier)}


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
