"""Every kind of source gives the same pixels, and every kind of broken source one clear error."""

from __future__ import annotations

import csv
import io
import os
import pickle
import stat
import struct
import threading
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
from pydicom.dataset import Dataset

from lungcls.errors import ConstantImageError, DamagedImageError, ImageError
from lungcls.images import SUFFIXES, Image, find_images, read_image

GREY = (np.add.outer(np.arange(40), 2 * np.arange(30)) * 255 // 97).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
EXPECTED = GREY.astype(np.float32) / np.float32(255)


def encoded(picture: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png(values: np.ndarray = GREY) -> bytes:
    return encoded(PIL.Image.fromarray(values), "PNG")


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header promises a large grey image, followed by hardly any data."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


# --- what is read ---------------------------------------------------------------------------------


def test_image_has_the_promised_form() -> None:
    image = read_image(png())
    assert isinstance(image, Image)
    assert image.pixels.dtype == np.float32
    assert image.pixels.flags.c_contiguous
    assert (image.height, image.width) == GREY.shape == image.pixels.shape
    assert image.pixel_spacing is None
    assert read_image(image) is image


@pytest.mark.parametrize(
    ("kind", "mode"),
    [(kind, mode) for kind in ("PNG", "TIFF", "BMP") for mode in ("L", "RGB", "P", "RGBA")]
    + [("PNG", "LA"), ("TIFF", "LA")],  # BMP has no grey with alpha
)
def test_lossless_files_of_a_grey_scan_are_equal(kind: str, mode: str) -> None:
    picture = PIL.Image.fromarray(GREY).convert(mode)
    assert np.array_equal(read_image(encoded(picture, kind)).pixels, EXPECTED)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_lossless_webp(mode: str) -> None:
    picture = PIL.Image.fromarray(GREY).convert(mode)
    assert np.array_equal(read_image(encoded(picture, "WEBP", lossless=True)).pixels, EXPECTED)


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "L"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("WEBP", "RGB")]
)
def test_lossy_files_are_close(kind: str, mode: str) -> None:
    smooth = PIL.Image.fromarray(np.tile(np.arange(0, 240, 6, dtype=np.uint8)[:, None], (1, 32)))
    pixels = read_image(encoded(smooth.convert(mode), kind, quality=98)).pixels
    assert np.abs(pixels - np.asarray(smooth) / 255).max() < 0.03


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_compressions(compression: str | None, dtype: type) -> None:
    values = GREY.astype(dtype) * (257 if dtype == np.uint16 else 1)
    data = encoded(PIL.Image.fromarray(values), "TIFF", compression=compression)
    assert np.array_equal(read_image(data).pixels, EXPECTED)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_kept(kind: str) -> None:
    values = np.arange(1200, dtype=np.uint16).reshape(40, 30) * 54
    pixels = read_image(encoded(PIL.Image.fromarray(values), kind)).pixels
    assert np.array_equal(pixels, values.astype(np.float32) / np.float32(65535))
    assert np.unique(pixels).size == 1200


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit(kind: str) -> None:
    pixels = read_image(encoded(PIL.Image.fromarray(GREY > 100), kind)).pixels
    assert np.array_equal(pixels, (GREY > 100).astype(np.float32))


def test_float_tiff_follows_the_rule_of_float_arrays() -> None:
    unit = encoded(PIL.Image.fromarray(EXPECTED), "TIFF")
    assert np.array_equal(read_image(unit).pixels, EXPECTED)
    wide = encoded(PIL.Image.fromarray(GREY.astype(np.float32)), "TIFF")
    with pytest.raises(ImageError, match="value_range"):
        read_image(wide)
    assert np.array_equal(read_image(wide, value_range=(0, 255)).pixels, EXPECTED)


def test_integer_tiff_needs_a_range() -> None:
    data = encoded(PIL.Image.fromarray(GREY.astype(np.int32) - 100), "TIFF")
    with pytest.raises(ImageError, match="int32"):
        read_image(data)
    assert np.array_equal(read_image(data, value_range=(-100, 155)).pixels, EXPECTED)


