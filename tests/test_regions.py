from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lungcls.data import RadiographyDatabase
from lungcls.images import read_image
from lungcls.phantom import chest_phantom
from lungcls.regions import (
    REGIONS,
    Region,
    cut,
    dilate_mask,
    letterbox,
    letterbox_mask,
    letterbox_share,
    lung_box,
    place,
    resize_mask,
    seen_box,
    stretch,
    unletterbox,
    view,
    whole_view,
)
from lungcls.tone import level

# Six by eight pixels, all different and none 0; two lungs in rows 1-3 and columns 2-5, a gap between them.
PIXELS = (np.arange(1, 49, dtype=np.float32) / 48).reshape(6, 8)
MASK = np.zeros((6, 8), bool)
MASK[1:4, 2:4] = True
MASK[2:4, 5] = True
BOX = (2, 1, 6, 4)


def _toy(name: str, **options: float) -> np.ndarray:
    return cut(PIXELS, MASK, Region(name, **{"margin": 0.0, **options}))


def test_the_set_is_closed() -> None:
    assert set(REGIONS) == {
        "full", "crop", "mask", "mask_uncropped", "background", "background_box", "silhouette",
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"unknown region 'lungs'.*full, crop, mask"):
        Region("lungs")
    assert Region().name == "mask"


@pytest.mark.parametrize("field", ["margin", "dilate"])
@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_fractions_are_checked(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"region {field} is .*\[0, 1\]"):
        Region("mask", **{field: value})


def test_full() -> None:
    np.testing.assert_array_equal(_toy("full"), PIXELS)
    np.testing.assert_array_equal(cut(PIXELS, None, Region("full")), PIXELS)
    assert not Region("full").needs_mask


def test_crop() -> None:
    np.testing.assert_array_equal(_toy("crop"), PIXELS[1:4, 2:6])


def test_mask() -> None:
    expected = PIXELS[1:4, 2:6].copy()
    expected[:, 2] = 0
    expected[0, 3] = 0
    np.testing.assert_array_equal(_toy("mask"), expected)


def test_mask_uncropped_and_background_share_the_image() -> None:
    lungs, background = _toy("mask_uncropped"), _toy("background")
    np.testing.assert_array_equal(lungs != 0, MASK)
    np.testing.assert_array_equal(background != 0, ~MASK)
    np.testing.assert_array_equal(lungs + background, PIXELS)


def test_background_box_shows_no_outline() -> None:
    expected = PIXELS.copy()
    expected[1:4, 2:6] = 0
    np.testing.assert_array_equal(_toy("background_box"), expected)


def test_silhouette_holds_no_grey_value() -> None:
    np.testing.assert_array_equal(_toy("silhouette"), MASK.astype(np.float32))
    np.testing.assert_array_equal(cut(1 - PIXELS, MASK, Region("silhouette")), _toy("silhouette", margin=0.5))


@pytest.mark.parametrize("name", REGIONS)
def test_inputs_are_left_alone(name: str) -> None:
    pixels, mask = PIXELS.copy(), MASK.copy()
    result = cut(pixels, mask, Region(name, margin=0.2, dilate=0.2))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(pixels, PIXELS)
    np.testing.assert_array_equal(mask, MASK)


@pytest.mark.parametrize("name", [name for name in REGIONS if name != "full"])
def test_a_region_that_needs_a_mask_refuses_what_is_none(name: str) -> None:
    with pytest.raises(ValueError, match=r"needs a lung mask of shape \(6, 8\); got no mask"):
        cut(PIXELS, None, Region(name))
    with pytest.raises(ValueError, match=r"got a mask of shape \(8, 6\)"):
        cut(PIXELS, MASK.T, Region(name))
    with pytest.raises(ValueError, match="the lung mask is empty"):
        cut(PIXELS, np.zeros_like(MASK), Region(name, dilate=0.5))


def test_lung_box() -> None:
    assert lung_box(MASK) == BOX
    assert lung_box(np.zeros((6, 8), bool)) is None
    assert lung_box(np.ones((6, 8), bool)) == lung_box(np.ones((6, 8), bool), 0.5) == (0, 0, 8, 6)
    single = np.zeros((6, 8), bool)
    single[5, 7] = True
    assert lung_box(single) == (7, 5, 8, 6)


def test_margin_is_a_fraction_of_the_longer_side_on_all_sides_and_stops_at_the_border() -> None:
    mask = np.zeros((100, 120), bool)
    mask[30:50, 20:60] = True  # 40 wide, 20 high
    assert lung_box(mask, 0.1) == (16, 26, 64, 54)
    assert lung_box(mask, 1.0) == (0, 0, 100, 90)
    pixels = np.ones(mask.shape, np.float32)
    assert cut(pixels, mask, Region("crop", margin=0.1)).shape == (28, 48)
    assert cut(pixels, mask, Region("background_box", margin=0.1)).sum() == 100 * 120 - 28 * 48


