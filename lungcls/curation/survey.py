"""All that pictures and tables of a dataset are made from, gathered in one pass over its files."""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lungcls.curation.audit import Audit, audit_of, find_copies
from lungcls.curation.scan import Scan, scan_images
from lungcls.data.dataset import Dataset, Record
from lungcls.data.splits import Split, make_split, official_split
from lungcls.data.thumbnails import readers
from lungcls.errors import DataError
from lungcls.progress import Progress, quiet

logger = logging.getLogger(__name__)

MaskState = Literal["usable", "empty", "unreadable", "none"]
UNLABELLED = "no class"
"""What images without a class are counted as."""


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """What a record's lung mask holds: its state, and the share of its pixels that are lung."""

    state: MaskState
    area: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """A dataset and what its files hold.

    Attributes
    ----------
    dataset : Dataset
    records : list of Record
        N images, in the dataset's order.
    scan : Scan
        Of the same images.
    masks : list of MaskFacts
        Every mask was opened; a name in a list is no mask.
    audit : Audit
    split : Split or None
        The dataset's own split, or a grouped one; None where the dataset is too small for one.
    official : bool
        Whether the split is the dataset's own.
    split_note : str
        What split it is, or why there is none.
    """

    dataset: Dataset
    records: list[Record]
    scan: Scan
    masks: list[MaskFacts]
    audit: Audit
    split: Split | None
    official: bool
    split_note: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, followed by :data:`UNLABELLED` where images have none."""
        rest = (UNLABELLED,) if any(not record.label for record in self.records) else ()
        return (*self.dataset.classes, *rest)

    @property
    def labels(self) -> list[str]:
        """The class of each image, :data:`UNLABELLED` where it has none."""
        return [record.label or UNLABELLED for record in self.records]

    def counts(self) -> dict[str, int]:
        """Return the number of images in each class, in the order of `classes`."""
        counted = Counter(self.labels)
        return {name: counted[name] for name in self.classes}

    def usable(self) -> list[int]:
        """Return the positions of the images that could be read."""
        return [position for position, one in enumerate(self.scan.facts) if not one.error]

    def summary(self) -> dict[str, Any]:
        """Return the dataset's counts, with what only reading its files can tell, ready for JSON."""
        facts = self.scan.facts
        values = self.dataset.summary()
        values["readable"] = len(self.usable())
        values["unreadable"] = dict(self.audit.unreadable)
        values["constant"] = list(self.audit.constant)
        values["sizes"] = dict(self.audit.sizes)
        values["modes"] = dict(self.audit.modes)
        values["masks"] = dict(Counter(mask.state for mask in self.masks))
        for name in ("identical_files", "identical_pixels", "near", "across_parts", "across_classes"):
            groups = getattr(self.audit, name)
            values[name] = {"groups": len(groups), "images": sum(len(group.files) for group in groups)}
        values["bytes"] = sum(one.bytes for one in facts)
        values["split"] = self.split_note
        values["split_hash"] = self.split.hash if self.split else ""
        values["split_counts"] = self.split.counts() if self.split else {}
        return values


def take_survey(
    dataset: Dataset,
    *,
    seed: int = 0,
    progress: Progress[Any] = quiet,
) -> Survey:
    """Read all images and masks of a dataset once.

    Parameters
    ----------
    dataset : Dataset
    seed : int, default=0
        Of the grouped split, where the dataset has none of its own.
    progress : callable, optional
        As :data:`lungcls.progress.Progress`, for the images and then for the masks.

    Returns
    -------
    Survey
        Files that cannot be read are in it, with the reason.

    Raises
    ------
    DataError
        If the dataset has no images.
    """
    records = list(dataset.records)
    if not records:
        raise DataError(f"{dataset.root}: the dataset has no images to look at")
    scan = scan_images([dataset.path(record) for record in records], progress=progress)
    masks = _read_masks(dataset, records, progress)
    copies = find_copies(scan)
    split, official, note = _split(dataset, copies.clusters, seed)
    audit = audit_of(
        str(dataset.root),
        [record.file for record in records],
        scan,
        copies,
        classes=[record.label for record in records],
        parts=[split.parts[record.file] if split else record.part for record in records],
        masks=sum(mask.state != "none" for mask in masks),
        missing=dataset.missing_files,
    )
    return Survey(dataset, records, scan, masks, audit, split, official, note)


def _read_masks(dataset: Dataset, records: list[Record], progress: Progress[MaskFacts]) -> list[MaskFacts]:
    def look(record: Record) -> MaskFacts:
        if not record.mask:
            return MaskFacts("none")
        try:
            area = float(np.mean(dataset.read_mask(record)))
        except DataError as error:
            logger.warning("%s", error)
            return MaskFacts("unreadable")
        return MaskFacts("usable", area) if area > 0 else MaskFacts("empty")

    with ThreadPoolExecutor(readers()) as pool:
        return list(progress(pool.map(look, records), len(records), "reading masks"))


def _split(dataset: Dataset, clusters: list[int], seed: int) -> tuple[Split | None, bool, str]:
    groups = None if dataset.grouped else clusters
    if dataset.records and all(record.part for record in dataset.records):
        try:
            return official_split(dataset, seed=seed, groups=groups), True, "the dataset's own split"
        except DataError as error:
            return None, False, f"none ({error})"
    try:
        split = make_split(dataset.records, seed=seed, groups=groups)
    except DataError as error:
        return None, False, f"none ({error})"
    return split, False, f"grouped split 70/15/15, seed {seed}"
