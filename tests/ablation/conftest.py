"""A small database and a tiny recipe for ablations."""

from __future__ import annotations

from pathlib import Path

import pytest

RECIPE = """
name = "tiny"
task = "classification"
input_size = 32
loss = "cross_entropy"
augmentation = "none"
batch_size = 16
learning_rate = 5e-3
balance = "class_weights"
segmenter = "{segmenter}"
stages = [{{ size = 32, epochs = 1 }}]
[model]
model = "densenet"
growth = 4
blocks = [1, 1, 1, 1]
stem = 8
[region]
name = "full"
"""


@pytest.fixture
def recipe_file(tmp_path: Path, tiny_segmenter: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(segmenter=tiny_segmenter))
    return path
