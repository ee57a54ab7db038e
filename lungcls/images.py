"""Anything that holds one chest X-ray to one float image: the only place where pixels enter lungcls."""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias, cast

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from lungcls import dicom
from lungcls.errors import ImageError, ImageFormatError
from lungcls.pixels import MAX_MEGAPIXELS, array_to_unit, check_size, checked_limit, checked_range
from lungcls.rasters import picture_to_unit, read_raster
from lungcls.reasons import Reason

if TYPE_CHECKING:
    import torch

DICOM_SUFFIXES: Final = (".dcm", ".dicom")
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


NOTES: Final = (
    "narrow_range",
    "clipped",
    "padding",
    "transparent",
    "lut_bits",
    "pixel_aspect",
)
"""Names of what the reader notices about an image."""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One grey image, as every part of lungcls takes it.

    Attributes
    ----------
    pixels : ndarray of float32, shape (H, W)
        In [0, 1], C-contiguous, finite, not constant; upright, bone bright.
    name : str
        The path as text, or ``"<array>"``, ``"<bytes>"`` and so on: what messages and tables call the image.
    pixel_spacing : tuple of float or None
        Millimetres between (rows, columns); only DICOM tells it.
    pixel_aspect : float
        Height over width of one pixel, as the file tells it; 1 where it is square or not told. The pixels are
        never resampled by the reader, so that masks and annotations of the file still fit.
    notes : tuple of Reason
        What the reader noticed about the grey values or the geometry, each with its value and its threshold;
        names are those of :data:`NOTES`. What was put right for certain is marked as corrected.
    path : str or None
        The file that it was read from and can be read from again.
    """

    pixels: NDArray[np.float32]
    name: str
    pixel_spacing: tuple[float, float] | None = None
    pixel_aspect: float = 1.0
    notes: tuple[Reason, ...] = ()
    path: str | None = None

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])


ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | PIL.Image.Image | NDArray[Any] "
    "| torch.Tensor | Image"
)
"""All that `read_image` takes."""


def read_image(
    source: ImageSource,
    *,
    value_range: tuple[float, float] | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Image:
    """Read one chest X-ray from a file, from memory, or from an array.

    Parameters
    ----------
    source : path, bytes, binary file, PIL image, ndarray, tensor or Image
        Files are PNG, JPEG, TIFF, BMP, WebP or DICOM, told apart by their content; an open file is read from
        where it stands and left open. Arrays and tensors have the shape ``[H, W]``, ``[1, H, W]``, ``[H, W,
        1]``, ``[H, W, 3]`` or ``[3, H, W]``; one that could be read in two ways is refused. An `Image` is
        returned as it is.
    value_range : tuple of float, optional
        The values that become 0 and 1, where the type does not tell them or tells them wrongly, such as
        ``(0, 4095)`` for 12 bits kept in a 16-bit PNG. Values outside it are refused. In DICOM it is in the
        units after the rescale, and replaces window and VOI LUT.
    max_megapixels : float
        Larger images are refused before they are decoded; ``math.inf`` allows any size.

    Returns
    -------
    Image

    Raises
    ------
    ImageError
        Missing, unreadable, empty, truncated, animated or not an image; too large, zero-size or constant; not
        finite or out of range. The message names the source and what to do.

    Notes
    -----
    Without `value_range` the type decides: bool is 0 or 1, 8 bits are divided by 255, 16 bits by 65535
    (12-bit TIFF by 4095), and floats must lie in [0, 1]. Other integers have no range of their own and are
    refused.

    Colour becomes luminance (ITU-R BT.601 [1]_, with the rounding of Pillow for 8 bits); where the three
    channels are equal it is exactly that channel. Transparency is dropped. Pillow keeps 8 of the 16 bits of
    *colour* files. Of a JPEG with appended pictures (previews, gain maps) the main one is read; any other
    file with more than one picture is refused. EXIF orientation is applied.

    DICOM goes through rescale or modality LUT, then the first VOI LUT or, without one, the first window, and
    is scaled by the range that these can give. Without both, it is scaled by the range of the stored bits (12
    bits: 0 to 4095) after the rescale, never by the smallest and largest value of the one image, so that
    equal exposures stay equal. MONOCHROME1 is inverted.

    References
    ----------
    .. [1] Recommendation ITU-R BT.601-7, 2011.

    Examples
    --------
    >>> image = read_image(np.eye(4, dtype=np.uint8) * 255)
    >>> image.pixels.dtype, image.height, image.width
    (dtype('float32'), 4, 4)
    """
    if isinstance(source, Image):
        return source
    limit = checked_limit(max_megapixels)
    bounds = checked_range(value_range)
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        name = os.fsdecode(path)
        image = _from_bytes(_read_file(name, limit), name, bounds, limit)
        return replace(image, path=name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source), "<bytes>", bounds, limit)
    if isinstance(source, PIL.Image.Image):
        name = getattr(source, "filename", "") or "<PIL image>"
        name = os.fsdecode(name)
        return _finished(picture_to_unit(source, name, bounds, limit), name, None)
    if isinstance(source, np.ndarray):
        return _finished(array_to_unit(source, "<array>", bounds, limit), "<array>", None)
    if _is_tensor(source):
        values = _tensor_to_array(cast("torch.Tensor", source))
        return _finished(array_to_unit(values, "<tensor>", bounds, limit), "<tensor>", None)
    if hasattr(source, "read"):
        data, name = _read_stream(source)
        return _from_bytes(data, name, bounds, limit)
    raise ImageError(
        f"<{type(source).__name__}>: found an object of type {type(source).__name__}, expected a path, "
        "bytes, an open binary file, a PIL image, a numpy array or a torch tensor; convert it to one of these"
    )


def several_sources(source: Any) -> list[Any] | None:
    """Tell whether an input stands for several images, and list them.

    Parameters
    ----------
    source : object
        What a caller passed where one image or several are taken.

    Returns
    -------
    list or None
        None where it is to be read as one image: a file, bytes, an array of two or three dimensions, a PIL
        image, a ``pydicom.Dataset``, an `Image`. Several are: a folder, pattern or DICOMDIR; an array or
        tensor of four dimensions ``[B, 1, H, W]``, ``[B, 3, H, W]``, ``[B, H, W, 1]`` or ``[B, H, W, 3]``; an
        array of paths; a batch of a ``DataLoader`` (``(images, labels)``, where only the images count); and
        any other iterable, such as a list, a generator or a pandas Series.

    Raises
    ------
    ImageError
        A folder or pattern without images; a mapping, of which nobody can tell which entry is meant.
    """
    if isinstance(source, (str, os.PathLike)):
        text = os.fsdecode(os.fspath(source))
        if os.path.isdir(text) or (glob.has_magic(text) and not os.path.lexists(text)):
            return list(find_images([text]))
        return None
    if source is None or isinstance(source, (bytes, bytearray, memoryview, PIL.Image.Image, Image)):
        return None
    if hasattr(source, "read") or _is_dicom_dataset(source):
        return None
    if isinstance(source, np.ndarray) or _is_tensor(source):
        if source.ndim == 4 or (source.ndim == 1 and getattr(source.dtype, "kind", "") in "OUS"):
            return list(source)
        return None
    if isinstance(source, Mapping):
        raise ImageError(
            f"<{type(source).__name__}>: found a mapping with the keys {[str(key) for key in source][:8]}, "
            "expected an image or a list of images; pass the entry that holds them, such as batch['image']"
        )
    if not isinstance(source, Iterable):
        return None
    items = list(source)
    if len(items) == 2 and _ndim(items[0]) == 4 and _ndim(items[1]) == 1 and len(items[0]) == len(items[1]):
        items = items[:1]  # a DataLoader's (images, labels)
    return [one for item in items for one in (list(item) if _ndim(item) == 4 else [item])]


def _ndim(value: Any) -> int:
    return int(value.ndim) if isinstance(value, np.ndarray) or _is_tensor(value) else 0


def _is_tensor(source: Any) -> bool:
    torch_module = sys.modules.get("torch")  # who passes a tensor has imported torch; we need not
    return torch_module is not None and isinstance(source, torch_module.Tensor)


def _is_dicom_dataset(source: Any) -> bool:
    module = sys.modules.get("pydicom")
    return module is not None and isinstance(source, module.Dataset)


def find_images(inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the image files that paths, folders and patterns stand for.

    Parameters
    ----------
    inputs : path or iterable of paths
        A file is taken whatever its suffix. A folder gives all its images, those in its subfolders included.
        A pattern (``*``, ``?``, ``[...]``, and ``**`` for any depth) gives the images that match. Folders and
        patterns skip what is hidden (names that start with a dot) and what has no suffix of `SUFFIXES`,
        except DICOM files without suffix, as scanners export them.

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
    found: dict[str, Path] = {}
    for entry in entries:
        for path in _expand(os.fsdecode(os.fspath(entry))):
            found.setdefault(os.path.abspath(path), path)
    return list(found.values())


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
        return [path]
    if not glob.has_magic(text):
        raise ImageError(
            f"{text or '<empty path>'}: found no such file or folder, expected an existing one; check the "
            f"spelling (the current folder is {os.getcwd()})"
        )
    matches = sorted(Path(match) for match in glob.glob(text, recursive=True))
    files = [match for match in matches if match.is_file() and _looks_like_image(match)]
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
    # Links are followed, as collections of several hospitals are often made of them; each place once.
    for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
        place = os.path.realpath(folder)
        if place in visited:
            subfolders.clear()
            continue
        visited.add(place)
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and _looks_like_image(path):
                yield path


def _looks_like_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return True
    # Scanners name files "IM000001" or by a UID, whose last number passes for a suffix.
    if path.name.upper() == "DICOMDIR" or not (suffix == "" or suffix[1:].isdigit()):
        return False
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return dicom.has_preamble(file.read(132))
    except OSError:
        return False


def _read_file(name: str, limit: float) -> bytes:
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
            head = file.read(132)
            if info.st_size > 8 * limit + (64 << 20):
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


def _read_stream(source: Any) -> tuple[bytes, str]:
    label = getattr(source, "name", None)
    name = os.fsdecode(label) if isinstance(label, (str, bytes)) and label else "<file>"
    try:
        data = source.read()
    except (OSError, ValueError) as error:  # ValueError: closed, or text that is no UTF-8
        raise ImageError(
            f"{name}: found an open file that cannot be read ({error}), expected one open for reading in "
            "binary mode; open it with mode 'rb'"
        ) from error
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ImageError(
            f"{name}: found a file that gives {type(data).__name__}, expected bytes; open it with mode 'rb'"
        )
    return bytes(data), name


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
        raise ImageFormatError(
            f"{name}: found no bytes (an empty file, or one read to its end), expected {_FORMATS}; "
            "fetch the file again, or rewind it with seek(0)"
        )
    if dicom.has_preamble(head):  # first: a DICOM preamble may itself hold a TIFF header
        return "DICOM"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if name.lower().endswith(DICOM_SUFFIXES):
        return "DICOM"
    foreign = next((kind for magic, kind in _FOREIGN if head.lstrip().startswith(magic)), None)
    if foreign is None:
        printable = all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)
        foreign = "text" if printable else f"unknown content (it starts with {head[:8].hex(' ')})"
    raise ImageFormatError(
        f"{name}: found {foreign}, expected {_FORMATS}; convert it, or pass the image itself"
    )


def _from_bytes(data: bytes, name: str, bounds: tuple[float, float] | None, limit: float) -> Image:
    kind = image_format(data[:132], name)
    if kind == "DICOM":
        scan = dicom.open_dicom(data, name, max_pixels=limit, force=name.lower().endswith(DICOM_SUFFIXES))
        check_size(scan.height, scan.width, name, limit)
        return _finished(scan.pixels(bounds), name, scan.pixel_spacing)
    return _finished(read_raster(data, kind, name, bounds, limit), name, None)


def _tensor_to_array(tensor: torch.Tensor) -> NDArray[Any]:
    try:
        plain = tensor.detach().cpu()
        # numpy knows no bfloat16 and no 8-bit floats.
        plain = plain.float() if plain.is_floating_point() and plain.element_size() < 4 else plain
        return np.asarray(plain.resolve_conj().resolve_neg().numpy())
    except Exception as error:  # sparse, quantised, meta and nested tensors each fail in their own way
        raise ImageError(
            f"<tensor>: found a {tensor.dtype} tensor that has no plain array ({error}), expected a dense "
            "one; convert it with .to_dense() or .float()"
        ) from error


def _finished(pixels: NDArray[np.float32], name: str, spacing: tuple[float, float] | None) -> Image:
    if pixels.min() == pixels.max():
        raise ImageError(
            f"{name}: found a constant image ({pixels.shape[0]} x {pixels.shape[1]} pixels, all "
            f"{pixels.min():.3g}), expected an X-ray; check how it was exported"
        )
    return Image(np.ascontiguousarray(pixels), name, spacing)
