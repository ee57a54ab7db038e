"""A wrong name is told before anything is loaded: weights beside it that cannot be loaded stay unopened."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lungcls.cli.main import app


def damaged(weights: Path, folder: Path) -> Path:
    """A copy whose card is sound, and whose numbers are not."""
    shutil.copy(weights.with_suffix(".json"), folder)
    copy = Path(shutil.copy(weights, folder))
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    return copy


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("predict FILMS --segmenter SEGMENTER --gate gat", "gat: no such weight file"),
        ("features FILMS -o OUT.npy --segmenter SEGMENTER --gate gat", "gat: no such weight file"),
        ("explain FILMS --segmenter SEGMENTER --method gradcm", "--method is 'gradcm'"),
        ("shortcuts CLASSIFIER --data NOWHERE -o OUT", "--data takes the folder of a dataset"),
        ("drift FILMS FILMS --part tset --segmenter SEGMENTER", "--part is 'tset'"),
        ("drift FILMS NOWHERE --segmenter SEGMENTER", "NOWHERE: neither a folder nor statistics"),
        ("drift FILMS --save OUT --segmenter SEGMENTER", "expected a name that ends in .npz"),
        ("drift OUT.npz FILMS --part test --segmenter SEGMENTER", "has its statistics already"),
        ("page build -o OUT --classifier CLASSIFIER --segmenter segmentr", "segmentr: no such weight file"),
        ("page build -o OUT --classifier SEGMENTER", "is made for segmentation"),
        ("paper CLASSIFIER -o OUT --classes binary", "name it with --data"),
    ],
)
def test_before_anything_is_loaded(
    command: str, told: str, tiny_segmenter: Path, tiny_classifier: Path, tmp_path: Path
) -> None:
    films = tmp_path / "FILMS"
    films.mkdir()
    (films / "a.png").write_bytes(b"not looked at")
    places = {
        "SEGMENTER": damaged(tiny_segmenter, tmp_path),
        "CLASSIFIER": damaged(tiny_classifier, tmp_path),
        **{name: tmp_path / name for name in ("FILMS", "NOWHERE", "OUT", "OUT.npz", "OUT.npy")},
    }
    result = CliRunner().invoke(app, [str(places.get(word, word)) for word in command.split()])
    assert result.exit_code == 2, result.output
    assert told in " ".join(result.stderr.split())
    assert not (tmp_path / "OUT").exists()
