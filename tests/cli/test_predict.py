from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from typer.testing import CliRunner, Result

from lungcls.cli.inputs import collect, picture_names
from lungcls.cli.main import app
from lungcls.files import atomic_write
from lungcls.labels import CLASSES, NOTICE

Draw = Callable[..., Path]
Run = Callable[..., Result]
TRUST = ["confidence", "tier", "second", "conformal_set", "spread", "disagreement", "promised"]
QUALITY = ["accepted", "ok", "lungs", "mask_area", "balance", "reasons"]
COLUMNS = ["path", *CLASSES, "label", *TRUST, "region", "fallback", *QUALITY]


@pytest.fixture
def run(weights: dict[str, str]) -> Run:
    def invoke(command: str, *arguments: object) -> Result:
        stages = ["--segmenter", weights["segmenter"], "--gate", "none"]
        if command == "predict" and "--classifier" not in arguments:
            stages += ["--classifier", weights["mask"]]
        words = [command, *map(str, arguments), "--device", "cpu", *stages]
        return CliRunner().invoke(app, words, catch_exceptions=False)

    return invoke


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_tables_and_pictures(run: Run, draw: Draw, tmp_path: Path) -> None:
    first = draw(tmp_path / "in/a.png", (150, 200))
    second = draw(tmp_path / "in/sub/b.tif", (180, 100), dtype=np.uint16)
    out = tmp_path / "out"
    result = run("predict", tmp_path / "in", "-o", out)
    assert result.exit_code == 0, result.output
    assert NOTICE in result.stdout
    assert leftovers(out) == []

    rows = read_csv(out / "predictions.csv")
    assert list(rows[0]) == [*COLUMNS, "error"]
    assert [row["path"] for row in rows] == [str(first), str(second)]
    for row in rows:
        assert sum(float(row[name]) for name in CLASSES) == pytest.approx(1, abs=1e-5)
        assert row["label"] == max(CLASSES, key=lambda name: float(row[name]))
        assert (row["region"], row["fallback"], row["ok"], row["lungs"]) == ("mask", "false", "true", "2")
        assert (row["reasons"], row["error"]) == ("", "")

    stored = json.loads((out / "predictions.json").read_text())
    assert stored["notice"] == NOTICE
    assert len(stored["weights"]["segmenter"]["sha256"]) == 64
    assert [row["mask"] for row in stored["predictions"]] == ["masks/a.png", "masks/sub/b.png"]
    assert [float(row["COVID"]) for row in rows] == pytest.approx(
        [row["probabilities"]["COVID"] for row in stored["predictions"]], abs=1e-6
    )

    for name, path in (("a.png", first), ("sub/b.png", second)):
        with Image.open(out / "masks" / name) as mask, Image.open(path) as image:
            assert mask.mode == "L"
            assert mask.size == image.size
            assert np.unique(np.asarray(mask)).tolist() == [0, 255]
            # All but a pixel at the outline: the network saw the film at its own size.
            dark = np.asarray(image) < 0.3 * np.asarray(image).max()
            other = (np.asarray(mask) > 0) != dark
            outline = ndimage.binary_dilation(dark) & ~ndimage.binary_erosion(dark)
            assert not (other & ~outline).any()
        with Image.open(out / "overlays" / name) as overlay, Image.open(path) as image:
            assert overlay.mode == "RGB"
            assert overlay.size == image.size


