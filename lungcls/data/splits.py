"""Grouped, stratified splits, written to a file with their hash."""

from __future__ import annotations

import csv
import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from lungcls.data.dataset import Dataset, Record
from lungcls.data.duplicates import find_near_duplicates
from lungcls.errors import DataError
from lungcls.files import atomic_write
from lungcls.progress import Progress, quiet

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

    def only(self, files: Iterable[str]) -> Split:
        """Return the split of some of its images; those that it does not know are left out."""
        chosen = [file for file in files if file in self.parts]
        return Split(
            {file: self.parts[file] for file in chosen}, {file: self.groups[file] for file in chosen}
        )

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
    strata = np.asarray(_strata(records))
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


def _strata(records: Sequence[Record]) -> list[str]:
    """Return class and source of each image; sources with fewer images of a class than folds count as one."""
    counted = Counter((record.label, record.source) for record in records)
    return [f"{r.label}|{r.source if counted[r.label, r.source] >= _FOLDS else ''}" for r in records]


def split_dataset(
    dataset: Dataset,
    *,
    seed: int = 0,
    cache: str | Path | None = None,
    cropped: bool = False,
    progress: Progress[None] = quiet,
) -> Split:
    """Split a dataset 70/15/15, finding its near duplicates first where it does not name its groups.

    Parameters
    ----------
    dataset : Dataset
    seed : int, default=0
    cache : path-like, optional
        File for the near duplicates that were found, by default one in the user's cache: the same images
        are compared only once.
    cropped : bool, default=False
        Look for copies of which a part was cut off, too, also in a dataset that names its groups; see
        :func:`lungcls.data.crops.match_crops`.
    progress : callable, optional
        As :data:`lungcls.progress.Progress`, for the images that are read to be compared.

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
    search = cropped or not dataset.grouped
    groups = _clusters(dataset, cache, cropped, progress) if search else None
    return make_split(dataset.records, seed=seed, groups=groups)


def official_split(
    dataset: Dataset,
    *,
    seed: int = 0,
    validation: float = 0.15,
    groups: Sequence[Any] | None = None,
    cache: str | Path | None = None,
    progress: Progress[None] = quiet,
) -> Split:
    """Take over the split that a dataset comes with.

    Parameters
    ----------
    dataset : Dataset
        Whose records name their ``part``.
    seed : int, default=0
        Of the validation part, where the dataset has none.
    validation : float, default=0.15
        Fraction of the training images that becomes the validation part where the dataset has none; patients
        and near duplicates are kept together. A multiple of 0.05.
    groups : sequence, one value a record, optional
        Clusters of near duplicates, where they are known already.
    cache, progress
        As in :func:`split_dataset`.

    Returns
    -------
    Split
        Its ``groups`` are true ones, which the official parts may tear apart: :func:`crossing` counts that.

    Raises
    ------
    DataError
        If not every image has a part, or the training part is too small to be split.
    ImageError
        If an image must be read to be compared, and cannot be.
    """
    records = dataset.records
    without = [record.file for record in records if not record.part]
    if without:
        raise DataError(
            f"{dataset.root}: {len(without)} of {len(records)} images have no part of a split of their own "
            "(such as "
            f"{without[0]}); make a grouped split (`lungcls data split` without --official)"
        )
    if groups is None and not dataset.grouped:
        groups = _clusters(dataset, cache, False, progress)
    names = _joined(records, groups)
    parts = {record.file: record.part for record in records}
    unknown = set(parts.values()) - set(PARTS)
    if unknown:
        raise DataError(f"{dataset.root}: unknown parts {sorted(unknown)}; expected {', '.join(PARTS)}")
    if "validation" not in parts.values():
        chosen = [(record, name) for record, name in zip(records, names) if record.part == "train"]
        inner = make_split(
            [record for record, _ in chosen],
            seed=seed,
            fractions=(1 - validation, validation, 0.0),
            groups=[name for _, name in chosen],
        )
        parts.update(inner.parts)
    return Split(parts, {record.file: name for record, name in zip(records, names)})


def crossing(split: Split) -> list[list[str]]:
    """Return the images of each group that lies in more than one part, as official splits may have them."""
    members: dict[str, list[str]] = {}
    for file, group in split.groups.items():
        members.setdefault(group, []).append(file)
    return [files for files in members.values() if len({split.parts[file] for file in files}) > 1]


def absent_classes(split: Split, dataset: Dataset) -> dict[str, list[str]]:
    """Return for each part that lacks some the classes without an image in it."""
    present = {part: {r.label for r in dataset.records if split.parts.get(r.file) == part} for part in PARTS}
    absent = {part: [name for name in dataset.classes if name not in present[part]] for part in PARTS}
    return {part: names for part, names in absent.items() if names and present[part]}


def _clusters(
    dataset: Dataset, cache: str | Path | None, cropped: bool, progress: Progress[None]
) -> list[int]:
    """Return for each record the number of its cluster of copies."""
    logger.info("%s: looking for near duplicates", dataset.root)
    paths = [dataset.path(record) for record in dataset.records]
    # Without regard to the class: a copy under another label gives the answer away all the same.
    copies = find_near_duplicates(paths, cache=cache, cropped=cropped, progress=progress)
    return [int(cluster) for cluster in copies.clusters]


def join_keys(links: Sequence[Sequence[str]]) -> list[str]:
    """Return for each item the name of all items that share a key with it, directly or through others.

    Parameters
    ----------
    links : sequence of sequence of str
        At least one key an item.

    Returns
    -------
    list of str
        The first key of the first item of each component.
    """
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
    return join_keys(links)
