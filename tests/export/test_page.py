"""The page that uploads nothing, built and asked in headless Chromium, beside the library."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

from lungcls.phantom import chest_phantom
from lungcls.pipeline import Pipeline

pytestmark = pytest.mark.slow

FOCUS = "document.activeElement"
FILM = chest_phantom((232, 200), seed=7).image


@pytest.fixture(scope="module")
def driver(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("static_page")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: the page cannot be built")
    from lungcls.errors import LungclsError
    from lungcls.export.page import build_page

    out = tmp_path_factory.mktemp("page")
    try:
        size = build_page(out)
    except LungclsError as error:
        if "npm failed" in str(error):
            pytest.skip(f"the page's packages cannot be fetched: {error}")
        raise
    assert size < 40e6
    assert size == sum(path.stat().st_size for path in out.iterdir())
    return out


@pytest.fixture(scope="module")
def browser(driver: ModuleType) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    path = driver.find_chromium()
    if path is None:
        pytest.skip("no Chromium is installed: the page is not tried in a browser")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(driver.SWITCHES))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def opened(driver: ModuleType, folder: Path, browser: Any) -> Iterator[Any]:
    """The page on a phone, with all that it asked for and complained about."""
    with driver.served(folder) as address:
        context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark")
        context.set_default_timeout(300_000)
        page = context.new_page()
        asked: list[Any] = []
        errors: list[str] = []
        page.on("request", lambda each: asked.append(each))  # playwright takes no builtin
        page.on("pageerror", lambda each: errors.append(str(each)))
        page.on("console", lambda each: errors.append(each.text) if each.type == "error" else None)
        page.goto(address)
        page.locator("#drop[data-ready]").wait_for()
        yield page
        assert [each.url for each in asked if not each.url.startswith((address, "blob:"))] == []
        assert {each.method for each in asked} == {"GET"}
        assert errors == []
        context.close()


def dicom(path: Path, syntax: str = ExplicitVRLittleEndian, bits: int = 12, **tags: Any) -> Path:
    """The film as DICOM; signed, mirrored and so on by its tags."""
    scan = pydicom.Dataset()
    scan.file_meta = pydicom.dataset.FileMetaDataset()
    scan.file_meta.TransferSyntaxUID = syntax
    scan.file_meta.MediaStorageSOPClassUID = CTImageStorage
    scan.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    scan.Rows, scan.Columns, scan.SamplesPerPixel = *FILM.shape, 1
    scan.BitsAllocated, scan.BitsStored, scan.HighBit = 8 if bits <= 8 else 16, bits, bits - 1
    scan.PhotometricInterpretation = tags.pop("PhotometricInterpretation", "MONOCHROME2")
    scan.PixelRepresentation = tags.pop("PixelRepresentation", 0)
    codes = np.rint(FILM * (2**bits - 1)).astype(np.int64)
    codes = 2**bits - 1 - codes if scan.PhotometricInterpretation == "MONOCHROME1" else codes
    codes = codes - 2 ** (bits - 1) if scan.PixelRepresentation else codes
    kind = f"{'>' if syntax == ExplicitVRBigEndian else '<'}{'i' if scan.PixelRepresentation else 'u'}"
    scan.PixelData = codes.astype(f"{kind}{scan.BitsAllocated // 8}").tobytes()
    scan["PixelData"].VR = "OB" if bits <= 8 else "OW"
    for name, value in tags.items():
        setattr(scan, name, value)
    scan.save_as(path, enforce_file_format=True)
    return path


def films(folder: Path) -> list[Path]:
    """The film in the ways that films are kept."""
    eight, sixteen = np.rint(FILM * 255).astype(np.uint8), np.rint(FILM * 65535).astype(np.uint16)
    pictures = {
        "grey.png": Image.fromarray(eight),
        "sixteen.png": Image.fromarray(sixteen),
        "colour.png": Image.fromarray(np.dstack([eight, eight // 2 + 20, eight])),
        "film.jpg": Image.fromarray(eight),
        "bits.png": Image.fromarray(eight > 120),
        "palette.png": Image.fromarray(eight).convert("P"),
        "clear.png": Image.fromarray(np.dstack([eight, np.where(eight < 90, 0, 255).astype(np.uint8)])),
        "inverse.png": Image.fromarray(255 - eight),
        "flat.png": Image.fromarray(eight // 8 + 30),
        "half.png": Image.fromarray(np.where(np.arange(eight.shape[1]) < 100, eight, 0).astype(np.uint8)),
        "turned.png": Image.fromarray(np.rot90(eight)),
        "tiny.png": Image.fromarray(eight).resize((50, 58)),
        "noise.png": Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99), np.uint8)),
    }
    paths = []
    for name, picture in pictures.items():
        paths.append(folder / name)
        picture.save(paths[-1])
    Image.fromarray(eight).save(folder / "oblong.png", dpi=(150, 100))
    table = pydicom.Dataset()
    table.LUTDescriptor, table.LUTData = [4096, 0, 12], (np.arange(4096) ** 2 // 4096).astype("<u2").tobytes()
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    sigmoid = {"VOILUTFunction": "SIGMOID"}
    return [
        *paths,
        folder / "oblong.png",
        dicom(folder / "plain.dcm", ImplicitVRLittleEndian),
        dicom(folder / "window.dcm", bits=16, WindowCenter=30000, WindowWidth=50000),
        dicom(folder / "signed.dcm", PixelRepresentation=1, RescaleSlope=2, RescaleIntercept=100),
        dicom(folder / "mono1.dcm", bits=8, PhotometricInterpretation="MONOCHROME1"),
        dicom(folder / "big.dcm", ExplicitVRBigEndian, PixelSpacing=[0.3, 0.2]),
        dicom(folder / "sigmoid.dcm", WindowCenter=[2000, 1], WindowWidth=[1500, 9], **sigmoid),
        dicom(folder / "padded.dcm", PixelPaddingValue=int(np.rint(FILM.max() * 4095))),
        dicom(folder / "table.dcm", VOILUTSequence=[table]),
    ]


def test_answers_are_the_librarys(driver: ModuleType, opened: Any, tmp_path: Path) -> None:
    paths = films(tmp_path)
    pipeline = Pipeline(device="cpu")
    for path, found in zip(paths, driver.ask(opened, paths), strict=True):
        expected = pipeline.predict(str(path))
        row = driver.compare(found, expected)
        assert row["probability_difference"] < 0.01, path.name
        wrong = [name for name, value in row.items() if name.startswith("same_") and not value]
        assert wrong == [], path.name
        assert found["box"] == (None if expected.box is None else list(expected.box)), path.name


def test_answers_on_real_films(driver: ModuleType, opened: Any, real_data: Path) -> None:
    from lungcls.data import open_radiography

    database = open_radiography(real_data)
    paths = [database.path(record) for record in database.records[::900]]
    pipeline = Pipeline(device="cpu")
    for path, found in zip(paths, driver.ask(opened, paths), strict=True):
        row = driver.compare(found, pipeline.predict(str(path)))
        assert row["probability_difference"] < 0.01, path.name


def test_bad_files_say_what_is_wrong(driver: ModuleType, opened: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    Image.fromarray(np.rint(FILM * 255).astype(np.uint8)).save(tmp_path / "film.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "film.png").read_bytes()[:900])
    Image.new("L", (90, 90), 7).save(tmp_path / "black.png")
    dicom(tmp_path / "packed.dcm")
    packed = pydicom.dcmread(tmp_path / "packed.dcm")
    packed.compress(JPEG2000Lossless)
    packed.save_as(tmp_path / "packed.dcm")
    words = {
        "notes.txt": "found no PNG",
        "cut.png": "cannot be decoded",
        "black.png": "constant image",
        "packed.dcm": "transfer syntax",
    }
    found = driver.ask(opened, [tmp_path / name for name in words])
    for (name, wanted), answer in zip(words.items(), found, strict=True):
        assert wanted in answer["problem"], name


def test_it_works_without_a_network(driver: ModuleType, folder: Path, browser: Any, tmp_path: Path) -> None:
    Image.fromarray(np.rint(FILM * 255).astype(np.uint8)).save(tmp_path / "film.png")
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(300_000)
    page = context.new_page()
    with driver.served(folder) as address:
        page.goto(address)
        page.locator("#drop[data-ready]").wait_for()
        assert "without a network" in page.locator("#state").inner_text()
        with driver.served(tmp_path) as other:
            # Neither the page nor its worker may reach another address.
            attempt = "(url) => fetch(url, { mode: 'no-cors' }).then(() => 'reached', () => 'refused')"
            assert [place.evaluate(attempt, other) for place in (page, *page.workers)] == ["refused"] * 2
    context.set_offline(True)  # and the server is gone
    page.goto(address)
    page.locator("#drop[data-ready]").wait_for()
    (answer,) = driver.ask(page, [tmp_path / "film.png"])
    assert answer["probabilities"]
    context.close()


def test_it_fits_a_phone_and_its_keys_reach_everything(opened: Any, tmp_path: Path) -> None:
    Image.fromarray(np.rint(FILM * 255).astype(np.uint8)).save(tmp_path / "film.png")
    opened.set_input_files("#files", str(tmp_path / "film.png"))
    opened.locator(".result.done").wait_for()
    assert opened.evaluate("() => document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert opened.locator("canvas").get_attribute("aria-label") == "The film with its lungs outlined"
    opened.evaluate("() => document.activeElement.blur()")
    reached = []
    for _ in range(6):
        opened.keyboard.press("Tab")
        reached.append(opened.evaluate(f"() => {FOCUS}.getAttribute('aria-label') || {FOCUS}.id"))
    for name in ("files", "Remove: film.png", "Download JSON: film.png", "Download mask: film.png"):
        assert name in reached
    opened.locator(".remove").click()
