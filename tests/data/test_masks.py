"""Masks as people keep them: both lungs each time, or an error that says how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage

from lungcls.data import ClassFolders, MaskFolder, open_dataset
from lungcls.data.masks import read_mask
from lungcls.errors import DataError
from lungcls.phantom import chest_phantom

LUNGS = chest_phantom(128, seed=1).mask
SIDES = np.where(np.arange(128) < 64, 1, 2) * LUNGS  # 0, 1 and 2
P = PIL.Image.fromarray


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def coloured(*colours: tuple[int, int, int]) -> PIL.Image.Image:
    table = np.array([(0, 0, 0), *colours], np.uint8)
    return P(table[SIDES])


def palette(*colours: int) -> PIL.Image.Image:
    picture = P(SIDES.astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, *colours])
    return picture


def with_alpha() -> PIL.Image.Image:
    return P(np.dstack([np.full((128, 128, 3), 255, np.uint8), LUNGS.astype(np.uint8) * 255]))


GREY = SIDES.astype(np.uint8)
KINDS = {
    "01.png": P(LUNGS.astype(np.uint8)),
    "255.png": P(LUNGS.astype(np.uint8) * 255),
    "bool.png": P(LUNGS),
    "012.png": P(GREY),
    "127-255.png": P((GREY * 127.5).astype(np.uint8)),
    "50-255.png": P(np.array([0, 50, 255], np.uint8)[GREY]),
    "1-255.png": P(np.array([0, 1, 255], np.uint8)[GREY]),
    "127-255.jpg": P((GREY * 127.5).astype(np.uint8)),
    "soft.jpg": P(LUNGS.astype(np.uint8) * 255),
    "16-1.png": P(LUNGS.astype(np.uint16)),
    "16-012.png": P(SIDES.astype(np.uint16)),
    "16-full.png": P(LUNGS.astype(np.uint16) * 65535),
    "float.tif": P(LUNGS.astype(np.float32)),
    "colours.png": coloured((255, 0, 0), (0, 0, 255)),
    "dark-colours.png": coloured((128, 0, 0), (0, 255, 0)),
    "palette.png": palette(128, 0, 0, 0, 128, 0),
    "palette.gif": palette(255, 255, 255, 255, 255, 255),
    "255.gif": P(LUNGS.astype(np.uint8) * 255),
    "alpha.png": with_alpha(),
    "la.png": P(LUNGS.astype(np.uint8) * 255).convert("LA"),
}


@pytest.mark.parametrize("name", KINDS)
def test_both_lungs_of_every_kind_of_mask(name: str, tmp_path: Path) -> None:
    options = {"quality": 70} if name.endswith("jpg") else {}
    KINDS[name].save(tmp_path / name, **options)
    assert dice(read_mask(tmp_path / name), LUNGS) > (0.98 if options else 0.9999)


def test_smaller_soft_mask_and_empty_one(tmp_path: Path) -> None:
    small = P(LUNGS.astype(np.uint8) * 255).resize((40, 40), PIL.Image.Resampling.BILINEAR)
    small.save(tmp_path / "small.png")
    assert read_mask(tmp_path / "small.png").sum() == pytest.approx(LUNGS.mean() * 1600, rel=0.06)
    P(np.zeros((8, 8), np.uint8)).save(tmp_path / "empty.png")
    assert not read_mask(tmp_path / "empty.png").any()


def test_exif_turns_a_mask_as_it_turns_an_image(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    P(LUNGS.astype(np.uint8) * 255).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_mask(tmp_path / "turned.png"), np.rot90(LUNGS, -1))


def test_what_is_no_mask_says_how(tmp_path: Path) -> None:
    film = np.rint(chest_phantom(128, seed=1).image * 255).astype(np.uint8)
    organs = SIDES.copy()
    organs[:30, 40:90] = 3
    for name, array, reason in (
        ("film.png", film, "picture, not a lung mask|labels besides black"),
        ("inverted.png", np.where(LUNGS, 0, 255), "of the border is bright.*inverted"),
        ("organs.png", organs, r"3 labels besides black.*labels=\(1, 2\)"),
        ("drawn.png", np.where(LUNGS, 255, film), "picture, not a lung mask|labels besides black"),
        ("blackened.png", film * LUNGS, "picture, not a lung mask"),
        ("outlines.png", 255 * (LUNGS & ~ndimage.binary_erosion(LUNGS)), "outlines.*binary_fill_holes"),
        ("white.png", np.where(LUNGS[..., None], (200, 0, 0), 255), "of the border is bright"),
    ):
        P(array.astype(np.uint8)).save(tmp_path / name)
        with pytest.raises(DataError, match=reason):
            read_mask(tmp_path / name)
    assert np.array_equal(read_mask(tmp_path / "organs.png", labels=(1, 2)), np.isin(organs, (1, 2)))
    (tmp_path / "text.png").write_text("no mask")
    with pytest.raises(DataError, match="not readable as a lung mask"):
        read_mask(tmp_path / "text.png")


def test_soft_edges_and_colours_of_a_jpeg_are_no_second_label(tmp_path: Path) -> None:
    soft = ndimage.gaussian_filter(LUNGS.astype(np.float32), 3)
    P(np.rint(soft * 255).astype(np.uint8)).save(tmp_path / "soft.png")
    P((LUNGS[..., None] * np.array([0, 255, 0])).astype(np.uint8)).save(tmp_path / "green.jpg", quality=75)
    assert dice(read_mask(tmp_path / "soft.png"), LUNGS) > 0.97
    assert dice(read_mask(tmp_path / "green.jpg"), LUNGS) > 0.97


def test_a_mask_of_other_proportions_than_its_dicom_is_refused(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    image = tmp_path / "images" / "a.dcm"
    image.parent.mkdir()
    image.write_bytes(Path(get_testdata_file("CT_small.dcm")).read_bytes())  # 128 x 128
    save(P(LUNGS[:90]), tmp_path / "masks" / "a.png")
    dataset = open_dataset(tmp_path)
    with pytest.raises(DataError, match="90 x 128 pixels and its image 128 x 128: other proportions"):
        dataset.read_mask(dataset.records[0])


def save(picture: PIL.Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def test_montgomery_as_it_was_published(tmp_path: Path) -> None:
    for name in ("MCUCXR_0001_0.png", "MCUCXR_0002_0.png"):
        save(P(np.arange(16384, dtype=np.uint16).reshape(128, 128)), tmp_path / "CXR_png" / name)
        for side, label in (("left", 1), ("right", 2)):
            save(P(label == SIDES), tmp_path / "ManualMask" / f"{side}Mask" / name)
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, MaskFolder)
    assert len(dataset) == 2
    assert all(np.array_equal(sample.mask, LUNGS) for sample in dataset)
    (tmp_path / "ManualMask/leftMask/MCUCXR_0002_0.png").unlink()
    with pytest.raises(DataError, match=r"MCUCXR_0002_0\.png has the mask .* of one lung"):
        open_dataset(tmp_path)


def test_names_of_masks(tmp_path: Path) -> None:
    mask = P(LUNGS.astype(np.uint8))
    film = P(np.arange(16384, dtype=np.uint16).reshape(128, 128))
    for image, own in (("a.png", "a_mask.png"), ("b.png", "mask_b.gif"), ("c.png", "c.gif")):
        save(film, tmp_path / "images" / image)
        save(mask, tmp_path / "masks" / own)
    (tmp_path / "images/._a.png").write_bytes(b"\0\5\x16\7")
    dataset = open_dataset(tmp_path)
    assert [record.mask for record in dataset.records] == [
        "masks/a_mask.png",
        "masks/mask_b.gif",
        "masks/c.gif",
    ]
    P(LUNGS).convert("L").save(tmp_path / "images/a.jpg")
    with pytest.raises(DataError, match=r"a_mask\.png could be the mask of either"):
        open_dataset(tmp_path)


def test_a_mask_of_other_proportions_is_refused(tmp_path: Path) -> None:
    save(P(np.arange(128 * 200, dtype=np.uint16).reshape(128, 200)), tmp_path / "images/a.png")
    save(P(LUNGS), tmp_path / "masks/a.png")
    dataset = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"128 x 128 pixels and its image 128 x 200: other proportions"):
        dataset.read_mask(dataset.records[0])


def test_images_of_one_stem_are_both_kept(tmp_path: Path) -> None:
    film = P(GREY * 100)
    for name in ("ill/a.png", "ill/a.jpg", "well/b.png"):
        save(film, tmp_path / name)
    assert len(ClassFolders(tmp_path)) == 3


def test_real_masks_are_read_as_they_were(real_data: Path) -> None:
    for name in ("montgomery", "shenzhen", "radiography"):
        dataset = open_dataset(real_data / name)
        records = [record for record in dataset.records if record.mask]
        for record in records[:: max(1, len(records) // 15)]:
            with PIL.Image.open(dataset.mask_path(record)) as picture:
                values = np.asarray(picture.convert("L"))
            assert np.array_equal(dataset.read_mask(record), values > values.max() // 2)
