"""Grouped, stratified splits, written to a file with their hash."""

from __future__ import annotations

import csv
import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from lungcls.data.dataset import Dataset, Record
from lungcls.errors import DataError
from lungcls.files import atomic_write

logger = logging.getLogger(__name__)

PARTS: Final = ("train", "validation", "test")

# Folds of 5% each are dealt out to the parts, so fractions are kept to the nearest 5%.
_FOLDS: Final = 20


@dataclass(frozen=True)
class Split:
    """Which image belongs to which part.

    Attributes
    ----------
    parts : dict of str to str
        Image file to ``train``, ``validation`` or ``test``.
    groups : dict of str to str
        Image file to the group that was kept together.
    """

    parts: Mapping[str, str]
    groups: Mapping[str, str]

    @property
    def hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 over the sorted (file, part) pairs."""
        text = "\n".join(f"{file}\t{part}" for file, part in sorted(self.parts.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def select(self, records: Sequence[Record], part: str) -> list[Record]:
        """Return the records of one part.

        Raises
        ------
        DataError
            If the part is not known, or none of the records is in it.
        """
        if part not in PARTS:
            raise DataError(f"unknown part {part!r} of a split; expected one of {', '.join(PARTS)}")
        chosen = [record for record in records if self.parts.get(record.file) == part]
        if not chosen:
            raise DataError(f"no image of the dataset is in the part {part!r} of the split {self.hash}")
        return chosen

    def write_csv(self, path: str | Path) -> None:
        """Write the columns ``file``, ``part``, ``group``; the hash stands in the file's first line."""
        with atomic_write(path, "w") as file:
            file.write(f"# lungcls split {self.hash}\n")
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["file", "part", "group"])
            writer.writerows((name, part, self.groups[name]) for name, part in sorted(self.parts.items()))

    @classmethod
    def read_csv(cls, path: str | Path) -> Split:
        """Read a split that :meth:`write_csv` wrote.

        Raises
        ------
        DataError
            If the file is not a split, or its content does not give the hash in its first line.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: the split cannot be read ({error})") from error
        if len(lines) < 2 or not lines[0].startswith("# lungcls split "):
            raise DataError(f"{path}: not a split file; expected a first line '# lungcls split HASH'")
        rows = list(csv.DictReader(lines[1:]))
        if not rows or not {"file", "part", "group"} <= rows[0].keys():
            raise DataError(f"{path}: expected the columns file, part, group")
        unknown = {str(row["part"]) for row in rows} - set(PARTS)
        if unknown:
            raise DataError(f"{path}: unknown parts {sorted(unknown)}; expected {', '.join(PARTS)}")
        split = cls({r["file"]: r["part"] for r in rows}, {r["file"]: r["group"] for r in rows})
        stated = lines[0].split()[-1]
        if split.hash != stated:
            raise DataError(f"{path}: its rows give the hash {split.hash}, its first line says {stated}")
        return split

    def counts(self) -> dict[str, int]:
        """Return the number of images in each part."""
        counted = Counter(self.parts.values())
        return {part: counted[part] for part in PARTS}


def make_split(
    records: Sequence[Record],
    *,
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.70, 0.15, 0.15),
    groups: Sequence[Any] | None = None,
) -> Split:
    """Split a dataset, stratified by class and source, with groups kept together.

    Parameters
    ----------
    records : sequence of Record
    seed : int, default=0
    fractions : (train, validation, test), default=(0.70, 0.15, 0.15)
        Multiples of 0.05 that sum to 1.
    groups : sequence, one value a record, optional
        Images that share a value, a known ``group`` or a known ``patient`` land in one part, also where
        only a chain of images joins them. :func:`split_dataset` gives the clusters of near duplicates.

    Returns
    -------
    Split

    Raises
    ------
    DataError
        If the fractions are not as stated, no class of one source has 20 images, or `groups` has not one
        value a record.
    """
    folds = [round(fraction * _FOLDS) for fraction in fractions]
    if sum(folds) != _FOLDS or min(folds) < 0 or not np.allclose(np.divide(folds, _FOLDS), fractions):
        raise DataError(f"the fractions {fractions} of a split must be multiples of 0.05 that sum to 1")
    names = np.asarray(_joined(records, groups))
    strata = np.asarray([f"{record.label}|{record.source}" for record in records])
    most = max(Counter(strata.tolist()).values(), default=0)
    if most < _FOLDS:
        raise DataError(
            f"a split needs at least {_FOLDS} images of one class and source; got {len(records)} images, "
            f"at most {most} of one class and source"
        )
    parts = np.empty(len(records), dtype=object)
    splitter = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    order = np.repeat(PARTS, folds)
    # A class and source with fewer images than folds is only spread less evenly, so its warning says nothing.
    for fold, (_, chosen) in enumerate(splitter.split(strata, strata, names)):
        parts[chosen] = order[fold]
    files = [record.file for record in records]
    return Split(dict(zip(files, parts.tolist())), dict(zip(files, names.tolist())))


def split_dataset(dataset: Dataset, *, seed: int = 0) -> Split:
    """Split a dataset 70/15/15, finding its near duplicates first where it does not name its groups.

    Parameters
    ----------
    dataset : Dataset
    seed : int, default=0

    Returns
    -------
    Split

    Raises
    ------
    DataError
        If no class of one source has 20 images.
    ImageError
        If an image must be read to be compared, and cannot be.
    """
    records = dataset.records
    if any(record.group for record in records):
        return make_split(records, seed=seed)
    from lungcls.data.duplicates import find_near_duplicates

    logger.info("%s names no groups: looking for near duplicates", dataset.root)
    found = find_near_duplicates(
        [dataset.path(record) for record in records], labels=[record.label for record in records]
    )
    return make_split(records, seed=seed, groups=found.clusters.tolist())


def _joined(records: Sequence[Record], groups: Sequence[Any] | None) -> list[str]:
    """Return for each record the name of all that must stay together with it."""
    if groups is not None and len(groups) != len(records):
        raise DataError(f"groups has {len(groups)} values; expected one for each of {len(records)} images")
    links = []
    for position, record in enumerate(records):
        keys = [] if groups is None else [f"cluster {groups[position]}"]
        keys += [record.group] if record.group else []
        keys += [f"patient {record.patient}"] if record.patient else []
        links.append(keys or [record.file])
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while (above := parent.setdefault(key, key)) != key:
            parent[key] = parent[above]
            key = above
        return key

    for keys in links:
        for other in keys[1:]:
            parent[root(other)] = root(keys[0])
    roots = [root(keys[0]) for keys in links]
    # Named after their first image, so that the same data give the same names however they are joined.
    # (The groups of released weights' splits are named so; other names would shuffle to other splits.)
    names: dict[str, str] = {}
    return [names.setdefault(key, keys[0]) for key, keys in zip(roots, links)]