def raw_tiff(samples: bytes, bits: int, *, photometric: int = 1, sample_format: int = 1) -> bytes:
    """A little-endian TIFF of 40 x 30 pixels of one strip, with tags that Pillow would not write."""
    tags = [(256, 30), (257, 40), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 40)]
    tags += [(279, len(samples)), (339, sample_format)]
    directory = struct.pack("<H", len(tags))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + b"\0\0\0\0"
    return b"II*\0" + struct.pack("<I", 8 + len(samples)) + samples + directory


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_with_white_as_zero_is_inverted(bits: int) -> None:
    values = 255 - GREY if bits == 8 else (65535 - GREY.astype("<u2") * 257)
    pixels = read_image(raw_tiff(values.tobytes(), bits, photometric=0)).pixels
    assert np.array_equal(pixels, EXPECTED)


def test_twelve_bit_tiff_is_scaled_by_its_own_range() -> None:
    first, second = GREY.reshape(-1, 2).astype(np.uint32).T * 16
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8)
    pixels = read_image(raw_tiff(packed.tobytes(), 12)).pixels
    assert np.array_equal(pixels, GREY.astype(np.float32) * 16 / np.float32(4095))


def test_unsigned_and_signed_tiff_samples_are_told_apart() -> None:
    large = GREY.astype("<u4") * 2**24
    assert np.array_equal(
        read_image(raw_tiff(large.tobytes(), 32), value_range=(0, 255 * 2**24)).pixels, EXPECTED
    )
    signed = (GREY.astype(np.int16) - 128).astype("<i2")
    assert np.array_equal(
        read_image(raw_tiff(signed.tobytes(), 16, sample_format=2), value_range=(-128, 127)).pixels, EXPECTED
    )
    with pytest.raises(ImageError, match="int8"):
        read_image(raw_tiff(signed.astype(np.int8).tobytes(), 8, sample_format=2))


def test_colour_is_the_luminance_of_pillow_for_files_and_arrays() -> None:
    expected = np.asarray(PIL.Image.fromarray(COLOUR).convert("L")).astype(np.float32) / np.float32(255)
    assert np.array_equal(read_image(png(COLOUR)).pixels, expected)
    assert np.array_equal(read_image(COLOUR).pixels, expected)
    assert np.array_equal(read_image(np.moveaxis(COLOUR, -1, 0)).pixels, expected)
    floats = read_image(COLOUR.astype(np.float32) / np.float32(255)).pixels
    assert np.abs(floats - expected).max() <= 0.6 / 255


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int) -> None:
    upright = np.kron(np.array([[0, 60, 120], [180, 240, 250]], dtype=np.uint8), np.ones((16, 16), np.uint8))
    stored_from = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    picture = PIL.Image.fromarray(np.ascontiguousarray(stored_from[orientation])).convert("RGB")
    data = encoded(picture, kind, exif=exif, **({} if kind in ("PNG", "TIFF") else {"quality": 100}))
    pixels = read_image(data).pixels
    assert pixels.shape == upright.shape
    assert np.abs(pixels - upright / 255).max() < 0.05
    opened = PIL.Image.open(io.BytesIO(data))
    assert np.array_equal(read_image(opened).pixels, pixels)


