"""The page that corrects masks: its service, and the page itself in headless Chromium."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lungcls.data import open_dataset
from lungcls.data.masks import read_mask
from lungcls.errors import DataError
from lungcls.finder import Finder
from lungcls.phantom import chest_phantom
from lungcls.web.review import Reviewed, create_review

SIZE = (90, 110)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(2):
        pixels = np.rint(chest_phantom(SIZE, seed=number).image * 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"film-{number}.png")
    return tmp_path


@pytest.fixture
def app(folder: Path, dark_segmenter: Any) -> Any:
    return create_review(Reviewed(folder, Finder(dark_segmenter, None)))


@pytest.fixture
def client(app: Any) -> Any:
    from starlette.testclient import TestClient

    return TestClient(app, base_url="http://localhost")


def png(mask: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(mask, np.uint8) * np.uint8(255)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_saved_mask_is_shown_again_and_read_as_a_dataset(client: Any, folder: Path) -> None:
    assert client.get("/films").json() == [
        {"name": "film-0.png", "saved": False},
        {"name": "film-1.png", "saved": False},
    ]
    drawn = np.asarray(Image.open(io.BytesIO(client.get("/masks/0").content)))
    film = np.asarray(Image.open(io.BytesIO(client.get("/films/0").content)))
    assert drawn.shape == film.shape == SIZE
    mask = np.zeros(SIZE, bool)
    mask[20:60, 10:40] = mask[20:60, 60:90] = True
    assert client.put("/masks/0", content=png(mask)).json() == {"saved": "film-0.png"}
    np.testing.assert_array_equal(read_mask(folder / "masks" / "film-0.png"), mask)
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(client.get("/masks/0").content))) > 0, mask
    )
    assert [one["saved"] for one in client.get("/films").json()] == [True, False]
    assert [bool(one.mask) for one in open_dataset(folder).records] == [True, False]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no image", "no PNG"),
        (png(np.ones((5, 5))), "5 x 5 pixels, expected 110 x 90"),
        (png(np.zeros(SIZE)), "nothing is marked"),
    ],
)
def test_what_is_no_mask_is_refused_and_nothing_is_written(
    client: Any, folder: Path, content: bytes, says: str
) -> None:
    answer = client.put("/masks/0", content=content)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert not (folder / "masks").exists()
    assert client.get("/films/7").status_code == 422


def test_other_sites_and_other_names_are_refused(client: Any) -> None:
    assert client.put("/masks/0", content=b"", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.get("/films", headers={"Host": "evil.example"}).status_code == 400


def test_folders_without_films_or_with_other_masks_are_refused(folder: Path, dark_segmenter: Any) -> None:
    finder = Finder(dark_segmenter, None)
    with pytest.raises(DataError, match="no films"):
        Reviewed(folder / "images" / "nothing", finder)
    (folder / "masks").mkdir()
    Image.new("L", (110, 90), 255).save(folder / "masks" / "film-0.gif")
    with pytest.raises(DataError, match="saved as PNG"):
        Reviewed(folder, finder)


@pytest.fixture
def page(app: Any) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    path = next((each for each in found if each), None)
    if path is None:
        pytest.skip("no Chromium is installed: the page is not tried in a browser")
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        threading.Event().wait(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        opened = chromium.new_page(viewport={"width": 900, "height": 900})
        errors: list[str] = []
        opened.on("pageerror", lambda each: errors.append(str(each)))
        opened.goto(f"http://127.0.0.1:{port}/")
        opened.locator('body[data-ready="0"]').wait_for()
        yield opened
        chromium.close()
    server.should_exit = True
    thread.join(30)
    assert errors == []


def test_brush_erase_smooth_and_undo_change_the_saved_mask(page: Any, folder: Path) -> None:
    box = page.locator("#mask").bounding_box()
    scale = box["width"] / SIZE[1]

    def stroke(x0: float, x1: float, y: float) -> None:
        page.mouse.move(box["x"] + x0 * scale, box["y"] + y * scale)
        page.mouse.down()
        page.mouse.move(box["x"] + x1 * scale, box["y"] + y * scale, steps=4)
        page.mouse.up()

    page.locator("#size").fill("60")
    stroke(5, 105, 8)  # above the lungs, where there is none
    page.locator("#erase").click()
    stroke(5, 50, 45)  # through the lung on the left
    page.locator("#brush").click()
    stroke(5, 105, 85)
    page.locator("#undo").click()  # the last stroke alone
    page.locator("#smooth").click()
    page.locator("#save").click()
    page.locator('body[data-ready="1"]').wait_for()
    assert "Saved: film-0.png" in page.locator("#status").inner_text()
    saved = read_mask(folder / "masks" / "film-0.png")
    assert saved.shape == SIZE
    assert saved[8, 20:90].all()
    assert not saved[45, 10:45].any()
    assert saved[45, 55:].any()
    assert not saved[85, 20:90].all()
    assert page.locator("#progress").inner_text() == "film-1.png: 2 of 2; 1 saved"
