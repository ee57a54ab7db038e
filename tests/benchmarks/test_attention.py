"""The attention benchmark on films whose boxes are known."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("pytorch_grad_cam", reason="lungcls[explain] is not installed")


@pytest.fixture(scope="module")
def attention(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("attention")


def test_it_runs_from_films_to_tables(
    attention: ModuleType,
    manifest_database: Path,
    tiny_segmenter: Path,
    tiny_classifier: Path,
    tmp_path: Path,
) -> None:
    files = [f"Lung_Opacity/images/Lung_Opacity-{number}.png" for number in range(1, 25)]
    lines = [
        "file,x0,y0,x1,y1",
        *(f"{file},0,0,{64 if place % 2 else 8},64" for place, file in enumerate(files)),
    ]
    (manifest_database / "boxes.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    stages = ["--classifier", str(tiny_classifier), "--segmenter", str(tiny_segmenter), "--device", "cpu"]
    settings = ["--methods", "gradcam", "layercam", "--resamples", "20", "--quick", "--out", str(out)]
    attention.main(["--data", str(manifest_database), *stages, *settings])
    found = json.loads((out / "attention_quick_boxes.json").read_text())
    assert found["part"] == "test"
    assert found["split_hash"]
    assert found["versions"]["grad-cam"] != "not installed"
    with (out / "attention_quick_answers.csv").open(newline="") as file:
        films = list(csv.DictReader(file))
    on_boxes = [film for film in films if film["question"] == "boxes"]
    assert {film["method"] for film in on_boxes} == {"gradcam", "layercam"}
    assert {film["network"] for film in on_boxes} == {"trained", "random"}
    for film in on_boxes:
        whole = files.index(film["file"]) % 2
        # A box around the whole film holds every peak and all of the map; a strip at its border holds no more
        # than the map's resolution allows.
        if whole and film["empty"] == "False":
            assert float(film["energy"]) == pytest.approx(1)
            assert float(film["hit"]) <= float(film["hit_ceiling"]) == 1
        if not whole:
            assert 0 <= float(film["energy_chance"]) < 0.3
            assert film["energy"] == "" or float(film["energy"]) <= float(film["energy_ceiling"]) + 1e-6
    figures = {(r["method"], r["network"], r["metric"]): r for r in found["figures"]}
    energy = figures["gradcam", "trained", "energy_chance"]
    own = [film for film in on_boxes if (film["method"], film["network"]) == ("gradcam", "trained")]
    assert energy["value"] == pytest.approx(sum(float(f["energy_chance"]) for f in own) / len(own))
    assert energy["n"] == len(own)
    lungs = json.loads((out / "attention_quick_lungs.json").read_text())
    assert {row["class"] for row in lungs["figures"]} > {"COVID", "Normal", "all"}


def test_films_without_a_map_have_no_share_and_no_say_in_the_mean(attention: ModuleType) -> None:
    films = [
        {"file": name, "region": "full", "energy": value, "energy_chance": 0.25, "empty": value != value}
        for name, value in (("a", 0.5), ("b", float("nan")), ("c", 1.0))
    ]
    rows = attention.summarise(films, {"a": "1", "b": "2", "c": "3"}, ("energy",), ("region",), 50, 0)
    values = {row["metric"]: row for row in rows}
    assert values["energy"]["value"] == pytest.approx(0.75)
    assert values["energy_minus_chance"]["value"] == pytest.approx(0.5)
    assert (values["energy"]["n"], values["energy"]["empty"]) == (3, 1)


def test_regions_are_compared_film_by_film(attention: ModuleType) -> None:
    films = [
        {"region": region, "method": "gradcam", "network": network, "file": name, "energy": value}
        for region, network, values in (
            ("full", "trained", (0.1, 0.2)),
            ("mask", "trained", (0.3, 0.6)),
            ("mask", "random", (0.3, 0.5)),
        )
        for name, value in zip("ab", values)
    ]
    rows = attention.differences(films, {"a": "1", "b": "2"}, ("energy",), 50, 0)
    assert {(row["comparison"], row["region"]): row["value"] for row in rows} == {
        ("mask minus full", "mask"): pytest.approx(0.3),
        ("trained minus random", "mask"): pytest.approx(0.05),
    }
