"""What DICOM tags make of stored pixels: grey values in [0, 1].

The arithmetic of modality LUT, VOI LUT and window is pydicom's. It is applied to a table of all values that
the stored bits can take rather than to the image: there are at most 65,536 of them, so that the cost does not
grow with the image, and the ends of the output range are known instead of being guessed from what one image
holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lungcls.decoding import DecodingError, decode_apart, decode_here
from lungcls.errors import ConstantImageError, DamagedImageError, ImageError
from lungcls.pixels import Grey
from lungcls.quietly import library_warnings, one_line
from lungcls.reasons import Reason

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_INSTALL: Final = "pip install 'lungcls[dicom]'"
_CLIPPED: Final = 0.75  # share of the pixels that a window may send to black and white
# What the functions of pydicom read; they change the dataset that they are given.
_DISPLAY: Final = (
    *("PixelRepresentation", "BitsStored", "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept"),
    *("ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
)


@dataclass(frozen=True, slots=True)
class _Display:
    """The displayed value of each stored code, those of black and white, and what decided them."""

    table: NDArray[np.float64]
    low: float
    high: float
    by: str = ""
    notes: tuple[Reason, ...] = ()


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
    syntax : str
        UID of the transfer syntax of the pixels.
    pixel_spacing : tuple of float or None
        Millimetres between the centres of two rows and of two columns.
    pixel_aspect : float
        Height over width of a pixel.
    notes : tuple of Reason
        What was noticed so far.
    """

    dataset: Dataset
    name: str
    height: int
    width: int
    syntax: str
    pixel_spacing: tuple[float, float] | None
    pixel_aspect: float
    notes: tuple[Reason, ...]

    def grey(self, value_range: tuple[float, float] | None = None) -> Grey:
        """Decode the image.

        Parameters
        ----------
        value_range : tuple of float, optional
            Values after the rescale (the units of a window) that become 0 and 1, in place of what the file
            says.

        Returns
        -------
        Grey
            MONOCHROME1 is inverted, so that air is dark and bone is bright; padding is black.

        Raises
        ------
        ImageError
            The pixel data cannot be decoded, a value lies outside `value_range`, or the window shows nothing
            of the values.
        """
        try:
            pixels, notes = self._unit_pixels(value_range)
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # elements are converted when asked for: see lungcls.dicom.open_dicom
            raise DamagedImageError.of(
                self.name,
                f"found DICOM pixels that cannot be decoded ({one_line(error)}), expected complete ones with "
                "a sound header",
                "the file is damaged: fetch it again from its archive",
            ) from error
        return Grey(pixels, (*self.notes, *notes), self.pixel_spacing, self.pixel_aspect)

    def _unit_pixels(
        self, value_range: tuple[float, float] | None
    ) -> tuple[NDArray[np.float32], tuple[Reason, ...]]:
        stored = self._stored()
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
        with library_warnings(self.name, "DICOM header"):
            display = _display(self.dataset, codes, self.name, value_range)
            padding = _padding(self.dataset, codes)
        table, low, high = display.table, display.low, display.high
        if not high > low or not np.isfinite(table).all():
            raise ImageError(
                f"{self.name}: found a rescale or lookup table that maps the stored values to "
                f"{table.min():g} ... {table.max():g}, expected a finite range; check RescaleSlope and LUTs"
            )
        counts = np.bincount(index.ravel(), minlength=codes.size)
        if not counts[~padding].any():
            padding[:] = False  # all of it: the tag is wrong, or the image is empty either way
        occurs = (counts > 0) & ~padding
        used = table[occurs]
        if value_range is not None and (used.min() < low or used.max() > high):
            raise ImageError(
                f"{self.name}: found values from {used.min():g} to {used.max():g} (after rescale), "
                f"expected all within value_range=({low:g}, {high:g}); pass a range that holds them"
            )
        # Subtracting before dividing keeps an inverted scan bit for bit equal to the one that it mirrors.
        mirrored = self.dataset.PhotometricInterpretation == "MONOCHROME1"
        scaled = ((high - table) if mirrored else (table - low)) / (high - low)
        unit = np.clip(scaled, 0.0, 1.0).astype(np.float32)
        self._refuse_constant(unit[occurs], codes[occurs], display.by)
        notes = [*display.notes, *_clipped(unit, np.where(padding, 0, counts), display.by)]
        changed = int(counts[padding & (unit > 0)].sum())
        if changed:
            share = changed / index.size
            message = f"{share:.1%} of the pixels are padding (PixelPaddingValue); they are taken as black"
            notes.append(Reason("padding", share, 0.0, message, corrected=True))
        unit[padding] = 0.0
        return unit[index], tuple(notes)

    def _refuse_constant(self, unit: NDArray[np.float32], codes: NDArray[np.int64], by: str) -> None:
        if by and codes.size > 1 and unit.min() == unit.max():
            raise ConstantImageError(
                f"{self.name}: found {by} that shows nothing of the image: all stored values, {codes[0]} to "
                f"{codes[-1]}, become {'black' if unit[0] < 0.5 else 'white'}; expected one that holds them; "
                "pass value_range=(lo, hi) in its place",
                float(unit[0]),
            )

    def _stored(self) -> NDArray[Any]:
        """Return the stored values as they are in the file."""
        from pydicom.pixels.decoders.base import get_decoder
        from pydicom.uid import UID

        syntax = UID(self.syntax)
        described = f"transfer syntax {one_line(syntax.name)} ({one_line(syntax)})"
        try:
            compressed = bool(syntax.is_compressed) and not syntax.is_deflated
            decoder = get_decoder(syntax)
        except (NotImplementedError, ValueError) as error:
            raise ImageError(
                f"{self.name}: found DICOM pixels in the {described}, expected one that pydicom can decode; "
                "convert it to an uncompressed one (for example with gdcmconv --raw or dcmdjpeg)"
            ) from error
        if not decoder.is_available:
            raise ImageError(
                f"{self.name}: found DICOM pixels in the {described}, expected a decoder for it; "
                f"install the plug-ins with: {_INSTALL}"
            )
        element = self.dataset["PixelData"]
        options = {
            "rows": self.height,
            "columns": self.width,
            "samples_per_pixel": 1,
            "number_of_frames": 1,
            "bits_allocated": int(self.dataset.BitsAllocated),
            "bits_stored": int(self.dataset.BitsStored),
            "pixel_representation": int(self.dataset.PixelRepresentation),
            "photometric_interpretation": str(self.dataset.PhotometricInterpretation),
            "pixel_keyword": "PixelData",
        }
        try:
            if compressed:
                stored = decode_apart(self.syntax, element.value, options)
            else:
                options["pixel_vr"] = str(element.VR)
                with library_warnings(self.name, "DICOM header"):
                    stored = decode_here(self.syntax, element.value, options)
        except MemoryError:
            raise
        except (DecodingError, Exception) as error:  # each plug-in has its own errors for damaged data
            advice = f", or a plug-in is missing ({_INSTALL})" if compressed else ""
            raise DamagedImageError.of(
                self.name,
                f"found DICOM pixels that cannot be decoded ({described}: {one_line(error)}), expected "
                f"{self.height} x {self.width} complete ones",
                f"the file is truncated or damaged{advice}",
            ) from error
        if stored.shape != (self.height, self.width):
            raise DamagedImageError.of(
                self.name,
                f"found decoded DICOM pixels of shape {stored.shape}, expected "
                f"{(self.height, self.width)} as in "
                "the header",
                "the file is damaged: export it again",
            )
        return stored


