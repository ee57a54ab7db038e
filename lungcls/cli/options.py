"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Data: TypeAlias = Annotated[
    Path, typer.Option("--data", envvar="LUNGCLS_DATA", help="Folder of the dataset.", show_envvar=True)
]
Device: TypeAlias = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Engine: TypeAlias = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="auto|torch|onnxruntime|openvino",
        help="What runs the networks; auto is torch where it is installed.",
    ),
]
Precision: TypeAlias = Annotated[
    str,
    typer.Option("--precision", metavar="fp32|bf16", help="Arithmetic in the networks; bf16 is faster."),
]
Inputs: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="INPUT...", help="Files, folders and patterns such as 'scans/**/*.dcm'."),
]
Out: TypeAlias = Annotated[
    Path | None,
    typer.Option("-o", "--out", help="Folder for tables and pictures; without it a table is printed."),
]
SegmenterName: TypeAlias = Annotated[
    str, typer.Option("--segmenter", metavar="NAME|PATH", help="Weights of stage 1.")
]
BatchSize: TypeAlias = Annotated[int, typer.Option("--batch-size", min=1, help="Images that run together.")]
ValueRange: TypeAlias = Annotated[
    tuple[float, float] | None,
    typer.Option("--value-range", metavar="LO HI", help="What is black and what is white, such as 0 4095."),
]
Megapixels: TypeAlias = Annotated[float, typer.Option("--max-megapixels", help="Larger images are refused.")]
OnBadMask: TypeAlias = Annotated[
    str,
    typer.Option(
        "--on-bad-mask",
        metavar="whole|refuse",
        help="Where both lungs were not found: use the whole image and say so, or refuse.",
    ),
]
RegionName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--region",
        help="Which released classifier: mask (the default), crop or full.",
        show_default=False,
    ),
]
Layout: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="radiography, coronahack, covid-chestxray, masks, folders or lists; if left out, "
        "told by what is in the folder."
    ),
]
Classes: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Other classes: binary (COVID, other), three (COVID, Pneumonia, Normal), four (those of "
        "lungcls), or a TOML file with a table [classes]."
    ),
]
SplitOfRecipe: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--split-file", help="A split of `lungcls data split`; made by the recipe's seed if left out."
    ),
]
SplitOfSeed: TypeAlias = Annotated[
    Path | None,
    typer.Option("--split-file", help="A split of `lungcls data split`; made by --seed if left out."),
]
Epochs: TypeAlias = Annotated[
    int | None,
    typer.Option("--epochs", help="Cut every stage of a schedule to so many epochs, for a trial."),
]
MaskCache: TypeAlias = Annotated[
    Path | None, typer.Option("--cache", help="Folder for predicted masks, to share between runs.")
]
Workers: TypeAlias = Annotated[int, typer.Option("--workers", help="Processes that augment, in training.")]
