"""Temperature, class biases and conformal scores of a classifier from images that it was not trained on."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lungcls.classifier import Classifier
from lungcls.data.dataset import Record
from lungcls.errors import DataError
from lungcls.evaluation.calibration import fit_bias, fit_temperature, softmax
from lungcls.evaluation.conformal import SCORE, fit_conformal
from lungcls.evaluation.evaluate import classification_on
from lungcls.evaluation.multilabel import FindingsReport, calibrated_findings
from lungcls.evaluation.trust import TrustReport, trust_report
from lungcls.files import atomic_write, file_sha256
from lungcls.progress import Progress, quiet
from lungcls.study.answers import Answers
from lungcls.study.findings import FindingAnswers, ask_findings
from lungcls.study.study import N_RESAMPLES, Study
from lungcls.weights import Card, find_weights, save_weights, write_card

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Recalibration:
    """What calibrating anew found.

    Attributes
    ----------
    card : Card
        With the new temperature and conformal scores, and figures on the images that they were fitted on.
    before, after : TrustReport or FindingsReport
        Of the old and the new card, on the images that the new one was fitted on.
    state : mapping of str to torch.Tensor or None
        The network with a bias by class; None where it stays as it is.
    """

    card: Card
    before: TrustReport | FindingsReport
    after: TrustReport | FindingsReport
    state: Mapping[str, Tensor] | None = None


def calibrated(
    card: Card,
    logits: ArrayLike,
    labels: ArrayLike,
    groups: Iterable[Any],
    data: dict[str, Any],
    *,
    score: str = SCORE,
) -> Card:
    """Return a card with temperature and conformal scores fitted anew.

    Parameters
    ----------
    card : Card
    logits : array-like, shape [N, K]
        The network's raw outputs on images that it was not trained on.
    labels : array-like of int, shape [N]
    groups : iterable, length N
        See :func:`lungcls.evaluation.conformal.fit_conformal`.
    data : dict
        What the images are, for the record; JSON-safe.
    score : str
        One of :data:`lungcls.conformal.SCORES`.

    Returns
    -------
    Card

    Raises
    ------
    DataError
        If the shapes do not match, a logit is not finite, or a label is out of range.

    Notes
    -----
    The temperature is fitted on the same images as the conformal scores. It is one number and keeps the order
    of the classes, so that what this costs in coverage is far below the sampling error.
    """
    temperature = fit_temperature(logits, labels)
    probabilities = softmax(logits, temperature)
    stored = fit_conformal(probabilities, labels, groups, card.classes, score=score)
    return replace(card, temperature=temperature, conformal={**stored, "data": data})


def measured(
    card: Card,
    answers: Answers,
    data: dict[str, Any],
    *,
    bias: bool = False,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Card:
    """Return a card calibrated anew, with its figures there: the end of training, and `lungcls calibrate`.

    Parameters
    ----------
    card : Card
    answers : Answers
        To films that the network was not trained on.
    data : dict
        From :func:`calibration_data`.
    bias : bool, default=False
        Whether the network has a bias by class that was fitted on these films, for the record.
    n_resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    Card
        Whose figures are those of these films alone: of the probabilities as they were it keeps none.

    Raises
    ------
    DataError
        As :func:`calibrated`.
    """
    if bias:
        card = replace(card, training_data={**card.training_data, "bias": data})
    card = calibrated(card, answers.logits, answers.labels, answers.groups, data)
    report = classification_on(replace(answers, temperature=card.temperature), card, n_resamples, seed)
    return replace(card, metrics={data["part"]: report.to_dict()})


def measured_findings(said: FindingAnswers) -> Card:
    """As :func:`measured`, of a multi-label classifier.

    Raises
    ------
    DataError
        If a finding is nowhere, or everywhere, among the films.
    """
    study = said.study
    data = calibration_data(study)
    card = calibrated_findings(said.card, said.logits, said.targets, study.groups, data)
    return replace(card, metrics={data["part"]: said.report(card).to_dict()})


def recalibrate(
    study: Study, classifier: Classifier, *, bias: bool = False, progress: Progress[Any] = quiet
) -> Recalibration:
    """Run a classifier on a study and calibrate it there.

    Parameters
    ----------
    study : Study
        Of films that the classifier was not trained on.
    classifier : Classifier
    bias : bool, default=False
        Fit a bias by class too (:func:`lungcls.evaluation.calibration.fit_bias`), which changes the network's
        last layer: for images whose classes are not as frequent as training took them to be.
    progress : callable, optional

    Returns
    -------
    Recalibration

    Raises
    ------
    ImageError
        If an image cannot be read.
    DataError
        If there are no images, one is of a class that the classifier does not know, or `bias` does not go
        with the network.
    OptionError
        If `bias` is asked for and another engine than torch runs the network.
    """
    if classifier.card.multilabel:
        if bias:
            raise DataError(
                f"{classifier.card.name} gives findings, each of which has an intercept of its own already: "
                "leave the bias out"
            )
        said = ask_findings(study, classifier, progress)
        card = measured_findings(said)
        return Recalibration(card, said.report(), said.report(card))
    answers = study.answers(classifier, progress)
    options: dict[str, int] = {"n_resamples": study.n_resamples, "seed": study.seed}

    def trust(card: Card) -> TrustReport:
        scores = answers.logits, answers.labels, answers.groups
        return trust_report(*scores, card, n_resamples=study.n_resamples, seed=study.seed)

    before, state = trust(classifier.card), None
    data = calibration_data(study)
    if bias:
        fitted = fit_bias(answers.logits, answers.labels)
        state, added = with_bias(classifier.module.state_dict(), fitted)
        answers = replace(answers, logits=answers.logits + added)
    card = measured(classifier.card, answers, data, bias=bias, **options)
    return Recalibration(card, before, trust(card), state)


def with_bias(
    network: Mapping[str, Tensor], bias: NDArray[np.float64]
) -> tuple[dict[str, Tensor], NDArray[np.float64]]:
    """Add a bias by class to a network's last layer.

    Parameters
    ----------
    network : mapping of str to torch.Tensor
        A classifier's state.
    bias : float64 array [K]

    Returns
    -------
    dict of str to torch.Tensor
        The state with another last layer.
    float64 array [K]
        What this adds to the logits of the file as it is stored, in half precision.

    Raises
    ------
    DataError
        If the last layer has not one bias a class.
    """
    import torch

    name = next((key for key in reversed(list(network)) if key.endswith("bias")), "")
    if not name or network[name].shape != bias.shape:
        raise DataError(
            "a bias by class needs a network whose last layer has one bias a class; leave it out (in a "
            "recipe: bias = 'none')"
        )
    before = network[name].half()
    after = (before.double() + torch.from_numpy(bias)).half()
    return {**network, name: after}, (after.double() - before.double()).numpy()


def calibration_data(study: Study) -> dict[str, Any]:
    """Say for the card what a classifier was calibrated on."""

    def names(record: Record) -> tuple[str, ...]:
        return record.findings if study.dataset.multilabel else (record.label,)

    return {
        "dataset": study.dataset.title,
        "part": study.part,
        "split_hash": study.split.hash if study.split else None,
        "images": dict(sorted(Counter(name for record in study.records for name in names(record)).items())),
    }


def write_calibrated(recalibration: Recalibration, weights: str | Path, out: str | Path) -> Path:
    """Write a card beside its weights: a copy of the old ones, or those with a bias by class.

    Parameters
    ----------
    found : Recalibration
    weights : str or path-like
        The weights that were calibrated, by released name or path.
    out : path-like
        A folder, where both files get the weights' own name (the folder of the weights themselves replaces
        their card), or the path of the new ``.safetensors`` file.

    Returns
    -------
    Path
        Of the ``.safetensors`` file.

    Raises
    ------
    WeightsError
        If there are no such weights.
    DataError
        If `out` would overwrite other weights (those without the bias are other weights), or `weights` is a
        file that ``lungcls export`` wrote.
    """
    source = find_weights(weights)
    if source.suffix != ".safetensors":
        raise DataError(
            f"{source}: an exported file is not copied; calibrate the .safetensors file that it was made of, "
            "and export that"
        )
    target = Path(out)
    if target.suffix != ".safetensors":
        target = target / source.name
    # The same weights may be calibrated again and again, in their own folder too.
    if target.exists() and (
        recalibration.state is not None or file_sha256(target) != recalibration.card.sha256
    ):
        raise DataError(f"{target} holds other weights than {source}; give another --out")
    card = replace(recalibration.card, name=target.stem)
    if recalibration.state is not None:
        values = {key: value for key, value in card.to_dict().items() if key not in ("sha256", "format")}
        return save_weights(target.parent, recalibration.state, **values)
    if not target.exists():
        with source.open("rb") as content, atomic_write(target) as copy:
            shutil.copyfileobj(content, copy)
    write_card(target, card)
    return target
