"""``lungcls paper`` on a run over phantoms: what is filled is in the files, the rest is left to a person."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from lungcls.cli.main import app
from lungcls.errors import DataError, OptionError
from lungcls.paper.checklists import FILLED, NAMES
from lungcls.paper.evidence import gather


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def written(run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the paper, its dataset's manifest telling age and sex of some."""
    pytest.importorskip("docx", reason="python-docx is not installed")
    data = Path(shutil.copytree(run.data, tmp_path_factory.mktemp("told") / "data"))
    films = rows(data / "manifest.csv")
    for number, film in enumerate(films):
        film["age"], film["sex"] = (str(20 + number % 60), "MF"[number % 2]) if number < 50 else ("", "")
    with (data / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(films[0]))
        writer.writeheader()
        writer.writerows(films)
    out = tmp_path_factory.mktemp("paper")
    command = ["paper", run.training, run.results, "--data", data, "-o", out]
    done = CliRunner().invoke(app, list(map(str, command)))
    assert done.exit_code == 0, done.output
    assert "CLAIM 2024: " in done.output
    return out


def test_every_filled_item_names_a_file_that_is_there(written: Path, run: Any) -> None:
    there = {str(path) for folder in (run.training, run.results) for path in folder.iterdir()}
    own = {"checklists/"}
    for name in NAMES:
        for row in rows(written / "checklists" / f"{name}.csv"):
            if row["state"] != FILLED:
                assert row["state"] == "does not apply" or row["left to you"]
                continue
            assert row["what is known"]
            for file in row["file"].split("; "):
                known = file in there | own or file.startswith(("COVID-19 Radiography", "tiny-segmenter"))
                assert known, (name, row["item"], file)


def test_the_figures_of_the_text_are_those_of_the_evaluation(written: Path, run: Any) -> None:
    payload = json.loads((run.results / "evaluation.json").read_text(encoding="utf-8"))
    accuracy = payload["reports"]["tiny"]["overall"]["accuracy"]
    said = f"accuracy {accuracy['value']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f})"
    facts = json.loads((written / "facts.json").read_text(encoding="utf-8"))
    assert said in facts["performance"]["text"]
    item = next(row for row in rows(written / "checklists" / "claim-2024.csv") if row["item"] == "37")
    assert said in item["what is known"]
    assert f"{payload['films']['refused']:,} refused" in facts["flow"]["text"]
    assert "no group is in two parts" in facts["disjoint"]["text"]


def test_table_one_counts_what_the_manifest_tells(written: Path, run: Any) -> None:
    table = {row["characteristic"]: row for row in rows(written / "tables" / "table_one.csv")}
    films = rows(run.data / "manifest.csv")
    assert table["films"]["all"] == str(len(films))
    assert sum(int(table["films"][part]) for part in ("train", "validation", "test")) == len(films)
    assert table["sex male"]["all"].startswith("25 (")
    assert table["age not known"]["all"].startswith(f"{len(films) - 50} (")
    assert table["view"]["all"] == "not known"


def test_what_is_not_known_is_left_to_a_person(written: Path) -> None:
    states = {row["item"]: row["state"] for row in rows(written / "checklists" / "claim-2024.csv")}
    assert states["27"] == "does not apply"  # one network
    assert {states[number] for number in ("11", "33", "34", "44")} == {"needs you"}


def test_the_dataset_is_described_as_mlcroissant_reads_it(written: Path, run: Any) -> None:
    mlc = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    described = mlc.Dataset(jsonld=str(written / "croissant.json"))
    found = [record["films/file"].decode() for record in described.records("films")]
    assert found == [row["file"] for row in rows(run.data / "manifest.csv")]


def test_pictures_are_for_print_and_the_document_opens(written: Path) -> None:
    import docx

    drawn = {path.stem for path in (written / "figures").glob("*.png")}
    assert drawn >= {"flow", "confusion", "classes", "roc", "reliability", "decision_curve", "curves"}
    for name in drawn:
        with Image.open(written / "figures" / f"{name}.png") as picture:
            assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert (written / "figures" / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"
    document = docx.Document(str(written / "paper.docx"))
    headings = [one.text for one in document.paragraphs if one.style.name.startswith("Heading")]
    assert {"Methods", "CLAIM 2024", "TRIPOD+AI", "STARD-AI", "METRICS"} <= set(headings)


def test_results_of_other_weights_are_not_used(run: Any, tmp_path: Path) -> None:
    shutil.copytree(run.results, tmp_path / "results")
    path = tmp_path / "results" / "evaluation.json"
    payload = json.loads(path.read_text(encoding="utf-8"))
    payload["weights"]["tiny"] = "0" * 64
    path.write_text(json.dumps(payload), encoding="utf-8")
    found = gather([run.training, tmp_path / "results"])
    assert found.evaluation is None
    assert found.notes == (f"{path} is of other weights named tiny: it is not used",)


def test_what_cannot_be_told_is_refused(run: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="hold no card of a classifier"):
        gather([run.results])
    with pytest.raises(DataError, match="no folder, no result and no weights"):
        gather([tmp_path / "nothing"])
    with pytest.raises(OptionError, match="several classifiers: say --model tiny"):
        gather([run.training, "classifier-full"])
    with pytest.raises(OptionError, match="--model is 'huge'; the runs hold tiny"):
        gather([run.training], model="huge")
