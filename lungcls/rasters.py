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

from lungcls.errors import DamagedImageError, ImageError, ImageSizeError
from lungcls.pixels import Grey, check_size, checked_aspect, coloured, to_unit
from lungcls.quietly import library_warnings, one_line
from lungcls.reasons import Reason

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
_KEYED: Final = 0.01  # share of pixels of the one transparent colour from which on it is worth a word
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_SAMPLE_FORMAT = 258, 262, 339


def read_raster(data: bytes, kind: str, name: str, bounds: tuple[float, float] | None, limit: float) -> Grey:
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
    Grey

    Raises
    ------
    ImageError
        Damaged, truncated, too large, with several pictures, or with values outside the range.
    """
    try:
        file = _StrictBytes(data)
        with library_warnings(name, kind):
            opened = _PLUGINS[kind](file)
        with opened as picture:
            check_size(picture.height, picture.width, name, limit)
            file.strict = True
            return picture_to_unit(picture, name, bounds, limit, kind)
    except (ImageError, MemoryError):
        raise
    except PIL.Image.DecompressionBombError as error:
        raise ImageSizeError.of(
            name,
            f"found a {kind} beyond the size that Pillow opens, expected at most {limit / 1e6:g} megapixels",
            "if you trust the file, save it as PNG and raise max_megapixels",
        ) from error
    except Exception as error:  # a damaged header makes Pillow raise nearly any kind
        raise _damaged(name, kind, error) from error


def _damaged(name: str, kind: str, error: Exception) -> ImageError:
    return DamagedImageError.of(
        name,
        f"found a {kind} that cannot be decoded ({one_line(error)}), expected a complete one",
        "it is truncated, damaged or of an unusual kind: fetch it again, or save it as a grey PNG",
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
) -> Grey:
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
        values, full, notes = _pil_values(picture, name)
        aspect = _aspect(picture)
        with library_warnings(name, kind or "image"):
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
        aspect = 1 / aspect if transpose else aspect
    aspect, stretched = checked_aspect(aspect)
    notes = (*notes, *coloured(values), *stretched)
    return Grey(to_unit(values, name, bounds, full), notes, None, aspect)


def _orientation(picture: PIL.Image.Image, name: str) -> int:
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception as error:  # broken EXIF is common, and says nothing about the pixels
        _log.warning("%s: the EXIF data cannot be read (%s); the image is taken as upright", name, error)
        return 1


def _aspect(picture: PIL.Image.Image) -> float:
    """Return height over width of a pixel as the file's resolution tells it, before it is turned."""
    for key in ("dpi", "resolution", "aspect", "jfif_density"):
        try:
            across, down = (float(number) for number in picture.info[key])
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            continue
        if across > 0 and down > 0:
            return across / down
    return 1.0


def _pil_values(picture: PIL.Image.Image, name: str) -> tuple[NDArray[Any], float | None, tuple[Reason, ...]]:
    """Return [H, W] or [H, W, 3] stored values, the value of white where their type hides it, and notes."""
    mode = picture.mode
    notes: tuple[Reason, ...] = ()
    key = picture.info.get("transparency")
    if mode in ("P", "PA") and key is not None and not _one_colour(key):
        picture, mode = picture.convert("RGBA"), "RGBA"  # straight to RGB, Pillow warns of lost transparency
    elif key is not None and mode in ("1", "L", "RGB", "P"):
        # A colour that stands for "transparent" hides nothing: each of its pixels has that colour.
        notes = _keyed(picture, key)
        picture = picture.copy()
        del picture.info["transparency"]
    if mode in ("La", "RGBa"):
        mode = {"La": "LA", "RGBa": "RGBA"}[mode]
        picture = picture.convert(mode)
    elif mode in ("P", "CMYK", "HSV", "RGBX"):
        picture, mode = picture.convert("RGB"), "RGB"
    elif mode == "PA":
        picture, mode = picture.convert("RGBA"), "RGBA"
    values = np.asarray(picture)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)  # mode I;16B is big-endian
    if mode == "YCbCr":
        values = values[..., 0]  # its first channel is the luminance
    elif mode in ("LA", "RGBA"):
        colours = values[..., 0] if mode == "LA" else values[..., :3]
        values, notes = _without_alpha(colours, values[..., -1], name)
    elif mode not in ("1", "L", "RGB", "I", "F") and not mode.startswith("I;16"):
        raise ImageError(
            f"{name}: found a picture of mode {mode!r}, expected one of 1, L, LA, P, RGB, RGBA, CMYK, YCbCr, "
            "HSV, I;16, I or F; convert it with picture.convert('L')"
        )
    tags = getattr(picture, "tag_v2", None)
    return (values, None, notes) if tags is None else (*_tiff_values(values, tags, mode, name), notes)


def _without_alpha(
    colours: NDArray[np.uint8], alpha: NDArray[np.uint8], name: str
) -> tuple[NDArray[np.uint8], tuple[Reason, ...]]:
    """Lay a picture over black, which is what lies beside a film; what is transparent may hold anything."""
    lowest, highest = int(alpha.min()), int(alpha.max())
    if lowest == highest:
        if highest:
            return colours, ()
        message = "the whole picture is transparent; its colours are taken as if it were not"
        return colours, (Reason("transparent", 1.0, _KEYED, message),)
    if (colours == colours[0, 0]).all():
        raise ImageError(
            f"{name}: found one colour throughout and a picture in the alpha channel ({lowest} to "
            f"{highest}), expected the picture in the colours; if the alpha channel is the film, pass it: "
            "np.asarray(picture)[..., -1] (or 255 minus it, where opaque means dark)"
        )
    opaque = alpha.astype(np.uint16) if colours.ndim == 2 else alpha.astype(np.uint16)[..., None]
    over_black = ((colours * opaque + 127) // 255).astype(np.uint8)
    if np.array_equal(over_black, colours):
        return colours, ()
    share = float((alpha < 255).mean())
    message = f"{share:.1%} of the pixels are transparent; they are taken as lying over black"
    return over_black, (Reason("transparent", share, 0.0, message, corrected=True),)


def _one_colour(key: object) -> bool:
    return not isinstance(key, bytes) or (key.count(255) == len(key) - 1 and min(key) == 0)


def _keyed(picture: PIL.Image.Image, key: Any) -> tuple[Reason, ...]:
    wanted = key.index(0) if isinstance(key, bytes) else key
    hits = np.asarray(picture) == np.asarray(wanted)
    share = float((hits.all(axis=-1) if hits.ndim == 3 else hits).mean())
    if share < _KEYED:
        return ()
    message = f"{share:.1%} of the pixels have a colour that stands for transparent; it is taken as it is"
    return (Reason("transparent", share, _KEYED, message),)


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
