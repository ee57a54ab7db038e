"""DICOM to grey values in [0, 1]: which files are taken, and which of their tags shape the pixels.

The arithmetic of modality LUT, VOI LUT and window is pydicom's. It is applied to a table of all values that
the stored bits can take rather than to the image: there are at most 65,536 of them, so that the cost does not
grow with the image, and the ends of the output range are known instead of being guessed from what one image
holds.
"""

from __future__ import annotations

import logging
import math
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lungcls.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_log = logging.getLogger(__name__)

_PREAMBLE: Final = 128
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_REQUIRED: Final = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "PixelData")
_INSTALL: Final = "pip install 'lungcls[dicom]'"
_NARROW: Final = 0.1  # share of the range below which a scan without a sound window is worth a word
_GREY: Final = ("MONOCHROME1", "MONOCHROME2")


@dataclass(frozen=True, slots=True, eq=False)
class DicomScan:
    """One grey, single-frame DICOM image whose header is read and whose pixels are not yet decoded.

    Attributes
    ----------
    dataset : pydicom.Dataset
        All elements of the file.
    name : str
        What error messages call the file.
    height, width : int
        Size in pixels, from the header.
    pixel_spacing : tuple of float or None
        Millimetres between the centres of two rows and of two columns.
    """

    dataset: Dataset
    name: str
    height: int
    width: int
    pixel_spacing: tuple[float, float] | None

    def pixels(self, value_range: tuple[float, float] | None = None) -> NDArray[np.float32]:
        """Decode the image.

        Parameters
        ----------
        value_range : tuple of float, optional
            Values after the rescale (the units of a window) that become 0 and 1, in place of what the file
            says.

        Returns
        -------
        ndarray of float32, shape (H, W)
            In [0, 1]; MONOCHROME1 is inverted, so that air is dark and bone is bright.

        Raises
        ------
        ImageError
            The pixel data cannot be decoded, or a value lies outside `value_range`.
        """
        try:
            return self._unit_pixels(value_range)
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # elements are converted when asked for: see open_dicom
            raise ImageError(
                f"{self.name}: found DICOM pixels that cannot be decoded ({_text(error)}), expected complete "
                "ones with a sound header; the file is damaged: fetch it again from its archive"
            ) from error

    def _unit_pixels(self, value_range: tuple[float, float] | None) -> NDArray[np.float32]:
        stored = _decode(self.dataset, self.name, (self.height, self.width))
        bits = int(self.dataset.BitsStored)
        first = -(1 << (bits - 1)) if int(self.dataset.PixelRepresentation) else 0
        codes = np.arange(first, first + (1 << bits), dtype=np.int64)
        index = stored.astype(np.int32) - first
        if index.min() < 0 or index.max() >= codes.size:
            raise ImageError(
                f"{self.name}: found stored values from {stored.min()} to {stored.max()}, expected what "
                f"BitsStored={bits} can hold ({codes[0]} to {codes[-1]}); the header is wrong: repair it "
                "with a DICOM tool"
            )
        table, low, high = _unit_table_source(self.dataset, codes, self.name, value_range)
        if not high > low or not np.isfinite(table).all():
            raise ImageError(
                f"{self.name}: found a rescale or lookup table that maps the stored values to "
                f"{table.min():g} ... {table.max():g}, expected a finite range; check RescaleSlope and LUTs"
            )
        if value_range is not None:
            occurs = np.zeros(codes.size, dtype=bool)
            occurs[index] = True
            used = table[occurs]
            if used.min() < low or used.max() > high:
                raise ImageError(
                    f"{self.name}: found values from {used.min():g} to {used.max():g} (after rescale), "
                    f"expected all within value_range=({low:g}, {high:g}); pass a range that holds them"
                )
        # Subtracting before dividing keeps an inverted scan bit for bit equal to the one that it mirrors.
        mirrored = self.dataset.PhotometricInterpretation == "MONOCHROME1"
        unit = ((high - table) if mirrored else (table - low)) / (high - low)
        pixels = np.clip(unit, 0.0, 1.0).astype(np.float32)[index]
        span = float(pixels.max() - pixels.min())
        if 0 < span < _NARROW:
            _log.warning(
                "%s: the values fill only %.1f%% of the range that the header allows; pass value_range=(lo, "
                "hi) if the image is too flat",
                self.name,
                100 * span,
            )
        return pixels


def has_preamble(data: bytes) -> bool:
    """Tell whether the bytes start with a DICOM preamble (128 free bytes, then ``DICM``)."""
    return data[_PREAMBLE : _PREAMBLE + 4] == b"DICM"


