from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from lungcls.errors import MissingExtraError
from lungcls.evaluation.reliability import reliability_diagram, save_diagram
from lungcls.evaluation.trust import trust_report
from lungcls.weights import Card


@pytest.fixture
def trust(make_card_values):
    card = Card(**make_card_values(temperature=2.0), sha256="0" * 64)
    rng = np.random.default_rng(0)
    return trust_report(
        rng.normal(size=(80, 4)) * 4, rng.integers(0, 4, 80), range(80), card, n_resamples=20
    ).to_dict()


def test_the_diagram_shows_the_bins_before_and_after(trust):
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    figure = reliability_diagram(trust, "tiny")
    before, after = figure.axes[:2]
    for axes, when in ((before, "uncalibrated"), (after, "calibrated")):
        heights = [patch.get_height() for patch in axes.patches]
        assert heights == pytest.approx([row["accuracy"]["value"] for row in trust["reliability"][when]])
    assert "temperature 2" in after.get_title()


def test_the_file_is_a_picture_and_pyplot_is_left_alone(trust, tmp_path):
    matplotlib = pytest.importorskip("matplotlib", reason="needs the extra plots")
    backend = dict(matplotlib.rcParams)
    path = save_diagram(trust, tmp_path / "new" / "a.png")
    with Image.open(path) as picture:
        assert min(picture.size) > 300
        assert np.asarray(picture.convert("L")).std() > 10
    assert dict(matplotlib.rcParams) == backend
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_without_matplotlib_the_extra_is_named(trust, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"lungcls\[plots\]"):
        reliability_diagram(trust)
