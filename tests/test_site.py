"""The documentation site is built without a warning, its links lead somewhere, and it fetches nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `mkdocs build --strict` does it: a link or an anchor that leads nowhere ends it."""
    for package in ("mkdocs", "mkdocstrings", "material", "jupytext", "nbconvert"):
        pytest.importorskip(package, reason="the extra docs is not installed")
    if not (ROOT / "mkdocs.yml").is_file():
        pytest.skip("the tests run without the checkout: there are no documents")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_is_built_and_fetches_nothing(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|img|iframe)[^>]+src="(https?:[^"]+)', text)
        fetched += re.findall(
            r'<link[^>]+rel="(?:stylesheet|preconnect|icon)"[^>]+href="(https?:[^"]+)', text
        )
        assert not fetched, (page, fetched)


@pytest.mark.slow
def test_the_reference_comes_from_the_docstrings(site: Path) -> None:
    text = (site / "reference" / "predict.html").read_text(encoding="utf-8")
    assert "lungcls.pipeline.Pipeline" in text
    assert "Fill holes in the lung mask" in text
    assert ":class:" not in text


def test_links_between_documents_lead_to_files() -> None:
    if not PAGES:
        pytest.skip("the tests run without the checkout: there are no documents")
    made = re.findall(r'"(\w+\.md)": "', (ROOT / "scripts" / "site_hooks.py").read_text(encoding="utf-8"))
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s:]+)[^):]*\)", page.read_text(encoding="utf-8")):
            path = page.parent / target
            notebook = path.with_suffix(".py")
            assert path.is_file() or notebook.is_file() or target in made, (page.name, target)


def test_every_picture_of_the_gallery_is_there() -> None:
    gallery = ROOT / "docs" / "gallery.md"
    if not gallery.is_file():
        pytest.skip("the tests run without the checkout: there are no documents")
    named = set(re.findall(r"\((gallery/\w+\.png)\)", gallery.read_text(encoding="utf-8")))
    assert named == {f"gallery/{path.name}" for path in (ROOT / "docs" / "gallery").glob("*.png")}
