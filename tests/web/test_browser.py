"""The page in a real browser: headless Chromium, where one is installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

NAMES = ("Alpha", "Beta <b>", "Gamma", "Delta")
# No sandbox: tests often run as root in a container. The rest keeps the browser from calling home.
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTHS = {"wide": 1280, "phone": 360}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    path = next((each for each in found if each), None)
    if path is None:
        pytest.skip("no Chromium is installed: the page is not tried in a browser")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(SWITCHES))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(browser: Any, serve: Any, make_settings: Any) -> str:
    """Of a running service."""
    return f"http://127.0.0.1:{serve(make_settings())}/"


@pytest.fixture(params=["wide", "phone"])
def page(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(
        viewport={"width": WIDTHS[request.param], "height": 800},
        color_scheme="dark" if request.param == "phone" else "light",
    )
    context.set_default_timeout(60_000)
    opened = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    opened.on("request", lambda each: asked.append(each.url))
    opened.on("pageerror", lambda each: errors.append(str(each)))
    opened.on("console", lambda each: errors.append(each.text) if "Content Security" in each.text else None)
    opened.goto(address)
    opened.locator("#drop[data-ready]").wait_for()
    yield opened
    outside = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    context.close()
    assert outside == []
    assert errors == []


@pytest.fixture
def film(tmp_path: Path, png: bytes) -> Path:
    path = tmp_path / "film <i>.png"
    path.write_bytes(png)
    return path


def upload(page: Any, *paths: Path) -> None:
    page.set_input_files("#files", [str(path) for path in paths])
    page.locator(".result").nth(len(paths) - 1).locator(".body.done, .problem").first.wait_for()


def test_an_upload_shows_both_regions_with_their_maps(page: Any, film: Path) -> None:
    upload(page, film)
    card = page.locator(".result")
    assert card.locator("h2").inner_text() == "film <i>.png"
    assert "110 \u00d7 90 pixels" in card.locator(".meta").inner_text()
    for region in ("full", "mask"):
        column = card.locator(f"[data-region={region}]")
        column.locator(".map img").wait_for()
        assert column.locator(".bars tr").count() == 4
        assert column.locator(".label").inner_text()
        assert column.locator(".tier").inner_text().endswith("confidence")
        assert "Second class" in column.inner_text()
    names = card.locator("[data-region=full] .bars th").all_inner_texts()
    assert tuple(names) == NAMES
    width = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0  # nothing sticks out to the side


def test_the_switch_shows_one_region(page: Any, film: Path) -> None:
    upload(page, film)
    full, mask = (page.locator(f"[data-region={region}]") for region in ("full", "mask"))
    assert full.is_visible()
    assert mask.is_visible()
    page.locator("#regions").get_by_text("mask", exact=True).click()
    assert not full.is_visible()
    assert mask.is_visible()
    # The arrow keys move between the choices, as in any group of radio buttons.
    page.keyboard.press("ArrowLeft")
    assert full.is_visible()
    assert not mask.is_visible()


def test_mask_overlay_and_json_can_be_kept(page: Any, film: Path, tmp_path: Path) -> None:
    upload(page, film)
    kept = {}
    for text in ("Mask", "Overlay", "JSON"):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Download {text}").click()
        kept[text] = tmp_path / download.value.suggested_filename
        download.value.save_as(kept[text])
    assert kept["Mask"].name.endswith("-mask.png")
    mask = np.asarray(Image.open(kept["Mask"]))
    assert mask.shape == (90, 110)
    assert set(np.unique(mask)) <= {0, 255}
    with Image.open(kept["Overlay"]) as overlay:
        assert overlay.size == (110, 90)
    document = json.loads(kept["JSON"].read_text(encoding="utf-8"))
    assert list(document["predictions"]) == ["full", "mask"]
    assert document["file"]["name"] == "film <i>.png"
    assert "never use it for diagnosis" in document["notice"]


def test_a_bad_file_says_what_is_wrong_and_harms_no_other(page: Any, film: Path, tmp_path: Path) -> None:
    text, cut, huge = tmp_path / "notes.txt", tmp_path / "cut.png", tmp_path / "huge.png"
    text.write_text("hello", encoding="utf-8")
    cut.write_bytes(film.read_bytes()[:400])
    huge.write_bytes(bytes(2_100_000))
    upload(page, text, cut, huge, film)
    cards = page.locator(".result")
    assert "Found text" in cards.nth(0).locator(".problem").inner_text()
    assert "cannot be decoded" in cards.nth(1).locator(".problem").inner_text()
    assert "too large" in cards.nth(2).locator(".problem").inner_text()
    assert cards.nth(3).locator(".region").count() == 2
    page.get_by_role("button", name="Remove: notes.txt").click()
    assert cards.count() == 3


def test_files_can_be_dropped(page: Any, film: Path) -> None:
    page.evaluate(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.png"));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
        }""",
        list(film.read_bytes()),
    )
    page.locator(".result .body.done").wait_for()
    assert page.locator(".result h2").inner_text() == "dropped.png"


HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)<"  # a file system takes no slash


def test_names_and_tags_are_text_and_nothing_else(page: Any, film: Path, tmp_path: Path) -> None:
    import pydicom

    from lungcls.phantom import chest_phantom

    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    scan = pydicom.Dataset()
    scan.file_meta = pydicom.dataset.FileMetaDataset()
    scan.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    scan.file_meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    scan.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    pixels = np.rint(chest_phantom((90, 110), seed=1).image * 255).astype(np.uint8)
    scan.Rows, scan.Columns, scan.SamplesPerPixel, scan.BitsAllocated = 90, 110, 1, 8
    scan.BitsStored, scan.HighBit, scan.PixelRepresentation = 8, 7, 0
    scan.PhotometricInterpretation, scan.PixelData = "MONOCHROME2", pixels.tobytes()
    script = "<script>alert(3)</script><img src=x onerror=alert(4)>"
    for tag in ("PatientName", "StudyDescription", "SeriesDescription", "InstitutionName", "ImageComments"):
        setattr(scan, tag, script)
    good = tmp_path / f"{HOSTILE}.dcm"
    scan.save_as(good, enforce_file_format=True)
    with pydicom.config.disable_value_validation():
        scan.PhotometricInterpretation = script
        scan.Modality = script
    bad = tmp_path / f"{HOSTILE}-2.dcm"
    scan.save_as(bad, enforce_file_format=True)
    named = tmp_path / f"{HOSTILE}.png"
    named.write_bytes(film.read_bytes())
    text = tmp_path / f"{HOSTILE}.txt"
    text.write_text(script, encoding="utf-8")
    upload(page, good, bad, named, text)
    cards = page.locator(".result")
    for number in range(4):
        cards.nth(number).locator(".body.done, .problem").first.wait_for()
        assert cards.nth(number).locator("h2").inner_text().startswith(HOSTILE)
    assert page.locator("script").count() == 1
    assert page.locator("img[src=x], [onerror]").count() == 0
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").first.click()
    assert "/" not in download.value.suggested_filename
    assert dialogs == []


def test_the_policy_stops_a_script_that_got_in(page: Any) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    refused = page.evaluate(
        """() => {
            const script = document.createElement("script");
            try { script.text = "alert(1)"; document.body.append(script); } catch (error) { return true; }
            return false;
        }"""
    )
    assert refused  # by Trusted Types
    assert dialogs == []


def test_another_site_cannot_use_the_service(browser: Any, serve: Any, make_settings: Any) -> None:
    """A page of another origin: it posts by form and by script, and puts the page into a frame."""
    own, other = serve(make_settings()), serve(make_settings())
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(f"http://127.0.0.1:{other}/healthz")  # any page of another origin whose policy is none
    status = opened.evaluate(
        """async (address) => {
            const form = new FormData();
            form.append("files", new File(["x"], "a.png"));
            try {
                return (await fetch(address, { method: "POST", body: form })).status;
            } catch {
                return "refused";
            }
        }""",
        f"http://127.0.0.1:{own}/v1/segment",
    )
    context.close()
    assert status == "refused"


def test_the_keyboard_reaches_everything(page: Any, film: Path) -> None:
    upload(page, film)
    page.locator("[data-region=mask] .map img").wait_for()
    page.locator("[data-region=full] .map img").wait_for()
    page.evaluate("() => { document.activeElement.blur(); window.scrollTo(0, 0); }")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "() => document.activeElement.getAttribute('aria-label') || document.activeElement.id ||"
                " document.activeElement.name || document.activeElement.textContent"
            )
        )
    for name in ("files", "method", "clear", "region", "Download JSON: film <i>.png"):
        assert name in reached


def test_colours_can_be_switched(page: Any) -> None:
    def background() -> Any:
        return page.evaluate("() => getComputedStyle(document.body).backgroundColor")

    button = page.locator("#theme")
    button.click()
    light = background()
    button.click()
    assert background() != light
    assert button.get_attribute("aria-label") == "Dark colours"
    page.reload()
    assert button.get_attribute("aria-label") == "Dark colours"
