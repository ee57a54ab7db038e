"""Are probabilities as high as they are right? Temperatures, class biases and the calibration error."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax

from lungcls.errors import DataError

logger = logging.getLogger(__name__)

ECE_BINS = 15
TEMPERATURE_RANGE = (0.02, 50.0)

_BIAS_SPREAD = 3.0  # standard deviation of the prior of a class's bias, in logits

# A probability that underflowed to 0 costs -log of this (about 36), not infinity.
_SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)

MetricValues = dict[tuple[str, str], NDArray[np.float64]]
"""By (metric, class), class "" for figures over all classes: one value a row of weights."""


def softmax(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float64]:
    """Turn logits into probabilities, over the last axis.

    Parameters
    ----------
    logits : array-like, shape [..., K]
        Finite scores, one a class.
    temperature : float
        Logits are divided by it first: above 1 flattens the probabilities, below 1 sharpens them.

    Returns
    -------
    ndarray of float64, shape [..., K]
        Probabilities that sum to 1.

    Raises
    ------
    DataError
        If the temperature is not a positive finite number.
    """
    return np.exp(_log_softmax(np.asarray(logits, dtype=np.float64), temperature))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Find the temperature under which held-out labels are most likely.

    Minimises the mean negative log-likelihood of ``softmax(logits / T)`` over log T, in which it has a
    single minimum. The order of the classes, and so the accuracy, is untouched.

    Parameters
    ----------
    logits : array-like, shape [N, K]
        Raw scores of a model on images that it was not trained on (the validation part).
    labels : array-like of int, shape [N]
        True classes, from 0 to K - 1.

    Returns
    -------
    float
        The temperature, from 0.02 to 50. 1.0, with a warning in the log, if the model is right on every
        image: the likelihood then rises without end as T falls, and the images cannot tell T. 1.0 too
        if no temperature is better than none.

    Raises
    ------
    DataError
        If the shapes do not match, a logit is not finite, or a label is out of range.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (2017), On Calibration of Modern Neural Networks, ICML.
    """
    scores = np.asarray(logits, dtype=np.float64)
    truth = check_labels(labels, scores.shape)
    if not np.isfinite(scores).all():
        raise DataError("some logits are nan or infinite; expected finite scores (did the training diverge?)")
    rows = np.arange(len(truth))

    if (scores.argmax(axis=1) == truth).all():
        logger.warning(
            "the model is right on all %d images, which therefore cannot tell its temperature; 1.0 is kept. "
            "Fit on images that it was not trained on, and on more of them",
            len(truth),
        )
        return 1.0

    def loss(log_temperature: float) -> float:
        return float(-_log_softmax(scores, math.exp(log_temperature))[rows, truth].mean())

    bounds = (math.log(TEMPERATURE_RANGE[0]), math.log(TEMPERATURE_RANGE[1]))
    optimum = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    log_temperature = float(optimum.x)
    if loss(log_temperature) >= loss(0.0):
        return 1.0
    return math.exp(log_temperature)


