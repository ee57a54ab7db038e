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
