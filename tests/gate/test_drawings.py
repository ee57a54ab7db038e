from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from lungcls.gate import drawings
from lungcls.gate.drawings import ct_slice, photographs, stranger


@pytest.mark.parametrize("draw", [stranger, ct_slice])
@pytest.mark.parametrize("size", [64, 97])
def test_pictures_are_views_that_a_seed_decides(draw: object, size: int) -> None:
    pictures = [draw(np.random.default_rng(seed), size) for seed in (0, 0, 1)]  # type: ignore[operator]
    assert all(picture.shape == (size, size) and picture.dtype == np.uint8 for picture in pictures)
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize("kind", sorted(set(drawings._KINDS), key=lambda kind: kind.__name__))
def test_every_kind_draws_pictures_that_differ(kind: object) -> None:
    rng = np.random.default_rng(0)
    pictures = [kind(rng, 80) for _ in range(6)]  # type: ignore[operator]
    for picture in pictures:
        assert picture.shape == (80, 80)
        assert np.isfinite(picture).all()
    assert all(np.abs(a - b).max() > 0.05 for a, b in pairwise(pictures))


def test_photographs_are_cut_to_squares() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 140)).astype(np.uint8))
    cuts = photographs([picture], np.random.default_rng(1), 48, 5)
    assert (cuts.shape, cuts.dtype) == ((5, 48, 48), np.uint8)
    assert len({cut.tobytes() for cut in cuts}) == 5