def fit_bias(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Find what to add to the logits of each class so that held-out labels are most likely.

    A network that was trained with classes balanced takes rare classes for as likely as others. The biases
    are fitted together with a temperature, ``softmax(logits / T + b)``, which the caller fits again
    afterwards (:func:`fit_temperature`, of ``logits + T b``: the same T).

    Parameters
    ----------
    logits : array-like, shape [N, K]
        Raw scores of a model on images that it was not trained on (the validation part).
    labels : array-like of int, shape [N]
        True classes, from 0 to K - 1.

    Returns
    -------
    ndarray of float64, shape [K]
        ``T b``, to be added to the logits; its mean is 0. All 0 if the model is right on every image.

    Raises
    ------
    DataError
        As :func:`fit_temperature`.

    References
    ----------
    Alexandari, Kundaje, Shrikumar (2020), Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat
    at Label Shift Adaptation, ICML.
    """
    scores = np.asarray(logits, dtype=np.float64)
    start = fit_temperature(scores, labels)
    truth = check_labels(labels, scores.shape)
    count, classes = scores.shape
    if (scores.argmax(axis=1) == truth).all():
        return np.zeros(classes)
    rows = np.arange(count)

    def loss(values: NDArray[np.float64]) -> float:
        shifted = scores / math.exp(float(values[0])) + values[1:]
        # The weak prior keeps the bias of a class finite that no image is of, and the sum of all where it is.
        prior = np.square(values[1:]).sum() / (2 * _BIAS_SPREAD**2 * count)
        return float(prior - _log_softmax(shifted, 1.0)[rows, truth].mean())

    lowest, highest = (math.log(limit) for limit in TEMPERATURE_RANGE)
    optimum = minimize(
        loss,
        np.concatenate([[math.log(start)], np.zeros(classes)]),
        method="L-BFGS-B",
        bounds=[(lowest, highest), *[(None, None)] * classes],
    )
    bias = math.exp(optimum.x[0]) * optimum.x[1:]
    return np.asarray(bias - bias.mean())


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = ECE_BINS) -> float:
    """Return the mean gap between confidence and accuracy over bins of equal width.

    Parameters
    ----------
    probabilities : array-like, shape [N, K]
        Probabilities in [0, 1]. The confidence is the highest of a row.
    labels : array-like of int, shape [N]
        True classes, from 0 to K - 1.
    bins : int
        Number of bins over [0, 1]; each is open below and closed above.

    Returns
    -------
    float
        From 0 (calibrated) to 1.

    Raises
    ------
    DataError
        If the shapes do not match, a label is out of range, or `bins` is below 1.

    References
    ----------
    Naeini, Cooper, Hauskrecht (2015), Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI.
    Guo, Pleiss, Sun, Weinberger (2017), On Calibration of Modern Neural Networks, ICML.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    truth = check_labels(labels, values.shape)
    return float(np.abs(calibration_gaps(values, truth, bins).sum(axis=0)).sum() / len(truth))


def calibration_gaps(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], bins: int = ECE_BINS
) -> NDArray[np.float64]:
    """Return for each image (right or wrong) - confidence in the column of its confidence's bin.

    The calibration error under any weights of the images is the sum over bins of
    ``abs(weights @ gaps)``, divided by the sum of the weights.

    Parameters
    ----------
    probabilities : ndarray, shape [N, K]
    labels : ndarray of int, shape [N]
    bins : int

    Returns
    -------
    ndarray of float64, shape [N, bins]
        Zero but for one entry a row.

    Raises
    ------
    DataError
        If `bins` is below 1.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    return _in_bins(right - confidence, confidence_bins(confidence, bins), bins)


def confidence_bins(confidence: NDArray[np.float64], bins: int = ECE_BINS) -> NDArray[np.intp]:
    """Return the number of the bin, from 0, of each confidence in [0, 1]; DataError if `bins` is below 1."""
    if bins < 1:
        raise DataError(f"bins is {bins}; expected at least 1, usually 15")
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")


def calibration_metrics(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    weights: NDArray[np.float64],
    classes: Sequence[str],
) -> MetricValues:
    """Compute the figures that tell whether probabilities are as high as they are right.

    Parameters
    ----------
    labels : ndarray of int, shape [N]
    probabilities : ndarray of float, shape [N, K]
    weights : ndarray of float, shape [R, N]
        Weight of each image, 0 or more.
    classes : sequence of str, length K

    Returns
    -------
    dict
        ``brier`` (sum over classes, from 0 to 2), ``nll``, ``ece`` (of the highest probability),
        ``classwise_ece`` (mean over classes), and ``ece`` of each class: its probability against how often it
        is the true one, over bins of that probability; nan for a class without images, which the mean leaves
        out.

    References
    ----------
    Kull, Perello-Nieto, Kangsepp, Silva Filho, Song, Flach (2019), Beyond temperature scaling: obtaining
    well-calibrated multi-class probabilities with Dirichlet calibration, NeurIPS.
    """
    total = weights.sum(axis=1)
    true = np.eye(len(classes))[labels]
    log_likelihood = np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _SMALLEST_PROBABILITY))
    squared = ((probabilities - true) ** 2).sum(axis=1)
    gaps = calibration_gaps(probabilities, labels)
    metrics: MetricValues = {
        ("brier", ""): divide(weights @ squared, total),
        ("nll", ""): divide(weights @ -log_likelihood, total),
        ("ece", ""): divide(np.abs(weights @ gaps).sum(axis=1), total),
    }
    for column, name in enumerate(classes):
        own = probabilities[:, column]
        gaps = _in_bins(true[:, column] - own, confidence_bins(own), ECE_BINS)
        present = weights @ true[:, column] > 0
        metrics["ece", name] = np.where(present, divide(np.abs(weights @ gaps).sum(axis=1), total), np.nan)
    by_class = np.stack([metrics["ece", name] for name in classes])
    counted = (~np.isnan(by_class)).sum(axis=0).astype(np.float64)
    metrics["classwise_ece", ""] = divide(np.nansum(by_class, axis=0), counted)
    return metrics


def divide(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, with nan where there is nothing to divide by."""
    result = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def check_labels(labels: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return labels as int64 [N] after checking them against the shape [N, K] of the scores.

    Parameters
    ----------
    labels : array-like of int, shape [N]
    shape : tuple of int
        Shape of the logits or probabilities.

    Returns
    -------
    ndarray of int64, shape [N]

    Raises
    ------
    DataError
        If the scores are not [N, K] with N >= 1 and K >= 2, the labels are not N whole numbers, or one
        is outside 0 to K - 1.
    """
    if len(shape) != 2 or shape[0] < 1 or shape[1] < 2:
        raise DataError(
            f"scores have the shape {list(shape)}; expected [N, K] with one row an image (at least one) "
            "and one column a class (at least two)"
        )
    array = np.asarray(labels)
    if array.shape != (shape[0],):
        raise DataError(f"labels have the shape {list(array.shape)}; expected [{shape[0]}], one an image")
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"labels are of type {array.dtype}; expected whole numbers: the index of each image's class "
            "in the list of classes"
        )
    if array.min() < 0 or array.max() >= shape[1]:
        raise DataError(
            f"labels go from {array.min()} to {array.max()}; expected 0 to {shape[1] - 1}, as there are "
            f"{shape[1]} classes"
        )
    return array.astype(np.int64)


def _in_bins(values: NDArray[np.float64], place: NDArray[np.intp], bins: int) -> NDArray[np.float64]:
    """Put each value in the column of its bin, [N, bins], zeros elsewhere."""
    result = np.zeros((len(values), bins), dtype=np.float64)
    result[np.arange(len(values)), place] = values
    return result


def _log_softmax(logits: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    if not (math.isfinite(temperature) and temperature > 0):
        raise DataError(f"the temperature is {temperature}; expected a positive finite number")
    scores: NDArray[np.float64] = log_softmax(logits / temperature, axis=-1)
    return scores
