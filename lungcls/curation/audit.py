"""What is wrong with a folder of images: copies, leaks between splits, broken files, mixed formats."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from lungcls.curation.scan import Facts, Scan, scan_images
from lungcls.data.crops import match_crops
from lungcls.data.dataset import Dataset
from lungcls.data.duplicates import join_pairs, match_thumbnails
from lungcls.data.parts import PART_NAMES
from lungcls.errors import DataError, ImageError
from lungcls.images import find_images
from lungcls.progress import Progress, quiet

Kind = Literal["files", "pixels", "near"]

_SHOWN = 5  # examples of each finding in the summary


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Images that are copies of each other.

    Attributes
    ----------
    kind : {"files", "pixels", "near"}
        Whether they are the same bytes, the same pixels in other files, or near duplicates.
    files : tuple of str
        Two or more paths below the audited folder, with forward slashes, sorted.
    classes, parts : tuple of str
        The classes and the parts of the split that they lie in, sorted; empty where none is known.
    """

    kind: Kind
    files: tuple[str, ...]
    classes: tuple[str, ...]
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """The findings in one folder.

    Attributes
    ----------
    root : str
        The folder.
    images, masks : int
        Image files, and files in `masks` folders (which are not looked at).
    classes, parts : dict of str to int
        Images in each class and in each part of the split, as far as they are known.
    sizes, modes : dict of str to int
        Readable images of each size (height x width) and of each file format and colour mode, the most
        frequent first.
    unreadable : dict of str to str
        Files that cannot be used, with the reason.
    constant : tuple of str
        Files that hold one value throughout.
    identical_files, identical_pixels, near : tuple of DuplicateGroup
        Files with the same bytes; images with the same pixels that are not all the same bytes; clusters of
        near duplicates that are not all the same pixels. A group may contain smaller ones of a stricter kind.
    similarities : tuple of (str, str, float)
        Pairs of near duplicates (other than the same pixels) and their similarity, the most similar first.
    across_parts, across_classes : tuple of DuplicateGroup
        The widest groups that lie in more than one part of the split (leaks) or more than one class (labels
        that contradict each other).
    missing : tuple of str
        Files that the split names and the folder lacks.
    unassigned : int
        Images that the split does not name; 0 where no split is known.
    """

    root: str
    images: int
    masks: int
    classes: dict[str, int]
    parts: dict[str, int]
    sizes: dict[str, int]
    modes: dict[str, int]
    unreadable: dict[str, str]
    constant: tuple[str, ...]
    identical_files: tuple[DuplicateGroup, ...]
    identical_pixels: tuple[DuplicateGroup, ...]
    near: tuple[DuplicateGroup, ...]
    similarities: tuple[tuple[str, str, float], ...]
    across_parts: tuple[DuplicateGroup, ...]
    across_classes: tuple[DuplicateGroup, ...]
    missing: tuple[str, ...]
    unassigned: int

    def to_dict(self) -> dict[str, Any]:
        """Return all findings as dicts, lists, strings and numbers, ready for JSON."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def summary(self) -> str:
        """Return the findings as lines of text for people, with a few examples of each."""
        lines = [
            f"{self.root}: {self.images} images" + (f", {self.masks} masks (not read)" * bool(self.masks))
        ]
        for title, counts in (
            ("classes", self.classes),
            ("split", self.parts),
            ("sizes", self.sizes),
            ("modes", self.modes),
        ):
            if counts:
                shown = [f"{name} {count}" for name, count in list(counts.items())[: 2 * _SHOWN]]
                more = len(counts) - len(shown)
                lines.append(f"{title:<18} {', '.join(shown)}{f', and {more} more' if more else ''}")
        if self.unassigned:
            lines.append(f"{'not in the split':<18} {self.unassigned}")
        lines += _finding("missing", self.missing)
        lines += _finding("unreadable", list(self.unreadable.values()))
        lines += _finding("constant", self.constant)
        for title, groups in (
            ("identical files", self.identical_files),
            ("identical pixels", self.identical_pixels),
            ("near duplicates", self.near),
            ("across splits", self.across_parts),
            ("across classes", self.across_classes),
        ):
            files = sum(len(group.files) for group in groups)
            note = f" groups of {files} images" if groups else ""
            lines += _finding(title, [_describe(group) for group in groups], note)
        return "\n".join(lines)


def audit(
    root: str | os.PathLike[str],
    *,
    split: Mapping[str, str] | None = None,
    classes: Mapping[str, str] | None = None,
    cropped: bool = False,
    progress: Progress[Any] = quiet,
) -> Audit:
    """Look through all images below a folder.

    Parameters
    ----------
    root : path-like
        Any folder of images. Folders named `masks` are left out. The class of an image is its folder, or the
        one above a folder named `images`; the names of splits (train, val, test and the like) are no classes.
    split : mapping of str to str, optional
        Part of the split for each file (path below `root`, with forward slashes). By default the part is told
        by folders named train, val, valid, validation, test and the like, if there are any.
    classes : mapping of str to str, optional
        Class of each file, where it is not its folder; files that are not named have none.
    cropped : bool, default=False
        Look for copies of which a part was cut off, too; see :func:`lungcls.data.crops.match_crops`.
    progress : callable, optional
        As :data:`lungcls.progress.Progress`.

    Returns
    -------
    Audit

    Raises
    ------
    DataError
        If `root` is not a folder or holds no image.

    See Also
    --------
    lungcls.data.duplicates.match_thumbnails : what counts as a near duplicate.
    """
    folder = Path(root)
    files, masks = _list(folder)
    scan = scan_images([folder / file for file in files], progress=progress)
    return audit_of(
        str(folder),
        files,
        scan,
        find_copies(scan, cropped=cropped),
        classes=[_class_of(file) if classes is None else classes.get(file, "") for file in files],
        parts=[split.get(file, "") if split is not None else _part_of(file) for file in files],
        masks=masks,
        missing=sorted(set(split or ()) - set(files)),
        has_split=split is not None,
    )


def audit_dataset(
    dataset: Dataset,
    *,
    split: Mapping[str, str] | None = None,
    cropped: bool = False,
    progress: Progress[Any] = quiet,
) -> Audit:
    """Look through the images of a dataset, also one that lies in several folders.

    Parameters
    ----------
    dataset : Dataset
    split : mapping of str to str, optional
        Part of the split for each file. By default the dataset's own, if it has one.
    cropped, progress
        As in :func:`audit`.

    Returns
    -------
    Audit
    """
    files = [record.file for record in dataset.records]
    scan = scan_images([dataset.path(record) for record in dataset.records], progress=progress)
    return audit_of(
        str(dataset.root),
        files,
        scan,
        find_copies(scan, cropped=cropped),
        classes=[record.label for record in dataset.records],
        parts=[split.get(r.file, "") if split is not None else r.part for r in dataset.records],
        masks=sum(bool(record.mask) for record in dataset.records),
        missing=sorted({*dataset.missing_files, *(set(split or ()) - set(files))}),
        has_split=split is not None,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """Copies among N scanned files, by position.

    Attributes
    ----------
    by_bytes, by_pixels : list of list of int
        Groups of at least two files with the same bytes, or the same pixels.
    pairs : list of (int, int, float)
        Near duplicates and their similarity, the most similar first.
    clusters : list of int
        For each file the number of the cluster of copies of any kind that it is in.
    """

    by_bytes: list[list[int]]
    by_pixels: list[list[int]]
    pairs: list[tuple[int, int, float]]
    clusters: list[int]


def find_copies(scan: Scan, *, cropped: bool = False) -> Copies:
    """Find the copies of all kinds among scanned files; `cropped` as in :func:`audit`."""
    by_bytes = _equal([one.file_hash for one in scan.facts])
    by_pixels = _equal([one.pixel_hash for one in scan.facts])
    matches = match_thumbnails(scan.small)
    if cropped:
        matches = matches.joined(match_crops(scan.small))
    links = [(group[0], other) for group in (*by_bytes, *by_pixels) for other in group[1:]]
    clusters = join_pairs(len(scan.facts), links + [(i, j) for i, j, _ in matches.pairs])
    return Copies(by_bytes, by_pixels, matches.pairs, [int(cluster) for cluster in clusters])


def audit_of(
    root: str,
    files: Sequence[str],
    scan: Scan,
    copies: Copies,
    *,
    classes: Sequence[str],
    parts: Sequence[str],
    masks: int = 0,
    missing: Sequence[str] = (),
    has_split: bool = False,
) -> Audit:
    """Make the findings of an audit from what a scan gathered.

    Parameters
    ----------
    root : str
    files : sequence of str
        Names of the N files that were scanned.
    scan : Scan
    copies : Copies
    classes, parts : sequence of str
        Class and part of the split of each file; empty where there is none.
    masks, missing, has_split
        For the audit's ``masks``, ``missing`` and ``unassigned``.

    Returns
    -------
    Audit
    """
    facts = scan.facts
    similarities = [
        (files[i], files[j], round(value, 4))
        for i, j, value in copies.pairs
        if facts[i].pixel_hash != facts[j].pixel_hash
    ]
    widest = _equal(copies.clusters)

    def grouped(positions: Iterable[Sequence[int]]) -> tuple[DuplicateGroup, ...]:
        return tuple(
            DuplicateGroup(
                kind=_kind([facts[position] for position in group]),
                files=tuple(files[position] for position in group),
                classes=tuple(sorted({classes[position] for position in group} - {""})),
                parts=tuple(sorted({parts[position] for position in group} - {""})),
            )
            for group in positions
        )

    everything = grouped(widest)
    readable = [one for one in facts if not one.error]
    return Audit(
        root=root,
        images=len(files),
        masks=masks,
        classes=_counts(name for name in classes if name),
        parts=_counts(name for name in parts if name),
        sizes=_counts(f"{one.height}x{one.width}" for one in readable),
        modes=_counts(one.mode for one in readable),
        unreadable={file: one.error for file, one in zip(files, facts) if one.error and not one.constant},
        constant=tuple(file for file, one in zip(files, facts) if one.constant),
        identical_files=grouped(copies.by_bytes),
        identical_pixels=tuple(group for group in grouped(copies.by_pixels) if group.kind != "files"),
        near=tuple(group for group in everything if group.kind == "near"),
        similarities=tuple(similarities),
        across_parts=tuple(group for group in everything if len(group.parts) > 1),
        across_classes=tuple(group for group in everything if len(group.classes) > 1),
        missing=tuple(missing),
        unassigned=list(parts).count("") if any(parts) or has_split else 0,
    )


def _kind(group: Sequence[Facts]) -> Kind:
    if len({one.file_hash for one in group}) == 1:
        return "files"
    return "pixels" if len({one.pixel_hash for one in group}) == 1 else "near"


def _list(folder: Path) -> tuple[list[str], int]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give a folder of chest X-rays")
    try:
        images = [path.relative_to(folder).as_posix() for path in find_images([folder])]
    except ImageError as error:
        raise DataError(f"{folder} holds no image to audit: {error}") from error
    files = [file for file in images if "masks" not in PurePosixPath(file.lower()).parts[:-1]]
    if not files:
        raise DataError(
            f"{folder} holds only masks ({len(images)} files in folders named masks), no image to audit"
        )
    return sorted(files), len(images) - len(files)


def _class_of(file: str) -> str:
    folders = [name for name in PurePosixPath(file).parts[:-1] if name.lower() not in {"images", *PART_NAMES}]
    return folders[-1] if folders else ""


def _part_of(file: str) -> str:
    folders = (name.lower() for name in PurePosixPath(file).parts[:-1])
    return next((PART_NAMES[name] for name in folders if name in PART_NAMES), "")


def _equal(values: Sequence[Any]) -> list[list[int]]:
    """Positions of the values that occur more than once; empty text is no value."""
    members: dict[Any, list[int]] = {}
    for position, value in enumerate(values):
        if value != "":
            members.setdefault(value, []).append(position)
    return [group for group in members.values() if len(group) > 1]


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _describe(group: DuplicateGroup) -> str:
    shown = ", ".join(group.files[:3])
    return shown + (f" and {len(group.files) - 3} more" if len(group.files) > 3 else "")


def _finding(title: str, items: Sequence[str], note: str = "") -> list[str]:
    lines = [f"{title:<18} {len(items) or 'none'}{note}"]
    lines += [f"    {item}" for item in items[:_SHOWN]]
    if len(items) > _SHOWN:
        lines.append(f"    and {len(items) - _SHOWN} more")
    return lines
