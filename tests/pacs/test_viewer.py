"""Segmentations in a real viewer: OHIF over Orthanc's DICOMweb, in headless Chromium, on a real film.

The viewer is built from the npm package ``@ohif/app``; ``OHIF_DIST`` names its folder ``dist``.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from typer.testing import CliRunner

pytest.importorskip("dicomweb_client", reason="needs the extra pacs")

from lungcls.cli.main import app
from lungcls.pacs.dicomweb import connect, push
from lungcls.pacs.seg import COLOURS

pytestmark = pytest.mark.slow

DX = "1.2.840.10008.5.1.4.1.1.1.1"
# Cornerstone3D draws with WebGL, here on the processor.
SWITCHES = (
    *("--no-sandbox", "--use-angle=swiftshader"),
    *("--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
)
SETTINGS = """
window.config = {
  routerBasename: "/", extensions: [], modes: [], maxNumberOfWebWorkers: 1, defaultDataSourceName: "dicomweb",
  investigationalUseDialog: { option: "never" },
  dataSources: [{
    namespace: "@ohif/extension-default.dataSourcesModule.dicomweb", sourceName: "dicomweb",
    configuration: {
      name: "Orthanc", qidoRoot: "/dicom-web", wadoRoot: "/dicom-web", imageRendering: "wadors",
      thumbnailRendering: "wadors", omitQuotationForMultipartRequest: true,
    },
  }],
};
"""
# Pixels of the viewport without what the page lays over it, where the centres of the film's first and last
# pixels are on them, and what the viewer calls each segment.
LOOK = """
([width, height]) => {
  const { viewport } = cornerstone.getEnabledElements()[0];
  const { imageData } = viewport.getImageData();
  const place = (x, y) => viewport.worldToCanvas(imageData.indexToWorld([x, y, 0]));
  const [shown] = services.segmentationService.getSegmentations();
  return {
    picture: viewport.canvas.toDataURL().split(",")[1],
    first: place(0, 0), last: place(width - 1, height - 1),
    labels: Object.values(shown?.segments ?? {}).map(segment => segment.label),
  };
}
"""
# How a film is stored, its PatientOrientation, and the segments from the image's left to its right.
FILMS: Final[dict[str, tuple[int, list[str] | None, tuple[str, str]]]] = {
    "taken": (1, ["L", "F"], ("Right lung", "Left lung")),
    "mirrored": (-1, ["R", "F"], ("Left lung", "Right lung")),
    "untold": (
        1,
        None,
        ("Lung at the image's left, side unknown", "Lung at the image's right, side unknown"),
    ),
}


@pytest.fixture(scope="module")
def viewer(orthanc: Any) -> Iterator[Any]:
    """A browser to which OHIF's files and Orthanc's DICOMweb are one address."""
    if not os.environ.get("OHIF_DIST"):
        pytest.skip("OHIF_DIST names no folder: `npm pack @ohif/app@3.13.2` and unpack it")
    folder = Path(os.environ["OHIF_DIST"])
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    path = next((each for each in found if each), None)
    if path is None:
        pytest.skip("no Chromium is installed: the viewer cannot be opened")

    def answer(route: Any) -> None:
        name = route.request.url.removeprefix(orthanc.rest).partition("?")[0].strip("/")
        if name.startswith("dicom-web"):
            route.continue_()
        elif name == "app-config.js":
            route.fulfill(body=SETTINGS, content_type="text/javascript")
        elif name.endswith(".wasm"):
            route.fulfill(path=folder / name, content_type="application/wasm")
        else:  # what is no file is a place within the application
            route.fulfill(path=folder / (name if (folder / name).is_file() else "index.html"))

    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(SWITCHES))
        context = chromium.new_context(viewport={"width": 1200, "height": 800}, service_workers="block")
        context.route(f"{orthanc.rest}/**", answer)
        yield context
        chromium.close()


@pytest.fixture(scope="module")
def studies(
    orthanc: Any,
    real_data: Path,
    film_of: Callable[..., Dataset],
    encoded: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, dict[str, Dataset]]:
    """The film in each way of storing it and what the command makes of it, all of them in Orthanc."""
    if not (real_data / "montgomery" / "images").is_dir():
        pytest.skip("LUNGCLS_DATA holds no montgomery/images: no film to show")
    picture = sorted((real_data / "montgomery" / "images").iterdir())[0]
    pixels = np.asarray(Image.open(picture).convert("L")) / 255
    folder = tmp_path_factory.mktemp("viewer")
    (folder / "films").mkdir()
    for name, (step, orientation, _) in FILMS.items():
        tags = {"PatientOrientation": orientation, "PresentationIntentType": "FOR PRESENTATION"}
        film = film_of(pixels[:, ::step], sop_class=DX, ImagerPixelSpacing=[0.7, 0.7], **tags)
        (folder / "films" / f"{name}.dcm").write_bytes(encoded(film))
    arguments = ["predict", str(folder / "films"), "-o", str(folder / "out"), "--dicom", "seg,sr"]
    done = CliRunner().invoke(app, [*arguments, "--viewer-plane"])
    assert done.exit_code == 0, done.output
    paths = sorted((folder / "films").iterdir()) + sorted((folder / "out" / "dicom").iterdir())
    assert [each.state for each in push(connect(orthanc.web), paths)] == ["done"] * 9
    return {
        name: {
            "film": pydicom.dcmread(folder / "films" / f"{name}.dcm"),
            "seg": pydicom.dcmread(folder / "out" / "dicom" / f"{name}.seg.dcm"),
        }
        for name in FILMS
    }


def shown(viewer: Any, address: str, film: Dataset, seg: Dataset, kept: Path) -> tuple[np.ndarray, Any]:
    """What OHIF's canvas shows once colour lies on the film: RGB, [H, W, 3], and what :data:`LOOK` found."""
    page = viewer.new_page()
    page.set_default_timeout(240_000)
    place = f"StudyInstanceUIDs={film.StudyInstanceUID}&initialSeriesInstanceUID={seg.SeriesInstanceUID}"
    page.goto(f"{address}/viewer?{place}")
    page.locator(".cornerstone-canvas").first.wait_for()
    for _ in range(120):
        page.wait_for_timeout(1000)
        found = page.evaluate(LOOK, [film.Columns, film.Rows])
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["picture"]))).convert("RGB"))
        if np.mean(np.ptp(picture.astype(int), axis=2) > 24) > 0.02:
            break
    Image.fromarray(picture).save(kept)
    page.screenshot(path=kept.with_name("page.png"))
    page.close()
    return picture.astype(int), found


