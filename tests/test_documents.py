"""What the documents say agrees with the files that they name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import lungcls
from lungcls.labels import NOTICE
from lungcls.lineage import other_masks
from lungcls.weights import load_card, released

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def benchmark(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("released_weights")


def test_the_table_in_the_readme_is_the_one_that_its_files_make(benchmark: ModuleType) -> None:
    for path, text in benchmark.documents().items():
        assert path.read_text(encoding="utf-8") == text


def test_the_results_are_of_the_weights_that_are_shipped(benchmark: ModuleType) -> None:
    weights = benchmark._read("radiography")["weights"]
    assert set(weights) == {name for name in released() if load_card(name).task != "gate"}
    for name, digest in weights.items():
        assert load_card(name).sha256 == digest


def test_the_test_part_is_that_of_the_split_that_was_trained_with(benchmark: ModuleType) -> None:
    payload = benchmark._read("radiography")
    assert payload["part"] == "test"
    assert payload["notes"] == []
    for name in payload["weights"]:
        assert load_card(name).training_data["split_hash"] == payload["split_hash"]


def test_files_that_the_readme_names_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"(?:docs|benchmarks)/[\w/]+\.(?:png|md|py)", text):
        assert (ROOT / name).is_file(), name


def test_the_readme_says_what_it_is_not_for() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "For research and education only" in NOTICE
    assert "never use it for diagnosis" in text


def test_the_answers_that_documents_quote_are_those_of_the_shipped_weights() -> None:
    film = ROOT / "docs" / "phantom.png"
    said = [f"{region} {lungcls.predict(film, region=region).words()}" for region in ("full", "mask")]
    for name in ("README.md", "docs/index.md", "docs/web.md"):
        assert "\n".join(["```text", *said, "```"]) in (ROOT / name).read_text(encoding="utf-8"), name


def test_the_log_of_experiments_is_the_one_that_its_histories_make(
    benchmark_script: Callable[[str], ModuleType],
) -> None:
    log = benchmark_script("experiments")
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert log.with_table(text) == text
    stated = json.loads((ROOT / "benchmarks" / "results" / "experiments.json").read_text(encoding="utf-8"))
    assert stated["experiments"] == log.experiments()


def test_the_model_card_is_the_one_that_its_files_make(benchmark: ModuleType) -> None:
    text = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
    assert benchmark.card() == text


def test_the_model_card_says_whose_masks_were_trained_on() -> None:
    text = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
    segmenter = load_card("segmenter")
    for name in ("classifier-crop", "classifier-mask"):
        masks = other_masks(load_card(name), segmenter)
        assert f"- `{name}`: trained on masks of {masks or segmenter.name}" in text


def test_the_tables_of_the_benchmarks_are_those_that_their_files_make(
    benchmark_script: Callable[[str], ModuleType],
) -> None:
    documents = benchmark_script("documents")
    for document, tables in documents.TABLES.items():
        text = document.read_text(encoding="utf-8")
        assert documents.with_tables(document) == text
        for table in tables:
            mark = f"<!-- {table.__name__}: written by benchmarks/documents.py -->\n"
            assert mark in text
            section = text.split(mark)[1].split("<!-- end of")[0]
            assert section.startswith(("|", "### ", "```text"))
            assert "\n|" in f"\n{section}" or section.startswith("```text\n"), "a section without a table"


def test_the_table_of_options_is_the_one_that_its_file_makes(
    benchmark_script: Callable[[str], ModuleType],
) -> None:
    options = benchmark_script("training_options")
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert "<!-- training_options: written by benchmarks/training_options.py -->\n|" in text
    assert options.with_table(text) == text
