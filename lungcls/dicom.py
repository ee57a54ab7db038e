"""DICOM headers: which files are taken as one grey image, and what their geometry is.

What the tags make of the pixels is in :mod:`lungcls.dicomgrey`.
"""

from __future__ import annotations

import math
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Final

from lungcls.dicomgrey import DicomScan
from lungcls.errors import DamagedImageError, ImageError
from lungcls.imagefiles import has_preamble
from lungcls.pixels import check_size, checked_aspect
from lungcls.quietly import library_warnings, one_line

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PREAMBLE: Final = 128
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_REQUIRED: Final = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "PixelData")
_FLOATS: Final = {"FloatPixelData": "Float Pixel Data", "DoubleFloatPixelData": "Double Float Pixel Data"}
# In the patient, at the detector, and on a film that was scanned.
_SPACINGS: Final = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_GREY: Final = ("MONOCHROME1", "MONOCHROME2")
# Reads that parsing may take: a film has some hundred elements of two or three reads each. More is a file
# made to keep the parser busy.
_MOST_READS: Final = 100_000


def open_dicom(data: bytes, name: str, *, max_pixels: float) -> DicomScan:
    """Read a DICOM header and refuse what is not one grey image.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        What error messages call the file.
    max_pixels : float
        Most pixels that are decoded; bounds what a deflated file may inflate to, too.

    Returns
    -------
    DicomScan

    Raises
    ------
    ImageError
        Not DICOM, truncated, without pixels, in colour, with several frames, too large, or with bits that
        are not supported.
    """
    try:
        with library_warnings(name, "DICOM header"):
            scan = _checked(_parsed(data, name, max_pixels), name)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # pydicom converts elements when asked, and damaged ones raise anything
        raise DamagedImageError.of(
            name,
            f"found a DICOM file that cannot be parsed ({one_line(error)}), expected a complete one",
            "it is truncated or damaged: fetch it again from its archive",
        ) from error

    check_size(scan.height, scan.width, name, max_pixels)
    return scan


def from_dataset(dataset: Dataset, name: str, *, max_pixels: float) -> DicomScan:
    """Take a dataset that the caller has in hand, and leave it as it is; errors as :func:`open_dicom`."""
    try:
        with library_warnings(name, "DICOM header"):
            scan = _checked(dataset, name)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # see open_dicom
        raise ImageError(
            f"{name}: found a DICOM dataset that cannot be used ({one_line(error)}), expected a complete "
            "one; check how it was read or made"
        ) from error
    check_size(scan.height, scan.width, name, max_pixels)
    return scan


