"""DICOM: the tags that shape the pixels, equality with other formats, and what is refused."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from lungcls.errors import ConstantImageError, ImageError
from lungcls.images import find_images, read_image
from lungcls.pixels import NARROW

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


@pytest.mark.parametrize("suffix", [".dcm", ".DICOM", ".ima", ".bin", ""])
@pytest.mark.parametrize("implicit", [True, False])
def test_bare_dataset_is_read_whatever_its_suffix(suffix: str, implicit: bool, tmp_path: Path) -> None:
    path = tmp_path / f"bare{suffix}"
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, scan(), implicit_vr=implicit, little_endian=True)
    assert buffer.getvalue()[128:132] != b"DICM"
    path.write_bytes(buffer.getvalue())
    assert np.array_equal(read_image(path).pixels, UNIT)
    if suffix != ".bin":
        assert find_images(tmp_path) == [path]


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


def notes(data: Any, **options: Any) -> dict[str, Any]:
    return {note.name: note for note in read_image(data, **options).notes}


def test_fourteen_bits_in_sixteen_are_noted() -> None:
    note = notes(saved(scan(GREY.astype(np.uint16) * 64)))["narrow_range"]
    assert note.value == pytest.approx(255 * 64 / 65535)
    assert note.threshold == NARROW
    assert note.corrected
    assert not notes(saved(scan(GREY.astype(np.uint16) * 64)), value_range=(0, 16383))
    assert not notes(saved(scan()))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black(photometric: str) -> None:
    values = np.where(GREY < 20, 0 if photometric == "MONOCHROME1" else 255, GREY)
    data = scan(
        values.astype(np.uint8), PhotometricInterpretation=photometric, PixelPaddingValue=int(values[0, 0])
    )
    image = read_image(saved(data))
    assert (image.pixels[GREY < 20] == 0).all()
    assert image.notes[0].name == "padding"
    assert image.notes[0].corrected
    assert image.notes[0].value == pytest.approx((values == values[0, 0]).mean())
    assert not notes(saved(scan(PixelPaddingValue=0)))  # black already


def test_padding_range_and_padding_that_is_all() -> None:
    image = read_image(saved(scan(PixelPaddingValue=250, PixelPaddingRangeLimit=255)))
    assert np.array_equal(image.pixels, np.where(GREY >= 250, 0, UNIT))
    assert np.array_equal(pixels(scan(PixelPaddingValue=0, PixelPaddingRangeLimit=255)), UNIT)


def test_lut_whose_entries_need_fewer_bits_than_it_states() -> None:
    table = [value * 16 for value in range(256)]  # 12 bits
    image = read_image(saved(scan(VOILUTSequence=lookup(0, 16, table))))
    assert image.pixels.max() == pytest.approx(255 * 16 / 4095)
    assert (image.notes[0].name, image.notes[0].value, image.notes[0].corrected) == ("lut_bits", 12, True)


def test_window_that_hides_most_or_all() -> None:
    note = notes(saved(scan(WindowCenter=10, WindowWidth=8)))["clipped"]
    assert note.value > 0.9
    with pytest.raises(
        ConstantImageError, match=r"window of width 2.* at 900.* 0 to 255, become black.*value_range"
    ):
        read_image(saved(scan(WindowCenter=900, WindowWidth=2)))


@pytest.mark.parametrize(
    ("tags", "aspect"),
    [
        ({"PixelSpacing": [0.2, 0.1]}, 2.0),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, 0.5),
        ({"PixelAspectRatio": [5, 4]}, 1.25),
        ({"NominalScannedPixelSpacing": [0.2, 0.1]}, 2.0),
        ({"PixelSpacing": [0.143, 0.1431]}, 1.0),
        ({"PixelAspectRatio": [100, 1]}, 1.0),
    ],
)
def test_pixels_that_are_not_square(tags: dict[str, Any], aspect: float) -> None:
    image = read_image(saved(scan(**tags)))
    assert image.pixel_aspect == pytest.approx(aspect)
    assert image.pixels.shape == GREY.shape
    stretched = max(next(iter(tags.values()))) / min(next(iter(tags.values()))) > 1.02
    assert [note.name for note in image.notes] == ["pixel_aspect"] * stretched
    # Only an aspect that no film has cannot be put right.
    assert all(note.corrected == (note.value < 5) for note in image.notes)


def test_a_dataset_in_hand_is_read_and_left_alone() -> None:
    data = pydicom.dcmread(io.BytesIO(saved(scan(WindowCenter=128, WindowWidth=256, VOILUTFunction=""))))
    before = data.to_json()
    assert np.array_equal(read_image(data).pixels, UNIT)
    assert data.to_json() == before
    assert np.array_equal(read_image(scan()).pixels, UNIT)  # never written, without a meta header


def test_dicomdir_stands_for_the_files_that_it_names(tmp_path: Path) -> None:
    from pydicom.fileset import FileSet

    files = FileSet()
    for _ in range(2):
        one = pydicom.dcmread(io.BytesIO(saved(scan(PatientID="1", PatientName="A", StudyInstanceUID="1.2"))))
        one.SeriesInstanceUID, one.StudyDate, one.StudyTime = "1.2.3", "20200101", "1200"
        one.StudyID, one.SeriesNumber, one.InstanceNumber = "1", 1, 1
        files.add(one)
    files.write(tmp_path)
    listed = find_images(tmp_path / "DICOMDIR")
    assert len(listed) == 2
    assert sorted(listed) == find_images(tmp_path)
    listed[0].unlink()
    with pytest.raises(ImageError, match="1 of the 2 files that it names missing"):
        find_images(tmp_path / "DICOMDIR")


def test_warnings_of_pydicom_are_said_once_in_our_words(caplog: pytest.LogCaptureFixture) -> None:
    data = saved(scan(PixelData=GREY.tobytes() + b"0123456789"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(data)
        read_image(data)
    ours = [record for record in caplog.records if record.name.startswith("lungcls")]
    assert len(ours) == 1
    assert "read all the same" in ours[0].message


# --- decoders ------------------------------------------------------------------------------------


def rle() -> bytes:
    data = pydicom.dcmread(io.BytesIO(saved(scan())))
    data.compress(RLELossless)
    buffer = io.BytesIO()
    data.save_as(buffer)
    return buffer.getvalue()


def test_what_kills_a_decoder_costs_one_file() -> None:
    whole = rle()
    assert np.array_equal(read_image(whole).pixels, UNIT)
    start = whole.rindex(b"\xfe\xff\x00\xe0") + 8
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for position in rng.integers(start, start + 68, 6):  # the RLE header with its offsets
            damaged[position] = rng.integers(0, 256)
        with contextlib.suppress(ImageError):
            read_image(bytes(damaged))
    assert np.array_equal(read_image(whole).pixels, UNIT)


def test_the_first_film_is_decoded_where_no_module_is_compiled_yet(tmp_path: Path) -> None:
    """Importing the decoders takes longer there than a film may take."""
    film = tmp_path / "film.dcm"
    film.write_bytes(rle())
    program = f"from lungcls import read_image; print(read_image({str(film)!r}).pixels.shape)"
    nothing = {"PYTHONPYCACHEPREFIX": str(tmp_path / "empty"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **nothing}
    )
    assert done.stdout.strip() == "(16, 16)", done.stderr


def test_decoder_that_dies_is_replaced() -> None:
    from lungcls import decoding

    worker = decoding._Worker()
    options = {"rows": 16, "columns": 16, "samples_per_pixel": 1, "number_of_frames": 1}
    worker._process.kill()
    with pytest.raises(decoding.DecodingError, match=r"crashed.*code -9"):
        worker.decode(RLELossless, b"", options)
    assert not worker.alive
    with pytest.raises(decoding.DecodingError):
        decoding.decode_apart(RLELossless, b"", options)
    assert np.array_equal(read_image(rle()).pixels, UNIT)


def test_without_shared_memory_pixels_come_through_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    from lungcls import decoding

    monkeypatch.delattr(os, "memfd_create", raising=False)
    decoding._close_all()
    assert np.array_equal(read_image(rle()).pixels, UNIT)
    worker = decoding._IDLE.pop()
    assert worker._memory is None
    worker.close()


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


def float_pixels() -> bytes:
    data = scan()
    del data.PixelData
    data.FloatPixelData = UNIT.tobytes()
    return saved(data)


def busy() -> bytes:
    """A small deflated file that inflates to very many elements."""
    whole = saved(scan(), DeflatedExplicitVRLittleEndian)
    start = 144 + pydicom.dcmread(io.BytesIO(whole)).file_meta.FileMetaInformationGroupLength
    elements = b"".join(struct.pack("<HH2sH", 9, 0x1000 + k, b"LO", 0) for k in range(60_000))
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return whole[:start] + deflate.compress(elements * 4) + deflate.flush()


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
    "dark_window.dcm": (lambda: saved(scan(WindowCenter=900, WindowWidth=2)), "shows nothing"),
    "float.dcm": (float_pixels, "Float Pixel Data"),
    "busy.dcm": (busy, "more than 100000 elements"),
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