def open_dicom(data: bytes, name: str, *, max_pixels: float, force: bool = False) -> DicomScan:
    """Read a DICOM header and refuse what is not one grey image.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        What error messages call the file.
    max_pixels : float
        Bounds what a deflated file may inflate to.
    force : bool
        Also try a file without preamble (old ACR-NEMA files, bare datasets).

    Returns
    -------
    DicomScan

    Raises
    ------
    ImageError
        Not DICOM, truncated, without pixels, in colour, with several frames, or with bits that are not
        supported.
    """
    if has_preamble(data):
        _refuse_inflating(data, name, max_pixels)
    try:
        return _parsed(data, name, force)
    except (ImageError, MemoryError):
        raise
    except (
        Exception
    ) as error:  # pydicom converts elements when asked for them, and damaged ones raise anything
        raise ImageError(
            f"{name}: found a DICOM file that cannot be parsed ({_text(error)}), expected a complete one; "
            "it is truncated or damaged: fetch it again from its archive"
        ) from error


def _parsed(data: bytes, name: str, force: bool) -> DicomScan:
    import pydicom

    dataset = pydicom.dcmread(BytesIO(data), force=force)
    present = {key for key in _REQUIRED if dataset.get(key) not in (None, b"")}
    if not len(dataset) or (not has_preamble(data) and not present & {"Rows", "Columns", "PixelData"}):
        raise ImageError(
            f"{name}: found no DICOM content in spite of the suffix, expected a DICOM file with an image; "
            "check that the file is what its name says"
        )
    if "PixelData" not in present:
        raise ImageError(
            f"{name}: found a DICOM file without pixel data ({_sop_class(dataset)}), expected an image; "
            "it is truncated, or it is a report, directory or presentation state: pass the image itself"
        )
    _refuse_colour_and_frames(dataset, name)
    missing = [key for key in _REQUIRED if key not in present]
    if missing:
        raise ImageError(
            f"{name}: found no {', '.join(missing)} in the DICOM header, expected all of "
            f"{', '.join(_REQUIRED)}; the file is damaged or incomplete: export it again"
        )
    height, width = _checked_layout(dataset, name)
    if "TransferSyntaxUID" not in getattr(dataset, "file_meta", {}):
        _guess_transfer_syntax(dataset)
    return DicomScan(dataset, name, height, width, _pixel_spacing(dataset))


def _refuse_colour_and_frames(dataset: Dataset, name: str) -> None:
    photometric = dataset.get("PhotometricInterpretation")
    samples = dataset.get("SamplesPerPixel") or 1
    if photometric not in _GREY or samples != 1:
        raise ImageError(
            f"{name}: found a DICOM image with PhotometricInterpretation {photometric!r} and "
            f"{_text(samples)} sample(s) per pixel, expected a grey X-ray (MONOCHROME1 or MONOCHROME2, one "
            "sample); colour DICOM holds screenshots, ultrasound or microscopy: pass the original X-ray"
        )
    frames = dataset.get("NumberOfFrames") or 1
    if frames != 1:
        raise ImageError(
            f"{name}: found a DICOM file with NumberOfFrames {_text(frames)}, expected one frame; split it "
            "and pass the frame you mean"
        )


def _checked_layout(dataset: Dataset, name: str) -> tuple[int, int]:
    try:
        height, width, allocated, bits, sign = (int(dataset[key].value) for key in _REQUIRED[:-1])
        top = dataset.get("HighBit")
        highest = bits - 1 if top is None else int(top)
    except (TypeError, ValueError) as error:
        raise ImageError(
            f"{name}: found a DICOM header whose size or bits are no single numbers ({_text(error)}), "
            "expected integers; the file is damaged: export it again"
        ) from error
    if height < 1 or width < 1:
        raise ImageError(
            f"{name}: found a DICOM image of {height} rows and {width} columns, expected at least one of "
            "each; the file is damaged: export it again"
        )
    if allocated not in (1, 8, 16) or not 1 <= bits <= allocated or highest != bits - 1 or sign not in (0, 1):
        raise ImageError(
            f"{name}: found BitsAllocated {allocated}, BitsStored {bits}, HighBit {highest}, "
            f"PixelRepresentation {sign}, expected up to 16 bits in the low end of 8 or 16; convert it to a "
            f"plain grey DICOM or a PNG"
        )
    return height, width


def _decode(dataset: Dataset, name: str, shape: tuple[int, int]) -> NDArray[Any]:
    """Return the stored values as they are in the file."""
    from pydicom.pixels.decoders.base import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    described = f"transfer syntax {_text(syntax.name)} ({_text(syntax)})"
    try:
        compressed = bool(syntax.is_compressed)
        decoder = get_decoder(syntax)
    except (NotImplementedError, ValueError) as error:
        raise ImageError(
            f"{name}: found DICOM pixels in the {described}, expected one that pydicom can decode; "
            "convert it to an uncompressed one (for example with gdcmconv --raw or dcmdjpeg)"
        ) from error
    if not decoder.is_available:
        raise ImageError(
            f"{name}: found DICOM pixels in the {described}, expected a decoder for it; "
            f"install the plug-ins with: {_INSTALL}"
        )
    try:
        stored = dataset.pixel_array
    except MemoryError:
        raise
    except Exception as error:  # each plug-in has its own errors for damaged data
        advice = f", or a plug-in is missing ({_INSTALL})" if compressed else ""
        raise ImageError(
            f"{name}: found DICOM pixels that cannot be decoded ({described}: {_text(error)}), expected "
            f"{shape[0]} x {shape[1]} complete ones; the file is truncated or damaged{advice}"
        ) from error
    if stored.shape != shape:
        raise ImageError(
            f"{name}: found decoded DICOM pixels of shape {stored.shape}, expected {shape} as in the header; "
            "the file is damaged: export it again"
        )
    return stored