def test_segment_writes_boxes(run: Run, draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", (150, 200))
    result = run("segment", tmp_path / "a.png", "-o", tmp_path / "out", "--no-overlays")
    assert result.exit_code == 0, result.output
    (row,) = read_csv(tmp_path / "out/segments.csv")
    assert list(row)[:1] == ["path"]
    assert [row[edge] for edge in ("x0", "y0", "x1", "y1")] == ["25", "25", "175", "125"]
    assert (row["ok"], row["error"]) == ("true", "")
    assert json.loads((tmp_path / "out/segments.json").read_text())["segments"][0]["box"] == [
        25,
        25,
        175,
        125,
    ]
    assert (tmp_path / "out/masks/a.png").is_file()
    assert not (tmp_path / "out/overlays").exists()


def test_without_out_a_table_is_printed(run: Run, draw: Draw, tmp_path: Path) -> None:
    name = "[bold]a very long name of a film that no narrow table would hold " * 2 + ".png"
    draw(tmp_path / name)
    draw(tmp_path / "b.png", lungs=1)
    before = sorted(tmp_path.rglob("*"))
    result = run("predict", tmp_path)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert all(name in lines[1] for name in ("path", "label", "probability", *CLASSES, "quality"))
    assert str(tmp_path / name) in result.stdout
    assert "one_lung, whole image used" in next(line for line in lines if "b.png" in line)
    assert lines[-1] == NOTICE
    assert result.stderr == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_bad_files_are_rows_and_the_rest_is_done(run: Run, draw: Draw, tmp_path: Path) -> None:
    good = [draw(tmp_path / f"in/{name}.png", seed=place) for place, name in enumerate("ace")]
    (tmp_path / "in/b.png").write_bytes(b"no image at all")
    (tmp_path / "in/d.png").write_bytes(good[0].read_bytes()[:100])
    missing = tmp_path / "nowhere.png"
    result = run("predict", missing, tmp_path / "in", "-o", tmp_path / "out", "--batch-size", 2)
    assert result.exit_code == 1
    rows = read_csv(tmp_path / "out/predictions.csv")
    assert [Path(row["path"]).name for row in rows] == [
        "nowhere.png", "a.png", "b.png", "c.png", "d.png", "e.png",
    ]  # fmt: skip
    failed = [row for row in rows if row["error"]]
    assert [Path(row["path"]).name for row in failed] == ["nowhere.png", "b.png", "d.png"]
    assert all(row["label"] == "" for row in failed)
    assert all(row["path"] in row["error"] and row["path"] in result.stderr for row in failed)
    stored = json.loads((tmp_path / "out/predictions.json").read_text())["predictions"]
    assert [bool(row["error"]) for row in stored] == [bool(row["error"]) for row in rows]
    assert sorted(path.name for path in (tmp_path / "out/masks").iterdir()) == ["a.png", "c.png", "e.png"]
    printed = run("predict", missing, tmp_path / "in")
    assert printed.exit_code == 1
    assert printed.stdout.count("failed") == 3
    assert str(missing) in printed.stderr


def test_bad_mask_refused_or_whole(run: Run, draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "in/none.png", lungs=0)
    draw(tmp_path / "in/two.png")
    whole = run("predict", tmp_path / "in", "-o", tmp_path / "whole")
    assert whole.exit_code == 0
    assert "1 of them by the whole image" in whole.stdout
    row = read_csv(tmp_path / "whole/predictions.csv")[0]
    assert (row["region"], row["fallback"], row["ok"], row["reasons"]) == (
        "full",
        "true",
        "false",
        "no_lungs",
    )
    refuse = run("predict", tmp_path / "in", "-o", tmp_path / "refuse", "--on-bad-mask", "refuse")
    assert refuse.exit_code == 1
    none, two = read_csv(tmp_path / "refuse/predictions.csv")
    assert "refused" in none["error"]
    assert two["label"] in CLASSES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--region", "liver", "--classifier", ""], "unknown region 'liver'"),
        (["--region", "background", "--classifier", ""], "classifier-background: no such weight file"),
        (["--region", "full"], "sees the region 'mask', not 'full'"),
        (["--classifier", "nobody"], "nobody: no such weight file"),
        (["--on-bad-mask", "cry"], "expected one of 'whole', 'refuse'"),
        (["--device", "quantum"], "unknown device"),
        (["--value-range", "5", "1"], "lo < hi"),
        (["--max-megapixels", "0"], "expected a positive number"),
    ],
)
def test_wrong_use(
    weights: dict[str, str], draw: Draw, tmp_path: Path, arguments: list[str], message: str
) -> None:
    path = draw(tmp_path / "a.png")
    words = ["predict", str(path), "--segmenter", weights["segmenter"], "-o", str(tmp_path / "out")]
    if "--classifier" not in arguments:
        words += ["--classifier", weights["mask"]]
    result = CliRunner().invoke(app, [*words, *arguments], catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_wrong_use_of_paths(run: Run, draw: Draw, tmp_path: Path) -> None:
    path = draw(tmp_path / "in/a.png")
    nothing = run("predict", tmp_path / "nowhere", tmp_path / "*.png")
    assert nothing.exit_code == 2
    assert "nowhere" in nothing.stderr
    assert "*.png" in nothing.stderr
    assert run("predict", path, "-o", path).exit_code == 2
    assert run("predict").exit_code == 2
    assert run("predict", path, "--batch-size", 0).exit_code == 2
    own = draw(tmp_path / "masks/a.png")
    before = own.read_bytes()
    result = run("segment", path, "-o", tmp_path)
    assert result.exit_code == 2
    assert "did not write" in result.stderr
    assert own.read_bytes() == before


def test_value_range_and_pixel_limit_reach_the_reader(run: Run, draw: Draw, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.linspace(-5, 5, 4800, dtype=np.float32).reshape(60, 80)).save(path)
    assert run("segment", path).exit_code == 1
    assert run("segment", path, "--value-range", -5, 5).exit_code == 0
    result = run("segment", draw(tmp_path / "b.png"), "--max-megapixels", 0.001)
    assert result.exit_code == 1
    assert "megapixels" in result.stderr


def test_own_pictures_are_no_inputs(run: Run, draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    for _ in range(2):
        assert run("segment", tmp_path, "-o", tmp_path).exit_code == 0
        assert len(read_csv(tmp_path / "segments.csv")) == 1


def test_exports_of_an_earlier_run_are_no_inputs(draw: Draw, tmp_path: Path) -> None:
    films = [draw(tmp_path / name) for name in ("a.png", "out/dicom/film.png", "labels/b.png")]
    draw(tmp_path / "out/labels/a.png")
    for kind in ("seg", "sc", "film"):
        (tmp_path / "out/dicom" / f"a.{kind}.dcm").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "out/predictions.json").write_text('{"lungcls": "0.1.0"}')
    assert sorted(item.path for item in collect([str(tmp_path)])) == sorted(map(str, films))


def test_names_of_pictures_are_kept_apart(draw: Draw, tmp_path: Path) -> None:
    for name in ("s/a.png", "s/a.jpg", "s/b.png", "s/A.tif", "t/a.png"):
        draw(tmp_path / name)
    found = {
        Path(item.path).relative_to(tmp_path).as_posix(): item.picture for item in collect([str(tmp_path)])
    }
    assert found == {
        "s/A.tif": "s/A.tif.png",
        "s/a.jpg": "s/a.jpg.png",
        "s/a.png": "s/a.png.png",
        "s/b.png": "s/b.png",
        "t/a.png": "t/a.png",
    }
    assert picture_names(["/r/1.2.3", "/r/1.2.4"], "/r") == ["1.2.3.png", "1.2.4.png"]
    awkward = picture_names(["/r/a.png", "/r/a.jpg", "/r/a.jpg.tif"], "/r")
    assert len(set(awkward)) == 3
    assert picture_names(["/r/a.png", "/q/a.png"], "") == ["r/a.png", "q/a.png"]


def test_inputs_keep_their_order_and_come_once(draw: Draw, tmp_path: Path) -> None:
    paths = [str(draw(tmp_path / name)) for name in ("b.png", "a.png")]
    entries = [paths[0], str(tmp_path / "nowhere"), str(tmp_path), str(tmp_path / "*.png")]
    found = collect(entries)
    assert [item.path for item in found] == [paths[0], entries[1], paths[1]]
    assert [bool(item.problem) for item in found] == [False, True, False]


class Stopping:
    """Stage 1 that counts its images and is interrupted before the given batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop_at: int | None = None) -> None:
        from lungcls.segmenter import Segmenter

        self.images = 0
        self.batches = 0
        self.stop_at = stop_at
        monkeypatch.setattr(
            Segmenter, "segment_with_agreement", lambda _, images, aspects=None: self.segment(images)
        )

    def segment(self, images: Sequence[Any]) -> list[tuple[Any, float]]:
        self.batches += 1
        if self.batches == self.stop_at:
            raise KeyboardInterrupt
        self.images += len(images)
        return [(pixels < 0.3, 1.0) for pixels in images]


@pytest.fixture
def interrupted(run: Run, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 7 images in which 4 are done; returns the folder of results."""
    for place in range(7):
        draw(tmp_path / f"in/{place}.png", seed=place)
    Stopping(monkeypatch, stop_at=3)
    result = run("predict", tmp_path / "in", "-o", tmp_path / "out", "--batch-size", 2)
    assert result.exit_code == 130
    assert result.stderr == (
        "lungcls: interrupted with 4 of 7 images done; run the same command again to continue\n"
    )
    assert not (tmp_path / "out/predictions.csv").exists()
    return tmp_path / "out"


def test_interrupted_run_is_continued(
    run: Run, tmp_path: Path, interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with atomic_write(interrupted / "masks/5.png") as file:
        left = Path(file.name)
    left.write_bytes(b"half")
    stage = Stopping(monkeypatch)
    result = run("predict", tmp_path / "in", "-o", interrupted, "--batch-size", 3)
    assert result.exit_code == 0
    assert result.stderr == "lungcls: continuing an earlier run, 4 of 7 images were done\n"
    assert stage.images == 3
    assert leftovers(interrupted) == []
    continued = (interrupted / "predictions.csv").read_bytes()
    again = run("predict", tmp_path / "in", "-o", interrupted)
    assert again.stderr == ""
    assert stage.images == 3 + 7
    assert [row["path"] for row in read_csv(interrupted / "predictions.csv")] == sorted(
        str(path) for path in (tmp_path / "in").iterdir()
    )
    assert [row["path"] for row in csv.DictReader(continued.decode().splitlines())] == [
        row["path"] for row in read_csv(interrupted / "predictions.csv")
    ]


def test_what_changed_is_done_again(
    run: Run, draw: Draw, tmp_path: Path, interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "in/0.png", (30, 40))
    (interrupted / "masks/1.png").unlink()
    journal = interrupted / ".predictions.journal.jsonl"
    # The kill cut the last line.
    journal.write_bytes(journal.read_bytes()[:-20])
    stage = Stopping(monkeypatch)
    result = run("predict", tmp_path / "in", "-o", interrupted)
    assert result.exit_code == 0
    assert "continuing an earlier run, 1 of 7" in result.stderr
    assert stage.images == 6
    with Image.open(interrupted / "masks/0.png") as mask:
        assert mask.size == (40, 30)


def test_a_namesake_in_between_takes_the_row_with_the_picture(
    run: Run, draw: Draw, tmp_path: Path, interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("0.png", "1.png"):
        draw(tmp_path / "other" / name, (30, 40), seed=9)
    Stopping(monkeypatch, stop_at=2)
    assert run("predict", tmp_path / "other", "-o", interrupted, "--batch-size", 1).exit_code == 130
    stage = Stopping(monkeypatch)
    result = run("predict", tmp_path / "in", "-o", interrupted)
    assert "continuing an earlier run, 2 of 7" in result.stderr
    assert stage.images == 5
    with Image.open(tmp_path / "in/0.png") as image, Image.open(interrupted / "masks/0.png") as mask:
        assert mask.size == image.size


@pytest.mark.parametrize(
    "options",
    [["--keep-parts", 1], ["--no-overlays"], ["--on-bad-mask", "refuse"], ["--precision", "bf16"]],
)
def test_other_options_start_anew(
    run: Run, tmp_path: Path, interrupted: Path, monkeypatch: pytest.MonkeyPatch, options: list[object]
) -> None:
    stage = Stopping(monkeypatch)
    result = run("predict", tmp_path / "in", "-o", interrupted, *options)
    assert result.exit_code == 0
    assert "had other weights or options: started anew" in result.stderr
    assert result.stderr.count("\n") == 1
    assert stage.images == 7


def test_failures_are_tried_again(
    run: Run, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in range(4):
        draw(tmp_path / f"in/{place}.png", seed=place)
    bad = tmp_path / "in/0.png"
    good = bad.read_bytes()
    bad.write_bytes(b"x" * len(good))
    status = bad.stat()
    Stopping(monkeypatch, stop_at=2)
    assert run("predict", tmp_path / "in", "-o", tmp_path / "out", "--batch-size", 2).exit_code == 130
    bad.write_bytes(good)
    os.utime(bad, ns=(status.st_atime_ns, status.st_mtime_ns))
    Stopping(monkeypatch)
    assert run("predict", tmp_path / "in", "-o", tmp_path / "out").exit_code == 0


def test_unwritable_results_are_one_line(
    run: Run, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "in/a.png")
    out = tmp_path / "out"
    out.mkdir()
    (out / "predictions.json").write_text("{}")
    (out / "masks").write_text("a file where a folder is needed")
    Stopping(monkeypatch)
    result = run("predict", tmp_path / "in", "-o", out)
    assert result.exit_code == 1
    assert "cannot write the results" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_kill_in_the_middle_of_a_folder(draw: Draw, weights: dict[str, str], tmp_path: Path) -> None:
    count = 40
    for place in range(count):
        draw(tmp_path / f"in/{place:02}.png", (300, 400), seed=place)
    out = tmp_path / "out"
    command = [
        sys.executable, "-c", "from lungcls.cli.main import main; main()",
        "predict", str(tmp_path / "in"), "-o", str(out), "--batch-size", "2", "--device", "cpu",
        "--segmenter", weights["segmenter"], "--classifier", weights["mask"], "--gate", "none",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = out / ".predictions.journal.jsonl"
    try:
        while not (journal.exists() and journal.read_bytes().count(b"\n") > 6):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = journal.read_bytes().count(b"\n") - 1
    assert 6 <= finished < count
    assert not (out / "predictions.csv").exists()
    for path in [*out.glob("masks/[!.]*"), *out.glob("overlays/[!.]*")]:
        with Image.open(path) as picture:
            picture.load()
            assert picture.size == (400, 300)

    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"continuing an earlier run, {finished} of {count} images were done" in result.stderr
    rows = read_csv(out / "predictions.csv")
    assert [Path(row["path"]).name for row in rows] == [f"{place:02}.png" for place in range(count)]
    assert all(row["accepted"] == "true" and not row["error"] for row in rows)
    for kind in ("masks", "overlays"):
        assert sorted(path.name for path in (out / kind).iterdir()) == [f"{n:02}.png" for n in range(count)]
    assert leftovers(out) == []