def test_kinds_of_source(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(png())
    for source in (str(path), path, png(), bytearray(png()), memoryview(png()), io.BytesIO(png())):
        assert np.array_equal(read_image(source).pixels, EXPECTED)
    assert read_image(path).name == str(path)
    with path.open("rb") as file:
        image = read_image(file)
        assert not file.closed
    assert image.name == str(path)
    assert read_image(png()).name == "<bytes>"
    assert read_image(PIL.Image.open(path)).name == str(path)
    assert read_image(PIL.Image.fromarray(GREY)).name == "<PIL image>"
    assert read_image(GREY).name == "<array>"


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    for suffix in (".jpg", ".dcm", ".txt", ""):
        path = tmp_path / f"scan{suffix}"
        path.write_bytes(png())
        assert np.array_equal(read_image(path).pixels, EXPECTED)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_pil_modes(mode: str) -> None:
    bright = np.where(GREY > 100, 255, 0).astype(np.uint8)
    picture = PIL.Image.fromarray(bright)
    picture = picture.convert({"La": "LA", "RGBa": "RGBA"}.get(mode, mode)).convert(mode)
    before = picture.copy()
    assert np.array_equal(read_image(picture).pixels, (bright > 0).astype(np.float32))
    assert picture.mode == mode
    assert picture.tobytes() == before.tobytes()


def test_transparent_palette_raises_no_warning() -> None:
    picture = PIL.Image.fromarray(GREY).convert("P")
    data = encoded(picture, "PNG", transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        over_black = (GREY.astype(np.uint16) ** 2 + 127) // 255
        assert np.array_equal(read_image(data).pixels, over_black.astype(np.float32) / np.float32(255))


# --- arrays and tensors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        GREY,
        GREY[None],
        GREY[..., None],
        np.stack([GREY] * 3, axis=-1),
        np.stack([GREY] * 3),
        GREY.astype(np.uint16) * 257,
        (GREY.astype(np.uint16) * 257).astype(">u2"),
        EXPECTED,
        EXPECTED.astype(np.float64),
        np.asfortranarray(GREY),
        GREY[::-1][::-1],
    ],
)
def test_arrays(array: np.ndarray) -> None:
    pixels = read_image(array).pixels
    assert np.array_equal(pixels, EXPECTED)
    assert pixels.flags.c_contiguous
    assert not np.shares_memory(pixels, array)


def test_range_given_for_other_integers_and_floats() -> None:
    for dtype in (np.int16, np.int32, np.int64, np.uint32, np.float32):
        with pytest.raises(ImageError, match="value_range"):
            read_image(GREY.astype(dtype))
        assert np.array_equal(read_image(GREY.astype(dtype), value_range=(0, 255)).pixels, EXPECTED)
    twelve = GREY.astype(np.uint16) * 16
    assert np.array_equal(read_image(twelve, value_range=(0, 4080)).pixels, EXPECTED)
    with pytest.raises(ImageError, match=r"<array>: found values from 0 to 255, expected all in \[0, 254\]"):
        read_image(GREY, value_range=(0, 254))


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    grey = torch.from_numpy(GREY.copy())
    for tensor in (
        grey,
        grey[None],
        grey.expand(3, *GREY.shape),
        grey.float() / 255,
        (grey.double() / 255).requires_grad_(),
        torch.nn.Parameter(grey.float() / 255),
    ):
        image = read_image(tensor)
        assert np.array_equal(image.pixels, EXPECTED)
        assert image.name == "<tensor>"
    for dtype in (torch.bfloat16, torch.float16):
        assert np.abs(read_image((grey / 255).to(dtype)).pixels - EXPECTED).max() < 0.01
    with pytest.raises(ImageError, match="<tensor>"):
        read_image(grey.float().to_sparse())
    with pytest.raises(ImageError, match=r"<tensor>.*batch"):
        read_image(grey[None, None])
    if torch.cuda.is_available():
        assert np.array_equal(read_image(grey.cuda()).pixels, EXPECTED)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((0, 5), np.uint8), "empty array"),
        (np.zeros((5, 0, 3), np.uint8), "empty array"),
        (np.arange(5, dtype=np.uint8), "expected \\[H, W\\]"),
        (np.array(3, dtype=np.uint8), "expected \\[H, W\\]"),
        (np.zeros((2, 8, 8), np.uint8), "batch"),
        (np.zeros((8, 8, 4), np.uint8), "alpha"),
        (np.zeros((1, 1, 8, 8), np.uint8), "batch"),
        (np.zeros((3, 8, 3), np.uint8), "ambiguous"),
        (np.zeros((3, 3, 3), np.uint8), "ambiguous"),
        (np.zeros((1, 1, 3), np.uint8), "ambiguous"),
        (np.zeros((1, 8, 1), np.uint8), "ambiguous"),
        (np.full((8, 8), 7, np.uint8), "constant"),
        (np.eye(8) * 1.001, "value_range"),
        (np.eye(8) - 0.001, "value_range"),
        (np.where(np.eye(8) > 0, np.nan, 0.5), "NaN"),
        (np.where(np.eye(8) > 0, np.inf, 0.5), "NaN or infinite"),
        (np.eye(8, dtype=np.int16), "int16"),
        (np.eye(8, dtype=np.complex64), "complex64"),
        (np.full((8, 8), "a"), "expected bool, integers or floats"),
        (np.eye(8).astype(object), "object"),
    ],
)
def test_refused_arrays(array: np.ndarray, reason: str) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(array)
    assert str(caught.value).startswith("<array>: found ")
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(
    "bad", [(1, 0), (0, 0), (0,), (0, 1, 2), ("a", "b"), (0, float("nan")), (0, float("inf")), 5, "01"]
)
def test_refused_ranges(bad: Any) -> None:
    with pytest.raises(ImageError, match="value_range: found"):
        read_image(GREY, value_range=bad)


