from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungcls.data import (
    RadiographyDatabase,
    Record,
    Split,
    absent_classes,
    crossing,
    make_split,
    official_split,
    split_dataset,
)
from lungcls.errors import DataError

STRATA = [
    ("COVID", "mixed", 200),
    ("Normal", "rsna", 140),
    ("Normal", "kermany", 60),
    ("Viral Pneumonia", "kermany", 100),
]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """Five hundred images, a fifth of them in groups of two to four."""
    random = np.random.default_rng(0)
    result: list[Record] = []
    for label, source, count in STRATA:
        group, left = 0, 0
        for number in range(count):
            if left == 0:
                group, left = group + 1, int(random.choice([1, 2, 3, 4], p=[0.9, 0.04, 0.03, 0.03]))
            left -= 1
            file = f"{label}/{source}-{number}.png"
            result.append(Record(file, label, source=source, group=f"{label} {source} {group}"))
    return result


def _crossing(split: Split, records: Sequence[Record], key: str) -> list[str]:
    parts = defaultdict(set)
    for record in records:
        if value := getattr(record, key):
            parts[value].add(split.parts[record.file])
    return [value for value, found in parts.items() if len(found) > 1]


def test_fractions_within_every_class_and_source(records: list[Record]) -> None:
    split = make_split(records)
    assert split.parts.keys() == {record.file for record in records}
    assert sum(split.counts().values()) == len(records)
    for label, source, count in STRATA:
        chosen = Counter(split.parts[r.file] for r in records if (r.label, r.source) == (label, source))
        for part, fraction in (("train", 0.70), ("validation", 0.15), ("test", 0.15)):
            assert chosen[part] / count == pytest.approx(fraction, abs=0.05)


def test_groups_never_cross(records: list[Record]) -> None:
    for seed in (1, 2):
        split = make_split(records, seed=seed)
        assert _crossing(split, records, "group") == []
        assert len(set(split.groups.values())) == len({record.group for record in records})


def test_seed_decides(records: list[Record]) -> None:
    first, again, other = make_split(records), make_split(records), make_split(records, seed=1)
    assert first == again
    assert first.hash == again.hash != other.hash
    moved = sum(first.parts[file] != other.parts[file] for file in first.parts)
    assert moved > 0.2 * len(records)


def test_global_random_state_is_left_alone(records: list[Record]) -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_split(records, seed=3)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_patients_never_cross_either(records: list[Record]) -> None:
    """A patient's images may lie in several groups of near duplicates, and some in none."""
    random = np.random.default_rng(1)
    patients = [f"p{random.integers(75)}" if number % 4 == 0 else "" for number in range(len(records))]
    known = [
        replace(record, patient=patient, group=record.group if number % 3 else "")
        for number, (record, patient) in enumerate(zip(records, patients))
    ]
    split = make_split(known)
    assert _crossing(split, known, "patient") == []
    assert _crossing(split, known, "group") == []
    only_patients = [replace(record, group="") for record in known]
    assert _crossing(make_split(only_patients), known, "patient") == []


