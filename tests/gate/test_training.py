from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from lungcls.data import open_radiography
from lungcls.gate.screening import KINDS, Gate
from lungcls.gate.training import GateRecipe, refit_thresholds, train_gate
from lungcls.phantom import chest_phantom
from lungcls.weights import load_card

SMALL = GateRecipe(channels=(4, 8, 8, 8), hidden=8, steps=3, strangers=30, slices=10, phantoms=4)


@pytest.mark.slow
def test_from_films_to_a_weight_file(manifest_database: Path, tmp_path: Path) -> None:
    database = open_radiography(manifest_database)
    path = train_gate(SMALL, database, tmp_path / "a")
    again = train_gate(SMALL, database, tmp_path / "b")
    assert path.read_bytes() == again.read_bytes()
    card = load_card(path)
    assert (card.task, card.classes) == ("gate", KINDS)
    assert set(card.training_data["images"]) == {"train", "validation"}
    assert card.recipe["steps"] == 3
    with (tmp_path / "a/gate-history.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3"]
    gate = Gate.load(path, "cpu")
    outputs = gate.outputs(np.zeros((2, 64, 64), np.uint8))
    assert outputs.shape == (2, len(KINDS) + 1)
    # The distance was fitted: it is about 1 for films like those of training.
    assert 0.05 < float(np.median(gate.screen([chest_phantom(96, seed=1).image])[0].distance)) < 50

    # Thresholds of the same weights are the same again, and are written over what stood there.
    values = json.loads(path.with_suffix(".json").read_text())
    kept = values["thresholds"]
    values["thresholds"] = dict.fromkeys(kept, 0.123)
    path.with_suffix(".json").write_text(json.dumps(values))
    refit_thresholds(SMALL, database, path)
    assert load_card(path).thresholds == pytest.approx(kept)
