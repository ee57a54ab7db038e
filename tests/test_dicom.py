"""DICOM: the tags that shape the pixels, equality with other formats, and what is refused."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from lungcls.errors import ImageError
from lungcls.images import read_image

pydicom = pytest.importorskip("pydicom")

from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.uid import (  # noqa: E402
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
UNIT = GREY.astype(np.float32) / np.float32(255)


def scan(values: np.ndarray = GREY, bits: int | None = None, **tags: Any) -> Dataset:
    """A minimal X-ray; a tag of None is left out."""
    data = Dataset()
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"  # Computed Radiography
    data.SOPInstanceUID = generate_uid()
    data.Modality = "CR"
    data.Rows, data.Columns = values.shape[:2]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = 8 * values.dtype.itemsize
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    data.PixelData = values.tobytes()
    data["PixelData"].VR = "OB" if values.dtype.itemsize == 1 else "OW"
    for key, value in tags.items():
        if value is None:
            del data[key]
        else:
            setattr(data, key, value)
    return data


def saved(data: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def pixels(data: Dataset, **options: Any) -> np.ndarray:
    return read_image(saved(data), **options).pixels


def lookup(first: int, bits: int, entries: list[int]) -> list[Dataset]:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = entries
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    item.ModalityLUTType = "US"
    return [item]


# --- what is read ---------------------------------------------------------------------------------


def test_the_same_scan_in_every_format_is_the_same_array() -> None:
    def png(values: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        PIL.Image.fromarray(values).save(buffer, "PNG")
        return buffer.getvalue()

    wide = GREY.astype(np.uint16) * 257
    inverse = {"PhotometricInterpretation": "MONOCHROME1"}
    full = {"WindowCenter": 128, "WindowWidth": 256}
    sources = [
        png(GREY),
        png(np.stack([GREY] * 3, axis=-1)),
        png(wide),
        saved(scan()),
        saved(scan(255 - GREY, **inverse)),
        saved(scan(65535 - wide, **inverse)),
        saved(scan(**full)),
        saved(scan(255 - GREY, **inverse, **full)),
        saved(scan((wide.astype(np.int32) - 32768).astype(np.int16))),
        saved(scan(RescaleSlope=2, RescaleIntercept=-100)),
    ]
    for source in sources:
        assert np.array_equal(read_image(source).pixels, UNIT)


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
    ],
)
def test_transfer_syntaxes(syntax: str) -> None:
    data = scan()
    if syntax == RLELossless:
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.compress(RLELossless)
    assert np.array_equal(read_image(saved(data, syntax)).pixels, UNIT)


def test_big_endian() -> None:
    wide = GREY.astype(np.uint16) * 257
    data = scan(wide)
    data.PixelData = wide.astype(">u2").tobytes()
    assert np.array_equal(read_image(saved(data, ExplicitVRBigEndian)).pixels, UNIT)


def test_jpeg_baseline() -> None:
    smooth = np.tile(np.arange(0, 240, 6, dtype=np.uint8)[:, None], (1, 32))
    buffer = io.BytesIO()
    PIL.Image.fromarray(smooth).save(buffer, "JPEG", quality=98)
    data = scan(smooth)
    data.PixelData = encapsulate([buffer.getvalue()])
    data["PixelData"].is_undefined_length = True
    result = read_image(saved(data, JPEGBaseline8Bit)).pixels
    assert np.abs(result - smooth / 255).max() < 0.03


@pytest.mark.parametrize("suffix", [".dcm", ".DICOM"])
@pytest.mark.parametrize("implicit", [True, False])
def test_bare_dataset_is_read_where_the_suffix_says_so(suffix: str, implicit: bool, tmp_path: Path) -> None:
    path = tmp_path / f"bare{suffix}"
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, scan(), implicit_vr=implicit, little_endian=True)
    assert buffer.getvalue()[128:132] != b"DICM"
    path.write_bytes(buffer.getvalue())
    assert np.array_equal(read_image(path).pixels, UNIT)
    path.rename(tmp_path / "bare.bin")
    with pytest.raises(ImageError, match=r"bare\.bin"):
        read_image(tmp_path / "bare.bin")


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "IM0001.png"
    path.write_bytes(saved(scan()))
    assert np.array_equal(read_image(path).pixels, UNIT)


def test_preamble_that_is_a_tiff_header_is_still_dicom() -> None:
    data = saved(scan())
    assert np.array_equal(read_image(b"II*\0" + data[4:]).pixels, UNIT)


def test_without_a_window_the_stored_bits_are_the_range() -> None:
    values = GREY.astype(np.uint16) * 4  # far from the 4095 that 12 bits can hold
    assert np.array_equal(pixels(scan(values, bits=12)), values.astype(np.float32) / np.float32(4095))
    signed = GREY.astype(np.int16) - 128
    expected = ((signed.astype(np.float64) + 2048) / 4095).astype(np.float32)
    assert np.array_equal(pixels(scan(signed, bits=12)), expected)
    falling = pixels(scan(RescaleSlope=-1, RescaleIntercept=255))
    assert np.array_equal(falling, UNIT[::-1, ::-1])


def test_flat_scan_is_mentioned_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    pixels(scan(GREY.astype(np.uint16)))
    assert "<bytes>: the values fill only 0.4%" in caplog.text
    caplog.clear()
    pixels(scan())
    assert not caplog.text


def test_linear_window_is_scaled_by_its_own_range() -> None:
    # PS3.3 C.11.2.1.2.1: width 101 about 100 rises over 49.5 < x <= 149.5.
    result = pixels(scan(WindowCenter=100, WindowWidth=101)).ravel()
    expected = np.clip((np.arange(256) - 99.5) / 100 + 0.5, 0, 1)
    assert np.allclose(result, expected, atol=1e-6)
    # A window beyond all values leaves the image grey, as on a screen; it is not stretched to [0, 1].
    narrow = pixels(scan(WindowCenter=200, WindowWidth=800))
    assert 0.2 < narrow.min() < narrow.max() < 0.6


def test_window_functions() -> None:
    stored = np.arange(256)
    exact = pixels(scan(WindowCenter=100, WindowWidth=100, VOILUTFunction="LINEAR_EXACT")).ravel()
    assert np.allclose(exact, np.clip((stored - 100) / 100 + 0.5, 0, 1), atol=1e-6)
    sigmoid = pixels(scan(WindowCenter=100, WindowWidth=100, VOILUTFunction="SIGMOID")).ravel()
    assert np.allclose(sigmoid, 1 / (1 + np.exp(-4 * (stored - 100) / 100)), atol=1e-6)
    empty = scan(WindowCenter=100, WindowWidth=101, VOILUTFunction="")
    assert np.array_equal(pixels(empty), pixels(scan(WindowCenter=100, WindowWidth=101)))


def test_window_works_on_rescaled_values() -> None:
    values = GREY.astype(np.uint16)
    rescaled = scan(values, bits=12, RescaleSlope=2, RescaleIntercept=-50, WindowCenter=150, WindowWidth=201)
    plain = scan(values, bits=12, WindowCenter=100.25, WindowWidth=101)
    assert np.allclose(pixels(rescaled), pixels(plain), atol=0.01)


def test_first_of_several_windows_and_empty_ones() -> None:
    several = scan(WindowCenter=[100, 30], WindowWidth=[101, 10])
    assert np.array_equal(pixels(several), pixels(scan(WindowCenter=100, WindowWidth=101)))
    assert np.array_equal(pixels(scan(WindowCenter="", WindowWidth="")), UNIT)
    assert np.array_equal(pixels(scan(WindowCenter=100)), UNIT)


@pytest.mark.filterwarnings("error")
def test_voi_lut() -> None:
    entries = (np.sqrt(np.arange(101) / 100) * 1023).astype(int).tolist()
    data = scan(WindowCenter=3, WindowWidth=2, VOILUTSequence=lookup(50, 10, entries))
    expected = np.asarray(entries)[np.clip(np.arange(256) - 50, 0, 100)] / 1023
    assert np.allclose(pixels(data).ravel(), expected, atol=1e-6)
    rescaled = scan(VOILUTSequence=lookup(100, 10, entries), RescaleSlope=1, RescaleIntercept=50)
    assert np.allclose(pixels(rescaled).ravel(), expected, atol=1e-6)


def test_voi_lut_of_eight_bits_does_not_wrap_around() -> None:
    values = (np.arange(256, dtype=np.uint16) * 16).reshape(16, 16)
    result = pixels(scan(values, bits=12, VOILUTSequence=lookup(0, 8, list(range(256))))).ravel()
    assert np.allclose(result, np.minimum(values.ravel(), 255) / 255, atol=1e-6)


def test_modality_lut() -> None:
    entries = [65535 - 257 * index for index in range(256)]
    assert np.array_equal(
        pixels(scan(ModalityLUTSequence=lookup(0, 16, entries))).ravel(), UNIT.ravel()[::-1]
    )


def test_monochrome1_is_inverted_after_the_window() -> None:
    window = {"WindowCenter": 90, "WindowWidth": 60}
    bright = pixels(scan(**window))
    dark = pixels(scan(**window, PhotometricInterpretation="MONOCHROME1"))
    assert np.allclose(dark, 1 - bright, atol=1e-6)


def test_value_range_replaces_the_window() -> None:
    data = scan(GREY.astype(np.uint16) * 4, bits=12, WindowCenter=5, WindowWidth=2)
    assert np.array_equal(pixels(data, value_range=(0, 1020)), UNIT)
    data.PhotometricInterpretation = "MONOCHROME1"
    assert np.array_equal(pixels(data, value_range=(0, 1020)), UNIT[::-1, ::-1])
    with pytest.raises(ImageError, match=r"<bytes>: found values from 0 to 1020 \(after rescale\)"):
        pixels(data, value_range=(0, 1019))


def test_bits_above_the_stored_ones_are_no_pixel_values() -> None:
    values = GREY.astype(np.uint16) * 16
    with_overlay = values | 0x8000  # a retired overlay, kept in the unused bits
    assert np.array_equal(pixels(scan(with_overlay, bits=12)), pixels(scan(values, bits=12)))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"PixelSpacing": [0.2, 0.1], "ImagerPixelSpacing": [0.3, 0.3]}, (0.2, 0.1)),
        ({"ImagerPixelSpacing": [0.143, 0.143]}, (0.143, 0.143)),
        ({"PixelSpacing": "", "ImagerPixelSpacing": [0.3, 0.3]}, (0.3, 0.3)),
        ({"PixelSpacing": [0, 0]}, None),
        ({"PixelSpacing": [0.2]}, None),
        ({}, None),
    ],
)
def test_pixel_spacing(tags: dict[str, Any], expected: tuple[float, float] | None) -> None:
    assert read_image(saved(scan(**tags))).pixel_spacing == expected


# --- what is refused ------------------------------------------------------------------------------


def colour(photometric: str) -> bytes:
    values = np.stack([GREY] * 3, axis=-1)
    return saved(
        scan(values, SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation=photometric)
    )


def compressed(syntax: str, payload: bytes) -> bytes:
    data = scan()
    data.PixelData = encapsulate([payload])
    data["PixelData"].is_undefined_length = True
    return saved(data, syntax)


def without_pixels() -> bytes:
    data = scan()
    del data.PixelData
    return saved(data)


BROKEN: dict[str, tuple[Any, str]] = {
    "rgb.dcm": (lambda: colour("RGB"), "PhotometricInterpretation 'RGB'"),
    "ybr.dcm": (lambda: colour("YBR_FULL"), "PhotometricInterpretation 'YBR_FULL'"),
    "palette.dcm": (lambda: saved(scan(PhotometricInterpretation="PALETTE COLOR")), "PALETTE COLOR"),
    "no_photometric.dcm": (
        lambda: saved(scan(PhotometricInterpretation=None)),
        "PhotometricInterpretation None",
    ),
    "frames.dcm": (
        lambda: saved(scan(np.vstack([GREY, GREY]), Rows=16, NumberOfFrames=2)),
        "NumberOfFrames 2",
    ),
    "no_pixels.dcm": (without_pixels, "without pixel data"),
    "empty_pixels.dcm": (lambda: saved(scan(PixelData=b"")), "without pixel data"),
    "no_rows.dcm": (lambda: saved(scan(Rows=None)), "no Rows"),
    "zero_rows.dcm": (lambda: saved(scan(Rows=0)), "0 rows"),
    "no_bits.dcm": (lambda: saved(scan(BitsStored=None, PixelRepresentation=None)), "BitsStored, PixelRep"),
    "high_bit.dcm": (lambda: saved(scan(GREY.astype(np.uint16), bits=12, HighBit=15)), "HighBit 15"),
    "wide.dcm": (lambda: saved(scan(GREY.astype(np.uint32))), "BitsAllocated 32"),
    "short_pixels.dcm": (lambda: saved(scan(Rows=17)), "cannot be decoded"),
    "truncated.dcm": (lambda: saved(scan())[:-100], "trunc"),
    "half.dcm": (lambda: saved(scan())[:400], "trunc"),
    "head.dcm": (lambda: saved(scan())[:150], "DICOM"),
    "jpeg.dcm": (lambda: compressed(JPEGBaseline8Bit, b"\xff\xd8\xff no JPEG"), "JPEG Baseline"),
    "private.dcm": (
        lambda: saved(scan()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.1\0"),
        "transfer syn",
    ),
    "video.dcm": (lambda: compressed(MPEG2MPML, b"no film"), "transfer syntax MPEG2"),
    "width.dcm": (lambda: saved(scan(WindowCenter=5, WindowWidth=0)), "Window Width"),
    "function.dcm": (lambda: saved(scan(WindowCenter=5, WindowWidth=9, VOILUTFunction="CUBIC")), "CUBIC"),
    "slope.dcm": (lambda: saved(scan(RescaleSlope=0, RescaleIntercept=5)), "5 ... 5"),
    "constant.dcm": (lambda: saved(scan(np.full((8, 8), 9, np.uint8))), "constant"),
    "dark_window.dcm": (lambda: saved(scan(WindowCenter=900, WindowWidth=2)), "constant"),
    "large.dcm": (lambda: saved(scan(Rows=60_000, Columns=60_000)), "3600.0 megapixels"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about the broken values
@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(name: str, tmp_path: Path) -> None:
    make, reason = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(make())
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: found ")
    assert "expected" in message
    assert "\n" not in message


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_cut_of_a_file_is_noticed() -> None:
    whole = saved(scan())
    for end in range(0, len(whole), 7):
        with pytest.raises(ImageError):
            read_image(whole[:end])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_bytes_give_pixels_or_one_error() -> None:
    rng = np.random.default_rng(0)
    whole = saved(scan(WindowCenter=5, WindowWidth=9, VOILUTSequence=lookup(0, 10, list(range(50)))))
    start = whole.index(b"1.2.840.10008.1.2.1") - 8  # so that encoding and transfer syntax are hit too
    for _ in range(500):
        damaged = bytearray(whole)
        for position in rng.integers(start, len(whole) - GREY.size, 3):
            damaged[position] = rng.integers(0, 256)
        try:
            values = read_image(bytes(damaged)).pixels
        except ImageError:
            continue
        assert np.isfinite(values).all()
        assert 0 <= values.min() < values.max() <= 1


def test_missing_plug_in_names_the_syntax_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders import JPEGLSLosslessDecoder

    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    with pytest.raises(ImageError, match=r"JPEG-LS Lossless.*1\.2\.840.*pip install 'lungcls\[dicom\]'"):
        read_image(compressed(JPEGLSLossless, b"\xff\xd8\xff\xf7"))


def test_deflated_bomb_is_stopped_before_it_is_inflated() -> None:
    data = saved(scan(), DeflatedExplicitVRLittleEndian)
    start = 144 + pydicom.dcmread(io.BytesIO(data)).file_meta.FileMetaInformationGroupLength
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = data[:start] + deflate.compress(bytes(20 << 20)) + deflate.flush()
    assert len(bomb) < 100_000
    with pytest.raises(ImageError, match="inflates to more than 19 MB"):
        read_image(bomb, max_megapixels=1)


def test_limit_is_configurable() -> None:
    assert read_image(saved(scan()), max_megapixels=0.000256).width == 16
    with pytest.raises(ImageError, match="16 x 16 pixels"):
        read_image(saved(scan()), max_megapixels=0.000255)
