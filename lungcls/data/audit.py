"""What is wrong with a folder of images: copies, leaks between splits, broken files, mixed formats."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from lungcls.data.duplicates import SIZE, Progress, join_pairs, match_thumbnails, thumbnail
from lungcls.errors import DataError, ImageError
from lungcls.files import file_sha256
from lungcls.images import find_images, read_image

Kind = Literal["files", "pixels", "near"]

_PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
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
    progress: Progress | None = None,
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
    progress : callable, optional
        Called as `progress(done, total)` after each image.

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
    classes = [_class_of(file) for file in files]
    parts = [split.get(file, "") if split is not None else _part_of(file) for file in files]
    scan = _Scan.run(folder, files, progress)

    by_bytes = _equal(scan.file_hashes)
    by_pixels = _equal(scan.pixel_hashes)
    readable = np.flatnonzero(scan.readable)
    matches = match_thumbnails(scan.small[: len(readable)])
    pairs = [(int(readable[i]), int(readable[j]), value) for i, j, value in matches.pairs]
    similarities = [
        (files[i], files[j], round(value, 4))
        for i, j, value in pairs
        if scan.pixel_hashes[i] != scan.pixel_hashes[j]
    ]
    links = [(group[0], other) for group in (*by_bytes, *by_pixels) for other in group[1:]]
    clusters = join_pairs(len(files), links + [(i, j) for i, j, _ in pairs])
    widest = _equal(clusters.tolist())

    def grouped(positions: Iterable[Sequence[int]]) -> tuple[DuplicateGroup, ...]:
        return tuple(
            DuplicateGroup(
                kind=scan.kind(group),
                files=tuple(files[position] for position in group),
                classes=tuple(sorted({classes[position] for position in group} - {""})),
                parts=tuple(sorted({parts[position] for position in group} - {""})),
            )
            for group in positions
        )

    everything = grouped(widest)
    known = any(parts)
    return Audit(
        root=str(folder),
        images=len(files),
        masks=masks,
        classes=_counts(name for name in classes if name),
        parts=_counts(name for name in parts if name),
        sizes=_counts(scan.sizes),
        modes=_counts(scan.modes),
        unreadable=scan.unreadable,
        constant=tuple(scan.constant),
        identical_files=grouped(by_bytes),
        identical_pixels=tuple(group for group in grouped(by_pixels) if group.kind != "files"),
        near=tuple(group for group in everything if group.kind == "near"),
        similarities=tuple(similarities),
        across_parts=tuple(group for group in everything if len(group.parts) > 1),
        across_classes=tuple(group for group in everything if len(group.classes) > 1),
        missing=tuple(sorted(set(split or ()) - set(files))),
        unassigned=parts.count("") if known or split is not None else 0,
    )


@dataclass(slots=True, eq=False)
class _Scan:
    """What one pass over the files gathers; only thumbnails and hashes are kept, never whole images."""

    file_hashes: list[str]
    pixel_hashes: list[str]
    readable: list[bool]
    small: NDArray[np.float32]
    sizes: list[str]
    modes: list[str]
    unreadable: dict[str, str]
    constant: list[str]

    @classmethod
    def run(cls, folder: Path, files: Sequence[str], progress: Progress | None) -> _Scan:
        scan = cls([], [], [], np.empty((len(files), SIZE, SIZE), np.float32), [], [], {}, [])
        for done, file in enumerate(files, start=1):
            scan._add(folder / file, file)
            if progress is not None:
                progress(done, len(files))
        return scan

    def _add(self, path: Path, file: str) -> None:
        try:
            self.file_hashes.append(file_sha256(path))
        except OSError:  # reading the image below fails too, with the reason
            self.file_hashes.append("")
        try:
            pixels = read_image(path).pixels
        except ImageError as error:
            self.pixel_hashes.append("")
            self.readable.append(False)
            # The reader refuses constant images with an error of the same type; only its words tell it apart.
            if "found a constant image" in str(error):
                self.constant.append(file)
            else:
                self.unreadable[file] = str(error)
            return
        self.small[sum(self.readable)] = thumbnail(pixels)
        self.readable.append(True)
        digest = hashlib.sha256(f"{pixels.shape}".encode())
        digest.update(np.ascontiguousarray(pixels).data)
        self.pixel_hashes.append(digest.hexdigest())
        self.sizes.append(f"{pixels.shape[0]}x{pixels.shape[1]}")
        self.modes.append(_mode_of(path))

    def kind(self, group: Sequence[int]) -> Kind:
        if len({self.file_hashes[position] for position in group}) == 1:
            return "files"
        return "pixels" if len({self.pixel_hashes[position] for position in group}) == 1 else "near"


def _list(folder: Path) -> tuple[list[str], int]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give a folder of chest X-rays")
    try:
        found = [path.relative_to(folder).as_posix() for path in find_images([folder])]
    except ImageError as error:
        raise DataError(f"{folder} holds no image to audit: {error}") from error
    files = [file for file in found if "masks" not in PurePosixPath(file.lower()).parts[:-1]]
    if not files:
        raise DataError(
            f"{folder} holds only masks ({len(found)} files in folders named masks), no image to audit"
        )
    return sorted(files), len(found) - len(files)


def _class_of(file: str) -> str:
    folders = [name for name in PurePosixPath(file).parts[:-1] if name.lower() not in {"images", *_PARTS}]
    return folders[-1] if folders else ""


def _part_of(file: str) -> str:
    folders = (name.lower() for name in PurePosixPath(file).parts[:-1])
    return next((_PARTS[name] for name in folders if name in _PARTS), "")


def _mode_of(path: Path) -> str:
    try:
        with PillowImage.open(path) as picture:  # reads the header alone
            return f"{picture.format} {picture.mode}"
    except UnidentifiedImageError:
        return "DICOM"


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
