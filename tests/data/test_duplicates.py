from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lungcls.data.duplicates import copied_from, find_near_duplicates, match_thumbnails
from lungcls.data.thumbnails import thumbnail, thumbnails
from lungcls.errors import DataError, ImageError
from lungcls.phantom import chest_phantom


def counted(items: Iterable[Any], total: int, seen: list[tuple[int, int]]) -> Iterator[Any]:
    """A progress that notes how far it is."""
    for done, item in enumerate(items, start=1):
        seen.append((done, total))
        yield item


Floats = NDArray[np.float32]


def save(path: Path, pixels: NDArray[np.floating], size: int | None = None) -> Path:
    picture = Image.fromarray((pixels * 255).round().astype(np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    (picture.resize((size, size)) if size else picture).save(path)
    return path


@pytest.fixture(scope="module")
def chests() -> list[Floats]:
    return [chest_phantom(160, seed=seed).image for seed in range(6)]


def test_thumbnails_of_files(tmp_path: Path, chests: list[Floats]) -> None:
    paths = [save(tmp_path / f"{i}.png", image) for i, image in enumerate(chests)]
    seen: list[tuple[int, int]] = []
    small = thumbnails(paths, progress=lambda items, total, text: counted(items, total, seen))
    assert small.shape == (6, 64, 64)
    assert small.dtype == np.float32
    assert seen == [(i, 6) for i in range(1, 7)]
    for image, one in zip(chests, small, strict=True):
        assert abs(one.mean() - image.mean()) < 0.01


def test_thumbnail_does_not_alias() -> None:
    # One-pixel stripes are beyond what 64 pixels can show: only their mean may be left.
    stripes = np.tile(np.array([0.0, 1.0], np.float32), (512, 256))
    np.testing.assert_allclose(thumbnail(stripes), 0.5, atol=0.02)


def test_different_chests_are_not_joined(tmp_path: Path, chests: list[Floats]) -> None:
    paths = [save(tmp_path / f"{i}.png", image) for i, image in enumerate(chests)]
    result = find_near_duplicates(paths)
    assert result.pairs == []
    assert result.groups() == []
    assert result.clusters.tolist() == list(range(6))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: image**1.4,
        lambda image: np.clip(1.3 * image - 0.1, 0, 1),
        lambda image: np.clip(image + np.random.default_rng(0).normal(0, 0.03, image.shape), 0, 1),
        lambda image: image[2:-1, 1:-2],
        lambda image: np.roll(image, 1, axis=1),
    ],
    ids=["copy", "gamma", "contrast", "noise", "crop", "shift"],
)
def test_copies_are_found(tmp_path: Path, chests: list[Floats], change: object) -> None:
    assert callable(change)
    paths = [save(tmp_path / f"{i}.png", image) for i, image in enumerate(chests)]
    paths.append(save(tmp_path / "copy.jpg", change(chests[2]), size=211))
    result = find_near_duplicates(paths)
    assert [pair[:2] for pair in result.pairs] == [(2, 6)]
    assert 0.945 <= result.pairs[0][2] <= 1.0
    assert result.groups() == [[2, 6]]
    assert result.clusters.tolist() == [0, 1, 2, 3, 4, 5, 2]


def test_copies_of_other_images_are_told_from_copies_among_themselves(chests: list[Floats]) -> None:
    own = np.stack([thumbnail(chests[i]) for i in (0, 1, 1, 2)])
    others = np.stack([thumbnail(image) for image in (chests[3], chests[2] ** 1.3, chests[0])])
    assert copied_from(own, others).tolist() == [True, False, False, True]
    labels = ["Normal", "Normal", "Normal", "COVID", "COVID", "Normal", "Normal"]
    assert copied_from(own, others, labels).tolist() == [True, False, False, False]


def test_exact_copies_have_similarity_one(chests: list[Floats]) -> None:
    small = np.stack([thumbnail(chests[i]) for i in (0, 1, 0)])
    ((first, second, similarity),) = match_thumbnails(small).pairs
    assert (first, second) == (0, 2)
    assert similarity == pytest.approx(1.0, abs=1e-5)


def test_chains_make_one_cluster_numbered_by_appearance(chests: list[Floats]) -> None:
    order = [5, 1, 5, 4, 1, 5]
    result = match_thumbnails(np.stack([thumbnail(chests[i]) for i in order]))
    assert result.clusters.tolist() == [0, 1, 0, 2, 1, 0]
    assert result.groups() == [[0, 2, 5], [1, 4]]


def test_pairs_do_not_depend_on_the_order(chests: list[Floats]) -> None:
    small = np.stack([thumbnail(chests[i % 6]) for i in range(12)])
    order = np.random.default_rng(0).permutation(12)
    plain = {frozenset(pair[:2]) for pair in match_thumbnails(small).pairs}
    shuffled = {frozenset(order[list(pair[:2])].tolist()) for pair in match_thumbnails(small[order]).pairs}
    assert plain == shuffled == {frozenset((i, i + 6)) for i in range(6)}


def test_labels_keep_classes_apart(chests: list[Floats]) -> None:
    small = np.stack([thumbnail(chests[i]) for i in (0, 0, 1, 1)])
    assert match_thumbnails(small, labels=["a", "b", "c", "c"]).groups() == [[2, 3]]
    assert match_thumbnails(small).groups() == [[0, 1], [2, 3]]


