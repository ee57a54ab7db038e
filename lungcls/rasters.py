"""PNG, JPEG, TIFF, BMP and WebP through Pillow, without its global settings having a say."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from lungcls.errors import ImageError, ImageSizeError
from lungcls.pixels import check_size, to_unit

_log = logging.getLogger(__name__)

# EXIF orientation -> the same turn as numpy axes: (transpose, flip rows, flip columns).
_ORIENTATIONS: Final[dict[int, tuple[bool, bool, bool]]] = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_EXIF_ORIENTATION: Final = 0x0112
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_SAMPLE_FORMAT = 258, 262, 339


def read_raster(
    data: bytes, kind: str, name: str, bounds: tuple[float, float] | None, limit: float
) -> NDArray[np.float32]:
    """Decode a whole file of a known format to grey in [0, 1].

    Parameters
    ----------
    data : bytes
        The file.
    kind : {"PNG", "JPEG", "TIFF", "BMP", "WebP"}
        Its format.
    name : str
        What error messages call it.
    bounds : tuple of float or None
        The values that become 0 and 1, where the type shall not decide.
    limit : float
        Most pixels that are decoded.

    Returns
    -------
    ndarray of float32, shape (H, W)

    Raises
    ------
    ImageError
        Damaged, truncated, too large, with several pictures, or with values outside the range.
    """
    try:
        file = _StrictBytes(data)
        with _PLUGINS[kind](file) as picture:
            check_size(picture.height, picture.width, name, limit)
            file.strict = True
            return picture_to_unit(picture, name, bounds, limit, kind)
    except (ImageError, MemoryError):
        raise
    except PIL.Image.DecompressionBombError as error:
        raise ImageSizeError(
            f"{name}: found a {kind} beyond the size that Pillow opens, expected at most {limit / 1e6:g} "
            "megapixels; if you trust the file, save it as PNG and raise max_megapixels"
        ) from error
    except Exception as error:  # a damaged header makes Pillow raise nearly any kind
        raise _damaged(name, kind, error) from error


def _damaged(name: str, kind: str, error: Exception) -> ImageError:
    printable = "".join(letter if letter.isprintable() else " " for letter in str(error))
    reason = " ".join(printable.split())[:300] or type(error).__name__
    return ImageError(
        f"{name}: found a {kind} that cannot be decoded ({reason}), expected a complete one; "
        "it is truncated, damaged or of an unusual kind: fetch it again, or save it as a grey PNG"
    )


class _StrictBytes(io.BytesIO):
    """Bytes whose end is an error while pixels are decoded.

    Pillow fills what is missing of a file with grey where any part of the process has set
    ``ImageFile.LOAD_TRUNCATED_IMAGES``. The setting is not ours to change, and such pixels are not an X-ray.
    """

    strict = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self.strict and not data and size != 0:
            raise OSError("the file ends too early")
        return data


class _UnlimitedTiff(TiffImagePlugin.TiffImageFile):
    """Allocates the image itself, because the inherited step checks Pillow's limit again."""

    def load_prepare(self) -> None:
        if self._im is None:
            core: Any = vars(PIL.Image)["core"]  # not among the exported names that type checkers know
            self.im = core.new(self.mode, getattr(self, "_tile_size", self.size))
        super().load_prepare()


# The one plug-in that is meant, rather than PIL.Image.open: that applies Pillow's own size limit, which is
# global to the process and cannot be lifted for one call safely among threads. check_size sets ours.
_PLUGINS: Final[dict[str, Callable[[io.BytesIO], PIL.Image.Image]]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "TIFF": _UnlimitedTiff,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
}


def picture_to_unit(
    picture: PIL.Image.Image,
    name: str,
    bounds: tuple[float, float] | None,
    limit: float,
    kind: str | None = None,
) -> NDArray[np.float32]:
    """Decode a PIL image, turn it upright, and scale it to grey in [0, 1]."""
    try:
        check_size(picture.height, picture.width, name, limit)
        frames = getattr(picture, "n_frames", 1)
        if frames != 1 and picture.format != "MPO":  # that is a JPEG with appended previews
            raise ImageError(
                f"{name}: found {frames} pictures (pages or frames) in one file, expected one; save the one "
                "you mean as a file of its own, or pass a copy of it: picture.seek(k); picture.copy()"
            )
        picture.load()
        values, full = _pil_values(picture, name)
        turn = _ORIENTATIONS.get(_orientation(picture, name))
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # see read_raster
        raise _damaged(name, kind or picture.format or "PIL image", error) from error
    if turn is not None:
        transpose, flip_rows, flip_columns = turn
        values = values.swapaxes(0, 1) if transpose else values
        values = values[::-1] if flip_rows else values
        values = values[:, ::-1] if flip_columns else values
    return to_unit(values, name, bounds, full)


def _orientation(picture: PIL.Image.Image, name: str) -> int:
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception as error:  # broken EXIF is common, and says nothing about the pixels
        _log.warning("%s: the EXIF data cannot be read (%s); the image is taken as upright", name, error)
        return 1


def _pil_values(picture: PIL.Image.Image, name: str) -> tuple[NDArray[Any], float | None]:
    """Return [H, W] or [H, W, 3] stored values, and the value of white where their type does not tell it."""
    mode = picture.mode
    if mode == "P" and "transparency" in picture.info:
        picture, mode = picture.convert("RGBA"), "RGBA"  # straight to RGB, Pillow warns of lost transparency
    elif mode in ("P", "PA", "CMYK", "HSV", "RGBX"):
        picture, mode = picture.convert("RGB"), "RGB"
    elif mode in ("La", "RGBa"):
        mode = {"La": "LA", "RGBa": "RGBA"}[mode]
        picture = picture.convert(mode)
    values = np.asarray(picture)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)  # mode I;16B is big-endian
    if mode in ("LA", "YCbCr"):
        values = values[..., 0]  # YCbCr: its first channel is the luminance
    elif mode == "RGBA":
        values = values[..., :3]
    elif mode not in ("1", "L", "RGB", "I", "F") and not mode.startswith("I;16"):
        raise ImageError(
            f"{name}: found a picture of mode {mode!r}, expected one of 1, L, LA, P, RGB, RGBA, CMYK, YCbCr, "
            "HSV, I;16, I or F; convert it with picture.convert('L')"
        )
    tags = getattr(picture, "tag_v2", None)
    return (values, None) if tags is None else _tiff_values(values, tags, mode, name)


def _tiff_values(values: NDArray[Any], tags: Any, mode: str, name: str) -> tuple[NDArray[Any], float | None]:
    """Undo what Pillow leaves to the caller: 12 bits, signed bytes, unsigned 32 bits, and white as zero."""
    sample = tags.get(_TIFF_SAMPLE_FORMAT, (1,))[0]
    if mode == "L" and sample == 2:
        values = values.view(np.int8)
    elif mode == "I" and sample == 1:
        values = values.view(np.uint32)
    full = 4095.0 if tuple(tags.get(_TIFF_BITS, ())) == (12,) else None
    if tags.get(_TIFF_PHOTOMETRIC) == 0 and mode not in ("1", "L"):  # those two Pillow has inverted
        if values.dtype != np.uint16:
            raise ImageError(
                f"{name}: found a TIFF with white as zero and values of type {values.dtype}, expected 1, 8 "
                "or 16 bits or black as zero; invert it and save it with PhotometricInterpretation "
                "BlackIsZero"
            )
        values = np.uint16(full or 65535) - values
    return values, full