def test_dilate_is_a_fraction_of_the_images_width() -> None:
    mask = np.zeros((60, 100), bool)
    mask[30, 50] = True
    rows, columns = np.mgrid[:60, :100]
    disc = (rows - 30) ** 2 + (columns - 50) ** 2 <= 5**2
    np.testing.assert_array_equal(dilate_mask(mask, 0.05), disc)
    np.testing.assert_array_equal(dilate_mask(mask, 0.0), mask)
    assert not dilate_mask(np.zeros_like(mask), 0.5).any()
    pixels = np.full(mask.shape, 0.5, np.float32)
    assert cut(pixels, mask, Region("mask", margin=0, dilate=0.05)).shape == (11, 11)
    np.testing.assert_array_equal(cut(pixels, mask, Region("background", dilate=0.05)) == 0, disc)


@pytest.mark.parametrize("name", ["crop", "mask", "background", "background_box"])
@pytest.mark.parametrize(("rows", "columns"), [(2, 1), (1, 2)])
def test_a_film_with_oblong_pixels_and_its_square_copy_show_the_same(
    name: str, rows: int, columns: int
) -> None:
    oblong = chest_phantom((120, 140))
    square = (np.repeat(np.repeat(plane, rows, 0), columns, 1) for plane in (oblong.image, oblong.mask))
    pixels, mask = square
    region, aspect = Region(name, margin=0.1, dilate=0.03), rows / columns
    x0, y0, x1, y1 = seen_box(oblong.mask.shape, oblong.mask, region, aspect)
    box = np.array([x0 * columns, y0 * rows, x1 * columns, y1 * rows])
    # A line of the coarser side is two of the finer one.
    assert np.abs(box - seen_box(mask.shape, mask, region)).max() <= 2
    widened = np.repeat(np.repeat(dilate_mask(oblong.mask, 0.03, aspect), rows, 0), columns, 1)
    alike = dilate_mask(mask, 0.03)
    assert 2 * (widened & alike).sum() / (widened.sum() + alike.sum()) > 0.98
    seen = view(oblong.image, oblong.mask, region, 96, aspect).astype(int)
    assert np.abs(seen - view(pixels, mask, region, 96)).mean() < 4


def test_to_dict_reads_back() -> None:
    region = Region("crop", 0.1, 0.02)
    assert Region(**region.to_dict()) == region


@pytest.mark.parametrize("shape", [(64, 64), (100, 40), (40, 100), (101, 77), (1, 300), (300, 1), (7, 5)])
@pytest.mark.parametrize("size", [32, 45])
def test_letterbox_keeps_the_aspect_ratio(shape: tuple[int, int], size: int) -> None:
    square, placement = letterbox(np.ones(shape, np.float32), size)
    assert square.shape == (size, size)
    assert square.dtype == np.uint8
    assert max(placement.width, placement.height) == size
    # To the nearest pixel, and never thinner than one.
    scale = size / max(shape)
    assert abs(placement.height - max(1, shape[0] * scale)) <= 0.5
    assert abs(placement.width - max(1, shape[1] * scale)) <= 0.5
    filled = np.zeros((size, size), bool)
    filled[placement.y :, placement.x :][: placement.height, : placement.width] = True
    np.testing.assert_array_equal(square, np.where(filled, 255, 0))
    # Centred: the bars differ by one pixel at most.
    assert 0 <= size - placement.width - 2 * placement.x <= 1
    assert 0 <= size - placement.height - 2 * placement.y <= 1
    assert place(shape, size) == placement


def test_letterbox_does_not_stretch_a_disc() -> None:
    rows, columns = np.mgrid[:120, :200]
    disc = ((rows - 60) ** 2 + (columns - 100) ** 2 <= 40**2).astype(np.float32)
    square, _ = letterbox(disc, 80)
    x0, y0, x1, y1 = lung_box(square > 127)
    assert abs((x1 - x0) - (y1 - y0)) <= 1
    assert abs((x1 - x0) - 80 * 80 / 200) <= 1


def test_letterbox_at_the_images_own_size_gives_its_bytes() -> None:
    original = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    np.testing.assert_array_equal(letterbox((original / np.float32(255)).astype(np.float32), 48)[0], original)


def test_letterbox_averages_what_it_shrinks() -> None:
    stripes = np.tile(np.array([0, 1], np.float32), (256, 128))
    square, _ = letterbox(stripes, 32)
    # One column in sixteen taken as it stands would be all black or all white.
    np.testing.assert_allclose(square[2:-2, 2:-2], 127.5, atol=8)