@pytest.mark.parametrize("bad", [0, -1, float("nan"), "many", None])
def test_refused_limits(bad: Any) -> None:
    with pytest.raises(ImageError, match="max_megapixels: found"):
        read_image(GREY, max_megapixels=bad)


@pytest.mark.parametrize("source", [None, 5, [GREY], {"a": 1}, object()])
def test_refused_types(source: Any) -> None:
    with pytest.raises(ImageError, match=f"found an object of type {type(source).__name__}"):
        read_image(source)


# --- broken files ---------------------------------------------------------------------------------


def multipage() -> bytes:
    pages = [PIL.Image.fromarray(GREY), PIL.Image.fromarray(GREY.T)]
    return encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])


def animated(kind: str) -> bytes:
    frames = [PIL.Image.fromarray(GREY).convert("RGB"), PIL.Image.fromarray(255 - GREY).convert("RGB")]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("scan.png", png())
    return buffer.getvalue()


def truncated(kind: str, share: float = 0.6, **options: Any) -> bytes:
    noise = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    data = encoded(noise.convert("RGB") if kind == "WEBP" else noise, kind, **options)
    return data[: int(len(data) * share)]


def flipped_png() -> bytes:
    data = bytearray(truncated("PNG", 1.0))
    data[200:260] = bytes(60)
    return bytes(data)


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty.png": (b"", "no bytes"),
    "text.png": (b"Patient: Jane Doe\nFinding: none\n" * 20, "found text"),
    "bm.bmp": (b"BMI is 24, the patient is well\n" * 9, "BMP"),
    "table.csv": (b"a,b\n1,2\n", "found text"),
    "zip.png": (archive(), "ZIP"),
    "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
    "page2.jpg": (b"\n<html><body>Not found</body></html>", "HTML"),
    "drawing.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "paper.png": (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
    "brain.png": (b"\x1f\x8b\x08\x00" + bytes(90), "gzip"),
    "array.png": (b"\x93NUMPY\x01\x00v\x00", "numpy"),
    "random.png": (np.random.default_rng(1).bytes(5000), "unknown content"),
    "zeros.png": (bytes(5000), "unknown content"),
    "moving.gif": (animated("GIF"), "GIF"),
    "moving.png": (animated("PNG"), "2 pictures"),
    "moving.webp": (animated("WEBP"), "2 pictures"),
    "pages.tif": (multipage(), "2 pictures"),
    "short.png": (truncated("PNG"), "PNG that cannot be decoded"),
    "header.png": (truncated("PNG", 1.0)[:20], "PNG that cannot be decoded"),
    "magic.png": (b"\x89PNG\r\n\x1a\n", "PNG that cannot be decoded"),
    "flipped.png": (flipped_png(), "PNG that cannot be decoded"),
    "short.jpg": (truncated("JPEG"), "JPEG that cannot be decoded"),
    "header.jpg": (truncated("JPEG", 0.02), "JPEG that cannot be decoded"),
    "short.tif": (truncated("TIFF"), "TIFF that cannot be decoded"),
    "short_lzw.tif": (truncated("TIFF", compression="tiff_lzw"), "TIFF that cannot be decoded"),
    "short_raw.tif": (raw_tiff(GREY.tobytes()[:600], 8), "TIFF that cannot be decoded"),
    "short.bmp": (truncated("BMP"), "BMP that cannot be decoded"),
    "short.webp": (truncated("WEBP"), "WebP that cannot be decoded"),
    "zero.png": (png_header(0, 10), "PNG"),
    "bomb.png": (png_header(50_000, 50_000), "2500.0 megapixels"),
    "constant.png": (png(np.full((9, 9), 128, np.uint8)), "constant"),
    "black.tif": (encoded(PIL.Image.new("L", (9, 9)), "TIFF"), "constant"),
    "fake.dcm": (b"this is no DICOM file at all, only words" * 30, "DICOM"),
    "noise.dcm": (np.random.default_rng(2).bytes(3000), "DICOM"),
    "zeros.dcm": (bytes(3000), "DICOM"),
    "preamble.dcm": (bytes(128) + b"DICM", "DICOM"),
}


