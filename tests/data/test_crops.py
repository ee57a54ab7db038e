from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lungcls.curation.audit import audit
from lungcls.data import MaskFolder, RadiographyDatabase, crossing, split_dataset
from lungcls.data.crops import match_crops
from lungcls.data.duplicates import find_near_duplicates, match_thumbnails
from lungcls.data.thumbnails import thumbnail
from lungcls.images import read_image
from lungcls.phantom import chest_phantom

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def chests() -> list[Floats]:
    generator = np.random.default_rng(0)
    images = []
    for seed in range(8):
        # Phantoms are smooth; ribs and vessels of their own are what tells two real chests apart.
        detail = np.asarray(Image.fromarray(generator.random((40, 40), np.float32)).resize((200, 200)))
        images.append(np.clip(chest_phantom(200, seed=seed).image + 0.3 * (detail - 0.5), 0, 1))
    return images


def trimmed(image: Floats, left: float, top: float, right: float, bottom: float) -> Floats:
    height, width = image.shape
    rows = slice(round(top * height), height - round(bottom * height))
    return image[rows, round(left * width) : width - round(right * width)]


@pytest.mark.parametrize(
    "edges", [(0.04, 0.04, 0.04, 0.04), (0.0, 0.1, 0.0, 0.06), (0.11, 0.0, 0.07, 0.0), (0.0, 0.0, 0.0, 0.12)]
)
def test_trimmed_copies_are_found(chests: list[Floats], edges: tuple[float, float, float, float]) -> None:
    copy = trimmed(chests[3], *edges) ** 1.2
    small = np.stack([thumbnail(image) for image in [*chests, copy]])
    ((first, second, similarity),) = match_crops(small)
    assert (first, second) == (3, 8)
    assert 0.85 <= similarity <= 1
    assert match_crops(small, labels=[*["a"] * 8, "b"]) == []


def test_whole_copies_are_found_and_other_chests_are_not(chests: list[Floats]) -> None:
    small = np.stack([thumbnail(image) for image in [*chests, chests[0] ** 0.8]])
    assert [pair[:2] for pair in match_crops(small)] == [(0, 8)]
    assert match_crops(small[:8]) == []
    assert match_crops(small[:1]) == []


def test_flat_pictures_are_like_nothing(chests: list[Floats]) -> None:
    flat = np.full((2, 64, 64), 0.5, np.float32)
    small = np.concatenate([flat, np.zeros((2, 64, 64), np.float32), thumbnail(chests[0])[None]])
    assert match_crops(small) == []


def test_searches_audits_and_splits_offer_it(tmp_path: Path, chests: list[Floats]) -> None:
    copy = trimmed(chests[2], 0.09, 0.08, 0.09, 0.08)
    paths = []
    for position, image in enumerate([*chests, copy]):
        path = tmp_path / "images" / f"{position}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((image * 255).astype(np.uint8)).save(path)
        paths.append(path)
    cache = tmp_path / "cache.npz"
    assert find_near_duplicates(paths, cache=cache).groups() == []
    assert find_near_duplicates(paths, cache=cache, cropped=True).groups() == [[2, 8]]
    assert audit(tmp_path).near == ()
    (group,) = audit(tmp_path, cropped=True).near
    assert group.files == ("images/2.png", "images/8.png")


def test_a_split_keeps_trimmed_copies_together(manifest_database: Path, chests: list[Floats]) -> None:
    folder = manifest_database / "Normal" / "images"
    for number, image in enumerate([trimmed(chests[0], 0, 0.01 * n, 0, 0.1) for n in range(1, 9)], start=10):
        Image.fromarray((image * 255).astype(np.uint8)).save(folder / f"Normal-{number}.png")
    database = RadiographyDatabase(manifest_database)
    split = split_dataset(database, cropped=True)
    assert len({split.groups[f"Normal/images/Normal-{number}.png"] for number in range(10, 18)}) == 1
    assert crossing(split) == []


def test_real_films(real_data: Path) -> None:
    root = real_data / "montgomery"
    if not root.is_dir():
        pytest.skip("LUNGCLS_DATA holds no montgomery")
    dataset = MaskFolder(root)
    films = [read_image(dataset.path(record)).pixels for record in dataset.records[:60]]
    cuts = [trimmed(film, *np.random.default_rng(n).uniform(0, 0.1, 4)) for n, film in enumerate(films[:30])]
    small = np.stack([thumbnail(image) for image in [*films, *cuts]])
    found = {pair[:2] for pair in match_crops(small)}
    wanted = {(number, 60 + number) for number in range(30)}
    plain = {pair[:2] for pair in match_thumbnails(small).pairs}
    assert len(found & wanted) > 24
    assert len(plain & wanted) < len(found & wanted)
    # The films of this set share their letters and black borders, which must not make copies of them.
    assert found <= wanted