def test_letterbox_takes_parts_of_arrays() -> None:
    pixels = np.random.default_rng(0).random((60, 80), np.float32)
    part = pixels[10:50:2, 5:60]
    np.testing.assert_array_equal(letterbox(part, 32)[0], letterbox(part.copy(), 32)[0])


def _disc(shape: tuple[int, int], down: float, across: float) -> np.ndarray:
    """A disc of radius 20 whose middle lies at these shares of height and width."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return ((rows - shape[0] * down) ** 2 + (columns - shape[1] * across) ** 2) <= 20**2


@pytest.mark.parametrize("shape", [(96, 64), (64, 96), (256, 200)])
def test_mask_follows_its_image(shape: tuple[int, int]) -> None:
    disc = _disc(shape, 0.6, 0.4)
    square, placement = letterbox(disc.astype(np.float32), 64)
    boxed = letterbox_mask(disc, placement)
    assert boxed.dtype == np.bool_
    assert (boxed != (square > 127)).mean() < 0.01
    # Masks are often stored at another size than their images.
    twice = letterbox_mask(resize_mask(disc, (2 * shape[0], 2 * shape[1])), placement)
    assert (twice != (square > 127)).mean() < 0.01
    # And back: what a network answers lands where its image was.
    back = unletterbox(boxed.astype(np.float32), placement, shape)
    assert back.shape == shape
    assert ((back > 0.5) != disc).mean() < 0.02


@pytest.mark.parametrize("shape", [(96, 64), (64, 96), (256, 200)])
def test_shares_keep_the_outline_that_nearest_neighbour_moves(shape: tuple[int, int]) -> None:
    disc = _disc(shape, 0.5, 0.5)
    _, placement = letterbox(disc.astype(np.float32), 40)
    share = letterbox_share(disc, placement)
    assert share.dtype == np.uint8
    assert share.sum() / 255 / (40 / max(shape)) ** 2 == pytest.approx(disc.sum(), rel=0.02)
    nearest = letterbox_mask(disc, placement)

    def lost(square: np.ndarray) -> int:
        return np.count_nonzero((unletterbox(square, placement, shape) > 0.5) != disc)

    assert lost(share / np.float32(255)) < 0.3 * lost(nearest.astype(np.float32))
    # Masks are often stored at another size than their images.
    twice = letterbox_share(resize_mask(disc, (2 * shape[0], 2 * shape[1])), placement)
    assert np.abs(twice.astype(int) - share).max() < 40


def test_unletterbox_ignores_the_bars() -> None:
    placement = place((40, 20), 40)
    values = np.ones((40, 40), np.float32)
    values[:, placement.x : placement.x + placement.width] = 0.25
    np.testing.assert_allclose(unletterbox(values, placement, (80, 40)), 0.25)


def test_resize_mask_is_nearest_neighbour() -> None:
    np.testing.assert_array_equal(resize_mask(MASK, (12, 24)), np.kron(MASK, np.ones((2, 3), bool)))
    assert resize_mask(MASK, MASK.shape) is MASK


@pytest.mark.parametrize("name", REGIONS)
def test_view_is_the_cut_in_a_letterbox(name: str) -> None:
    phantom = chest_phantom((120, 150), seed=1)
    region = Region(name, margin=0.05, dilate=0.01)
    seen = view(phantom.image, phantom.mask, region, 48)
    assert seen.shape == (48, 48)
    assert seen.dtype == np.uint8
    np.testing.assert_array_equal(seen, letterbox(cut(phantom.image, phantom.mask, region), 48)[0])


@pytest.mark.parametrize("name", REGIONS)
def test_real_image(name: str, real_data) -> None:
    database = RadiographyDatabase(real_data / "radiography")
    record = next(record for record in database.records if record.mask)
    pixels = read_image(database.path(record)).pixels
    mask = resize_mask(database.read_mask(record), pixels.shape)
    region = Region(name)
    result = cut(pixels, mask, region)
    x0, y0, x1, y1 = lung_box(mask, region.margin)
    outside = np.ones_like(mask)
    outside[y0:y1, x0:x1] = False
    expected = {
        "full": pixels,
        "crop": pixels[y0:y1, x0:x1],
        "mask": (pixels * mask)[y0:y1, x0:x1],
        "mask_uncropped": pixels * mask,
        "background": pixels * ~mask,
        "background_box": pixels * outside,
        "silhouette": mask * np.float32(1),
    }
    np.testing.assert_array_equal(result, expected[name])
    seen = view(pixels, mask, region, 128)
    assert 0 < seen.mean() < 255
    if name == "mask":  # the lungs are two parts on black
        assert ndimage.label(seen > 0)[1] >= 2


def test_an_image_that_fills_little_of_the_range_is_spread() -> None:
    pixels = np.random.default_rng(0).random((40, 50), dtype=np.float32)
    flat = pixels * np.float32(4095 / 65535)  # 12 bits kept in a 16-bit file
    spread = stretch(flat)
    np.testing.assert_allclose(np.percentile(spread, (0.5, 99.5)), (0.005, 0.9), atol=2e-3)
    np.testing.assert_array_equal(np.argsort(flat.ravel())[400:600], np.argsort(spread.ravel())[400:600])
    assert np.abs(spread - np.clip((pixels - 0.005) / 0.99 * 0.895 + 0.005, 0, 1)).max() < 0.02


def test_an_image_that_fills_the_range_or_nothing_is_left_alone() -> None:
    pixels = np.random.default_rng(0).random((40, 50), dtype=np.float32)
    assert stretch(pixels) is pixels
    constant = np.full((5, 5), 0.3, np.float32)
    assert stretch(constant) is constant
    letter = np.zeros((100, 100), np.float32)
    letter[:2, :2] = 1  # a white letter on black: the percentiles agree, so there is nothing to spread
    assert stretch(letter) is letter


def test_a_dim_film_gives_the_views_of_a_bright_one() -> None:
    phantom = chest_phantom(128, seed=2)
    bright = np.clip((phantom.image - 0.1) / 0.8, 0, 1).astype(np.float32)
    dim = bright * np.float32(0.0625)
    spread = stretch(dim)
    for region in (Region("full"), Region("mask")):
        dim_view = view(dim, phantom.mask, region, 64)
        np.testing.assert_array_equal(dim_view, view(spread, phantom.mask, region, 64))
        assert dim_view.max() > 100
    np.testing.assert_array_equal(whole_view(dim, 64)[0], whole_view(spread, 64)[0])
    assert np.corrcoef(dim.ravel(), spread.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("where", [(slice(10, 40), slice(20, 70)), (slice(0, 30), slice(60, 100))])
def test_seen_box_is_what_cut_keeps(name: str, where: tuple[slice, slice]) -> None:
    pixels = np.arange(60 * 100, dtype=np.float32).reshape(60, 100) / 6000
    mask = np.zeros((60, 100), np.bool_)
    mask[where] = True
    region = Region(name, margin=0.1, dilate=0.02)
    x0, y0, x1, y1 = seen_box((60, 100), mask, region)
    found = cut(pixels, mask, region)
    assert found.shape == (y1 - y0, x1 - x0)
    if name == "crop":
        assert (found == pixels[y0:y1, x0:x1]).all()


def test_seen_box_needs_the_mask_that_cut_needs() -> None:
    assert seen_box((60, 100), None, Region("full")) == (0, 0, 100, 60)
    for mask in (None, np.zeros((60, 100), np.bool_), np.ones((10, 10), np.bool_)):
        with pytest.raises(ValueError, match="mask"):
            seen_box((60, 100), mask, Region("crop"))


@pytest.mark.parametrize("fraction", [0.0, 0.004, 0.01, 0.03, 0.11, 0.6])
@pytest.mark.parametrize("shape", [(100, 300), (90, 60), (6, 250)])
def test_dilation_is_that_of_a_disc(shape: tuple[int, int], fraction: float) -> None:
    mask = np.random.default_rng(0).random(shape) > 0.995
    mask[-1, 0] = mask[2, 40] = True  # a corner counts like any other place
    expected = ndimage.distance_transform_edt(~mask) <= fraction * shape[1]
    np.testing.assert_array_equal(dilate_mask(mask, fraction), expected)
    assert not dilate_mask(np.zeros(shape, bool), fraction).any()


@pytest.mark.parametrize("spread", [0.15, 0.3, 0.5, 0.54, 0.57, 0.65])
def test_the_short_way_of_stretch_changes_nothing(spread: float) -> None:
    pixels = (0.3 + spread * np.random.default_rng(0).random((300, 280))).astype(np.float32)
    assert (stretch(pixels) is pixels) == (0.99 * spread > 0.55)
    pixels[0, :2] = 0, 1  # two odd pixels widen the range, not the percentiles
    assert (stretch(pixels) is pixels) == (0.99 * spread > 0.55)


def test_14_bits_kept_in_16_give_the_views_of_the_film() -> None:
    film = chest_phantom(128, seed=2).image
    kept = np.rint(film * 16383).astype(np.uint16) / np.float32(65535)
    alike = whole_view(kept, 64)[0].astype(int) - whole_view(level(film), 64)[0]
    assert np.abs(alike).max() <= 1
