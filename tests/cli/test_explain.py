from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from lungcls.cli.main import app
from lungcls.labels import CLASSES, NOTICE

pytest.importorskip("pytorch_grad_cam", reason="lungcls[explain] is not installed")

Draw = Callable[..., Path]
Run = Callable[..., Result]


@pytest.fixture
def run(weights: dict[str, str]) -> Run:
    def invoke(*arguments: object) -> Result:
        stages = ["--segmenter", weights["segmenter"], "--classifier", weights["mask"], "--gate", "none"]
        words = ["explain", *map(str, arguments), *stages, "--device", "cpu"]
        return CliRunner().invoke(app, words, catch_exceptions=False)

    return invoke


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_figures_maps_and_tables(run: Run, draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png", (150, 200))
    draw(tmp_path / "in/sub/b.tif", (180, 100), dtype=np.uint16)
    out = tmp_path / "out"
    result = run(tmp_path / "in", "-o", out, "--method", "gradcam++", "--target", "COVID", "--npy")
    assert result.exit_code == 0, result.output
    assert NOTICE in result.stdout
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]
    rows = read_csv(out / "explanations.csv")
    stored = json.loads((out / "explanations.json").read_text())
    assert stored["options"]["method"] == "gradcam++"
    for row, values, name, size in zip(
        rows, stored["explanations"], ("a", "sub/b"), ((200, 150), (100, 180))
    ):
        assert (row["method"], row["target"], row["error"]) == ("gradcam++", "COVID", "")
        assert (values["figure"], values["cam"]) == (f"figures/{name}.png", f"cams/{name}.png")
        with Image.open(out / values["cam"]) as cam, Image.open(out / values["figure"]) as figure:
            assert (cam.mode, cam.size) == ("L", size)
            assert figure.height > 1100
            grey = np.asarray(cam)
        array = np.load(out / values["npy"])
        np.testing.assert_allclose(array, grey / 255, atol=1 / 255)
        if row["lungs"]:
            inside, chance, ceiling = (float(row[f"lungs{end}"]) for end in ("", "_chance", "_ceiling"))
            assert inside == pytest.approx(values["shares"]["lungs"], abs=1e-6)
            assert 0 < chance <= ceiling <= 1
            assert inside <= ceiling + 1e-5
    # What was written is no input of the next run.
    again = run(tmp_path, "-o", out, "--method", "gradcam++", "--no-figures", "--no-cams")
    assert again.exit_code == 0
    assert len(read_csv(out / "explanations.csv")) == 2


def test_a_bad_file_takes_only_its_own_place(run: Run, draw: Draw, tmp_path: Path) -> None:
    good = draw(tmp_path / "a.png")
    bad = tmp_path / "b.png"
    bad.write_bytes(b"no image")
    result = run(good, bad, tmp_path / "none.png", "-o", tmp_path / "out", "--panels", "2")
    assert result.exit_code == 1
    assert "b.png" in result.stderr
    assert "none.png" in result.stderr
    rows = read_csv(tmp_path / "out/explanations.csv")
    assert [bool(row["error"]) for row in rows] == [False, True, True]
    assert (tmp_path / "out/figures/a.png").is_file()


def test_a_run_that_was_cut_short_goes_on(
    run: Run, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lungcls.explanation import Explanation

    paths = [draw(tmp_path / f"{name}.png", seed=place) for place, name in enumerate("abc")]
    figure, calls = Explanation.figure, []

    def count(self: Explanation, panels: int = 2) -> Image.Image:
        calls.append(Path(self.prediction.path).name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return figure(self, panels)

    monkeypatch.setattr(Explanation, "figure", count)
    words = [*paths, "-o", tmp_path / "out", "--batch-size", "1"]
    assert run(*words).exit_code == 130
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "continuing an earlier run, 1 of 3" in result.stderr
    assert calls == ["a.png", "b.png", "b.png", "c.png"]
    assert len(read_csv(tmp_path / "out/explanations.csv")) == 3
    # Another method is another run.
    monkeypatch.setattr(Explanation, "figure", figure)
    assert "continuing" not in run(*words, "--method", "layercam").stderr


def test_without_out_a_table_is_printed(run: Run, draw: Draw, tmp_path: Path) -> None:
    result = run(draw(tmp_path / "a.png"), "--target", "Viral Pneumonia")
    assert result.exit_code == 0
    assert "Viral Pneumonia" in result.stdout
    assert "in lungs" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "saliency"], "method is 'saliency'"),
        (["--target", "Flu"], f"{CLASSES[0]}"),
        (["--layer", "nowhere"], "no layer 'nowhere'"),
        (["--panels", "3"], "expected 2 or 4"),
        (["--region", "full"], "leave out the region"),
    ],
)
def test_wrong_use(run: Run, draw: Draw, tmp_path: Path, words: list[str], said: str) -> None:
    result = run(draw(tmp_path / "a.png"), *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_pictures_of_others_are_not_written_over(run: Run, draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "out/figures/mine.png")
    result = run(draw(tmp_path / "a.png"), "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "did not write" in result.stderr