@pytest.mark.parametrize(
    ("name", "lenient"),
    # Damage in the middle of a stream cannot be told where Pillow's switch is on; a missing end can.
    [
        (name, lenient)
        for name in BROKEN
        for lenient in (False, True)
        if not (lenient and name == "flipped.png")
    ],
)
def test_broken_files(name: str, lenient: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Any library in the process may have set this; a truncated X-ray must not pass for a whole one.
    monkeypatch.setattr(PIL.ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    data, reason = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: found ")
    assert "expected" in message
    assert "\n" not in message
    if not name.endswith(".dcm") or name == "preamble.dcm":
        with pytest.raises(ImageError, match=r"^<bytes>: found "):
            read_image(data)


def test_every_cut_of_a_file_is_noticed() -> None:
    rng = np.random.default_rng(3)
    picture = PIL.Image.fromarray(rng.integers(0, 256, (24, 24), dtype=np.uint8))
    for kind in ("PNG", "JPEG", "BMP", "TIFF"):
        whole = encoded(picture, kind)
        for end in np.linspace(0, len(whole) * 0.95, 40).astype(int):
            with pytest.raises(ImageError) as caught:
                read_image(whole[:end])
            if isinstance(caught.value, DamagedImageError):
                assert str(caught.value) == f"<bytes>: {caught.value.finding}; {caught.value.advice}"
            else:  # too little is left to tell the format
                assert end < 12


def test_paths_that_hold_no_file(tmp_path: Path) -> None:
    cases = [
        (tmp_path / "none.png", "no such file"),
        (tmp_path, "found a folder"),
        (tmp_path / "none" / "a.png", "no such file"),
        ("http://example.org/scan.png", "download it first"),
        ("", "empty path"),
        ("a\0b.png", "a.*b.png"),
        ("x" * 5000, "cannot be opened"),
    ]
    for source, reason in cases:
        with pytest.raises(ImageError, match=reason):
            read_image(source)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageError, match=r"pipe\.png: found a device, pipe"):
            read_image(tmp_path / "pipe.png")


def test_jpeg_with_an_appended_preview_gives_the_main_picture() -> None:
    main, preview = PIL.Image.fromarray(GREY), PIL.Image.fromarray(GREY[::4, ::4].copy())
    data = encoded(main, "MPO", save_all=True, append_images=[preview], quality=95)
    assert PIL.Image.open(io.BytesIO(data)).format == "MPO"
    assert np.abs(read_image(data).pixels - EXPECTED).max() < 0.05
    assert np.array_equal(read_image(PIL.Image.open(io.BytesIO(data))).pixels, read_image(data).pixels)


def test_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked.png"
    path.write_bytes(png())
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything

        def refuse(*_: Any, **__: Any) -> Any:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ImageError, match=r"locked\.png: found a file that may not be read"):
        read_image(path)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)


def test_open_files_that_give_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(png())
    with path.open(encoding="latin-1") as text, pytest.raises(ImageError, match=r"scan\.png.*mode 'rb'"):
        read_image(text)  # type: ignore[arg-type]
    with path.open(encoding="utf-8") as text, pytest.raises(ImageError, match=r"scan\.png.*mode 'rb'"):
        read_image(text)  # type: ignore[arg-type]
    with path.open("rb") as file:
        pass
    with pytest.raises(ImageError, match=r"scan\.png.*closed"):
        read_image(file)
    exhausted = io.BytesIO(png())
    exhausted.seek(0, io.SEEK_END)
    with pytest.raises(ImageError, match=r"<file>: .*seek\(0\)"):
        read_image(exhausted)