class _BoundedReads(BytesIO):
    """Bytes of which a parser may ask for so many pieces and no more."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = _MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"more than {_MOST_READS} elements")
        return super().read(size)


def _parsed(data: bytes, name: str, max_pixels: float) -> Dataset:
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset
    from pydicom.uid import ExplicitVRLittleEndian

    bare = not has_preamble(data)
    inflated = None if bare else _inflated(data, name, max_pixels)
    if inflated is not None:
        dataset = read_dataset(_BoundedReads(inflated), False, True)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian  # what it is now
        dataset.set_original_encoding(False, True)
        return dataset
    dataset = pydicom.dcmread(_BoundedReads(data), force=bare)
    if not len(dataset) or (bare and not any(key in dataset for key in ("Rows", "Columns", "PixelData"))):
        raise ImageError(
            f"{name}: found no DICOM content, though the name or the first bytes promise it, expected a "
            "DICOM file with an image; check that the file is what its name says"
        )
    return dataset


def _checked(dataset: Dataset, name: str) -> DicomScan:
    present = {key for key in _REQUIRED if dataset.get(key) not in (None, b"")}
    if "PixelData" not in present:
        floats = next((text for key, text in _FLOATS.items() if key in dataset), None)
        if floats:
            raise ImageError(
                f"{name}: found {floats} (a computed map, {_sop_class(dataset)}), expected the integer Pixel "
                "Data of an X-ray; if it is one, pass the values as an array with value_range=(lo, hi)"
            )
        raise ImageError(
            f"{name}: found a DICOM file without pixel data ({_sop_class(dataset)}), expected an image; "
            "it is truncated, or it is a report, directory or presentation state: pass the image itself"
        )
    _refuse_colour_and_frames(dataset, name)
    missing = [key for key in _REQUIRED if key not in present]
    if missing:
        raise DamagedImageError.of(
            name,
            f"found no {', '.join(missing)} in the DICOM header, expected all of {', '.join(_REQUIRED)}",
            "the file is damaged or incomplete: export it again",
        )
    height, width = _checked_layout(dataset, name)
    spacing = next(filter(None, (number_pair(dataset, key) for key in _SPACINGS)), None)
    down, across = spacing or number_pair(dataset, "PixelAspectRatio") or (1.0, 1.0)
    aspect, notes = checked_aspect(down / across)
    return DicomScan(dataset, name, height, width, _transfer_syntax(dataset), spacing, aspect, notes)


def _refuse_colour_and_frames(dataset: Dataset, name: str) -> None:
    photometric = dataset.get("PhotometricInterpretation")
    samples = dataset.get("SamplesPerPixel") or 1
    if photometric not in _GREY or samples != 1:
        raise ImageError(
            f"{name}: found a DICOM image with PhotometricInterpretation {photometric!r} and "
            f"{one_line(samples)} sample(s) per pixel, expected a grey X-ray (MONOCHROME1 or MONOCHROME2, "
            "one sample); colour DICOM holds screenshots, ultrasound or microscopy: pass the original X-ray"
        )
    frames = dataset.get("NumberOfFrames") or 1
    if frames != 1:
        raise ImageError(
            f"{name}: found a DICOM file with NumberOfFrames {one_line(frames)}, expected one frame; split "
            "it and pass the frame you mean"
        )


def _checked_layout(dataset: Dataset, name: str) -> tuple[int, int]:
    try:
        height, width, allocated, bits, sign = (int(dataset[key].value) for key in _REQUIRED[:-1])
        top = dataset.get("HighBit")
        highest = bits - 1 if top is None else int(top)
    except (TypeError, ValueError) as error:
        raise ImageError(
            f"{name}: found a DICOM header whose size or bits are no single numbers ({one_line(error)}), "
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


def _inflated(data: bytes, name: str, max_pixels: float) -> bytes | None:
    """Return what follows the meta header of a deflated file, inflated within bounds; None for all others."""
    from pydicom.filereader import read_dataset

    file = BytesIO(data[_PREAMBLE + 4 :])
    try:
        meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    except Exception:  # dcmread, which comes next, reports what is wrong with the file
        return None
    if meta.get("TransferSyntaxUID") != _DEFLATED:
        return None
    limit = int(min(2 * max_pixels + (16 << 20), 1 << 40))
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflate.decompress(file.read(), limit)
    if inflate.unconsumed_tail:
        raise ImageError(
            f"{name}: found a deflated DICOM file that inflates to more than {limit / 1e6:.0f} MB, "
            f"expected an image of at most {max_pixels / 1e6:g} megapixels; raise max_megapixels if you "
            f"trust the file"
        )
    return inflated


def _transfer_syntax(dataset: Dataset) -> str:
    """Return how the pixels are encoded; files without a meta header do not say, but parsing showed it."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

    syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if syntax:
        return str(syntax)
    _, little = dataset.original_encoding
    return str(ExplicitVRBigEndian if little is False else ExplicitVRLittleEndian)


def number_pair(dataset: Dataset, key: str) -> tuple[float, float] | None:
    """Return two positive numbers of an element; None where it is absent, empty or something else."""
    try:
        down, across = (float(number) for number in dataset[key].value)
    except (KeyError, TypeError, ValueError):
        return None  # of no use, and no reason to refuse the image
    return (down, across) if 0 < down < math.inf and 0 < across < math.inf else None


def _sop_class(dataset: Dataset) -> str:
    uid = dataset.get("SOPClassUID")
    return one_line(getattr(uid, "name", uid)) if uid else "no SOP class"