def test_given_groups_join_what_the_records_know(records: list[Record]) -> None:
    clusters = [number // 3 for number in range(len(records))]
    split = make_split(records, groups=clusters)
    parts = defaultdict(set)
    for record, cluster in zip(records, clusters):
        parts[cluster].add(split.parts[record.file])
    assert {len(found) for found in parts.values()} == {1}
    assert _crossing(split, records, "group") == []
    with pytest.raises(DataError, match="groups has 3 values; expected one for each of 500 images"):
        make_split(records, groups=[1, 2, 3])


def test_a_chain_is_kept_together() -> None:
    records = [Record(f"{number}.png", "Normal") for number in range(100)]
    records[0] = replace(records[0], group="a")
    records[50] = replace(records[50], group="a", patient="x")
    records[99] = replace(records[99], patient="x")
    for seed in range(8):
        split = make_split(records, seed=seed)
        assert len({split.parts[f"{number}.png"] for number in (0, 50, 99)}) == 1
        assert len({split.groups[f"{number}.png"] for number in (0, 50, 99)}) == 1
        assert len(set(split.groups.values())) == 98


@pytest.mark.parametrize(
    "fractions", [(0.7, 0.2, 0.2), (0.7, 0.15), (0.71, 0.14, 0.15), (1.2, -0.1, -0.1), (0.5, 0.5, 0.5)]
)
def test_impossible_fractions(records: list[Record], fractions: tuple[float, float, float]) -> None:
    with pytest.raises(DataError, match=r"must be multiples of 0\.05 that sum to 1"):
        make_split(records, fractions=fractions)


def test_other_fractions(records: list[Record]) -> None:
    counts = make_split(records, fractions=(0.8, 0.2, 0.0)).counts()
    assert counts["train"] == pytest.approx(400, abs=10)
    assert counts["test"] == 0


@pytest.mark.parametrize("count", [0, 1, 19, 40])
def test_too_few_images(count: int) -> None:
    few = [
        Record(f"{number}.png", ("COVID", "Normal", "Lung_Opacity")[number % 3]) for number in range(count)
    ]
    with pytest.raises(DataError, match=f"at least 20 images of one class and source; got {count} images"):
        make_split(few)


def test_select(records: list[Record]) -> None:
    split = make_split(records)
    chosen = split.select(records, "validation")
    assert [r.file for r in records if split.parts[r.file] == "validation"] == [r.file for r in chosen]
    # An image that came after the split was made belongs to no part.
    assert split.select([*records, Record("new.png", "Normal")], "validation") == chosen
    with pytest.raises(
        DataError, match="unknown part 'val' of a split; expected one of train, validation, test"
    ):
        split.select(records, "val")
    with pytest.raises(
        DataError, match=f"no image of the dataset is in the part 'test' of the split {split.hash}"
    ):
        split.select([Record("new.png", "Normal")], "test")


def test_csv_round_trip(records: list[Record], tmp_path: Path) -> None:
    odd = [replace(records[0], file="Größe, 'a' \"b\".png"), *records[1:]]
    split = make_split(odd)
    split.write_csv(tmp_path / "split.csv")
    assert Split.read_csv(tmp_path / "split.csv") == split
    assert Split.read_csv(str(tmp_path / "split.csv")).hash == split.hash
    first, header, row, *_ = (tmp_path / "split.csv").read_text(encoding="utf-8").splitlines()
    assert (first, header) == (f"# lungcls split {split.hash}", "file,part,group")
    assert row.startswith("COVID/mixed-1.png,")


def test_the_hash_is_of_the_parts_and_not_of_the_order(records: list[Record]) -> None:
    split = make_split(records)
    backwards = Split(dict(reversed(split.parts.items())), split.groups)
    assert backwards.hash == split.hash
    first = next(iter(split.parts))
    other = {**split.parts, first: "test" if split.parts[first] != "test" else "train"}
    assert Split(other, split.groups).hash != split.hash


def _tamper(path: Path, how: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if ",test," in line)
    if how == "moved":
        lines[place] = lines[place].replace(",test,", ",train,")
    elif how == "dropped":
        del lines[place]
    elif how == "added":
        lines.append(lines[place].replace(".png", "x.png"))
    elif how == "renamed":
        lines[place] = lines[place].replace(".png", "x.png")
    path.write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize("how", ["moved", "dropped", "added", "renamed"])
def test_a_tampered_csv_is_refused(records: list[Record], tmp_path: Path, how: str) -> None:
    path = tmp_path / "split.csv"
    split = make_split(records)
    split.write_csv(path)
    _tamper(path, how)
    with pytest.raises(
        DataError, match=rf"split\.csv: its rows give the hash \w+, its first line says {split.hash}"
    ):
        Split.read_csv(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a split file; expected a first line"),
        ("file,part,group\na.png,train,a\n", "not a split file; expected a first line"),
        ("# lungcls split 00\nfile,fold\na.png,1\n", "expected the columns file, part, group"),
        ("# lungcls split 00\nfile,part,group\n", "expected the columns file, part, group"),
        ("# lungcls split 00\nfile,part,group\na.png,holdout,a\n", r"unknown parts \['holdout'\]"),
        ("# lungcls split 00\nfile,part,group\na.png\nb.png,dev,b\n", "unknown parts"),
    ],
)
def test_what_is_no_split_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "split.csv").write_text(content)
    with pytest.raises(DataError, match=rf"split\.csv: {message}"):
        Split.read_csv(tmp_path / "split.csv")


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv: the split cannot be read"):
        Split.read_csv(tmp_path / "nowhere.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"binary\.csv: the split cannot be read"):
        Split.read_csv(tmp_path / "binary.csv")


def test_a_dataset_with_groups(manifest_database: Path) -> None:
    database = RadiographyDatabase(manifest_database)
    split = split_dataset(database)
    assert split == make_split(database.records)
    assert _crossing(split, database.records, "group") == []
    assert _crossing(split, database.records, "patient") == []


def test_copies_are_found_where_there_are_no_groups(manifest_database: Path) -> None:
    manifest = manifest_database / "manifest.csv"
    rows = [line.split(",") for line in manifest.read_text().splitlines()]
    manifest.write_text("\n".join(",".join([*row[:5], *row[6:]]) for row in rows))  # without the column group
    folder = manifest_database / "Normal" / "images"
    for number in range(9, 21):
        (folder / f"Normal-{number}.png").write_bytes((folder / "Normal-8.png").read_bytes())
    database = RadiographyDatabase(manifest_database)
    split = split_dataset(database)
    copies = [f"Normal/images/Normal-{number}.png" for number in range(8, 21)]
    assert len({split.parts[file] for file in copies}) == 1
    assert _crossing(split, database.records, "patient") == []


def test_real_split(real_data: Path) -> None:
    database = RadiographyDatabase(real_data / "radiography")
    database.records = [r for r in database.records if r.patient] + database.records[::6]
    database.records = list(dict.fromkeys(database.records))[-2000:]
    split = split_dataset(database)
    assert any(record.patient for record in database.records)
    assert _crossing(split, database.records, "group") == []
    assert _crossing(split, database.records, "patient") == []
    for fraction, part in ((0.70, "train"), (0.15, "validation"), (0.15, "test")):
        chosen = Counter(record.label for record in split.select(database.records, part))
        for label, count in database.summary()["classes"].items():
            assert chosen[label] / count == pytest.approx(fraction, abs=0.04)


def _own(database: RadiographyDatabase, parts: dict[int, str]) -> None:
    """Give the images of a database parts of its own: by position modulo 10."""
    database.records = [
        replace(record, part=parts[position % 10]) for position, record in enumerate(database.records)
    ]


def test_an_official_split_is_taken_over_and_its_leaks_counted(manifest_database: Path) -> None:
    database = RadiographyDatabase(manifest_database)
    _own(database, {i: "train" if i < 6 else "validation" if i < 8 else "test" for i in range(10)})
    split = official_split(database)
    assert dict(split.parts) == {record.file: record.part for record in database.records}
    # Images 2k and 2k + 1 of a class are of one group, and the parts tear some of them apart.
    groups = {record.file: record.group for record in database.records}
    torn = crossing(split)
    assert torn
    assert all(len({groups[file] for file in files}) == 1 for files in torn)
    assert crossing(make_split(database.records)) == []


def test_what_is_missing_for_validation_comes_from_the_training_part(manifest_database: Path) -> None:
    database = RadiographyDatabase(manifest_database)
    _own(database, {i: "train" if i < 9 else "test" for i in range(10)})
    split = official_split(database, seed=3)
    test = [record for record in database.records if split.parts[record.file] == "test"]
    assert test == [record for record in database.records if record.part == "test"]
    counts = split.counts()
    assert 0.1 < counts["validation"] / (counts["train"] + counts["validation"]) < 0.2
    inner = [record for record in database.records if record.part == "train"]
    assert _crossing(split, inner, "group") == []
    assert official_split(database, seed=3) == split
    assert official_split(database, seed=4) != split


def test_half_a_split_of_its_own_is_none(manifest_database: Path) -> None:
    database = RadiographyDatabase(manifest_database)
    with pytest.raises(DataError, match="96 of 96 images have no part"):
        official_split(database)
    _own(database, dict.fromkeys(range(10), "holdout"))
    with pytest.raises(DataError, match=r"unknown parts \['holdout'\]"):
        official_split(database)


def test_absent_classes(manifest_database: Path) -> None:
    database = RadiographyDatabase(manifest_database)
    split = make_split(database.records)
    assert absent_classes(split, database) == {}
    database.records = [r for r in database.records if r.label != "COVID" or split.parts[r.file] == "train"]
    assert absent_classes(split, database) == {"validation": ["COVID"], "test": ["COVID"]}


def test_sources_with_few_images_count_as_one(manifest_database: Path) -> None:
    database = RadiographyDatabase(manifest_database)
    plain = make_split(database.records)
    database.records = [replace(r, source=f"paper {n}") for n, r in enumerate(database.records)]
    assert make_split(database.records).counts() == plain.counts()
