"""Writing the files: each stage and the whole pipeline, in each format."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lungcls.engines.graphs import STAMP, stamp
from lungcls.errors import MissingExtraError, OptionError
from lungcls.files import atomic_write, file_sha256, write_json
from lungcls.labels import NOTICE
from lungcls.weights import Card, find_weights, load_card, write_card_of

if TYPE_CHECKING:
    from torch import nn

FORMATS: Final[dict[str, str]] = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}
"""Formats and their suffixes; beside an ``.xml`` file stands its ``.bin``."""

_EXAMPLE_SIDES: Final = (96, 112)


def export_stage(weights: str | Path, folder: str | Path, format: str = "onnx") -> Path:
    """Export one network with its normalisation, and its card.

    Parameters
    ----------
    weights : str or path-like
        As :func:`lungcls.weights.find_weights` takes it.
    folder : path-like
        Made if it is missing. Files of the same name are replaced.
    format : {"onnx", "openvino", "torch"}, default="onnx"

    Returns
    -------
    Path
        ``<name>.onnx``, ``<name>.xml`` (with ``<name>.bin``) or ``<name>.pt2`` (a ``torch.export`` program);
        ``<name>.json``, the card, stands beside it. Input ``views``: uint8 [batch, S, S]; output ``logits``:
        float32 [batch, 1, S, S] of a segmenter, [batch, classes] of a classifier. The batch is free.

    Raises
    ------
    WeightsError
        If the weights are missing or damaged.
    MissingExtraError
        If the packages of the extra ``export`` are missing.
    ValueError
        If the format is unknown.
    """
    _check_format(format)
    from lungcls.export.modules import stage_module

    card, module = stage_module(weights, load_card(weights).task)
    path = Path(folder) / f"{card.name}{FORMATS[format]}"
    if format == "torch":
        _write_program(module, _views(card), {0: "batch"}, path, card)
    else:
        from lungcls.export import onnx_files

        marks = {STAMP: stamp(card)}
        proto = onnx_files.whole(module, _views(card), {0: "batch"}, (["views"], ["logits"]), marks)
        if format == "onnx":
            _write(path, proto)
        else:
            _write_openvino(proto, path, marks)
    write_card_of(path, card, also=".bin" if format == "openvino" else "")
    return path


def export_pipeline(
    segmenter: str | Path, classifier: str | Path, folder: str | Path, format: str = "onnx"
) -> Path:
    """Export both stages and all between them as one file: image in, mask and probabilities out.

    Parameters
    ----------
    segmenter, classifier : str or path-like
        Weights, as :func:`lungcls.weights.find_weights` takes them.
    folder : path-like
    format : {"onnx", "openvino", "torch"}, default="onnx"

    Returns
    -------
    Path
        ``pipeline-<classifier>`` with the format's suffix. Input ``images``: uint8 [batch, height, width],
        all three free. Outputs ``mask``: bool [batch, height, width]; ``probabilities``: float32 [batch,
        classes]; ``box``: int64 [batch, 4]. How it differs from :class:`lungcls.Pipeline` is said in
        :class:`lungcls.export.modules.PipelineModule` and in the card beside it, a JSON file.

    Raises
    ------
    WeightsError, MissingExtraError, ValueError
        As :func:`export_stage`.
    """
    _check_format(format)
    import torch

    from lungcls.export.modules import MAX_WIDTH, PipelineModule, stage_module

    first, second = stage_module(segmenter, "segmentation"), stage_module(classifier, "classification")
    module = PipelineModule(*first, *second).eval()
    path = Path(folder) / f"pipeline-{second[0].name}{FORMATS[format]}"
    # A bright ramp, so that the example itself has a mask with a box.
    example = torch.arange(2 * _EXAMPLE_SIDES[0] * _EXAMPLE_SIDES[1]).remainder(251).to(torch.uint8)
    images = example.reshape(2, *_EXAMPLE_SIDES)
    free = {0: "batch", 1: "height", 2: "width"}
    cards = {"segmenter": first[0], "classifier": second[0]}
    marks = {f"{STAMP}.{name}": stamp(card) for name, card in cards.items()}
    if format == "torch":
        _write_program(module, images, free, path)
    else:
        from lungcls.export import onnx_files

        names = (["images"], ["mask", "probabilities", "box"])
        proto = onnx_files.whole(module, images, free, names, marks)
        if format == "onnx":
            _write(path, proto)
        else:
            _write_openvino(proto, path, marks)
    note: dict[str, Any] = {
        "inputs": {"images": "uint8 [batch, height, width]: grey, bone bright, upright"},
        "outputs": {
            "mask": "bool [batch, height, width]: lung",
            "probabilities": f"float32 [batch, {len(second[0].classes)}]: {', '.join(second[0].classes)}",
            "box": "int64 [batch, 4]: x0, y0, x1, y1 of the mask, end exclusive",
        },
        "differs_from_pipeline": [
            "masks keep their holes and all their parts (fill_holes=False, keep_parts=0)",
            "pixels are taken for square",
            "the whole image stands in only where the mask covers less than 3% of it",
            "no quality gate",
            f"masks of images wider than {MAX_WIDTH} pixels are dilated as if they had that width",
        ],
        "notice": NOTICE,
        "segmenter": first[0].to_dict(),
        "classifier": second[0].to_dict(),
    }
    written = [path, path.with_suffix(".bin")] if format == "openvino" else [path]
    note["files"] = {part.name: file_sha256(part) for part in written}
    write_json(path.with_suffix(".json"), note)
    return path


def write_graph(weights: str | Path) -> Path:
    """Write the ONNX graph of a weight file beside it, which holds no weights but points into the file.

    It is what the engines onnxruntime and openvino run for the released weights. Any ONNX runtime can: the
    16-bit weights are external data, cast to 32 bits when the graph is loaded.

    Parameters
    ----------
    weights : str or path-like
        As :func:`lungcls.weights.find_weights` takes it.

    Returns
    -------
    Path

    Raises
    ------
    WeightsError, MissingExtraError
        As :func:`export_stage`.
    """
    from lungcls.export.modules import stage_module

    source = find_weights(weights)
    card, module = stage_module(source, load_card(source).task)
    path = source.with_suffix(".onnx")
    from lungcls.export import onnx_files

    proto = onnx_files.sharing(
        module, _views(card), {0: "batch"}, (["views"], ["logits"]), {STAMP: stamp(card)}, source
    )
    _write(path, proto)
    write_card_of(path, card)
    return path


def _check_format(format: str) -> None:
    if format not in FORMATS:
        raise OptionError(f"unknown format {format!r}; the formats are {', '.join(FORMATS)}")


def _views(card: Card) -> Any:
    import torch

    # Two, since a batch of one would be taken for a constant.
    return torch.zeros(2, card.input_size, card.input_size, dtype=torch.uint8)


def _write(path: Path, proto: Any) -> None:
    with atomic_write(path) as file:
        file.write(proto.SerializeToString())


def _write_program(
    module: nn.Module, example: Any, free: dict[int, str], path: Path, card: Card | None = None
) -> None:
    import torch

    shapes = {axis: torch.export.Dim(name, min=1) for axis, name in free.items()}
    program = torch.export.export(module, (example,), dynamic_shapes=(shapes,))
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={STAMP: stamp(card)} if card else None)
    with atomic_write(path) as file:
        file.write(content.getvalue())


def _write_openvino(proto: Any, path: Path, marks: dict[str, str]) -> None:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingExtraError("openvino", "export", "exporting to OpenVINO") from error
    model = openvino.convert_model(io.BytesIO(proto.SerializeToString()))
    write_openvino(model, path, marks)


def write_openvino(model: Any, path: Path, marks: Mapping[str, str]) -> None:
    """Write an ``openvino.Model`` and its marks as ``.xml`` and ``.bin``, in the precision that it has."""
    import openvino

    for key, value in marks.items():
        model.set_rt_info(value, [key])
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / path.name
        # The norms are folded into the convolutions, so that 16 bits would no longer hold what the file held.
        openvino.save_model(model, target, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            with atomic_write(path.with_suffix(suffix)) as file:
                file.write(target.with_suffix(suffix).read_bytes())
