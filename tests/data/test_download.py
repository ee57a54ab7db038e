from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from lungcls.data.download import DATASET, download_radiography
from lungcls.errors import DataError, MissingExtraError
from lungcls.labels import CLASSES


class FakeHub(ModuleType):
    """Stands in for kagglehub: answers with a folder, or fails as the real one does."""

    def __init__(self, answer: Path | Exception) -> None:
        super().__init__("kagglehub")
        self.answer = answer
        self.calls: list[tuple[str, bool]] = []

    def dataset_download(self, handle: str, *, force_download: bool = False) -> str:
        self.calls.append((handle, force_download))
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


def install(monkeypatch: pytest.MonkeyPatch, answer: Path | Exception) -> FakeHub:
    hub = FakeHub(answer)
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    return hub


def lay_out(root: Path) -> Path:
    for name in CLASSES:
        (root / name / "images").mkdir(parents=True)
    return root


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingExtraError, match=r"lungcls\[data\]"):
        download_radiography()


@pytest.mark.parametrize(
    "inner", ["", "COVID-19_Radiography_Dataset", "archive/COVID-19_Radiography_Dataset"]
)
def test_finds_the_class_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inner: str) -> None:
    root = lay_out(tmp_path / inner)
    hub = install(monkeypatch, tmp_path)
    assert download_radiography() == root
    assert download_radiography(force=True) == root
    assert hub.calls == [(DATASET, False), (DATASET, True)]


@pytest.mark.parametrize(
    "failure",
    [ConnectionError("Max retries exceeded"), RuntimeError("401 Client Error"), OSError(28, "No space left")],
)
def test_failed_download_says_how_to_get_it_by_hand(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    install(monkeypatch, failure)
    with pytest.raises(DataError) as caught:
        download_radiography()
    message = str(caught.value)
    assert str(failure) in message
    assert DATASET in message
    assert "by hand" in message
    assert all(f"{name}/images" in message for name in CLASSES)
    assert caught.value.__cause__ is failure


def test_other_content(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "COVID" / "images").mkdir(parents=True)
    (tmp_path / "README.md").write_text("x")
    install(monkeypatch, tmp_path)
    with pytest.raises(DataError, match=r"holds COVID, README\.md; expected the folders 'COVID/images'"):
        download_radiography()
    install(monkeypatch, tmp_path / "nowhere")
    with pytest.raises(DataError, match="not a folder"):
        download_radiography()
