"""``lungcls data`` and ``lungcls evaluate`` as a user types them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lungcls.cli.main import app
from lungcls.data import Split

runner = CliRunner()


def test_summary_counts(manifest_database: Path) -> None:
    done = runner.invoke(app, ["data", "summary", "--data", str(manifest_database), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["images"] == 96
    assert found["with_mask"] == 92
    assert found["classes"]["COVID"] == 24
    text = runner.invoke(app, ["data", "summary"], env={"LUNGCLS_DATA": str(manifest_database)})
    assert "Viral Pneumonia" in text.output


def test_split_writes_a_file_that_keeps_groups(manifest_database: Path, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    done = runner.invoke(app, ["data", "split", "--data", str(manifest_database), "-o", str(path)])
    assert done.exit_code == 0, done.output
    split = Split.read_csv(path)
    assert split.hash in done.output
    assert sum(split.counts().values()) == 96
    parts: dict[str, set[str]] = {}
    for file, part in split.parts.items():
        parts.setdefault(split.groups[file], set()).add(part)
    assert all(len(found) == 1 for found in parts.values())


def test_audit_reports_and_writes(manifest_database: Path, tmp_path: Path) -> None:
    folder = manifest_database / "COVID" / "images"
    (folder / "copy.png").write_bytes((folder / "COVID-1.png").read_bytes())
    (folder / "broken.png").write_bytes(b"not a picture")
    out = tmp_path / "audit.json"
    done = runner.invoke(app, ["data", "audit", str(manifest_database), "-o", str(out)])
    assert done.exit_code == 0, done.output
    text = out.read_text()
    assert "broken.png" in text
    assert "copy.png" in text


def test_download_knows_one_dataset() -> None:
    done = runner.invoke(app, ["data", "download", "imagenet"])
    assert done.exit_code == 2
    assert "radiography" in done.stderr


def test_evaluate_writes_figures_and_answers(
    manifest_database: Path, tiny_segmenter: Path, tiny_classifier: Path, tmp_path: Path
) -> None:
    command = ["evaluate", "--data", str(manifest_database), "--part", "test", "--resamples", "20"]
    command += ["--segmenter", str(tiny_segmenter), "--classifier", str(tiny_classifier)]
    done = runner.invoke(app, [*command, "-o", str(tmp_path), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "macro_f1" in done.output
    payload = json.loads((tmp_path / "evaluation.json").read_text())
    assert payload["part"] == "test"
    with (tmp_path / "evaluation_answers.csv").open() as file:
        assert len(list(csv.DictReader(file))) == payload["images"]
    with (tmp_path / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"model", "metric", "class", "value", "low", "high"} <= rows[0].keys()


def test_evaluate_on_masks_alone_skips_stage_two(
    original_database: Path, tiny_segmenter: Path, tmp_path: Path
) -> None:
    command = ["evaluate", "--data", str(original_database / "COVID"), "--segmenter", str(tiny_segmenter)]
    done = runner.invoke(app, [*command, "-o", str(tmp_path), "--resamples", "20", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    payload = json.loads((tmp_path / "evaluation.json").read_text())
    assert list(payload["reports"]) == ["tiny-segmenter"]
    assert payload["part"] == "all"


@pytest.mark.parametrize("command", [["evaluate"], ["data", "summary"], ["data", "split", "-o", "x.csv"]])
def test_a_wrong_folder_says_what_was_expected(command: list[str], tmp_path: Path) -> None:
    done = runner.invoke(app, [*command, "--data", str(tmp_path)])
    assert done.exit_code == 2
    assert "COVID/images" in done.stderr
    assert not Path("x.csv").exists()


def test_plots_write_a_page(manifest_database: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (manifest_database / "COVID/images/COVID-1.png").write_bytes(b"broken")
    done = runner.invoke(app, ["data", "plots", str(manifest_database), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "1 files cannot be used" in done.output
    assert (tmp_path / "out" / "index.html").is_file()
    assert (tmp_path / "out" / "class_distribution_bar.png").is_file()


def test_summary_writes_tables(manifest_database: Path, tmp_path: Path) -> None:
    command = ["data", "summary", str(manifest_database), "-o", str(tmp_path / "out"), "--classes", "binary"]
    done = runner.invoke(app, command)
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["classes"] == {
        "COVID": 24,
        "other": 72,
    }
    with (tmp_path / "out" / "images.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 96


def _own_split(root: Path, manifest_database: Path) -> Path:
    """Class folders with a split of their own: one film in two parts, and a test part without one class."""
    for label, name in (("ill", "COVID"), ("well", "Normal")):
        for number in range(1, 25):
            target = root / "train" / label / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((manifest_database / f"{name}/images/{name}-{number}.png").read_bytes())
    test = root / "test" / "ill" / "copy.png"
    test.parent.mkdir(parents=True)
    test.write_bytes((root / "train/ill/7.png").read_bytes())
    return root


def test_the_own_split_is_kept_and_its_faults_are_said(manifest_database: Path, tmp_path: Path) -> None:
    root = _own_split(tmp_path / "own", manifest_database)
    path, cache = tmp_path / "split.csv", tmp_path / "copies.npz"
    command = ["data", "split", str(root), "-o", str(path), "--cache", str(cache)]
    done = runner.invoke(app, [*command, "--official"])
    assert done.exit_code == 0, done.output
    parts = Split.read_csv(path).parts
    assert parts["test/ill/copy.png"] == "test"
    assert set(parts.values()) == {"train", "validation", "test"}
    assert "the part test holds no image of well" in done.output
    assert "lie in more than one part" in done.output
    assert cache.is_file()
    grouped = runner.invoke(app, command)
    assert grouped.exit_code == 0, grouped.output
    assert "lie in more than one part" not in grouped.output
    audit = runner.invoke(app, ["data", "audit", str(root)])
    assert "across splits      1 groups of 2 images" in audit.output
