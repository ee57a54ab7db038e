"""Plots of a model's report: what they show is what the answers say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from lungcls.data import Dataset, Record
from lungcls.data.views import drawn_lungs
from lungcls.errors import DataError
from lungcls.evaluation.classification import classification_report
from lungcls.render.drawing import save_figure
from lungcls.reports.curves import curves, read_history
from lungcls.reports.gallery import gallery, misclassified
from lungcls.reports.plots import class_bars, confusion_matrix
from lungcls.reports.roc import MACRO, roc_curves, roc_figure, roc_rows
from lungcls.study.answers import Answers
from lungcls.study.study import Study

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib (the extra plots) is not installed"
)
CLASSES = ("COVID", "Normal", "Viral Pneumonia")


@pytest.fixture
def answers() -> Answers:
    """Forty images of two of three classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    scores = rng.random((40, 3)) + 0.6 * np.eye(3)[labels]
    files = tuple(f"{index}.png" for index in range(40))
    return Answers("net", CLASSES, files, files, labels, np.log(scores))


def test_confusion_matrix_shows_the_counts(answers: Answers, tmp_path: Path) -> None:
    report = classification_report(answers.labels, answers.probabilities, answers.groups, CLASSES, 50)
    figure = confusion_matrix(report, "net")
    texts = [text.get_text().split("\n")[0] for text in figure.axes[0].texts]
    assert [int(text) for text in texts] == report.confusion.ravel().tolist()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "COVID\n(20)",
        "Normal\n(20)",
        "Viral Pneumonia\n(0)",
    ]
    path = save_figure(figure, tmp_path / "confusion.png")
    with Image.open(path) as picture:
        assert picture.width > 200
    assert (
        save_figure(confusion_matrix(report, "net"), tmp_path / "again.png").read_bytes() == path.read_bytes()
    )


def test_bars_say_where_a_class_has_no_image(answers: Answers) -> None:
    report = classification_report(answers.labels, answers.probabilities, answers.groups, CLASSES, 50)
    texts = [text.get_text() for text in class_bars(report).axes[0].texts]
    assert texts.count("no image") == 3
    assert f"{report.per_class['COVID']['precision'].value:.2f}" in texts


def test_areas_are_those_of_scikit_learn(answers: Answers) -> None:
    found = {curve.name: curve for curve in roc_curves(answers)}
    expected = [roc_auc_score(answers.labels == k, answers.probabilities[:, k]) for k in (0, 1)]
    assert [found[name].area for name in CLASSES[:2]] == pytest.approx(expected)
    assert np.isnan(found["Viral Pneumonia"].area)
    assert found["Viral Pneumonia"].false_positive.size == 0
    # The mean curve's area is the mean of the areas that exist.
    assert found[MACRO].area == pytest.approx(np.mean(expected))
    assert (np.diff(found[MACRO].true_positive) >= -1e-12).all()


def test_the_roc_figure_names_an_absent_class(answers: Answers) -> None:
    found = roc_curves(answers)
    legend = roc_figure(found, "net").axes[0].get_legend()
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[2].startswith("Viral Pneumonia (no curve")
    assert len(roc_rows(found)) == sum(curve.false_positive.size for curve in found)


def test_no_curve_at_all(answers: Answers) -> None:
    one = Answers("net", CLASSES, answers.files, answers.groups, np.zeros(40, np.int64), answers.logits)
    assert all(np.isnan(curve.area) for curve in roc_curves(one))


def test_the_gallery_shows_the_surest_mistakes(answers: Answers, tmp_path: Path) -> None:
    for file in answers.files:
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / file)
    rows = misclassified(answers)
    wrong = answers.predicted != answers.labels
    assert len(rows) == wrong.sum() > 2
    chances = [row["probability"] for row in rows]
    assert chances == sorted(chances, reverse=True)
    database = Dataset(tmp_path)
    records = [Record(file, CLASSES[label]) for file, label in zip(answers.files, answers.labels)]
    study = Study(database, records, drawn_lungs(database, records))
    figure = gallery(rows[:2], study)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(titles) == 2
    first = rows[0]
    assert (
        titles[0]
        == f"{first['file']}\ntrue {first['label']}\nsaid {first['predicted']} {first['probability']:.2f}"
    )
    assert gallery([], study).texts[0].get_text() == "no image is misclassified"


def test_curves_cover_every_epoch(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(
        "epoch,size,learning_rate,seconds,train_loss,validation_macro_f1,validation_loss\n"
        "0,16,0.1,1,0.9,0.2,\n1,16,0.1,1,0.8,0.3,0.7\n2,32,0.1,1,0.6,0.5,0.6\n"
    )
    figure = curves(read_history(path), "run")
    loss, score = figure.axes
    assert [line.get_label() for line in loss.lines[:2]] == ["train loss", "validation loss"]
    assert loss.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert score.lines[0].get_ydata().tolist() == [0.2, 0.3, 0.5]
    assert " 32 px" in [text.get_text() for text in loss.texts]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "epoch,size\nx,1\n", "epoch,size\n"])
def test_what_is_no_history(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"history\.csv"):
        read_history(path)
