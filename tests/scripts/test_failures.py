"""Pictures of what the weights get wrong, from the result files that are shipped."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from release.failures import answered, save_failures

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
ANSWERS = "released_weights_radiography_answers.csv"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for path in [*RESULTS.glob("released_weights_*.json"), RESULTS / ANSWERS]:
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path


def test_answers_are_those_that_the_confusion_matrix_counts(results: Path) -> None:
    reports = json.loads((results / "released_weights_radiography.json").read_text(encoding="utf-8"))[
        "reports"
    ]
    report = reports["classifier-mask"]
    answers = [answer for answer in answered(results / ANSWERS) if answer.model == "classifier-mask"]
    counts = Counter((answer.label, answer.said) for answer in answers)
    for i, truth in enumerate(report["classes"]):
        for j, said in enumerate(report["classes"]):
            assert counts[truth, said] == report["confusion_matrix"]["counts"][i][j]
    right = sum(answer.right for answer in answers) / len(answers)
    assert right == pytest.approx(report["overall"]["accuracy"]["value"])
    assert all(0.25 <= answer.confidence <= 1 for answer in answers)


def test_equal_results_give_equal_pictures_and_others_do_not(results: Path, tmp_path: Path) -> None:
    first = save_failures(results, tmp_path / "a.png").read_bytes()
    assert save_failures(results, tmp_path / "b.png").read_bytes() == first
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > picture.height > 500
    (results / "released_weights_shenzhen.json").unlink()
    assert save_failures(results, tmp_path / "c.png").read_bytes() != first


def test_results_of_classifiers_alone_can_be_drawn(results: Path, tmp_path: Path) -> None:
    for path in results.glob("released_weights_*.json"):
        payload = json.loads(path.read_text(encoding="utf-8"))
        payload["reports"].pop("segmenter", None)
        path.write_text(json.dumps(payload))
    assert save_failures(results, tmp_path / "a.png").is_file()
