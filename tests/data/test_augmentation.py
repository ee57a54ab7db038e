from __future__ import annotations

import albumentations as A
import numpy as np
import pytest

from lungcls.data import augmentation
from lungcls.data.augmentation import AUGMENTATIONS, Augment
from lungcls.phantom import chest_phantom

SIZE = 64
GEOMETRY = (A.HorizontalFlip, A.Affine, A.ElasticTransform)


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    phantom = chest_phantom(SIZE, seed=4)
    return (phantom.image * 255).astype(np.uint8), phantom.mask.astype(np.uint8) * 255


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shapes_and_types_stay(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    augment = Augment(name)
    for seed in range(60):
        view, mask = augment(*pair, seed)
        assert view.shape == mask.shape == (SIZE, SIZE)
        assert view.dtype == mask.dtype == np.uint8
        assert mask.max() == 255


@pytest.mark.parametrize("name", ["segmentation", "segmentation-light", "classification-shape"])
def test_outlines_move_by_parts_of_a_pixel(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Masks are shares of pixels; the nearest pixel would put an outline half a pixel off."""
    augment = Augment(name)
    masks = [augment(*pair, seed)[1] for seed in range(20)]
    between = [np.count_nonzero((mask > 0) & (mask < 255)) for mask in masks]
    assert np.median(between) > SIZE


@pytest.mark.parametrize("name", ["segmentation", "classification"])
def test_only_the_seed_decides(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Neither the order of the calls, nor what other calls were given, nor the object."""
    one, other = Augment(name), Augment(name)
    seeds = range(25)
    forward = [one(*pair, seed) for seed in seeds]
    backward = [other(*pair, seed) for seed in reversed(seeds)][::-1]
    for (view, mask), (view_again, mask_again) in zip(forward, backward):
        np.testing.assert_array_equal(view, view_again)
        np.testing.assert_array_equal(mask, mask_again)
    one(pair[0], None, 99)
    np.testing.assert_array_equal(one(*pair, 3)[0], forward[3][0])


def test_global_random_state_is_left_alone(pair: tuple[np.ndarray, np.ndarray]) -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    augment = Augment("segmentation")
    for seed in range(10):
        augment(*pair, seed)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("name", ["segmentation", "classification"])
def test_the_parts_draw_independently(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they do not where each is started from the seed itself."""

    def two() -> list[A.BasicTransform]:
        parts = AUGMENTATIONS[name]()
        flip = next(part for part in parts if isinstance(part, A.HorizontalFlip))
        noise = next(part for part in parts if isinstance(part, A.GaussNoise))
        return [flip, noise]

    monkeypatch.setitem(augmentation.AUGMENTATIONS, "two", two)
    augment = Augment("two")
    view = np.zeros((SIZE, SIZE), np.uint8)
    view[:, : SIZE // 2] = 200
    seen = [augment(view, None, seed)[0] for seed in range(400)]
    flipped = np.array([image[:, -8:].mean() > image[:, :8].mean() for image in seen])
    noisy = np.array([np.unique(image).size > 2 for image in seen])
    assert flipped.mean() == pytest.approx(0.5, abs=0.1)
    assert noisy[flipped].mean() == pytest.approx(0.3, abs=0.12)
    assert noisy[~flipped].mean() == pytest.approx(0.3, abs=0.12)


@pytest.mark.parametrize("name", ["segmentation", "classification"])
def test_hardly_an_image_stays_as_it_is(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    augment = Augment(name)
    seen = {augment(*pair, seed)[0].tobytes() for seed in range(60)}
    assert len(seen) >= 58


@pytest.mark.parametrize("name", ["segmentation", "classification"])
def test_the_mask_does_not_change_what_the_view_gets(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    augment = Augment(name)
    for seed in range(15):
        alone, none = augment(pair[0], None, seed)
        assert none is None
        np.testing.assert_array_equal(alone, augment(*pair, seed)[0])


@pytest.mark.parametrize("name", ["segmentation", "classification"])
def test_the_mask_moves_with_the_image(
    name: str, pair: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that shows its own mask still does after every part that moves pixels."""
    moving = [part for part in AUGMENTATIONS[name]() if isinstance(part, GEOMETRY)]
    assert len(moving) >= 2
    monkeypatch.setitem(augmentation.AUGMENTATIONS, "geometry", lambda: moving)
    augment = Augment("geometry")
    mask = pair[1]
    moved = 0
    for seed in range(40):
        view, follower = augment(mask, mask, seed)
        # Both are interpolated alike, but for rounding.
        np.testing.assert_allclose(view, follower, atol=2)
        moved += (follower != mask).mean() > 0.02
    assert moved > 30


@pytest.mark.parametrize("name", ["segmentation", "classification"])
def test_the_rest_leaves_the_mask_where_it_is(
    name: str, pair: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    still = [part for part in AUGMENTATIONS[name]() if not isinstance(part, GEOMETRY)]
    monkeypatch.setitem(augmentation.AUGMENTATIONS, "appearance", lambda: still)
    augment = Augment("appearance")
    changed = 0
    for seed in range(30):
        view, mask = augment(*pair, seed)
        np.testing.assert_array_equal(mask, pair[1])
        changed += bool((view != pair[0]).any())
    assert changed > 20


def test_inputs_are_left_alone(pair: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(augmentation.AUGMENTATIONS, "in place", lambda: [A.AutoContrast(p=1)])
    view, mask = pair[0].copy(), pair[1].copy()
    for name in AUGMENTATIONS:
        augment = Augment(name)
        for seed in range(200):
            # Nor may the result share their memory: who changes it would change the dataset.
            for result, given in zip(augment(view, mask, seed), (view, mask)):
                assert not np.shares_memory(result, given)
    np.testing.assert_array_equal(view, pair[0])
    np.testing.assert_array_equal(mask, pair[1])


def test_none_changes_nothing(pair: tuple[np.ndarray, np.ndarray]) -> None:
    view, mask = Augment("none")(*pair, 7)
    np.testing.assert_array_equal(view, pair[0])
    np.testing.assert_array_equal(mask, pair[1])


def test_large_seeds(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert Augment("classification")(*pair, 2**32 - 1)[0].shape == (SIZE, SIZE)


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ValueError, match="unknown augmentation 'strong'; known are segmentation, "):
        Augment("strong")


def test_a_chance_curve_keeps_the_order_of_grey_levels() -> None:
    from lungcls.data.augmentation import MonotoneCurve

    ramp = np.arange(256, dtype=np.uint8)[None].repeat(8, 0)
    curves = [MonotoneCurve(p=1)(image=ramp)["image"][0].astype(int) for _ in range(20)]
    for curve in curves:
        assert (np.diff(curve) >= 0).all()
        assert (curve[0], curve[-1]) == (0, 255)
    assert np.ptp([curve[128] for curve in curves]) > 20


def test_what_is_painted_into_lungs_whitens_them_and_leaves_the_mask() -> None:
    from lungcls.data.augmentation import LungOcclusion
    from lungcls.phantom import chest_phantom

    phantom = chest_phantom(128, seed=1)
    image, mask = (255 * phantom.image).astype(np.uint8), phantom.mask.astype(np.uint8) * 255
    whitened = 0
    for _ in range(10):
        result = LungOcclusion(p=1)(image=image, mask=mask)
        np.testing.assert_array_equal(result["mask"], mask)
        change = result["image"].astype(int) - image
        assert change.min() >= 0
        whitened += change[phantom.mask].mean() > 2 * change[~phantom.mask].mean()
    assert whitened >= 8
    empty = LungOcclusion(p=1)(image=image, mask=np.zeros_like(mask))
    np.testing.assert_array_equal(empty["image"], image)
