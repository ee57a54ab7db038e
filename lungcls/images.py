"""Anything that holds one chest X-ray to one float image: the only place where pixels enter lungcls."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from lungcls import dicom
from lungcls.errors import ConstantImageError, ImageError
from lungcls.imagefiles import DICOM_SUFFIXES, SUFFIXES, find_images, image_format, read_file
from lungcls.pixels import (
    MAX_MEGAPIXELS,
    Grey,
    array_to_unit,
    checked_limit,
    checked_range,
    coloured,
    narrow_range,
)
from lungcls.quietly import library_warnings
from lungcls.rasters import picture_to_unit, read_raster
from lungcls.reasons import Reason
from lungcls.render.pictures import grey_picture, picture_html

if TYPE_CHECKING:
    import torch
    from pydicom import Dataset

__all__ = [
    "DICOM_SUFFIXES",
    "NOTES",
    "SUFFIXES",
    "Image",
    "ImageSource",
    "find_images",
    "image_format",
    "image_size",
    "read_image",
    "several_sources",
]

NOTES: Final = (
    "narrow_range",
    "clipped",
    "padding",
    "transparent",
    "lut_bits",
    "pixel_aspect",
    "colour",
)
"""Names of what the reader notices about an image."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        notes = "".join(f", {note.name}" for note in self.notes)
        return f"Image({self.name!r}, {self.width} x {self.height}{notes})"

    def _repr_html_(self) -> str:
        notes = [note.message for note in self.notes]
        return picture_html(grey_picture(self.pixels), self.name, alt="the film", notes=notes)

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
    "| torch.Tensor | Dataset | Image"
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
    source : path, bytes, binary file, PIL image, ndarray, tensor, pydicom.Dataset or Image
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
    channels are equal it is exactly that channel. What is transparent lies over black. Pillow keeps 8 of
    the 16 bits of
    *colour* files. Of a JPEG with appended pictures (previews, gain maps) the main one is read; any other
    file with more than one picture is refused. EXIF orientation is applied.

    What cannot be put right for certain is noted (`Image.notes`) and left as it is: a range of values that is
    far narrower than the type's, a window that clips most pixels, false colours. Pixels that are not square
    are not resampled, so that masks and annotations fit; whatever looks at the film counts them as they are.

    DICOM goes through rescale or modality LUT, then the first VOI LUT or, without one, the first window, and
    is scaled by the range that these can give. Without both, it is scaled by the range of the stored bits (12
    bits: 0 to 4095) after the rescale, never by the smallest and largest value of the one image, so that
    equal exposures stay equal. MONOCHROME1 is inverted; padding
    (PixelPaddingValue) is black. Compressed pixels are decoded in a process of their own
    (:mod:`lungcls.decoding`), so that what damaged ones do to a decoder stays there.

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
    grey, name = _decoded(source, bounds, limit)
    image = _finished(grey, name, bounds)
    return replace(image, path=name) if isinstance(source, (str, os.PathLike)) else image


def _decoded(source: Any, bounds: tuple[float, float] | None, limit: float) -> tuple[Grey, str]:
    if isinstance(source, (str, os.PathLike)):
        name = os.fsdecode(os.fspath(source))
        return _from_bytes(read_file(name, limit), name, bounds, limit), name
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source), "<bytes>", bounds, limit), "<bytes>"
    if isinstance(source, PIL.Image.Image):
        name = os.fsdecode(getattr(source, "filename", "") or "<PIL image>")
        return picture_to_unit(source, name, bounds, limit), name
    if isinstance(source, np.ndarray):
        return Grey(array_to_unit(source, "<array>", bounds, limit), coloured(source)), "<array>"
    if _is_tensor(source):
        values = _tensor_to_array(source)
        return Grey(array_to_unit(values, "<tensor>", bounds, limit), coloured(values)), "<tensor>"
    if _is_dicom_dataset(source):
        name = os.fsdecode(getattr(source, "filename", None) or "<Dataset>")
        return dicom.from_dataset(source, name, max_pixels=limit).grey(bounds), name
    if hasattr(source, "read"):
        data, name = _read_stream(source)
        return _from_bytes(data, name, bounds, limit), name
    raise ImageError(
        f"<{type(source).__name__}>: found an object of type {type(source).__name__}, expected a path, "
        "bytes, an open binary file, a PIL image, a numpy array, a torch tensor or a pydicom dataset; "
        "convert it to one of these"
    )


def image_size(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return (height, width) of an image file, turned as its EXIF says, without decoding its pixels.

    None where it is no image; what is wrong with it, :func:`read_image` says.
    """
    name = os.fsdecode(os.fspath(path))
    with library_warnings(name, "image"):
        try:
            with PIL.Image.open(name) as picture:
                width, height = picture.size
                turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
                return (width, height) if turned else (height, width)
        except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError):
            pass
        try:
            import pydicom

            header = pydicom.dcmread(
                name, stop_before_pixels=True, specific_tags=["Rows", "Columns"], force=True
            )
            return int(header.Rows), int(header.Columns)
        except Exception:  # pydicom raises nearly any kind for what is no DICOM
            return None


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
        listed = os.path.isdir(text) or os.path.basename(text).upper() == "DICOMDIR"
        if listed or (glob.has_magic(text) and not os.path.lexists(text)):
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


def _from_bytes(data: bytes, name: str, bounds: tuple[float, float] | None, limit: float) -> Grey:
    kind = image_format(data[:132], name)
    if kind == "DICOM":
        return dicom.open_dicom(data, name, max_pixels=limit).grey(bounds)
    return read_raster(data, kind, name, bounds, limit)


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


def _finished(grey: Grey, name: str, bounds: tuple[float, float] | None) -> Image:
    pixels = grey.pixels
    if pixels.min() == pixels.max():
        raise ConstantImageError(
            f"{name}: found a constant image ({pixels.shape[0]} x {pixels.shape[1]} pixels, all "
            f"{pixels.min():.3g}), expected an X-ray; check how it was exported",
            float(pixels.min()),
        )
    # Who passes a range knows what the values mean.
    notes = (*grey.notes, *(() if bounds else narrow_range(pixels)))
    return Image(np.ascontiguousarray(pixels), name, grey.pixel_spacing, grey.pixel_aspect, notes)
