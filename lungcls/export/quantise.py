"""Networks in 8-bit integers, by NNCF's post-training quantisation for OpenVINO."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lungcls.engines.graphs import STAMP, find_graph, stamp
from lungcls.errors import MissingExtraError, OptionError
from lungcls.export.export import export_stage, write_openvino
from lungcls.regions import Region, View
from lungcls.weights import load_card, write_card_of

if TYPE_CHECKING:
    from lungcls.classifier import Classifier
    from lungcls.data.dataset import Dataset, Record
    from lungcls.finder import Finder
    from lungcls.segmenter import Segmenter

SUFFIX = "-int8"


def quantise_stage(weights: str | Path, folder: str | Path, views: View) -> Path:
    """Export a stage to OpenVINO with its convolutions in 8-bit integers.

    Parameters
    ----------
    weights : str or path-like
        As :func:`lungcls.weights.find_weights` takes it.
    folder : path-like
    views : uint8 array [N, S, S]
        What the network typically sees (:func:`calibration_views`); a few hundred. Ranges of the activations
        are measured on them [1]_.

    Returns
    -------
    Path
        ``<name>-int8.xml``; its ``.bin`` and its card stand beside it.

    Raises
    ------
    WeightsError
        If the weights are missing or damaged.
    MissingExtraError
        If nncf, openvino, onnx or onnxscript is missing.

    References
    ----------
    .. [1] Kozlov et al.: Neural Network Compression Framework for fast model inference, 2020.
    """
    try:
        import nncf
        import openvino
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "nncf", "export", "quantising a network") from error
    card = load_card(weights)
    # Elsewhere: in the user's folder it would replace an export, or the card of the weights themselves.
    with tempfile.TemporaryDirectory() as scratch:
        _, path = find_graph(export_stage(weights, scratch, "openvino"), card.task, (".xml",))
        # Read whole, as OpenVINO would go on reading the file that goes with the folder.
        model = openvino.Core().read_model(path.read_bytes(), path.with_suffix(".bin").read_bytes())
    samples = nncf.Dataset([{"views": view[None]} for view in views])
    logger = logging.getLogger("nncf")
    level = logger.level
    try:
        logger.setLevel(logging.WARNING)
        with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
            model = nncf.quantize(model, samples, subset_size=len(views))
    finally:
        logger.setLevel(level)
    target = Path(folder) / f"{card.name}{SUFFIX}.xml"
    write_openvino(model, target, {STAMP: stamp(card)})
    write_card_of(target, replace(card, name=f"{card.name}{SUFFIX}"), also=".bin")
    return target


def calibration_views(
    dataset: Dataset,
    records: Sequence[Record],
    stage: Segmenter | Classifier,
    finder: Finder,
    *,
    count: int = 300,
    seed: int = 0,
) -> View:
    """Read images as a stage sees them.

    Parameters
    ----------
    dataset : Dataset
    records : sequence of Record
        Of the training part: what is measured on them must not come from images that the result is judged by.
    stage : Segmenter or Classifier
        What is to be calibrated.
    finder : Finder
        With a segmenter where the classifier's region needs one.
    count : int, default=300
        Images, drawn at random.
    seed : int, default=0

    Returns
    -------
    uint8 array [count, S, S]

    Raises
    ------
    ImageError
        If an image cannot be read.
    OptionError
        If a segmenter is needed and missing.
    """
    from lungcls.data.views import find_lungs, region_views

    chosen = np.random.default_rng(seed).permutation(len(records))[:count]
    picked = [records[index] for index in sorted(chosen)]
    region = getattr(stage, "region", Region("full"))
    if region.needs_mask and finder.segmenter is None:
        raise OptionError(f"the region {region.name!r} needs a finder with a segmenter; pass one")
    lungs = find_lungs(dataset, picked, finder)
    return region_views(
        [lungs[record.file] for record in picked], region, stage.card.input_size, tone=stage.card.tone
    )
