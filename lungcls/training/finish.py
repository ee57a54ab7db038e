"""From the best checkpoint to a weight file: written, validated as it was written, and described."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lungcls.classifier import Classifier
from lungcls.data.views import find_lungs
from lungcls.evaluation.calibration import fit_bias
from lungcls.evaluation.evaluate import segmentation_on
from lungcls.evaluation.recalibrate import calibration_data, measured, measured_findings, with_bias
from lungcls.evaluation.segmentation import dice
from lungcls.finder import Finder
from lungcls.labels import LICENCE
from lungcls.regions import unletterbox, whole_view
from lungcls.segmenter import Segmenter
from lungcls.study.answers import Answers
from lungcls.study.findings import ask_findings
from lungcls.study.provenance import network_device
from lungcls.training.data import TrainingData
from lungcls.versions import versions
from lungcls.weights import Card, load_card, save_weights, write_card

_THRESHOLDS = np.arange(30, 71, 5) / 100


def finish(data: TrainingData, architecture: Mapping[str, Any], checkpoint: Path, out: Path) -> Path:
    """Write the weight file, then validate the very file that was written and complete its card.

    Parameters
    ----------
    data : TrainingData
    architecture : mapping
        As :func:`lungcls.models.create_model` takes it.
    checkpoint : Path
        Of Lightning.
    out : Path
        Folder of the run.

    Returns
    -------
    Path
        Of the ``.safetensors`` file.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    prefix = "network."
    network = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return finish_network(data, architecture, network, out)


def finish_network(
    data: TrainingData, architecture: Mapping[str, Any], network: Mapping[str, torch.Tensor], out: Path
) -> Path:
    """As :func:`finish`, of a network's state in place of a checkpoint."""
    draft = out / "draft"
    path = draft_weights(data, architecture, draft, network)
    if data.segmentation:
        card = _validated_segmenter(data, path)
    elif data.multilabel:
        card = _measured_findings(data, path)
    else:
        answers = _answers(data, path)
        if data.recipe.bias == "validation":
            network, added = with_bias(network, fit_bias(answers.logits, answers.labels))
            path = draft_weights(data, architecture, draft, network)
            answers = replace(answers, logits=answers.logits + added)
        calibrated_on = calibration_data(data.validation())
        card = measured(load_card(path), answers, calibrated_on, bias=data.recipe.bias != "none")
    write_card(path, card)
    # The pair moves to its final name last, the card second: a run counts as finished with both.
    final = out / path.name
    path.replace(final)
    path.with_suffix(".json").replace(final.with_suffix(".json"))
    # A kill may have left parts of files there.
    shutil.rmtree(draft)
    return final


def draft_weights(
    data: TrainingData, architecture: Mapping[str, Any], folder: Path, network: Mapping[str, torch.Tensor]
) -> Path:
    """Write a weight file whose card knows no figures yet."""
    recipe = data.recipe
    return save_weights(
        folder,
        network,
        name=recipe.name,
        task=recipe.task,
        architecture={key: value for key, value in architecture.items() if key != "pretrained"},
        input_size=recipe.input_size,
        value_range=(0.0, 1.0),
        mean=recipe.mean,
        std=recipe.std,
        tone=recipe.tone,
        region=recipe.region.to_dict() if recipe.region else None,
        classes=data.classes,
        temperature=1.0,
        thresholds={"mask": 0.5} if data.segmentation else {},
        training_data=data.about(),
        recipe=recipe.to_dict(),
        metrics={},
        versions={**versions(), "device": network_device(data.context.device)},
        licence=LICENCE,
        ancestors=data.ancestors(architecture),
        activation="sigmoid" if data.multilabel else "softmax",
    )


def _measured_findings(data: TrainingData, path: Path) -> Card:
    """The card of a multi-label classifier, calibrated and measured on the validation part."""
    classifier = Classifier.load(path, data.context.device)
    return measured_findings(ask_findings(data.validation(), classifier, data.context.progress))


def _validated_segmenter(data: TrainingData, path: Path) -> Card:
    segmenter = Segmenter.load(path, data.context.device)
    segmenter.card = replace(segmenter.card, thresholds={"mask": _best_threshold(data, segmenter)})
    study, context = data.validation(), data.context
    finder = Finder(segmenter, data.finder.gate)
    lungs = find_lungs(data.database, study.records, finder, context.cache, progress=context.progress)
    report = segmentation_on(replace(study, lungs=lungs), context.progress)
    return replace(segmenter.card, metrics={"validation": report.to_dict()})


def _best_threshold(data: TrainingData, segmenter: Segmenter) -> float:
    """The threshold on the probability of lung with the highest mean Dice on validation.

    At the films' own size: at the network's, an outline is off by up to half of a larger pixel.
    """
    films, recipe = data.drawn_validation(), data.recipe
    scores = []
    starts = range(0, len(films), recipe.batch_size)
    for start in data.context.progress(starts, len(starts), "choosing the threshold"):
        batch = films[start : start + recipe.batch_size]
        boxed = [
            whole_view(film.pixels(), recipe.input_size, film.pixel_aspect, recipe.tone) for film in batch
        ]
        lung = segmenter.probabilities(np.stack([view for view, _ in boxed]))
        for film, probability, (_, placement) in zip(batch, lung, boxed):
            height, width = film.mask.shape
            placed = unletterbox(probability, placement, (height, width))
            scores.append([dice(placed > threshold, film.mask) for threshold in _THRESHOLDS])
    return float(_THRESHOLDS[np.mean(scores, axis=0).argmax()])


def _answers(data: TrainingData, path: Path) -> Answers:
    classifier = Classifier.load(path, data.context.device)
    return data.validation().answers(classifier, data.context.progress)
