"""Graphs that take a film and give a stage's whole answer: what a place without Python needs.

Around the ONNX graph that stands beside a weight file they put the functions of
:mod:`lungcls.export.film_functions`. The weights stay in that file, as they do for the engines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import compose, helper, inliner, numpy_helper

from lungcls.engines.graphs import find_graph
from lungcls.export import film_functions as functions
from lungcls.export import onnx_files
from lungcls.lungs import LUNG_COLOUR, TINT
from lungcls.quality import MIN_BALANCE
from lungcls.regions import Region
from lungcls.weights import Card

if TYPE_CHECKING:
    from onnxscript import OnnxFunction

MEASURES: Final = (
    "area",
    "pixels",
    "balance",
    "width_for_height",
    "border",
    "compactness",
    "tilt",
    "symmetry",
    "agreement",
)
"""What the segmenter's graph measures on the mask that it finds."""

_TONES: Final = {"range": functions.tone_range, "levels": functions.tone_levels}
_SCORES: Final = {"lac": functions.score_lac, "aps": functions.score_aps, "raps": functions.score_raps}

_PLANE: Final = (onnx.TensorProto.FLOAT, ("height", "width"))
_NUMBER: Final = (onnx.TensorProto.DOUBLE, ())
_INPUTS: Final[dict[str, Any]] = {"film": _PLANE, "aspect": _NUMBER, "mask": _PLANE}

_Step: TypeAlias = "tuple[OnnxFunction[..., Any], str, str] | onnx.ModelProto"
_Constants: TypeAlias = Mapping[str, npt.ArrayLike]


def gate_graph(weights: str | Path) -> tuple[Card, onnx.ModelProto]:
    """Return the gate as a graph.

    Parameters
    ----------
    weights : str or path-like
        As :func:`lungcls.weights.find_weights` takes it.

    Returns
    -------
    card : Card
    model : onnx.ModelProto
        Inputs ``film``: float32 [height, width] in [0, 1], and ``aspect``: float64, height over width of a
        pixel. Output ``logits``: float32 [1, kinds + 1], as :func:`lungcls.gate.screening.judge` takes them.

    Raises
    ------
    WeightsError
        If the weights or their graph are missing or damaged.
    """
    card, network = _network(weights, "gate")
    outputs = {"logits": (onnx.TensorProto.FLOAT, (1, len(card.classes) + 1))}
    return card, _joined([*_whole_film(card), network], {"size": _size(card)}, outputs)


def segmenter_graph(weights: str | Path) -> tuple[Card, onnx.ModelProto]:
    """Return stage 1 as a graph; parameters and errors as :func:`gate_graph`.

    Returns
    -------
    card : Card
    model : onnx.ModelProto
        Inputs as those of the gate. Outputs ``mask``: float32 [height, width], 0 or 1, with holes filled and
        the two largest parts kept; ``picture``: uint8 [height, width, 4], the film with its lungs drawn on
        it; and each of :data:`MEASURES`, a number, which is none where the mask is empty.
    """
    card, network = _network(weights, "segmentation")
    steps: list[_Step] = [
        *_whole_film(card),
        network,
        (functions.lungs_of, "logits film start filled threshold", "mask agreement"),
        (functions.measures, "mask min_balance aspect", " ".join(MEASURES[:-1])),
        (functions.overlay, "film mask colour tint", "picture"),
    ]
    constants: _Constants = {
        "size": _size(card),
        "threshold": np.float32(card.thresholds["mask"]),
        "min_balance": np.float64(MIN_BALANCE),
        "colour": LUNG_COLOUR,
        "tint": np.float32(TINT),
    }
    outputs: dict[str, Any] = dict.fromkeys(MEASURES, _NUMBER)
    outputs |= {"mask": _PLANE, "picture": (onnx.TensorProto.UINT8, ("height", "width", 4))}
    return card, _joined(steps, constants, outputs)


