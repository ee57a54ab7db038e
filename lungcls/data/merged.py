"""Several datasets as one, and other classes for a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lungcls.data.classmap import ClassMap, classes_of, load_classes
from lungcls.data.dataset import Dataset, Record, mapped_records
from lungcls.errors import DataError


class MergedDataset(Dataset):
    """Several datasets as one; each image keeps where it came from.

    Parameters
    ----------
    datasets : dict of str to Dataset
        By the names that they shall have in the merged one, without slashes.
    classes : str, path or mapping, optional
        How the classes of all datasets become those of the merged one, as
        :func:`lungcls.data.classmap.load_classes` takes it. By default every class keeps its name.
    per_dataset : dict of str to (str, path or mapping), optional
        The same for single datasets, by name, in place of `classes`.

    Attributes
    ----------
    root : Path
        The deepest folder that holds all datasets.
    records : list of Record
        ``file``, ``mask``, ``group`` and ``patient`` begin with the dataset's name and a slash, ``source`` is
        the name, and after a slash the source within the dataset where it is known.
    datasets : dict of str to Dataset

    Raises
    ------
    DataError
        If there are fewer than two datasets, a name has a slash, one has no classes, or nothing is left of
        one.

    Notes
    -----
    Public datasets share images. A split of a merged dataset looks for near duplicates through all of it,
    whatever the single datasets know about themselves.
    """

    layout = "merged"

    def __init__(
        self,
        datasets: Mapping[str, Dataset],
        *,
        classes: str | Path | ClassMap | None = None,
        per_dataset: Mapping[str, str | Path | ClassMap] | None = None,
    ) -> None:
        if len(datasets) < 2:
            raise DataError(f"merging needs at least two datasets; got {len(datasets)}")
        slashes = [name for name in datasets if "/" in name or not name]
        if slashes:
            raise DataError(f"names of datasets must be text without slashes; got {slashes}")
        unknown = set(per_dataset or ()) - set(datasets)
        if unknown:
            raise DataError(f"per_dataset names {sorted(unknown)}; the datasets are {', '.join(datasets)}")
        super().__init__(_common_root([dataset.root for dataset in datasets.values()]))
        self.datasets = dict(datasets)
        self.title = " + ".join(dataset.title for dataset in datasets.values())
        order: list[str] = []
        for name, dataset in self.datasets.items():
            dataset.require_one_class("a merged dataset")
            chosen = (per_dataset or {}).get(name, classes)
            mapping = load_classes(chosen) if chosen is not None else {c: c for c in dataset.classes}
            kept, dropped = mapped_records(dataset, mapping)
            if not kept:
                raise DataError(
                    f"{dataset.root}: no image is left for the merged dataset; its classes are "
                    f"{', '.join(dataset.classes) or 'none'}, the mapping knows "
                    f"{', '.join(mapping) or 'none'}"
                )
            order += classes_of(mapping)
            self.records += [_renamed(record, name) for record in kept]
            self.missing_files += [f"{name}/{file}" for file in dataset.missing_files]
            for reason, count in {**dataset.dropped, **dropped}.items():
                self.dropped[f"{name}: {reason}"] = count
            self.notes += [f"{name}: {note}" for note in dataset.notes]
        used = {record.label for record in self.records}
        self.classes = tuple(name for name in dict.fromkeys(order) if name in used)
        lonely = [
            label
            for label in self.classes
            if len({r.source.split("/")[0] for r in self.records if r.label == label}) == 1
        ]
        if lonely:
            self.notes.append(
                f"Only one of the merged datasets holds {', '.join(lonely)}: a model can tell such a class "
                "by the "
                "dataset and not by the disease."
            )

    def path(self, record: Record) -> Path:
        """Return the full path of a record's image."""
        return self._path(record.file)

    def mask_path(self, record: Record) -> Path:
        """Return the full path of a record's lung mask; DataError if it has none."""
        super().mask_path(record)
        return self._path(record.mask)

    def _path(self, file: str) -> Path:
        name, _, rest = file.partition("/")
        # By way of the dataset, which may itself be a merged one.
        return self.datasets[name].path(Record(file=rest, label=""))


def with_classes(dataset: Dataset, classes: str | Path | ClassMap) -> Dataset:
    """Give the images of a dataset other classes; the dataset itself is changed and returned.

    Parameters and errors as :meth:`lungcls.data.Dataset.map_classes`.
    """
    dataset.map_classes(classes)
    return dataset


def _renamed(record: Record, name: str) -> Record:
    def prefixed(text: str) -> str:
        return f"{name}/{text}" if text else ""

    return replace(
        record,
        file=prefixed(record.file),
        mask=prefixed(record.mask),
        other_mask=prefixed(record.other_mask),
        source=prefixed(record.source) or name,
        patient=prefixed(record.patient),
        group=prefixed(record.group),
    )


def _common_root(roots: list[Path]) -> Path:
    first = roots[0].resolve()
    resolved = [root.resolve() for root in roots]
    return next(
        (folder for folder in (first, *first.parents) if all(r.is_relative_to(folder) for r in resolved)),
        first,
    )
