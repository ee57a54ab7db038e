"""What every dataset has: a root folder, one record an image, and a layout that knows itself."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar, overload

import numpy as np

from lungcls.data.classmap import ClassMap, classes_of, finding_names, load_classes, map_name
from lungcls.data.files import walk
from lungcls.data.masks import check_proportions, read_mask
from lungcls.errors import DataError
from lungcls.images import SUFFIXES, Image, read_image
from lungcls.regions import Mask


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a dataset; text fields that are not known are empty.

    Attributes
    ----------
    file : str
        Path of the image below the dataset's root, with forward slashes.
    label : str
        One of the dataset's ``classes``.
    mask : str
        Path of the lung mask below the root.
    other_mask : str
        Path of the other lung's mask, where each lung has a file of its own.
    source, patient, processing : str
        Where the image came from, whose it is, how it was prepared.
    group : str
        Near duplicates and images of one patient share a group, which must never be split.
    part : str
        ``train``, ``validation`` or ``test`` where the dataset comes with a split of its own.
    findings, unknown : tuple of str
        Of a multi-label dataset: the findings that are there, and those of which nothing is known; `label` is
        then the findings joined by ``|``, or ``none``.
    """

    file: str
    label: str
    mask: str = ""
    source: str = ""
    patient: str = ""
    group: str = ""
    processing: str = ""
    part: str = ""
    other_mask: str = ""
    findings: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One image of a dataset with all that is known about it; its files are read when they are asked for.

    Attributes
    ----------
    dataset : Dataset
    record : Record
    """

    dataset: Dataset
    record: Record

    @property
    def image(self) -> Image:
        """The film, read."""
        return read_image(self.dataset.path(self.record))

    @property
    def mask(self) -> Mask | None:
        """The lung mask as bool [h, w] at its own size, read; None where there is none."""
        return self.dataset.read_mask(self.record) if self.record.mask else None

    @property
    def label(self) -> str:
        """The class; empty where images have none."""
        return self.record.label

    @property
    def target(self) -> int | None:
        """Index of the class in the dataset's ``classes``; None where images have none."""
        return self.dataset.classes.index(self.label) if self.label in self.dataset.classes else None

    def __repr__(self) -> str:
        facts = ", ".join(f"{key}={value!r}" for key, value in _known(self.record).items())
        return f"Sample({facts})"


