from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lungcls.curation.audit import audit
from lungcls.errors import DataError
from lungcls.phantom import chest_phantom


def counted(items: Iterable[Any], total: int, seen: list[tuple[int, int]]) -> Iterator[Any]:
    """A progress that notes how far it is."""
    for done, item in enumerate(items, start=1):
        seen.append((done, total))
        yield item


def save(path: Path, pixels: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels * 255).round().astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of the Radiography Database with one of each fault."""
    root = tmp_path_factory.mktemp("audit")
    chests = [chest_phantom(128, seed=seed).image for seed in range(5)]
    normal, covid = root / "Normal" / "images", root / "COVID" / "images"
    first = save(normal / "n1.png", chests[0])
    shutil.copy(first, normal / "n2.png")  # the same file
    Image.open(first).convert("RGB").save(normal / "n3.png")  # the same pixels in another mode
    save(normal / "n4.png", chests[1])
    save(covid / "c1.png", chests[2])
    save(covid / "c2.jpg", chests[2] ** 1.3)  # nearly the same, in another format
    save(covid / "c3.png", chests[1][1:-1, 1:-1])  # a near copy of n4, of another class and size
    save(covid / "c4.png", chests[3])
    save(covid / "black.png", np.zeros((128, 128)))
    broken = covid / "broken.png"
    broken.write_bytes(first.read_bytes()[:500])
    shutil.copy(broken, covid / "broken2.png")
    save(root / "Normal" / "masks" / "n1.png", chests[0] > 0.5)
    save(root / "Normal" / "masks" / "n4.png", chests[1] > 0.5)
    return root


def test_counts(database: Path) -> None:
    result = audit(database)
    assert (result.images, result.masks) == (11, 2)
    assert result.classes == {"COVID": 7, "Normal": 4}
    assert result.sizes == {"128x128": 7, "126x126": 1}
    assert result.modes == {"PNG L": 6, "JPEG L": 1, "PNG RGB": 1}
    assert result.parts == {}
    assert result.unassigned == 0


def test_unreadable_and_constant_files(database: Path) -> None:
    result = audit(database)
    assert result.constant == ("COVID/images/black.png",)
    assert sorted(result.unreadable) == ["COVID/images/broken.png", "COVID/images/broken2.png"]
    assert all(name in message for name, message in result.unreadable.items())


def test_duplicates_by_kind(database: Path) -> None:
    result = audit(database)
    assert [group.files for group in result.identical_files] == [
        ("COVID/images/broken.png", "COVID/images/broken2.png"),
        ("Normal/images/n1.png", "Normal/images/n2.png"),
    ]
    assert [group.files for group in result.identical_pixels] == [
        ("Normal/images/n1.png", "Normal/images/n2.png", "Normal/images/n3.png")
    ]
    assert [group.files for group in result.near] == [
        ("COVID/images/c1.png", "COVID/images/c2.jpg"),
        ("COVID/images/c3.png", "Normal/images/n4.png"),
    ]
    assert {group.kind for group in result.near} == {"near"}
    assert {pair[:2] for pair in result.similarities} == {group.files for group in result.near}
    assert all(0.945 <= pair[2] <= 1.0 for pair in result.similarities)


def test_copies_across_classes(database: Path) -> None:
    (group,) = audit(database).across_classes
    assert group.files == ("COVID/images/c3.png", "Normal/images/n4.png")
    assert group.classes == ("COVID", "Normal")


def test_leaks_across_a_given_split(database: Path) -> None:
    split = {
        "Normal/images/n1.png": "train",
        "Normal/images/n2.png": "train",
        "Normal/images/n3.png": "test",
        "Normal/images/n4.png": "test",
        "COVID/images/c1.png": "train",
        "COVID/images/c2.jpg": "train",
        "COVID/images/gone.png": "validation",
    }
    result = audit(database, split=split)
    assert result.parts == {"train": 4, "test": 2}
    assert result.missing == ("COVID/images/gone.png",)
    assert result.unassigned == 5
    # c3 is a copy of n4 too, but stands in no part.
    (leak,) = result.across_parts
    assert leak.kind == "pixels"
    assert leak.files == ("Normal/images/n1.png", "Normal/images/n2.png", "Normal/images/n3.png")
    assert leak.parts == ("test", "train")


def test_split_folders_are_understood(tmp_path: Path) -> None:
    chests = [chest_phantom(96, seed=seed).image for seed in range(3)]
    save(tmp_path / "train" / "NORMAL" / "a.png", chests[0])
    save(tmp_path / "train" / "SICK" / "b.png", chests[1])
    save(tmp_path / "val" / "SICK" / "c.png", chests[2])
    save(tmp_path / "test" / "SICK" / "d.png", chests[1] ** 1.2)
    result = audit(tmp_path)
    assert result.classes == {"SICK": 3, "NORMAL": 1}
    assert result.parts == {"train": 2, "test": 1, "validation": 1}
    assert [group.files for group in result.across_parts] == [("test/SICK/d.png", "train/SICK/b.png")]


def test_clean_flat_folder_and_progress(tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path / f"{seed}.png", chest_phantom(96, seed=seed).image)
    seen: list[tuple[int, int]] = []
    result = audit(tmp_path, progress=lambda items, total, text: counted(items, total, seen))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert result.classes == {}
    assert result.identical_files == result.identical_pixels == result.near == ()
    assert result.unreadable == {}


def test_dict_is_json_and_summary_names_the_findings(database: Path) -> None:
    result = audit(database)
    again = json.loads(json.dumps(result.to_dict()))
    assert again["across_classes"][0]["files"] == ["COVID/images/c3.png", "Normal/images/n4.png"]
    assert again["sizes"] == result.sizes
    summary = result.summary()
    for text in (
        "11 images, 2 masks",
        "128x128 7",
        "PNG RGB 1",
        "broken.png",
        "black.png",
        "c3.png",
        "COVID 7",
    ):
        assert text in summary
    assert "across splits      none" in summary


@pytest.mark.parametrize("case", ["missing", "empty", "file", "only masks"])
def test_folders_without_images(tmp_path: Path, case: str) -> None:
    target = tmp_path / "data"
    if case == "file":
        target.write_text("x")
    elif case != "missing":
        target.mkdir()
    if case == "only masks":
        save(target / "masks" / "a.png", np.eye(8))
    with pytest.raises(DataError, match="data"):
        audit(target)