def on_canvas(plane: np.ndarray, shape: tuple[int, ...], found: Any) -> np.ndarray:
    """A plane of the film where the viewer says that the film lies; 0 outside it."""
    steps = np.subtract(found["last"], found["first"]) / (plane.shape[1] - 1, plane.shape[0] - 1)
    places = [
        np.rint((np.arange(size) + 0.5 - found["first"][axis]) / steps[axis]).astype(int)
        for size, axis in ((shape[1], 0), (shape[0], 1))
    ]
    padded = np.pad(plane, 1)
    columns, rows = (np.clip(place + 1, 0, size - 1) for place, size in zip(places, padded.shape[::-1]))
    return np.asarray(padded[np.ix_(rows, columns)])


def dice(one: np.ndarray, two: np.ndarray) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


@pytest.mark.parametrize("name", FILMS)
def test_ohif_shows_each_lung_where_it_is_and_by_its_side(
    viewer: Any, orthanc: Any, studies: dict[str, dict[str, Dataset]], name: str, tmp_path: Path
) -> None:
    film, seg = studies[name]["film"], studies[name]["seg"]
    picture, found = shown(viewer, orthanc.rest, film, seg, tmp_path / "canvas.png")
    segments = {
        segment.SegmentLabel: plane.astype(bool)
        for segment, plane in zip(seg.SegmentSequence, seg.pixel_array)
    }
    assert sorted(found["labels"]) == sorted(segments)
    by_place = sorted(segments, key=lambda label: float(np.nonzero(segments[label])[1].mean()))
    assert tuple(by_place) == FILMS[name][2]

    # The film lies where the viewer says so: what is not coloured has its grey values.
    grey = np.ptp(picture, axis=2) <= 6
    expected = on_canvas(film.pixel_array.astype(float) + 1, picture.shape, found)
    inside = grey & (expected > 0)
    assert np.corrcoef(picture[inside].mean(axis=1), expected[inside])[0, 1] > 0.98

    # Each lung has its side's colour, and the colour lies on the lung.
    lungs = {label: on_canvas(plane, picture.shape, found) > 0 for label, plane in segments.items()}
    assert dice(np.ptp(picture, axis=2) > 24, lungs[by_place[0]] | lungs[by_place[1]]) > 0.97
    for label, lung in lungs.items():
        side = {"Right lung": "right", "Left lung": "left"}.get(label)
        tint = picture[lung] - picture[lung].min(axis=1, keepdims=True)
        order = np.argsort(COLOURS[side])
        # The strongest and the weakest channel are those of the colour.
        assert np.mean(tint[:, order[2]] > tint[:, order[0]] + 12) > 0.97, label
