"""Several findings a film: figures, calibration and conformal scores of each finding by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve

from lungcls.classifier import finding_probabilities
from lungcls.conformal import in_set, p_values
from lungcls.data.dataset import Record
from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import Estimate, GroupResamples, bootstrap_estimates, group_resamples
from lungcls.evaluation.calibration import ECE_BINS, divide
from lungcls.evaluation.classification import weighted_auroc
from lungcls.evaluation.conformal import SCORE, fit_conformal
from lungcls.weights import Card

Floats = NDArray[np.float64]
Targets = NDArray[np.int64]
"""[N, K]: 1 where a finding is there, 0 where it is not, -1 where nobody knows."""

METRICS: Final = (
    "auroc",
    "average_precision",
    "f1",
    "precision",
    "recall",
    "specificity",
    "brier",
    "ece",
    "coverage",
)


@dataclass(frozen=True)
class FindingsReport:
    """Figures by finding, and their means.

    Attributes
    ----------
    estimates : dict of (str, str) to Estimate
        By (metric, finding), finding "" for the mean over those where the metric is defined.
    counts : dict of str to (int, int)
        Films with and without each finding; those where it is not known count as neither.
    """

    estimates: dict[tuple[str, str], Estimate]
    counts: dict[str, tuple[int, int]]

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one figure a row: metric, finding, value, low, high, films with and without."""
        return [
            {
                "metric": metric,
                "finding": name,
                **estimate.to_dict(),
                **dict(zip(("present", "absent"), self.counts.get(name, (None, None)))),
            }
            for (metric, name), estimate in self.estimates.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-safe values, laid out as those of classes."""
        overall = {key[0]: estimate.to_dict() for key, estimate in self.estimates.items() if not key[1]}
        per_class: dict[str, dict[str, Any]] = {
            name: {"support": present, "absent": absent} for name, (present, absent) in self.counts.items()
        }
        for (metric, name), estimate in self.estimates.items():
            if name:
                per_class[name][metric] = estimate.to_dict()
        classes = list(self.counts)
        return {"classes": classes, "level": 0.95, "overall": overall, "per_class": per_class}


def finding_targets(records: Sequence[Record], classes: Sequence[str]) -> Targets:
    """Return what is known of each film, int64 [N, K]: 1 there, 0 not there, -1 not known."""
    rows = [
        [1 if name in record.findings else -1 if name in record.unknown else 0 for name in classes]
        for record in records
    ]
    return np.asarray(rows, np.int64).reshape(len(records), len(classes))


def calibrated_findings(
    card: Card, logits: Floats, targets: Targets, groups: Iterable[Any], data: dict[str, Any]
) -> Card:
    """Return a card with slope, intercept, threshold and conformal scores of each finding.

    Parameters
    ----------
    card : Card
        With ``activation`` sigmoid.
    logits : float64 array [N, K]
        On films that the network was not trained on.
    targets : int64 array [N, K]
    groups : iterable, length N
        See :func:`lungcls.evaluation.conformal.fit_conformal`.
    data : dict
        What the films are, for the record; JSON-safe.

    Returns
    -------
    Card

    Raises
    ------
    DataError
        If a finding is nowhere, or everywhere, among the films.

    References
    ----------
    Platt (1999), Probabilistic Outputs for Support Vector Machines. The targets are smoothed by his rule,
    (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), so that few films make no certainty.
    """
    groups = list(groups)
    platt: dict[str, list[float]] = {}
    for column, name in enumerate(card.classes):
        labelled = targets[:, column] >= 0
        _check_both(targets[labelled, column], name, "calibrate on")
        platt[name] = _platt(logits[labelled, column], targets[labelled, column])
    card = replace(card, platt=platt)
    probabilities = finding_probabilities(logits, card)
    thresholds, stored = {}, {}
    for column, name in enumerate(card.classes):
        labelled = targets[:, column] >= 0
        thresholds[name] = _best_threshold(probabilities[labelled, column], targets[labelled, column])
        there = targets[:, column] == 1
        own = [group for group, chosen in zip(groups, there.tolist()) if chosen]
        # As one of two classes, of films that are all of the first.
        pairs = np.stack([probabilities[there, column], 1 - probabilities[there, column]], axis=1)
        labels = np.zeros(len(pairs), np.int64)
        fitted = fit_conformal(pairs, labels, own, (name, ""), score=SCORE, by_class=False)
        stored[name] = fitted["classes"][name]
    conformal = {"score": SCORE, "classes": stored, "data": data}
    return replace(card, thresholds=thresholds, conformal=conformal)


def findings_report(
    card: Card,
    logits: Floats,
    targets: Targets,
    groups: Iterable[Any],
    *,
    n_resamples: int = 2000,
    seed: int = 0,
    coverage: float = 0.9,
) -> FindingsReport:
    """Measure a multi-label classifier, each finding by itself, with intervals by group.

    Parameters
    ----------
    card : Card
        Calibrated (:func:`calibrated_findings`).
    logits : float64 array [N, K]
    targets : int64 array [N, K]
    groups : iterable, length N
        What must not be counted as independent (patients, near duplicates).
    n_resamples, seed : int
        Of the bootstrap.
    coverage : float, default=0.9
        Of the conformal sets whose ``coverage`` is measured: how often a finding that is there is not ruled
        out.

    Returns
    -------
    FindingsReport
        ``auroc``, ``average_precision`` (area below the precision-recall curve by steps), ``f1``,
        ``precision``, ``recall`` and ``specificity`` at the card's threshold, ``brier``, ``ece`` (15
        bins of equal width) and ``coverage``. nan where a finding is nowhere or everywhere.

    Raises
    ------
    DataError
        If there are no films, or the shapes do not fit.
    """
    if logits.shape != targets.shape or not len(targets):
        raise DataError(f"logits are {logits.shape}, targets {targets.shape}; expected one row a film")
    probabilities = finding_probabilities(logits, card)
    covered = in_set(p_values(probabilities, card.conformal, card.classes), coverage)
    resamples = group_resamples(groups, n_resamples, seed)
    estimates = _estimates(card, probabilities, targets, covered, resamples)
    counts = {
        name: (int((targets[:, k] == 1).sum()), int((targets[:, k] == 0).sum()))
        for k, name in enumerate(card.classes)
    }
    return FindingsReport(estimates, counts)


def _estimates(
    card: Card, probabilities: Floats, targets: Targets, covered: NDArray[np.bool_], resamples: GroupResamples
) -> dict[tuple[str, str], Estimate]:
    def statistics(weights: Floats) -> dict[tuple[str, str], Floats]:
        metrics: dict[tuple[str, str], Floats] = {}
        for k, name in enumerate(card.classes):
            labelled = targets[:, k] >= 0
            said = probabilities[labelled, k] >= card.thresholds.get(name, 0.5)
            values = _finding_metrics(
                probabilities[labelled, k],
                targets[labelled, k] == 1,
                said,
                covered[labelled, k],
                weights[:, labelled],
            )
            metrics |= {(metric, name): value for metric, value in values.items()}
        means = {}
        for metric in METRICS:
            column = np.stack([metrics[metric, name] for name in card.classes])
            defined = (~np.isnan(column)).sum(0)
            means[metric, ""] = divide(np.nansum(column, axis=0), defined.astype(np.float64))
        return {**means, **metrics}

    return bootstrap_estimates(statistics, resamples)


def _finding_metrics(
    scores: Floats,
    there: NDArray[np.bool_],
    said: NDArray[np.bool_],
    covered: NDArray[np.bool_],
    weights: Floats,
) -> dict[str, Floats]:
    """All figures of one finding under each row of weights."""
    positives, negatives = weights @ there, weights @ ~there
    right, wrong = weights @ (there & said), weights @ (~there & said)
    total = positives + negatives
    both = np.where((positives > 0) & (negatives > 0), 1.0, np.nan)
    places = np.minimum((scores * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gaps = np.abs(np.stack([weights @ ((places == b) * (scores - there)) for b in range(ECE_BINS)])).sum(0)
    return {
        "auroc": weighted_auroc(scores, there, weights),
        "average_precision": both * _average_precision(scores, there, weights),
        "f1": both * divide(2 * right, right + wrong + positives),
        "precision": divide(right, right + wrong),
        "recall": divide(right, positives),
        "specificity": divide(negatives - wrong, negatives),
        "brier": divide(weights @ (scores - there) ** 2, total),
        "ece": divide(gaps, total),
        "coverage": divide(weights @ (there & covered), positives),
    }


def _average_precision(scores: Floats, there: NDArray[np.bool_], weights: Floats) -> Floats:
    """As scikit-learn's ``average_precision_score``, under each row of weights at once."""
    order = np.argsort(-scores, kind="stable")
    # Equal scores are one step: only the last of them is a place on the curve.
    last = np.append(np.diff(scores[order]) != 0, True)
    true_positives = np.cumsum(weights[:, order] * there[order], axis=1)[:, last]
    shown = np.cumsum(weights[:, order], axis=1)[:, last]
    steps = np.diff(true_positives, axis=1, prepend=0)
    precision = np.where(shown > 0, true_positives / np.where(shown > 0, shown, 1), 0.0)
    return divide((steps * precision).sum(axis=1), true_positives[:, -1])