def _display(
    source: Dataset, codes: NDArray[np.int64], name: str, value_range: tuple[float, float] | None
) -> _Display:
    from pydicom.dataset import Dataset
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    try:
        dataset = Dataset()
        for key in _DISPLAY:
            if key in source and source[key].value not in (None, ""):  # an empty function means LINEAR
                dataset[key] = source[key]
        little = getattr(source, "original_encoding", (None, None))[1]
        dataset.set_original_encoding(False, little is not False)
        values: NDArray[Any] = apply_modality_lut(codes, dataset)
        if value_range is not None:
            return _Display(values.astype(np.float64), *value_range)
        lut = (dataset.get("VOILUTSequence") or [None])[0]
        if lut is not None and lut.get("LUTDescriptor") is not None and lut.get("LUTData") is not None:
            entries, start, bits = (int(number) for number in lut.LUTDescriptor)
            # Values beyond the table mean its last entry; pydicom would let them wrap around in 8 bits.
            whole = np.clip(np.rint(values), start, start + (entries or 1 << 16) - 1).astype(np.int64)
            table = apply_voi_lut(whole, dataset).astype(np.float64)
            white, notes = _white_of_lut(table, bits)
            return _Display(table, 0.0, white, "a VOI LUT", notes)
        if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
            window = f"a window of width {one_line(dataset.WindowWidth)} at {one_line(dataset.WindowCenter)}"
            # A window sends all that is far below and far above to the ends of its output range.
            with np.errstate(over="ignore"):
                low, high = apply_voi_lut(np.array([-1e30, 1e30]), dataset)
                return _Display(apply_voi_lut(values, dataset), float(low), float(high), window)
    except MemoryError:
        raise
    except Exception as error:  # pydicom raises many kinds for impossible windows and tables
        raise ImageError(
            f"{name}: found a DICOM rescale, window or lookup table that cannot be applied "
            f"({one_line(error)}), expected one as in the standard; correct the tags, or pass "
            "value_range=(lo, hi) to overrule them"
        ) from error
    if dataset.get("ModalityLUTSequence"):
        white, notes = _white_of_lut(values, int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]))
        return _Display(values.astype(np.float64), 0.0, white, "a modality LUT", notes)
    return _Display(values.astype(np.float64), float(values.min()), float(values.max()))


