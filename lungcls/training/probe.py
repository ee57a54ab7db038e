"""A linear model of frozen features: the first half of fine-tuning, in seconds once they are there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import nn

from lungcls.classifier import Classifier
from lungcls.errors import RecipeError
from lungcls.features import view_features
from lungcls.models import create_model
from lungcls.models.layers import head
from lungcls.models.pretrained import copy_weights
from lungcls.training.data import TrainingData
from lungcls.training.finish import draft_weights, finish_network

Floats = npt.NDArray[np.float64]
Weights = tuple[Floats, Floats]
"""Of a head: [K, D] and [K]."""

# Inverse strength of the penalty; the one with the lowest loss on the validation part is taken.
_PENALTIES: Final = (1e-3, 1e-2, 1e-1, 1.0)


def probe(data: TrainingData, architecture: dict[str, Any], out: Path) -> Path:
    """Give a network with frozen features a head for the classes of some data.

    Parameters
    ----------
    data : TrainingData
        Whose recipe names the weights to start from.
    architecture : dict
        As :func:`lungcls.models.create_model` takes it, with the number of classes.
    out : Path
        Folder.

    Returns
    -------
    Path
        Of the ``.safetensors`` file: a classifier, calibrated and measured as any other.

    Raises
    ------
    RecipeError
        If the network's head is more than one linear layer.

    References
    ----------
    Kumar et al. (2022), Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution,
    ICLR (a linear probe first, then the features).
    """
    network = create_model(architecture)
    copy_weights(network, data.init)
    layers = head(network)
    last = layers[-1]
    if len(layers) != 1 or not isinstance(last, nn.Linear):
        raise RecipeError(
            f"the head of {architecture.get('model')!r} is not one linear layer, so that none can be "
            "fitted to its features; start from another network, such as classifier-mask"
        )
    draft = draft_weights(data, architecture, out / "draft", network.state_dict())
    classifier = Classifier.load(draft, data.context.device, engine="torch")
    size = data.recipe.input_size
    features = {part: _features(classifier, data, part, size) for part in ("train", "validation")}
    labels = {part: data.labels(part) for part in features}
    fit = _fit_findings if data.multilabel else fit_classes
    weight, bias = fit(features, labels, data.recipe.balance == "class_weights")
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(weight))
        last.bias.copy_(torch.from_numpy(bias))
    return finish_network(data, architecture, network.state_dict(), out)


def _features(classifier: Classifier, data: TrainingData, part: str, size: int) -> Floats:
    views = data.load(part, size).views
    batch = data.recipe.batch_size
    starts = range(0, len(views), batch)
    shown = data.context.progress(starts, len(starts), f"features of the {part} part")
    return np.concatenate([view_features(classifier, views[at : at + batch]) for at in shown]).astype(
        np.float64
    )


def fit_classes(
    features: dict[str, Floats], labels: dict[str, npt.NDArray[np.int64]], balanced: bool
) -> Weights:
    """Fit a linear head to features: multinomial logistic regression after they are standardised.

    Parameters
    ----------
    features : dict of str to float64 array [N, D]
        Of the parts ``train`` and ``validation``; the penalty is chosen on the latter.
    labels : dict of str to int64 array [N]
    balanced : bool
        Whether classes count alike, however many films they have.

    Returns
    -------
    (float64 array [K, D], float64 array [K])
        Weight and bias of the head, for features as they were given.
    """
    mean, scale = _standard(features["train"])
    train, validation = ((features[part] - mean) / scale for part in ("train", "validation"))
    classes = np.unique(labels["train"])
    best = _best(train, labels["train"], validation, labels["validation"], balanced, classes.tolist())
    weight, bias = best.coef_, best.intercept_
    if len(classes) == 2:  # scikit-learn gives the second class's alone
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight / scale, bias - (weight / scale) @ mean


def _fit_findings(
    features: dict[str, Floats], labels: dict[str, npt.NDArray[np.int64]], balanced: bool
) -> Weights:
    """Logistic regression of each finding by itself, over the films where it is known."""
    weights, biases = [], []
    for column in range(labels["train"].shape[1]):
        labelled = {part: labels[part][:, column] >= 0 for part in features}
        own = {part: features[part][labelled[part]] for part in features}
        truth = {part: labels[part][labelled[part], column] for part in features}
        weight, bias = fit_classes(own, truth, balanced)
        weights.append(weight[1] - weight[0])
        biases.append(bias[1] - bias[0])
    return np.stack(weights), np.asarray(biases)


def _best(
    train: Floats,
    truth: npt.NDArray[np.int64],
    validation: Floats,
    labels: npt.NDArray[np.int64],
    balanced: bool,
    classes: Sequence[int],
) -> LogisticRegression:
    models = []
    for penalty in _PENALTIES:
        model = LogisticRegression(
            C=penalty, max_iter=500, class_weight="balanced" if balanced else None, random_state=0
        )
        models.append(model.fit(train, truth))
    losses = [log_loss(labels, model.predict_proba(validation), labels=classes) for model in models]
    return models[int(np.argmin(losses))]


def _standard(features: Floats) -> tuple[Floats, Floats]:
    scale = features.std(axis=0)
    return features.mean(axis=0), np.where(scale > 1e-6, scale, 1.0)
