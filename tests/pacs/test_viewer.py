"""A segmentation in a real viewer: OHIF over Orthanc's DICOMweb, in headless Chromium."""

from __future__ import annotations

import functools
import http.server
import io
import os
import shutil
import subprocess
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

pytest.importorskip("dicomweb_client", reason="needs the extra pacs")

from lungcls.pacs.dicomweb import connect, push
from lungcls.pacs.objects import make_objects
from lungcls.pacs.sr import Findings

pytestmark = pytest.mark.slow

OHIF = "@ohif/app@3.13.2"
# Cornerstone3D draws with WebGL, here on the processor.
SWITCHES = (
    *("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
    *("--no-first-run", "--disable-background-networking", "--disable-sync"),
)
CONFIG = """
window.config = {
  routerBasename: null, extensions: [], modes: [], showStudyList: true, maxNumberOfWebWorkers: 1,
  disableConfirmationPrompts: true, showWarningMessageForCrossOrigin: false,
  defaultDataSourceName: "dicomweb",
  investigationalUseDialog: { option: "never" },
  dataSources: [{
    namespace: "@ohif/extension-default.dataSourcesModule.dicomweb", sourceName: "dicomweb",
    configuration: {
      friendlyName: "Orthanc", name: "Orthanc", wadoUriRoot: "/wado", qidoRoot: "/dicom-web",
      wadoRoot: "/dicom-web", qidoSupportsIncludeField: false, imageRendering: "wadors",
      thumbnailRendering: "wadors", enableStudyLazyLoad: true, supportsFuzzyMatching: false,
      supportsWildcard: true, omitQuotationForMultipartRequest: true,
    },
  }],
};
"""


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of OHIF's built application: LUNGCLS_OHIF, or fetched by npm."""
    own = os.environ.get("LUNGCLS_OHIF")
    if own:
        return Path(own)
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: OHIF cannot be fetched, and LUNGCLS_OHIF names none")
    folder = tmp_path_factory.mktemp("ohif")
    fetched = subprocess.run([npm, "pack", OHIF], cwd=folder, capture_output=True, text=True, timeout=600)
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch {OHIF}: {fetched.stderr.strip()[-200:]}")
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / "package" / "dist"


class _Proxy(http.server.SimpleHTTPRequestHandler):
    """OHIF's files with our settings, and Orthanc's DICOMweb under the same address."""

    protocol_version = "HTTP/1.1"
    archive = ""

    def log_message(self, *words: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/dicom-web"):
            self._forward()
        elif path == "/app-config.js":
            self._send(200, "text/javascript", CONFIG.encode())
        elif path == "/init-service-worker.js":
            self._send(200, "text/javascript", b"")
        else:
            if not Path(self.translate_path(path)).is_file():
                self.path = "/index.html"  # a place within the application
            super().do_GET()

    def _forward(self) -> None:
        headers = {"Accept": self.headers.get("Accept", "*/*")}
        try:
            request = urllib.request.Request(self.archive + self.path, headers=headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                self._send(answer.status, answer.headers["Content-Type"], answer.read())
        except urllib.error.HTTPError as error:
            self._send(error.code, "text/plain", error.read())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture(scope="module")
def address(viewer: Path, orthanc: Any) -> Iterator[str]:
    handler = type("Handler", (_Proxy,), {"archive": orthanc.rest})
    bound = functools.partial(handler, directory=str(viewer))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), bound) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    path = next((each for each in found if each), None)
    if path is None:
        pytest.skip("no Chromium is installed: the viewer cannot be opened")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(SWITCHES))
        yield chromium
        chromium.close()


def shown(browser: Any, url: str, kept: Path) -> np.ndarray:
    """What OHIF's viewport shows once colour lies on the film: RGB in [0, 255], [H, W, 3]."""
    page = browser.new_page(viewport={"width": 1000, "height": 700})
    page.set_default_timeout(240_000)
    page.goto(url)
    canvas = page.locator(".cornerstone-canvas").first
    canvas.wait_for()
    for _ in range(120):
        picture = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(int)
        if np.mean(coloured(picture)) > 0.02:
            break
        page.wait_for_timeout(1000)
    Image.fromarray(picture.astype(np.uint8)).save(kept)
    page.close()
    return picture


def coloured(picture: np.ndarray) -> np.ndarray:
    """Pixels that are no grey."""
    return np.asarray(np.ptp(picture, axis=2) > 24)


@pytest.mark.parametrize("flipped", [False, True])
def test_a_viewer_shows_each_lung_where_it_is(
    browser: Any,
    address: str,
    orthanc: Any,
    film_of: Callable[..., Dataset],
    phantom: Any,
    software: Any,
    encoded: Any,
    tmp_path: Path,
    flipped: bool,
) -> None:
    step = -1 if flipped else 1
    pixels, mask = phantom.image[:, ::step], phantom.mask[:, ::step]
    source = film_of(np.ascontiguousarray(pixels), PatientOrientation=["R" if flipped else "L", "F"])
    made = make_objects(source, np.ascontiguousarray(mask), pixels, Findings(), software, ("seg",), True)
    seg = made.datasets["seg"]
    for name, dataset in (("film", source), ("seg", seg)):
        (tmp_path / f"{name}.dcm").write_bytes(encoded(dataset))
    assert [each.state for each in push(connect(orthanc.web), sorted(tmp_path.glob("*.dcm")))] == ["done"] * 2
    place = f"StudyInstanceUIDs={source.StudyInstanceUID}&initialSeriesInstanceUID={seg.SeriesInstanceUID}"
    picture = shown(browser, f"{address}/viewer?{place}", tmp_path / "viewer.png")
    inside = coloured(picture)
    assert inside.mean() > 0.02, "no segmentation is shown"
    # The patient's right lung is blue, the left orange (lungcls.pacs.seg.COLOURS).
    columns = np.arange(picture.shape[1])
    blue = picture[..., 2] - picture[..., 0]
    right, left = inside & (blue > 12), inside & (blue < -12)
    assert min(right.sum(), left.sum()) > 0.3 * inside.sum(), "both lungs have one colour"
    at = [float((side * columns).sum() / side.sum()) for side in (right, left)]
    assert (at[0] < at[1]) is not flipped, "the lungs are shown on the wrong sides"
    # And the colour lies on the lungs: as high and as wide as the mask is in its film.
    rows, across = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    found = (np.ptp(across) + 1) / (np.ptp(rows) + 1)
    expected = (np.ptp(np.flatnonzero(mask.any(0))) + 1) / (np.ptp(np.flatnonzero(mask.any(1))) + 1)
    assert found == pytest.approx(expected, rel=0.06)