def _platt(logits: Floats, truth: Targets) -> list[float]:
    """Slope and intercept; where the slope would fall below 0, the intercept alone."""
    positives = int(truth.sum())
    high, low = (positives + 1) / (positives + 2), 1 / (len(truth) - positives + 2)
    soft = np.where(truth == 1, high, low)
    # A soft target is the film once as present and once as absent, weighted.
    model = LogisticRegression(C=1e6, max_iter=1000)
    twice = np.concatenate([logits, logits])[:, None]
    model.fit(twice, np.repeat([1, 0], len(truth)), sample_weight=np.concatenate([soft, 1 - soft]))
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= 0:
        share = soft.mean()
        return [0.0, float(np.log(share / (1 - share)))]
    return [slope, intercept]


def _best_threshold(scores: Floats, truth: Targets) -> float:
    """The threshold of the highest F1."""
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    total = precision + recall
    f1 = np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), 0)[:-1]
    # Rounded down, so that the film that it was taken from keeps its finding.
    return float(np.floor(thresholds[f1.argmax()] * 1e6) / 1e6)


def _check_both(truth: Targets, name: str, what: str) -> None:
    positives = int((truth == 1).sum())
    if not 0 < positives < len(truth):
        raise DataError(
            f"the finding {name!r} is on {positives} of the {len(truth)} films to {what}; expected some with "
            "it and some without (0 in its column). Add films, or leave its column out"
        )
