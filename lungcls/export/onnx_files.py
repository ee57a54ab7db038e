"""From a torch module to an ONNX model, its weights inside or left in their ``.safetensors`` file."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungcls.errors import MissingExtraError

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

OPSET = 18
"""The exporter's own; runtimes of 2023 and later know it."""

_PREFIX = "network."


def whole(
    module: nn.Module,
    example: Tensor,
    free: Mapping[int, str],
    names: tuple[Sequence[str], Sequence[str]],
    marks: Mapping[str, str],
) -> onnx.ModelProto:
    """Return a model that holds its weights, in 32 bits, with the norms folded into the convolutions.

    Parameters
    ----------
    module : torch.nn.Module
    example : torch.Tensor
        An input; its axes in `free` may have any length later, and must not have length 1 here.
    free : mapping of int to str
        Names of these axes.
    names : (inputs, outputs)
    marks : mapping of str to str
        Metadata of the model.

    Raises
    ------
    MissingExtraError
        If onnx or onnxscript is missing.
    """
    return _finished(_exported(module, [example], free, names), marks)


def sharing(
    module: nn.Module,
    example: Tensor,
    free: Mapping[int, str],
    names: tuple[Sequence[str], Sequence[str]],
    marks: Mapping[str, str],
    weights: Path,
) -> onnx.ModelProto:
    """Return a model without weights, whose external data are those of a ``.safetensors`` file beside it.

    Parameters
    ----------
    module : torch.nn.Module
        Its submodule ``network`` has the tensors of the file.
    example, free, names, marks
        As :func:`whole` takes them.
    weights : Path

    Raises
    ------
    MissingExtraError
        As :func:`whole`.
    """
    exported = _exported(module, [example], free, names, optimize=False)
    from onnx import TensorProto, helper
    from onnxscript import optimizer

    # What was computed from shapes alone goes; the weights must stay as the file has them.
    optimizer.fold_constants(exported)
    optimizer.remove_unused_nodes(exported)
    model = _finished(exported, marks)
    start, tensors = _header(weights)
    casts, kept = [], []
    for tensor in model.graph.initializer:
        entry = tensors.get(tensor.name.removeprefix(_PREFIX))
        if entry is None or entry["dtype"] != "F16":
            kept.append(tensor)
            continue
        first, last = entry["data_offsets"]
        half = TensorProto(name=f"{tensor.name}.half", data_type=TensorProto.FLOAT16, dims=tensor.dims)
        half.data_location = TensorProto.EXTERNAL
        for key, value in (("location", weights.name), ("offset", start + first), ("length", last - first)):
            half.external_data.add(key=key, value=str(value))
        kept.append(half)
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    return model


def elementwise(
    module: nn.Module, examples: Sequence[Tensor], names: Sequence[str], output: str
) -> onnx.ModelProto:
    """Return a model without weights that works pixel by pixel on planes [height, width].

    Parameters
    ----------
    module : torch.nn.Module
    examples : sequence of torch.Tensor
        Inputs; no axis has length 1 or the length of another.
    names : sequence of str
        Of the inputs.
    output : str

    Raises
    ------
    MissingExtraError
        As :func:`whole`.
    """
    return _finished(_exported(module, examples, {0: "height", 1: "width"}, (names, [output])), {})


def _exported(
    module: nn.Module,
    examples: Sequence[Tensor],
    free: Mapping[int, str],
    names: tuple[Sequence[str], Sequence[str]],
    *,
    optimize: bool = True,
) -> Any:
    import torch

    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "onnx", "export", "exporting to ONNX") from error
    shapes = {axis: torch.export.Dim(name, min=1) for axis, name in free.items()}
    program = torch.onnx.export(
        module,
        tuple(examples),
        dynamic_shapes=(shapes,) * len(examples),
        input_names=list(names[0]),
        output_names=list(names[1]),
        opset_version=OPSET,
        dynamo=True,
        optimize=optimize,
        verbose=False,
    )
    assert program is not None  # only without dynamo
    return program.model


def _finished(exported: Any, marks: Mapping[str, str]) -> onnx.ModelProto:
    import onnx_ir

    model: onnx.ModelProto = onnx_ir.to_proto(exported)
    # The exporter notes the source line of every node, which is longer than the graph.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:], model.graph.metadata_props[:], model.metadata_props[:]
    for part in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]
    for key, value in marks.items():
        model.metadata_props.add(key=key, value=value)
    return model


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the data of a ``.safetensors`` file start, and what it holds [1]_.

    .. [1] Format of safetensors: 8 bytes of length, a JSON header, the tensors.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        tensors: dict[str, Any] = json.loads(file.read(length))
    return 8 + length, tensors
