"""The table that a run over many films writes: one schema, with a version, a row a film."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from lungcls.errors import MissingExtraError

if TYPE_CHECKING:
    from lungcls.prediction import Failure, Prediction

SCHEMA_VERSION: Final = 1
"""Raised when a column changes its meaning, its type or its name; new columns do not raise it."""

_REASON: Final = pa.struct(
    [
        ("name", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("message", pa.string()),
        ("corrected", pa.bool_()),
    ]
)

RLE: Final = pa.struct([("size", pa.list_(pa.int32(), 2)), ("counts", pa.string())])
"""A mask as COCO keeps it: ``size`` is [height, width], ``counts`` the compressed run lengths by columns."""


def output_schema(
    classes: Sequence[str], input_type: pa.DataType | None = None, *, rle: bool = True
) -> pa.Schema:
    """Return the columns of the output, in order.

    Parameters
    ----------
    classes : sequence of str
        Of stage 2.
    input_type : pyarrow.DataType, optional
        Of what the rows of the input hold beside the URI; without it there is no column ``input``.
    rle : bool, default=True
        Whether there is a column of masks.
    """
    by_class = pa.struct([(name, pa.float64()) for name in classes])
    text = pa.dictionary(pa.int32(), pa.string())
    columns: list[tuple[str, pa.DataType]] = [
        ("shard", pa.int64()),
        ("row", pa.int64()),
        ("uri", pa.string()),
        ("error_kind", text),
        ("error", pa.string()),
        ("label", text),
        ("probabilities", by_class),
        ("confidence", pa.float64()),
        ("tier", text),
        ("conformal_set", pa.list_(pa.string())),
        ("coverage", pa.float64()),
        ("p_values", by_class),
        ("spread", by_class),
        ("disagreement", pa.float64()),
        ("classifier", text),
        ("region", text),
        ("fallback", pa.bool_()),
        ("accepted", pa.bool_()),
        ("ok", pa.bool_()),
        ("reasons", pa.list_(_REASON)),
        ("values", pa.map_(pa.string(), pa.float64())),
        ("lungs", pa.int8()),
        ("balance", pa.float64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("pixel_spacing", pa.list_(pa.float64(), 2)),
        ("box", pa.list_(pa.int32(), 4)),
        ("lung_pixels", pa.int64()),
        ("lung_share", pa.float64()),
        ("lung_mm2", pa.float64()),
        ("segmenter_sha256", text),
        ("classifier_sha256", text),
        ("gate_sha256", text),
    ]
    if rle:
        columns.append(("mask", RLE))
    if input_type is not None:
        columns.append(("input", input_type))
    return pa.schema(columns, metadata={"lungcls.schema": str(SCHEMA_VERSION)})


def answer_columns(answer: Prediction | Failure, *, rle: bool = True) -> dict[str, Any]:
    """Return what the output says of one film, by column; those of the run and the row are left out.

    Parameters
    ----------
    answer : Prediction or Failure
    rle : bool, default=True
        Whether the mask is among it.
    """
    from lungcls.prediction import Failure

    if isinstance(answer, Failure):
        return {"error_kind": type(answer.error).__name__, "error": str(answer.error)}
    values = answer.to_dict()
    quality = values["quality"]
    mask = answer.lungs.mask
    pixels = int(np.count_nonzero(mask))
    spacing = values["pixel_spacing"]
    same = ("label", "probabilities", "confidence", "tier", "conformal_set", "coverage", "p_values", "spread")
    row = {
        name: values[name]
        for name in (*same, "disagreement", "classifier", "region", "fallback", "box", "pixel_spacing")
    }
    row |= {name: quality[name] for name in ("accepted", "ok", "reasons", "lungs", "balance", "values")}
    row |= {
        "height": mask.shape[0],
        "width": mask.shape[1],
        "lung_pixels": pixels,
        "lung_share": pixels / mask.size,
        "lung_mm2": pixels * spacing[0] * spacing[1] if spacing else None,
    }
    if rle:
        row["mask"] = encode_mask(mask)
    return row


def encode_mask(mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return a bool mask [H, W] as COCO's compressed run lengths: ``size`` [H, W] and ``counts``.

    Raises
    ------
    MissingExtraError
        If pycocotools is not installed.
    """
    coco = _coco()
    encoded = coco.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def decode_mask(value: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return the bool mask [H, W] of a value of the column ``mask``.

    Raises
    ------
    MissingExtraError
        If pycocotools is not installed.
    """
    coco = _coco()
    counts = value["counts"].encode("ascii")
    decoded: np.ndarray[Any, Any] = coco.decode(
        {"size": [int(side) for side in value["size"]], "counts": counts}
    )
    return decoded.astype(np.bool_)


def _coco() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise MissingExtraError("pycocotools", "scale", "keeping masks in a table") from error
    return mask