def test_pil_images_are_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "short.png"
    path.write_bytes(truncated("PNG"))
    with (
        PIL.Image.open(path) as picture,
        pytest.raises(ImageError, match=r"short\.png: found a PNG that cannot"),
    ):
        read_image(picture)
    pages = PIL.Image.open(io.BytesIO(multipage()))
    with pytest.raises(ImageError, match="2 pictures"):
        read_image(pages)
    pages.seek(1)
    assert np.array_equal(read_image(pages.copy()).pixels, EXPECTED.T)
    with pytest.raises(ImageError, match="<PIL image>: found a picture of mode 'LAB'"):
        read_image(PIL.Image.new("LAB", (4, 4)))
    with pytest.raises(ImageError, match="<PIL image>: found an image of 0 x 4"):
        read_image(PIL.Image.new("L", (4, 0)))


def test_limit_on_size_leaves_the_globals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        PIL.Image, "MAX_IMAGE_PIXELS", 500
    )  # far below GREY's 1200 pixels: Pillow would refuse
    filters = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in ("PNG", "BMP", "TIFF"):
            assert np.array_equal(read_image(encoded(PIL.Image.fromarray(GREY), kind)).pixels, EXPECTED)
        lzw = encoded(PIL.Image.fromarray(GREY), "TIFF", compression="tiff_lzw")
        assert np.array_equal(read_image(lzw).pixels, EXPECTED)
        assert read_image(encoded(PIL.Image.fromarray(GREY), "JPEG")).height == 40
        webp = encoded(PIL.Image.fromarray(GREY), "WEBP", lossless=True)
        with pytest.raises(ImageError, match="WebP beyond the size"):
            read_image(webp)
    assert PIL.Image.MAX_IMAGE_PIXELS == 500
    assert warnings.filters == filters


@pytest.mark.parametrize(
    "source", [png(), GREY, PIL.Image.fromarray(GREY), encoded(PIL.Image.fromarray(GREY), "TIFF")]
)
def test_limit_is_configurable(source: Any) -> None:
    assert read_image(source, max_megapixels=0.0012).width == 30
    with pytest.raises(ImageError, match=r"40 x 30 pixels .*max_megapixels"):
        read_image(source, max_megapixels=0.0011)
    assert read_image(source, max_megapixels=float("inf")).width == 30


def test_large_files_are_judged_by_their_first_bytes(tmp_path: Path) -> None:
    for name, head, reason in (
        ("film.mp4", b"\0\0\0 ftypisom", "an MP4"),
        ("big.png", png(), "MB, more than"),
    ):
        path = tmp_path / name
        with path.open("wb") as file:
            file.write(head)
            file.truncate(3 << 30)  # sparse: takes no room on the disk
        with pytest.raises(ImageError, match=reason):
            read_image(path)


