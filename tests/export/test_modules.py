from __future__ import annotations

import numpy as np
import pytest
import torch

from lungcls.export.modules import toned
from lungcls.phantom import chest_phantom
from lungcls.tone import TONES, apply


@pytest.mark.parametrize("name", TONES)
@pytest.mark.parametrize("shape", [(96, 112), (700, 530)])
def test_tensors_get_the_tone_that_images_get(name: str, shape: tuple[int, int]) -> None:
    film = chest_phantom(shape, seed=3).image.astype(np.float32)
    films = np.stack([film, film * np.float32(0.25), film * np.float32(0.3) + np.float32(0.6), film * 0 + 1])
    expected = np.stack([apply(one, name) for one in films])
    np.testing.assert_allclose(toned(torch.from_numpy(films), name).numpy(), expected, atol=2e-5)
    assert np.abs(expected - films).max() > 0.2  # there was something to do