def _white_of_lut(table: NDArray[Any], bits: int) -> tuple[float, tuple[Reason, ...]]:
    """Return the value of white: of the stated bits, or of those that the entries need where it is far fewer.

    A table is made to span its output, and writers state the bits of its storage instead (16 for 12).
    """
    needed = max(1, int(table.max()).bit_length())
    if needed > bits - 2:
        return float((1 << bits) - 1), ()
    message = f"the lookup table states {bits} bits an entry and uses {needed}; it is read as one of {needed}"
    return float((1 << needed) - 1), (Reason("lut_bits", needed, bits - 1, message, corrected=True),)


def _padding(dataset: Dataset, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which codes stand for no image at all."""
    try:
        first = _code(dataset.get("PixelPaddingValue"), codes)
        last = _code(dataset.get("PixelPaddingRangeLimit"), codes)
    except (TypeError, ValueError, OverflowError):  # not one number: it names nothing
        return np.zeros(codes.size, np.bool_)
    if first is None:
        return np.zeros(codes.size, np.bool_)
    ends = sorted((first, first if last is None else last))
    return (codes >= ends[0]) & (codes <= ends[1])


def _code(value: Any, codes: NDArray[np.int64]) -> int | None:
    if value is None or value == "":
        return None
    number = int(value)
    # Written with the other sign, as implicit VR lets happen.
    if number > codes[-1] and codes[0] < 0:
        return number - (1 << 16)
    return number + (1 << 16) if number < 0 <= codes[0] else number


def _clipped(unit: NDArray[np.float32], counts: NDArray[np.int64], by: str) -> tuple[Reason, ...]:
    """Return a note where a window hides most of the image."""
    if not by:
        return ()
    share = float(counts[(unit <= 0) | (unit >= 1)].sum() / counts.sum())
    if share <= _CLIPPED:
        return ()
    message = f"{by} makes {share:.1%} of the pixels black or white; pass value_range=(lo, hi) to overrule it"
    return (Reason("clipped", share, _CLIPPED, message),)