def test_flat_images_are_duplicates_of_nothing(chests: list[Floats]) -> None:
    flat = np.full((64, 64), 0.3, np.float32)
    rounding = flat + np.float32(1e-4) * np.indices((64, 64)).sum(0, dtype=np.float32) % 2
    small = np.stack([flat, flat, rounding, rounding, thumbnail(chests[0])])
    assert match_thumbnails(small).pairs == []


def test_empty_and_single() -> None:
    assert match_thumbnails(np.empty((0, 64, 64), np.float32)).clusters.shape == (0,)
    assert find_near_duplicates([]).pairs == []
    assert match_thumbnails(np.zeros((1, 64, 64), np.float32)).clusters.tolist() == [0]


def test_thumbnails_are_left_as_they_were(chests: list[Floats]) -> None:
    small = np.stack([thumbnail(image) for image in chests])
    before = small.copy()
    match_thumbnails(small)
    np.testing.assert_array_equal(small, before)


def test_more_images_than_a_block(chests: list[Floats]) -> None:
    # Noise images are alike in nothing; the two copies stand in different blocks of the comparison.
    small = np.random.default_rng(0).random((1300, 64, 64), dtype=np.float32)
    small[3] = small[1200] = thumbnail(chests[0])
    small[1250] = small[1100]
    assert sorted(pair[:2] for pair in match_thumbnails(small).pairs) == [(3, 1200), (1100, 1250)]


def test_wrong_arguments(tmp_path: Path, chests: list[Floats]) -> None:
    path = save(tmp_path / "a.png", chests[0])
    with pytest.raises(ValueError, match="2 labels were given for 1 images"):
        find_near_duplicates([path], labels=["a", "b"])
    with pytest.raises(ValueError, match="threshold"):
        find_near_duplicates([path], threshold=0.5)
    with pytest.raises(ValueError, match=r"\(3, 32, 32\)"):
        match_thumbnails(np.zeros((3, 32, 32), np.float32))
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.png"):
        thumbnails([path, tmp_path / "broken.png"])


@pytest.mark.slow
def test_known_copies_of_real_images(real_data: Path) -> None:
    """The figures of the comment on THRESHOLD, on images whose copies are listed in the manifest."""
    root = real_data / "radiography"
    with (root / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    groups = [row["group"] for row in rows]
    unknown = [not row["patient"] for row in rows]
    mates = Counter(group for group, free in zip(groups, unknown, strict=True) if free)

    result = find_near_duplicates([root / row["file"] for row in rows])

    found = joined = 0
    for members in result.groups():
        # Mates that share a patient are no proof: they are known without a look at the pixels.
        free = Counter(groups[i] for i in members if unknown[i])
        found += sum(count for count in free.values() if count > 1)
        joined += len(members) if len({groups[i] for i in members}) > 1 else 0
    wanted = sum(count for count in mates.values() if count > 1)
    recall, false_share = found / wanted, joined / len(rows)
    print(f"recall {found}/{wanted} = {recall:.4f}, joined to another group {joined} = {false_share:.4%}")  # noqa: T201
    assert wanted > 100
    assert recall >= 0.95
    assert false_share < 0.005


def test_what_was_found_is_kept_for_the_same_files(tmp_path: Path, chests: list[Floats]) -> None:
    paths = [save(tmp_path / f"{i}.png", image) for i, image in enumerate([*chests, chests[2] ** 1.2])]
    cache = tmp_path / "cache.npz"
    first = find_near_duplicates(paths, cache=cache)
    assert first.groups() == [[2, 6]]
    seen: list[tuple[int, int]] = []
    again = find_near_duplicates(
        paths, cache=cache, progress=lambda items, total, text: counted(items, total, seen)
    )
    assert not seen  # nothing was read
    assert again.clusters.tolist() == first.clusters.tolist()
    assert again.pairs == first.pairs
    # Other files, another threshold: nothing of the old result is left.
    assert find_near_duplicates(paths[:-1], cache=cache).pairs == []
    assert len(find_near_duplicates(paths, cache=cache, threshold=0.95).clusters) == 7
    save(paths[6], chests[3])
    assert find_near_duplicates(paths, cache=cache).groups() == [[3, 6]]
    cache.write_bytes(b"something else")
    with pytest.raises(DataError, match="not a cache of near duplicates"):
        find_near_duplicates(paths, cache=cache)


def test_near_duplicates_are_looked_for_once_without_a_word_about_a_cache(
    tmp_path: Path, chests: list[Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNGCLS_CACHE", str(tmp_path / "cache"))
    paths = [save(tmp_path / f"{i}.png", image) for i, image in enumerate([*chests, chests[2]])]
    seen: list[tuple[int, int]] = []
    first = find_near_duplicates(paths, progress=lambda items, total, text: counted(items, total, seen))
    assert first.groups() == [[2, 6]]
    assert len(seen) == 7
    again = find_near_duplicates(paths, progress=lambda items, total, text: counted(items, total, seen))
    assert again.groups() == [[2, 6]]
    assert len(seen) == 7  # nothing was read
    (kept,) = (tmp_path / "cache/near-duplicates").iterdir()
    kept.write_bytes(b"damaged")
    assert find_near_duplicates(paths).groups() == [[2, 6]]
    (tmp_path / "blocked").write_text("no folder")
    monkeypatch.setenv("LUNGCLS_CACHE", str(tmp_path / "blocked"))
    assert find_near_duplicates(paths).groups() == [[2, 6]]
