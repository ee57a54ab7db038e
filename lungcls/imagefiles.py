"""Which files hold images: told by their first bytes, found in folders, read whole."""

from __future__ import annotations

import glob
import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lungcls.errors import ImageError, ImageFormatError

_log = logging.getLogger(__name__)

DICOM_SUFFIXES: Final = (".dcm", ".dicom", ".dic", ".ima")
SUFFIXES: Final[tuple[str, ...]] = (
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".bmp",
    ".webp",
    *DICOM_SUFFIXES,
)
"""Suffixes (in lower case) that a search in a folder takes; reading goes by content, not by suffix."""

_DIRECTORY: Final = "DICOMDIR"
_FORMATS: Final = "PNG, JPEG, TIFF, BMP, WebP or DICOM"
_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
)
# Not read, but named, so that the error says what the file is.
_FOREIGN: Final[tuple[tuple[bytes, str], ...]] = (
    (b"GIF8", "a GIF"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive (or an office document)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 file"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 codestream"),
    (b"\x93NUMPY", "a numpy file (load it with numpy.load and pass the array)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"<!DOCTYPE", "an HTML or XML page"),
    (b"<!doctype", "an HTML or XML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML or SVG file"),
    (b"<svg", "an SVG drawing"),
)
_HEIF: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"}
# Pictures and archives that a search leaves out, and says so: nobody shall believe that they were read.
_UNREAD: Final = (
    *(".gif", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".svg", ".pdf", ".npy", ".npz"),
    *(".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".zip", ".gz", ".tar", ".7z", ".rar"),
)
SIDE_FOLDERS: Final = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information")
"""What systems and network storage keep beside files: copies, thumbnails and what was deleted."""

_UNFINISHED: Final = (".part", ".partial", ".tmp", ".crdownload", ".bak")

_PREAMBLE: Final = 128
_HEAD: Final = 132
# What a dataset without preamble starts with: an element of one of these two groups, whose VR (where it is
# written) or length is a sound one.
_FIRST_ELEMENTS: Final = {(2, 0), (2, 1), (2, 2), (2, 3), (2, 16), (8, 0), (8, 1), (8, 5), (8, 6), (8, 8)} | {
    (8, element) for element in (0x12, 0x13, 0x14, 0x16, 0x18, 0x20, 0x21, 0x22, 0x23, 0x50, 0x60)
}
_FIRST_VRS: Final = (b"UL", b"OB", b"UI", b"CS", b"DA", b"TM", b"SQ", b"SH", b"LO", b"US", b"LT")


def find_images(inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the image files that paths, folders and patterns stand for.

    Parameters
    ----------
    inputs : path or iterable of paths
        A file is taken whatever its suffix; a DICOMDIR gives the images that it names. A folder gives all its
        images, those in its subfolders included. A pattern (``*``, ``?``, ``[...]``, and ``**`` for any
        depth) gives the images that match. Folders and patterns take what has a suffix of `SUFFIXES`, and by
        content: DICOM of any other suffix or none, with or without preamble, and images without suffix. They
        skip what is hidden (names that start with a dot, `SIDE_FOLDERS`), and log which pictures of other
        formats they left out.

    Returns
    -------
    list of Path
        In the order of `inputs`, sorted within each, each file once.

    Raises
    ------
    ImageError
        An input does not exist, matches nothing or holds no image; or there is no input.
    """
    entries = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    if not entries:
        raise ImageError(
            "<inputs>: found an empty list, expected at least one file, folder or pattern; name one"
        )
    images: dict[str, Path] = {}
    for entry in entries:
        for path in _expand(os.fsdecode(os.fspath(entry))):
            images.setdefault(os.path.abspath(path), path)
    return list(images.values())


def _expand(text: str) -> list[Path]:
    path = Path(text)
    if text and os.path.isdir(text):
        files = sorted(_walk(path))
        if not files:
            raise ImageError(
                f"{text}: found a folder without images, expected files with one of the suffixes "
                f"{' '.join(SUFFIXES)}; check the folder, or name the files themselves"
            )
        return files
    if text and os.path.lexists(text):
        return _listed_images(path) if path.name.upper() == _DIRECTORY else [path]
    if not glob.has_magic(text):
        raise ImageError(
            f"{text or '<empty path>'}: found no such file or folder, expected an existing one; check the "
            f"spelling (the current folder is {os.getcwd()})"
        )
    matches = sorted(Path(match) for match in glob.glob(text, recursive=True))
    files = [
        match
        for match in matches
        if not set(match.parts).intersection(SIDE_FOLDERS) and match.is_file() and _looks_like_image(match)
    ]
    if not files:
        raise ImageError(
            f"{text}: found no image that matches the pattern, expected files with one of the suffixes "
            f"{' '.join(SUFFIXES)}; check the pattern (the current folder is {os.getcwd()})"
        )
    return files


def _walk(root: Path) -> Iterable[Path]:
    def refuse(error: OSError) -> None:
        # os.walk would leave out what it may not enter, and the user would never know.
        raise ImageError(
            f"{error.filename}: found a folder that cannot be listed ({error.strerror}), expected a readable "
            "one; check its permissions"
        ) from error

    visited = set()
    unread: list[str] = []
    # Links are followed, as collections of several hospitals are often made of them; each place once.
    for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
        place = os.path.realpath(folder)
        if place in visited:
            subfolders.clear()
            continue
        visited.add(place)
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name not in SIDE_FOLDERS]
        for name in names:
            path = Path(folder, name)
            if name.startswith("."):
                continue
            if _looks_like_image(path):
                yield path
            elif name.lower().endswith(_UNREAD):
                unread.append(str(path))
    if unread:
        _log.warning(
            "%s: %d files of formats that are not read were left out, such as %s (read are %s)",
            root,
            len(unread),
            unread[0],
            _FORMATS,
        )


def _looks_like_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return True
    if path.name.upper() == _DIRECTORY or path.name.lower().endswith((*_UNREAD, *_UNFINISHED)):
        return False
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    if has_preamble(head):
        return True
    # Scanners name files "IM000001" or by a UID, whose last number passes for a suffix.
    bare = suffix == "" or suffix[1:].isdigit()
    return bare and (_known_format(head) is not None or is_bare_dataset(head))


def _listed_images(path: Path) -> list[Path]:
    """Return the files that a DICOMDIR names."""
    import pydicom

    try:
        records = pydicom.dcmread(path).get("DirectoryRecordSequence") or []
        names = [record.get("ReferencedFileID") for record in records]
    except Exception as error:  # pydicom raises nearly any kind for damaged files
        raise ImageError(
            f"{path}: found a DICOMDIR that cannot be read ({error}), expected a list of DICOM files; pass "
            "the folder that it lies in"
        ) from error
    steps = [[name] if isinstance(name, str) else list(name) for name in names if name]
    files = [path.parent.joinpath(*step) for step in steps if ".." not in step]
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        images = (
            f"{len(missing)} of the {len(files)} files that it names missing" if files else "no file named"
        )
        raise ImageError(
            f"{path}: found a DICOMDIR with {images}{f', such as {missing[0]}' if missing else ''}, expected "
            "the whole medium; copy it whole, or pass the folder that it lies in"
        )
    return sorted(files)


def has_preamble(data: bytes) -> bool:
    """Tell whether the bytes start with a DICOM preamble (128 free bytes, then ``DICM``)."""
    return data[_PREAMBLE : _PREAMBLE + 4] == b"DICM"


def is_bare_dataset(head: bytes) -> bool:
    """Tell whether the bytes start as a DICOM dataset without preamble does, as old archives write them."""
    if len(head) < 16:
        return False
    for order in ("little", "big"):
        group, element = (int.from_bytes(head[at : at + 2], order) for at in (0, 2))
        if (group, element) in _FIRST_ELEMENTS:
            implicit = order == "little" and int.from_bytes(head[4:8], "little") <= 1024
            return implicit or head[4:6] in _FIRST_VRS
    return False


def image_format(head: bytes, name: str) -> str:
    """Return the format that the first bytes tell.

    Parameters
    ----------
    head : bytes
        The first 132 bytes of a file, or more.
    name : str
        What error messages call it; one that ends as DICOM files do lets content without a preamble pass.

    Returns
    -------
    {"PNG", "JPEG", "TIFF", "BMP", "WebP", "DICOM"}

    Raises
    ------
    ImageFormatError
        Empty, or of another format; the message says what it is instead.
    """
    if not head:
        raise ImageFormatError.of(
            name,
            f"found no bytes (an empty file, or one read to its end), expected {_FORMATS}",
            "fetch the file again, or rewind it with seek(0)",
        )
    kind = _known_format(head)
    if kind is not None:
        return kind
    if is_bare_dataset(head) or name.lower().endswith(DICOM_SUFFIXES):
        return "DICOM"
    foreign = next((kind for magic, kind in _FOREIGN if head.lstrip().startswith(magic)), None)
    if head[4:8] == b"ftyp":
        foreign = "an HEIC photo" if head[8:12] in _HEIF else f"an MP4 or AVIF file ({head[8:12]!r})"
    if foreign is None:
        printable = all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)
        foreign = "text" if printable else f"unknown content (it starts with {head[:8].hex(' ')})"
    raise ImageFormatError.of(
        name, f"found {foreign}, expected {_FORMATS}", "convert it, or pass the image itself"
    )


def _known_format(head: bytes) -> str | None:
    if has_preamble(head):  # first: a DICOM preamble may itself hold a TIFF header
        return "DICOM"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def most_bytes(limit: float) -> float:
    """Return how many bytes a file may have whose image has at most `limit` pixels, whatever its format."""
    return 8 * limit + (64 << 20)


def read_file(name: str, limit: float) -> bytes:
    """Return a file's content, after a look at its start where it is too large to be an image."""
    try:
        info = os.stat(name)
        if stat.S_ISDIR(info.st_mode):
            raise ImageError(
                f"{name}: found a folder, expected an image file; list its images with "
                f"lungcls.images.find_images"
            )
        if not stat.S_ISREG(info.st_mode):
            raise ImageError(
                f"{name}: found a device, pipe or socket, expected a regular file; read it and pass the bytes"
            )
        with open(name, "rb") as file:
            head = file.read(_HEAD)
            if info.st_size > most_bytes(limit):
                image_format(head, name)
                raise ImageError(
                    f"{name}: found a file of {info.st_size / 1e6:.0f} MB, more than an image of "
                    f"{limit / 1e6:g} megapixels can need, expected a smaller one; raise max_megapixels if "
                    f"you trust the file"
                )
            return head + file.read()
    except FileNotFoundError as error:
        advice = "download it first" if "://" in name else "check the spelling"
        raise ImageError(
            f"{name or '<empty path>'}: found no such file, expected an image file; {advice} "
            f"(the current folder is {os.getcwd()})"
        ) from error
    except PermissionError as error:
        raise ImageError(
            f"{name}: found a file that may not be read, expected read permission; change its permissions"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path, but also our own errors
        if isinstance(error, ImageError):
            raise
        raise ImageError(
            f"{name!r}: found a file that cannot be opened ({error}), expected a readable image file; check "
            f"the path"
        ) from error
