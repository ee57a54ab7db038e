"""``lungcls export``: the networks as files for other engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcls.errors import OptionError
from lungcls.labels import NOTICE

if TYPE_CHECKING:
    from lungcls.regions import View


def export(
    weights: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|PATH]...",
            help="Weights, each as a file of its own, and the whole pipeline of each classifier with the "
            "segmenter among them; without any: segmenter and classifier-mask.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the files.", show_default=False)
    ] = None,
    format: Annotated[
        str,
        typer.Option("--format", metavar="onnx|openvino|torch", help="torch: a torch.export program (.pt2)."),
    ] = "onnx",
    share_weights: Annotated[
        bool,
        typer.Option(
            "--share-weights",
            help="Write an ONNX graph without weights beside each weight file, which points into it; the "
            "engines onnxruntime and openvino then run the weights by name or path.",
        ),
    ] = False,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="8-bit integers, for openvino, calibrated on the training part."),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="LUNGCLS_DATA", show_envvar=True, help="Dataset to calibrate int8 on."),
    ] = None,
    images: Annotated[int, typer.Option("--images", min=1, help="How many images to calibrate on.")] = 300,
    seed: Annotated[int, typer.Option(help="Of the split, and of which images are drawn.")] = 0,
) -> None:
    """Write the networks for other engines: each stage, and the whole pipeline as one file.

    Exit code: 0 done, 2 wrong use.
    """
    from lungcls.export import FORMATS, export_pipeline, export_stage, write_graph
    from lungcls.weights import load_card

    names = weights or ["segmenter", "classifier-mask"]
    if format not in FORMATS:
        raise OptionError(f"unknown format {format!r}; the formats are {', '.join(FORMATS)}")
    if share_weights:
        if out is not None or format != "onnx" or int8:
            raise OptionError(
                "--share-weights writes ONNX beside the weights; leave out --out, --format and --int8"
            )
        for name in names:
            _say(write_graph(name))
        return
    if out is None:
        raise OptionError("name a folder with --out")
    tasks = {name: load_card(name).task for name in names}
    segmenters = [name for name in names if tasks[name] == "segmentation"]
    if int8:
        if format != "openvino":
            raise OptionError("--int8 is for --format openvino")
        if data is None:
            raise OptionError("--int8 needs images to calibrate on: name a dataset with --data")
        from lungcls.export.quantise import quantise_stage

        for name in names:
            views = _calibration_views(
                name, tasks[name], (segmenters or ["segmenter"])[0], data, images, seed
            )
            _say(quantise_stage(name, out, views))
    else:
        for name in names:
            _say(export_stage(name, out, format))
        for name in names:
            if tasks[name] == "classification" and segmenters:
                _say(export_pipeline(segmenters[0], name, out, format))
    typer.echo(NOTICE)


def _calibration_views(name: str, task: str, segmenter: str, data: Path, images: int, seed: int) -> View:
    from lungcls.classifier import Classifier
    from lungcls.data import open_radiography, split_dataset
    from lungcls.export.quantise import calibration_views
    from lungcls.finder import Finder
    from lungcls.segmenter import Segmenter

    if task == "gate":
        raise OptionError(f"{name}: the gate is too small to gain from --int8; leave it out")
    database = open_radiography(data)
    records = split_dataset(database, seed=seed).select(database.records, "train")
    if task == "segmentation":
        return calibration_views(
            database, records, Segmenter.load(name), Finder.load(None), count=images, seed=seed
        )
    finder = Finder.load(segmenter)
    return calibration_views(database, records, Classifier.load(name), finder, count=images, seed=seed)


def _say(path: Path) -> None:
    parts = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    size = sum(part.stat().st_size for part in parts)
    typer.echo(f"{path} ({size / 1e6:.1f} MB)")