class Dataset:
    """A folder of chest X-rays: ``len(dataset)``, ``dataset[3].image``, ``for sample in dataset``.

    Parameters
    ----------
    root : path-like

    Attributes
    ----------
    layout : str
        The name under which :func:`lungcls.data.open_dataset` knows this kind of folder.
    looks : str
        What such a folder looks like, for messages and help.
    certain : bool
        Whether a folder that :meth:`recognise` accepts can be no other kind, such as by a file of a known
        name.
    published : str
        The name of the published collection whose copies this kind reads; empty where it is no collection.
    root : Path
    records : list of Record
        The images that are there and belong to a class.
    classes : tuple of str
        The classes in the order of their indices, those without an image included; empty where images have
        none.
    missing_files : list of str
        Files that the dataset's own lists name and the folder lacks; they have no record.
    dropped : dict of str to int
        Images that were left out on purpose, counted by reason.
    notes : list of str
        What to know before trusting a result on this dataset, in sentences.
    grouped : bool
        Whether the records' groups already hold the near duplicates, so that nobody has to look for them.
    multilabel : bool
        Whether `classes` are findings of which a film may have several (``record.findings``).

    Notes
    -----
    A kind of dataset is one class that says all of itself; :func:`lungcls.data.register` makes it known to
    Python and to the command line. It fills ``records`` and ``classes`` when it is made.
    """

    layout: ClassVar[str] = ""
    looks: ClassVar[str] = ""
    certain: ClassVar[bool] = False
    published: ClassVar[str] = ""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.records: list[Record] = []
        self.classes: tuple[str, ...] = ()
        self.missing_files: list[str] = []
        self.dropped: dict[str, int] = {}
        self.notes: list[str] = []
        self.grouped = False
        self.multilabel = False

    @cached_property
    def title(self) -> str:
        """What cards call it: a published collection's name, or the folder's with a hash of its files.

        The hash is over names and sizes of all images below the folder, so that it stays where the folder is
        moved, and two folders of one name are two datasets.
        """
        if self.published:
            return self.published
        files = "\n".join(
            f"{path.relative_to(self.root).as_posix()}\t{path.stat().st_size}"
            for path in walk(self.root)
            if path.suffix.lower() in SUFFIXES
        )
        return f"{self.root.resolve().name} {hashlib.sha256(files.encode()).hexdigest()[:8]}"

    @classmethod
    def recognise(cls, folder: Path) -> Path | None:
        """Return the folder in which such a dataset lies, `folder` or one below it, or None."""
        return None

    @classmethod
    def open(cls: type[D], root: str | Path, classes: str | Path | ClassMap | None = None) -> D:
        """Open a folder of this kind.

        Parameters
        ----------
        root : path-like
        classes : str, path or mapping, optional
            Other classes than the dataset's own; see :func:`lungcls.data.classmap.load_classes`.

        Raises
        ------
        DataError
            If the folder is not of this kind, or no image is left.
        """
        dataset = cls(root)
        if classes is not None:
            dataset.map_classes(classes)
        return dataset

    @classmethod
    def open_four(cls: type[D], root: str | Path) -> D:
        """Open a folder to measure weights of the four classes of lungcls on it."""
        return cls.open(root)

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [Sample(self, record) for record in self.records[index]]
        return Sample(self, self.records[index])

    def __iter__(self) -> Iterator[Sample]:
        return (Sample(self, record) for record in self.records)

    def __repr__(self) -> str:
        counts = Counter(name for record in self.records for name in record.findings or (record.label,))
        shown = [f"{name} {counts[name]}" for name in self.classes[:6]] + ["..."] * (len(self.classes) > 6)
        masks = sum(bool(record.mask) for record in self.records)
        facts = [f"{len(self)} images", ", ".join(shown) or "no classes", f"{masks} lung masks"]
        return f"{type(self).__name__}({str(self.root)!r}: {'; '.join(facts)})"

    @property
    def labels(self) -> list[str]:
        """The class of each image, in the order of the images."""
        return [record.label for record in self.records]

    def map_classes(self, classes: str | Path | ClassMap) -> None:
        """Give the images other classes.

        Parameters
        ----------
        classes : str, path or mapping
            As :func:`lungcls.data.classmap.load_classes` takes it; images without a class are left out and
            counted in ``dropped``.

        Raises
        ------
        DataError
            If no image is left.
        """
        mapping = load_classes(classes)
        kept, dropped = mapped_records(self, mapping)
        if not kept:
            raise DataError(
                f"{self.root}: no image is left; its classes are {', '.join(self.classes) or 'none'}, the "
                f"mapping knows {', '.join(mapping)}"
            )
        self.records = kept
        self.classes = classes_of(mapping)
        self.dropped = {**self.dropped, **dropped}

    def require_one_class(self, what: str) -> None:
        """Refuse a multi-label dataset with a DataError that says what asks for one class a film."""
        if self.multilabel:
            raise DataError(
                f"{self.title}: films have several findings each, and {what} compares classes, one a film; "
                "give a table with one label a film (`lungcls finetune`, `train`, `evaluate`, `calibrate` "
                "and `report` take findings)"
            )

    def summary(self) -> dict[str, Any]:
        """Return counts, from names and lists alone: images, masks, classes, sources, and what is missing.

        Returns
        -------
        dict
            ``root``, ``layout``, ``images``, ``with_mask``, ``classes`` and ``classes_with_mask`` (by class),
            ``sources`` (by class and source), ``patients``, ``groups`` (known ones), ``parts`` (of the
            dataset's own split, by class), ``missing_files``, ``dropped`` (by reason) and ``notes``.
        """
        records = self.records
        parts = Counter(f"{r.part}/{r.label}" if r.label else r.part for r in records if r.part)
        return {
            "root": str(self.root),
            "layout": self.layout,
            "images": len(records),
            "with_mask": sum(bool(r.mask) for r in records),
            "classes": {name: sum(_is(r, name) for r in records) for name in self.classes},
            "classes_with_mask": {
                name: sum(_is(r, name) and bool(r.mask) for r in records) for name in self.classes
            },
            "sources": dict(sorted(Counter(f"{r.label}/{r.source or '?'}" for r in records).items())),
            "patients": len({r.patient for r in records if r.patient}),
            "groups": len({r.group for r in records if r.group}),
            "parts": dict(sorted(parts.items())),
            "missing_files": len(self.missing_files),
            "dropped": dict(self.dropped),
            "notes": list(self.notes),
        }

    def only(self: D, records: Iterable[Record]) -> D:
        """Return the dataset of some of its records, or of changed ones."""
        part = copy.copy(self)
        part.records = list(records)
        return part

    def path(self, record: Record) -> Path:
        """Return the full path of a record's image."""
        return self.root / record.file

    def mask_path(self, record: Record) -> Path:
        """Return the full path of a record's lung mask; DataError if it has none."""
        if not record.mask:
            raise DataError(f"{record.file} has no lung mask in {self.root}")
        return self.root / record.mask

    def read_mask(self, record: Record) -> Mask:
        """Return a record's lung mask as bool [h, w] at the mask file's own size: the union of both lungs.

        Raises
        ------
        DataError
            The record has none, it cannot be read as one (see :func:`lungcls.data.masks.read_mask`), its
            proportions are not the image's, or the files of the two lungs differ in size.
        """
        path = self.mask_path(record)
        mask = read_mask(path)
        if record.other_mask:
            other = read_mask(self.mask_path(replace(record, mask=record.other_mask)))
            if other.shape != mask.shape:
                raise DataError(
                    f"{path}: the mask of the one lung has {mask.shape[0]} x {mask.shape[1]} pixels, that of "
                    f"the other {other.shape[0]} x {other.shape[1]}; expected the same size"
                )
            mask = np.logical_or(mask, other)
        check_proportions(mask, path, self.path(record))
        return mask


D = TypeVar("D", bound=Dataset)


def mapped_records(dataset: Dataset, mapping: ClassMap) -> tuple[list[Record], dict[str, int]]:
    """Return the records that have a class in a mapping, and how many have none, by reason."""
    names = {label: map_name(mapping, *finding_names(label)) for label in dataset.classes}
    kept = [replace(r, label=names[r.label]) for r in dataset.records if names.get(r.label)]
    dropped = Counter(f"class {r.label or 'none'}" for r in dataset.records if not names.get(r.label))
    return kept, dict(sorted(dropped.items()))


def _is(record: Record, name: str) -> bool:
    return record.label == name or name in record.findings


def _known(record: Record) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in Record.__slots__}
    return {name: value for name, value in values.items() if value}