def classifier_graph(weights: str | Path, *, whole: bool = False) -> tuple[Card, onnx.ModelProto]:
    """Return stage 2 as a graph; errors as :func:`gate_graph`.

    Parameters
    ----------
    weights : str or path-like
        As :func:`lungcls.weights.find_weights` takes it.
    whole : bool, default=False
        Whether it is shown whole films, whatever its region.

    Returns
    -------
    card : Card
    model : onnx.ModelProto
        Inputs as those of the gate, and ``mask`` as the segmenter gives it, not empty, unless the region is
        the whole film. Outputs ``probabilities`` and, where the card has conformal scores, ``p_values``:
        float64 [1, classes]; ``views``: uint8 [1, S, S], what the network saw.
    """
    card, network = _network(weights, "classification")
    region = Region(**(card.region or {}))
    constants: dict[str, npt.ArrayLike] = {"size": _size(card), "temperature": np.float64(card.temperature)}
    likely = (onnx.TensorProto.DOUBLE, (1, len(card.classes)))
    outputs: dict[str, Any] = {
        "probabilities": likely,
        "views": (onnx.TensorProto.UINT8, (1, card.input_size, card.input_size)),
    }
    steps: list[_Step] = _whole_film(card)
    if region.needs_mask and not whole:
        steps = [
            (_TONES[card.tone], "film", "toned"),
            (functions.planes, "toned mask dilate margin crops aspect", "pixels lungs inside"),
            _cutting(region),
            (functions.letterbox, "shown size aspect", "views start filled"),
        ]
        constants |= {
            "dilate": np.float64(region.dilate),
            "margin": np.float64(region.margin),
            "crops": np.bool_(region.kind.crops),
        }
    steps += [network, (functions.probabilities, "logits temperature", "probabilities")]
    if card.conformal:
        steps += [
            (_SCORES[card.conformal["score"]], "probabilities", "scores"),
            (functions.p_values, "scores known below groups", "p_values"),
        ]
        constants |= conformal_arrays(card)
        outputs["p_values"] = likely
    return card, _joined(steps, constants, outputs)


def _size(card: Card) -> npt.NDArray[np.int64]:
    return np.array([card.input_size], np.int64)


def _whole_film(card: Card) -> list[_Step]:
    """As ``regions.whole_view``."""
    return [
        (_TONES[card.tone], "film", "toned"),
        (functions.letterbox, "toned size aspect", "views start filled"),
    ]


def conformal_arrays(card: Card) -> _Constants:
    """Return a card's conformal scores as ``film_functions.p_values`` takes them, filled up to one length."""
    stored = [card.conformal["classes"][name] for name in card.classes]
    longest = max(len(each["scores"]) for each in stored)
    scores = np.full((len(stored), longest), np.inf)
    below = np.zeros((len(stored), longest + 1))
    for place, each in enumerate(stored):
        scores[place, : len(each["scores"])] = each["scores"]
        below[place, 1 : len(each["below"]) + 1] = each["below"]
    return {"known": scores, "below": below, "groups": np.array([float(each["groups"]) for each in stored])}


def _network(weights: str | Path, task: str) -> tuple[Card, onnx.ModelProto]:
    """The graph beside a weight file: ``views`` in, ``logits`` out."""
    card, path = find_graph(weights, task, (".onnx",))
    return card, onnx.load(path, load_external_data=False)


def _cutting(region: Region) -> onnx.ModelProto:
    """What a region keeps, from the one place that says it: its kind."""
    import torch
    from torch import Tensor, nn

    class Cut(nn.Module):
        def forward(self, pixels: Tensor, lungs: Tensor, inside: Tensor) -> Tensor:
            kept: Tensor = region.kind.cut(pixels, lungs, inside)
            return kept

    some = torch.zeros(3, 5)
    return onnx_files.elementwise(
        Cut().eval(), (some, some > 0, some > 0), ("pixels", "lungs", "inside"), "shown"
    )


def _joined(steps: Sequence[_Step], constants: _Constants, outputs: Mapping[str, Any]) -> onnx.ModelProto:
    """One graph of steps that find each other's values by name."""
    nodes: list[onnx.NodeProto] = []
    functions: dict[tuple[str, str], onnx.FunctionProto] = {}
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    marks: dict[str, str] = {}
    for number, step in enumerate(steps):
        if isinstance(step, onnx.ModelProto):
            # Names of its own must not meet those of others.
            apart = compose.add_prefix(step, f"{number}/", rename_inputs=False, rename_outputs=False)
            nodes += apart.graph.node
            initializers += apart.graph.initializer
            marks |= {each.key: each.value for each in apart.metadata_props}
            continue
        function, taken, inputs_of = step
        for each in (function, *function.function_ir.get_called_functions().values()):
            proto = each.to_function_proto()
            functions[proto.domain, proto.name] = proto
        proto = function.to_function_proto()
        nodes.append(helper.make_node(proto.name, taken.split(), inputs_of.split(), domain=proto.domain))
    produced = {name for node in nodes for name in node.output} | set(constants)
    inputs = [
        helper.make_tensor_value_info(name, *_INPUTS[name])
        for name in _INPUTS
        if name not in produced and any(name in node.input for node in nodes)
    ]
    graph = helper.make_graph(
        nodes,
        "film",
        inputs,
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        initializers,
    )
    domains = sorted({domain for domain, _ in functions})
    model = helper.make_model(
        graph,
        functions=list(functions.values()),
        opset_imports=[
            helper.make_opsetid("", onnx_files.OPSET),
            *(helper.make_opsetid(domain, 1) for domain in domains),
        ],
        ir_version=10,
    )
    for key, value in marks.items():
        model.metadata_props.add(key=key, value=value)
    return inliner.inline_local_functions(model)