def test_threads_get_the_same_pixels() -> None:
    results: list[bool] = []

    def work() -> None:
        results.extend(np.array_equal(read_image(png()).pixels, EXPECTED) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 80


# --- finding files --------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b.png",
        "a.JPG",
        "sub/c.dcm",
        "sub/deep/d.tif",
        ".hidden.png",
        ".git/e.png",
        "@eaDir/b.png/thumbnail.jpg",
        "notes.txt",
        "sub/f",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    for name in ("IM0001", "1.2.840.10008", "DICOMDIR"):
        (tmp_path / "sub" / name).write_bytes(bytes(128) + b"DICM")
    (tmp_path / "empty").mkdir()
    return tmp_path


def relative(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_find_in_a_folder(folder: Path) -> None:
    expected = ["a.JPG", "b.png", "sub/1.2.840.10008", "sub/IM0001", "sub/c.dcm", "sub/deep/d.tif"]
    assert relative(find_images([folder]), folder) == expected
    assert relative(find_images(str(folder)), folder) == expected
    assert relative(find_images([f"{folder}/**"]), folder) == expected


def test_find_follows_links_and_enters_each_folder_once(folder: Path) -> None:
    (folder / "tree").mkdir()
    (folder / "tree" / "site").symlink_to(folder / "sub")
    (folder / "sub" / "deep" / "round").symlink_to(folder / "sub")
    found = relative(find_images([folder / "tree"]), folder)
    assert found == [f"tree/site/{name}" for name in ("1.2.840.10008", "IM0001", "c.dcm", "deep/d.tif")]


def test_find_keeps_the_order_and_drops_repeats(folder: Path) -> None:
    found = find_images(
        [folder / "sub", folder / "b.png", folder / "sub" / ".." / "b.png", folder, folder / "notes.txt"]
    )
    assert relative(found, folder) == [
        "sub/1.2.840.10008",
        "sub/IM0001",
        "sub/c.dcm",
        "sub/deep/d.tif",
        "b.png",
        "a.JPG",
        "notes.txt",  # named by the user: reading it will say what it is
    ]


def test_find_by_pattern(folder: Path) -> None:
    assert relative(find_images([f"{folder}/*.png"]), folder) == ["b.png"]
    assert relative(find_images([f"{folder}/**/*.tif"]), folder) == ["sub/deep/d.tif"]
    assert relative(find_images([f"{folder}/sub/IM*"]), folder) == ["sub/IM0001"]
    odd = folder / "scan[1].png"
    odd.write_bytes(b"x")
    assert find_images([odd]) == [odd]


@pytest.mark.parametrize("missing", ["none.png", "none", "*.webp", "empty", "no/**/*.png", "*.txt"])
def test_find_names_what_is_missing(folder: Path, missing: str) -> None:
    with pytest.raises(ImageError) as caught:
        find_images([folder / "b.png", f"{folder}/{missing}"])
    assert str(caught.value).startswith(f"{folder}/{missing}: found ")


def test_find_nothing() -> None:
    with pytest.raises(ImageError, match="empty list"):
        find_images([])
    with pytest.raises(ImageError, match="empty path"):
        find_images([""])


# --- real X-rays ----------------------------------------------------------------------------------


def test_real_images(real_data: Path) -> None:
    with (real_data / "radiography" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    files = [real_data / "radiography" / row["file"] for row in rows[:: max(1, len(rows) // 20)][:20]]
    for name in ("montgomery", "shenzhen", "covid-chestxray-dataset", "coronahack"):
        if (real_data / name).is_dir():
            found = find_images([real_data / name])
            files += found[:: max(1, len(found) // 5)][:5]
    assert len(files) >= 20
    assert {path.suffix.lower() for path in files} <= set(SUFFIXES)
    for path in files:
        image = read_image(path)
        assert image.pixels.dtype == np.float32
        assert image.pixels.min() >= 0
        assert image.pixels.max() <= 1
        assert image.pixels.std() > 0.02, path


def test_several_sources(folder: Path) -> None:
    from lungcls.images import several_sources

    torch = pytest.importorskip("torch", reason="needs torch")
    batch = torch.rand(3, 1, 8, 8)
    assert several_sources(batch)[0].shape == (1, 8, 8)
    assert len(several_sources(batch.numpy())) == 3
    assert len(several_sources([batch, torch.tensor([0, 1, 2])])) == 3  # a DataLoader's batch
    assert len(several_sources(iter([GREY, GREY]))) == 2
    assert several_sources(np.array(["a.png", "b.png"])) == ["a.png", "b.png"]
    assert several_sources(folder) == find_images(folder)
    for single in (GREY, GREY[None], "a.png", b"abc", io.BytesIO(), PIL.Image.new("L", (2, 2)), Dataset()):
        assert several_sources(single) is None
    with pytest.raises(ImageError, match="batch"):
        several_sources({"image": batch})


def test_notes_are_empty_by_default() -> None:
    image = read_image(GREY)
    assert image.notes == ()
    assert image.pixel_aspect == 1.0


def rgba(colours: np.ndarray, alpha: np.ndarray) -> bytes:
    return encoded(PIL.Image.fromarray(np.dstack([colours] * 3 + [alpha])), "PNG")


def test_the_aspect_of_a_jpeg_without_a_unit() -> None:
    data = bytearray(encoded(PIL.Image.fromarray(GREY), "JPEG"))
    at = data.find(b"JFIF\0")
    data[at + 7 : at + 12] = struct.pack(">BHH", 0, 2, 1)
    assert read_image(bytes(data)).pixel_aspect == 2


def test_hidden_white_under_transparency_is_black() -> None:
    clear = np.zeros(GREY.shape, bool)
    clear[:10] = True
    image = read_image(
        rgba(np.where(clear, 255, GREY).astype(np.uint8), np.where(clear, 0, 255).astype("uint8"))
    )
    assert np.array_equal(image.pixels, np.where(clear, 0, EXPECTED).astype(np.float32))
    assert [(note.name, note.value, note.corrected) for note in image.notes] == [("transparent", 0.25, True)]


def test_picture_in_the_alpha_channel_is_refused_with_the_way_out() -> None:
    with pytest.raises(ImageError, match=r"one colour throughout.*alpha channel.*\[\.\.\., -1\]"):
        read_image(rgba(np.zeros_like(GREY), GREY))
    assert not read_image(rgba(GREY, np.full_like(GREY, 255))).notes
    assert read_image(rgba(GREY, np.zeros_like(GREY))).notes[0].value == 1.0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_resolutions_that_differ_make_pixels_that_are_not_square(kind: str) -> None:
    image = read_image(encoded(PIL.Image.fromarray(GREY), kind, dpi=(200, 100)))
    assert image.pixel_aspect == pytest.approx(2, rel=1e-3)
    assert "pixel_aspect" in [note.name for note in image.notes]
    assert image.pixels.shape == GREY.shape
    assert read_image(encoded(PIL.Image.fromarray(GREY), kind, dpi=(100, 100))).pixel_aspect == 1.0


@pytest.mark.parametrize(
    ("array", "corrected"), [(GREY // 17, False), (GREY.astype(np.uint16) * 16, True), (EXPECTED / 4, True)]
)
def test_values_in_too_wide_a_type_are_noted(array: np.ndarray, corrected: bool) -> None:
    (note,) = read_image(array).notes
    assert (note.name, note.corrected) == ("narrow_range", corrected)
    assert ("were spread" in note.message) == corrected
    assert note.value < note.threshold
    assert not read_image(GREY).notes


def test_false_colours_are_noted_and_a_tint_is_not() -> None:
    blue = (GREY[..., None] * np.array([0.8, 0.9, 1.0])).astype(np.uint8)
    false = np.stack([GREY, 255 - GREY, GREY[::-1]], axis=-1)
    for array in (false, np.moveaxis(false, -1, 0), PIL.Image.fromarray(false)):
        assert [note.name for note in read_image(array).notes][:1] == ["colour"]
    assert read_image(PIL.Image.fromarray(blue)).notes == ()


def test_masked_arrays_are_not_unmasked() -> None:
    with pytest.raises(ImageError, match=r"1200 pixels are masked.*filled"):
        read_image(np.ma.masked_array(GREY, mask=True))
    assert np.array_equal(read_image(np.ma.masked_array(GREY)).pixels, EXPECTED)


def test_constant_images_have_an_error_of_their_own() -> None:
    with pytest.raises(ConstantImageError) as caught:
        read_image(np.full((4, 4), 0.5))
    assert caught.value.value == 0.5
    assert pickle.loads(pickle.dumps(caught.value)).value == 0.5


def test_photos_are_named() -> None:
    with pytest.raises(ImageError, match="an HEIC photo"):
        read_image(bytes([0, 0, 0, 24]) + b"ftypheic" + bytes(120))


def test_pictures_of_other_formats_are_left_out_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "film").write_bytes(png())
    (tmp_path / "film.part").write_bytes(png())
    (tmp_path / "scan.gif").write_bytes(encoded(PIL.Image.fromarray(GREY), "GIF"))
    assert find_images(tmp_path) == [tmp_path / "film"]
    assert "1 files of formats that are not read were left out" in caplog.text
