"""``lungcls features``: films in, one table of embeddings out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lungcls.cli.batch import collect_files
from lungcls.cli.options import Inputs, ValueRange, takes
from lungcls.errors import MissingExtraError, OptionError
from lungcls.options import PipelineOptions

if TYPE_CHECKING:
    from lungcls.features import Features
    from lungcls.pipeline import Pipeline

_SUFFIXES = (".parquet", ".npy")


# The other engines show no layers.
@takes(PipelineOptions, without=("engine", "tta", "coverage", "fallback", "on_bad_mask"))
def features(
    inputs: Inputs,
    options: PipelineOptions,
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            dir_okay=False,
            metavar="FILE",
            help="The table: .parquet, or .npy with a .csv beside.",
        ),
    ],
    value_range: ValueRange = None,
) -> None:
    """Write the embedding of each film: of its lungs (--region mask), their box (crop) or the film (full).

    The vector is the input of the classifier's head: 1,024 values of a released classifier.

    Exit code: 0 all done, 1 some inputs failed (each is named, the rest is done), 2 wrong use.
    """
    from dataclasses import replace

    from lungcls.pipeline import Pipeline
    from lungcls.prediction import Failure
    from lungcls.progress import bar

    if out.suffix not in _SUFFIXES:
        raise OptionError(f"--out is {out}; expected a file that ends in .parquet or .npy")
    if out.suffix == ".parquet":
        _require_pyarrow()
    files = collect_files(inputs, None, value_range)
    pipeline = Pipeline(**replace(options, engine="torch", fallback=None).keywords())
    failed = [item.problem for item in files if item.problem]
    paths = [item.path for item in files if not item.problem]
    embeddings: list[Features] = []
    stream = pipeline.features_stream(paths, value_range=value_range, on_error="return")
    for one in bar(stream, len(paths), "embedding"):
        if isinstance(one, Failure):
            failed.append(str(one.error))
        else:
            embeddings.append(one)
    if embeddings:
        written = (_write_parquet if out.suffix == ".parquet" else _write_npy)(out, embeddings, pipeline)
        size, whole = len(embeddings[0].vector), sum(one.fallback for one in embeddings)
        region = pipeline.classifier.region.name
        typer.echo(
            f"{len(embeddings)} films, {size} features each of the region {region!r} by "
            f"{pipeline.classifier.card.name}: {' and '.join(map(str, written))}"
        )
        if whole:
            typer.echo(f"{whole} of them by the whole film, for want of two lungs (column fallback)")
    for problem in failed:
        typer.echo(f"lungcls: {problem}", err=True)
    if failed:
        raise typer.Exit(1)


def _rows(embeddings: Sequence[Features]) -> dict[str, list[Any]]:
    return {
        "path": [one.path for one in embeddings],
        "fallback": [one.fallback for one in embeddings],
        "ok": [one.quality.ok for one in embeddings],
        "reasons": [";".join(reason.name for reason in one.quality.reasons) for one in embeddings],
    }


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyarrow", "scale", "a Parquet file; .npy needs nothing") from error


def _write_parquet(out: Path, embeddings: Sequence[Features], pipeline: Pipeline) -> list[Path]:
    import numpy as np
    import pyarrow
    from pyarrow import parquet

    from lungcls.files import atomic_write

    vectors = np.stack([one.vector for one in embeddings])
    column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), vectors.shape[1])
    card = pipeline.classifier.card
    table = pyarrow.table({**_rows(embeddings), "features": column})
    table = table.replace_schema_metadata({"lungcls.classifier": card.name, "lungcls.sha256": card.sha256})
    with atomic_write(out) as file:
        parquet.write_table(table, file)
    return [out]


def _write_npy(out: Path, embeddings: Sequence[Features], pipeline: Pipeline) -> list[Path]:
    import numpy as np

    from lungcls.evaluation.results import write_csv
    from lungcls.files import atomic_write

    rows = _rows(embeddings)
    beside = write_csv(out.parent, out.stem, [dict(zip(rows, values)) for values in zip(*rows.values())])
    with atomic_write(out) as file:
        np.save(file, np.stack([one.vector for one in embeddings]))
    return [out, beside]
