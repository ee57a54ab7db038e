"""``lungcls export``: the networks as files for other engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lungcls.cli.options import Classes, Layout, OptionalData, Seed, SplitFile, one_of
from lungcls.cli.parts import chosen_part
from lungcls.errors import OptionError
from lungcls.export import FORMATS, export_pipeline, export_stage, write_graph
from lungcls.labels import NOTICE
from lungcls.weights import load_card

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lungcls.data import Dataset, Record
    from lungcls.regions import View

_MONAI: Final = "monai"


def export(
    context: typer.Context,
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
        Path | None,
        typer.Option("-o", "--out", file_okay=False, help="Folder for the files.", show_default=False),
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="|".join((*FORMATS, _MONAI)),
            callback=one_of("--format", (*FORMATS, _MONAI)),
            help="torch: a torch.export program (.pt2). monai: a bundle for lungs of each segmenter, and of "
            "each classifier one from film to class.",
        ),
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
    data: OptionalData = None,
    split: SplitFile = None,
    layout: Layout = None,
    classes: Classes = None,
    images: Annotated[int, typer.Option("--images", min=1, help="How many images to calibrate on.")] = 300,
    seed: Seed = 0,
) -> None:
    """Write the networks for other engines: each stage, and the whole pipeline as one file.

    Exit code: 0 done, 2 wrong use.
    """
    names = weights or ["segmenter", "classifier-mask"]
    tasks = {name: load_card(name).task for name in names}
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
    segmenters = [name for name in names if tasks[name] == "segmentation"]
    if not int8 and (useless := _typed(context, ("data", "split", "layout", "classes", "images", "seed"))):
        raise OptionError(f"{useless} is for the calibration of --int8; leave it out, or add --int8")
    if int8:
        if format != "openvino":
            raise OptionError("--int8 is for --format openvino")
        if data is None:
            raise OptionError("--int8 needs images to calibrate on: name a dataset with --data")
        from lungcls.data import open_dataset
        from lungcls.export.quantise import quantise_stage

        if "gate" in tasks.values():
            raise OptionError("the gate is too small to gain from --int8; leave it out")
        dataset = open_dataset(data, layout=layout, classes=classes)
        records, _ = chosen_part(dataset, "train", split, seed)
        for name in names:
            views = _calibration_views(
                name, tasks[name], (segmenters or ["segmenter"])[0], dataset, records, images, seed
            )
            _say(quantise_stage(name, out, views))
    elif format == _MONAI:
        if "gate" in tasks.values():
            raise OptionError("the gate makes no MONAI bundle; leave it out")
        from lungcls.interop.bundle import export_bundle

        for name in names:
            if tasks[name] == "segmentation":
                typer.echo(export_bundle(out, name))
            else:
                typer.echo(export_bundle(out, (segmenters or ["segmenter"])[0], name))
    else:
        for name in names:
            _say(export_stage(name, out, format))
        for name in names:
            if tasks[name] == "classification" and segmenters:
                _say(export_pipeline(segmenters[0], name, out, format))
    typer.echo(NOTICE)


def _typed(context: typer.Context, names: Sequence[str]) -> str:
    """The first of some options that stands on the command line; empty without any."""
    sources = {name: context.get_parameter_source(name) for name in names}
    typed = (name for name, source in sources.items() if source and source.name == "COMMANDLINE")
    return next((f"--{name}" for name in typed), "")


def _calibration_views(
    name: str,
    task: str,
    segmenter: str,
    dataset: Dataset,
    records: Sequence[Record],
    images: int,
    seed: int,
) -> View:
    from lungcls.classifier import Classifier
    from lungcls.export.quantise import calibration_views
    from lungcls.finder import Finder
    from lungcls.segmenter import Segmenter

    if task == "segmentation":
        return calibration_views(
            dataset, records, Segmenter.load(name), Finder.load(None), count=images, seed=seed
        )
    finder = Finder.load(segmenter)
    return calibration_views(dataset, records, Classifier.load(name), finder, count=images, seed=seed)


def _say(path: Path) -> None:
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    size = sum(file.stat().st_size for file in files)
    typer.echo(f"{path} ({size / 1e6:.1f} MB)")