def _unit_table_source(
    dataset: Dataset, codes: NDArray[np.int64], name: str, value_range: tuple[float, float] | None
) -> tuple[NDArray[np.float64], float, float]:
    """Return the displayed value of each stored code, and the values that stand for 0 and 1."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    if "VOILUTFunction" in dataset and not dataset.VOILUTFunction:
        del dataset.VOILUTFunction  # empty means LINEAR, and pydicom stumbles over it
    try:
        values: NDArray[Any] = apply_modality_lut(codes, dataset)
        if value_range is not None:
            return values.astype(np.float64), *value_range
        lut = (dataset.get("VOILUTSequence") or [None])[0]
        if lut is not None and lut.get("LUTDescriptor") is not None and lut.get("LUTData") is not None:
            entries, start, bits = (int(number) for number in lut.LUTDescriptor)
            # Values beyond the table mean its last entry; pydicom would let them wrap around in 8 bits.
            whole = np.clip(np.rint(values), start, start + (entries or 1 << 16) - 1).astype(np.int64)
            return apply_voi_lut(whole, dataset).astype(np.float64), 0.0, float((1 << bits) - 1)
        if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
            # A window sends all that is far below and far above to the ends of its output range.
            with np.errstate(over="ignore"):
                low, high = apply_voi_lut(np.array([-1e30, 1e30]), dataset)
                return apply_voi_lut(values, dataset), float(low), float(high)
    except MemoryError:
        raise
    except Exception as error:  # pydicom raises many kinds for impossible windows and tables
        raise ImageError(
            f"{name}: found a DICOM rescale, window or lookup table that cannot be applied ({_text(error)}), "
            "expected one as in the standard; correct the tags, or pass value_range=(lo, hi) to overrule them"
        ) from error
    if dataset.get("ModalityLUTSequence"):
        bits = int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])
        return values.astype(np.float64), 0.0, float((1 << bits) - 1)
    return values.astype(np.float64), float(values.min()), float(values.max())


def _refuse_inflating(data: bytes, name: str, max_pixels: float) -> None:
    """Inflate a deflated file piece by piece and stop where it grows beyond any image that is allowed."""
    from pydicom.filereader import read_dataset

    file = BytesIO(data[_PREAMBLE + 4 :])
    try:
        meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
        if meta.get("TransferSyntaxUID") != _DEFLATED:
            return
    except Exception:  # dcmread, which comes next, reports what is wrong with the file
        return
    limit, size = 2 * max_pixels + (16 << 20), 0
    inflate, rest = zlib.decompressobj(-zlib.MAX_WBITS), file.read()
    while rest and not inflate.eof:
        try:
            size += len(inflate.decompress(rest, 1 << 20))
        except zlib.error:
            return
        rest = inflate.unconsumed_tail
        if size > limit:
            raise ImageError(
                f"{name}: found a deflated DICOM file that inflates to more than {limit / 1e6:.0f} MB, "
                f"expected an image of at most {max_pixels / 1e6:g} megapixels; raise max_megapixels if you "
                f"trust the file"
            )


def _guess_transfer_syntax(dataset: Dataset) -> None:
    """Files without a meta header do not name their encoding, but parsing them has shown it."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    implicit, little = dataset.original_encoding
    if getattr(dataset, "file_meta", None) is None:
        dataset.file_meta = FileMetaDataset()
    explicit = ExplicitVRBigEndian if little is False else ExplicitVRLittleEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _pixel_spacing(dataset: Dataset) -> tuple[float, float] | None:
    for key in ("PixelSpacing", "ImagerPixelSpacing"):
        try:
            row, column = (float(number) for number in dataset[key].value)
        except (KeyError, TypeError, ValueError):
            continue  # absent, empty or not two numbers: of no use, and no reason to refuse the image
        if 0 < row < math.inf and 0 < column < math.inf:
            return row, column
    return None


def _sop_class(dataset: Dataset) -> str:
    uid = dataset.get("SOPClassUID")
    return _text(getattr(uid, "name", uid)) if uid else "no SOP class"


def _text(thing: object) -> str:
    """One line that tells an error, or a value of a file, whatever it holds."""
    printable = "".join(letter if letter.isprintable() else " " for letter in str(thing))
    return " ".join(printable.split())[:300] or type(thing).__name__
