"""Both stages on a study: the figures that a table shows, with all that reproduces them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lungcls.answering import Answerer
from lungcls.classifier import Classifier
from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import exact_share
from lungcls.evaluation.classification import ClassificationReport, classification_report
from lungcls.evaluation.segmentation import SegmentationReport, score_mask, segmentation_report
from lungcls.evaluation.subgroups import subgroup_rows
from lungcls.evaluation.trust import predicted_sets, trust_report
from lungcls.evaluation.weighted import share
from lungcls.progress import Progress, quiet
from lungcls.regions import resize_mask
from lungcls.segmenter import Segmenter
from lungcls.study.answers import Answers
from lungcls.study.findings import FindingAnswers, ask_findings
from lungcls.study.provenance import provenance
from lungcls.study.study import Study
from lungcls.weights import Card


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes
    ----------
    payload : dict
        JSON-safe: what was evaluated on what, with which versions, and the whole reports; ``films`` counts
        what the quality gate accepted, refused and corrected, and the films without two lungs.
    rows : list of dict
        One figure each: ``model, films, metric, class, value, low, high, n``; of findings, ``present`` and
        ``absent`` films in place of ``n``. ``films`` is ``all``, or ``labelled``: those that the gate
        accepts, since prediction gives all others no label; or subgroups, as
        :func:`lungcls.evaluation.subgroups.subgroup_rows` says.
    answers : list of dict
        One film and classifier each: ``model, file, group, source, label, predicted``, whether the film was
        ``accepted``, ``corrected`` and answered as a whole film (``fallback``), the ``reasons``, a calibrated
        probability and a ``logit_`` a class, and the conformal set at 90% coverage (``set_0.9``) where the
        card has one, so that every figure can be computed again. Of a multi-label classifier as
        :meth:`lungcls.study.findings.FindingAnswers.to_rows` gives them.
    """

    payload: dict[str, Any]
    rows: list[dict[str, Any]]
    answers: list[dict[str, Any]]


def evaluate(
    study: Study,
    segmenter: Segmenter | None,
    classifiers: Sequence[Classifier | Answerer] = (),
    progress: Progress[Any] = quiet,
) -> Evaluation:
    """Evaluate both stages.

    Parameters
    ----------
    study : Study
    segmenter : Segmenter or None
        That drew the study's masks; they are compared with the dataset's own, where it has any.
    classifiers : sequence of Classifier or Answerer
        As :meth:`Study.answers` takes them. Empty for a dataset without classes.
    progress : callable, optional

    Returns
    -------
    Evaluation

    Raises
    ------
    ImageError
        If an image cannot be read.
    DataError
        If a mask cannot be read, an image is of a class that a classifier does not know, or there is nothing
        to evaluate: neither a classifier nor a lung mask.
    """
    start = time.perf_counter()
    notes = list(study.dataset.notes)
    if not any(record.mask for record in study.records):
        if not classifiers:
            raise DataError(
                f"{study.dataset.root}: nothing to evaluate; none of the {len(study)} images has a lung mask "
                "for stage 1, and there is no classifier with its classes for stage 2"
            )
        notes.append("none of the images has a lung mask to compare with: stage 1 is not evaluated")
    reports: dict[str, Any] = {}
    rows = _film_rows(study)
    answers: list[dict[str, Any]] = []
    stages: list[Segmenter | Classifier] = [segmenter] if segmenter else []
    if segmenter and any(record.mask for record in study.records):
        masks = segmentation_on(study, progress)
        reports[segmenter.card.name] = masks.to_dict()
        rows += [{"model": segmenter.card.name, "films": "all", **row} for row in masks.to_rows()]
    for one in classifiers:
        classifier = one.classifier if isinstance(one, Answerer) else one
        stages += [classifier, *([one.fallback] if isinstance(one, Answerer) and one.fallback else [])]
        card = classifier.card
        if card.multilabel:
            findings = ask_findings(study, one, progress)
            reports[card.name], metrics = _measured_findings(findings)
            rows += metrics
            answers += findings.to_rows()
            continue
        said = study.answers(one, progress)
        reports[card.name], metrics = _measured(study, card, said)
        labelled = said.labelled()
        if 0 < len(labelled) < len(said):
            reports[card.name]["labelled"], fewer = _measured(study, card, labelled)
            metrics += [{**row, "films": "labelled"} for row in fewer if row["films"] == "all"]
        rows += metrics
        answers += _answers(study, card, said)
    cards = list({stage.card.name: stage.card for stage in stages}.values())
    payload = {
        **study.about(),
        "notes": [*notes, *(note for card in cards for note in study.notes(card))],
        **provenance(cards, study.split, stages[0].device, start),
        "reports": reports,
    }
    return Evaluation(payload, rows, answers)


def segmentation_on(study: Study, progress: Progress[Any] = quiet) -> SegmentationReport:
    """Compare a study's lung masks with the dataset's own, at each film's own size.

    Parameters
    ----------
    study : Study
        Films without a mask of the dataset are left out.
    progress : callable, optional

    Returns
    -------
    SegmentationReport

    Raises
    ------
    DataError
        If no film has a mask, or a mask cannot be read.
    """
    part = study.of([record for record in study.records if record.mask])
    scores = []
    for record in progress(part.records, len(part), "comparing lung masks"):
        predicted = part.lungs[record.file].mask
        height, width = predicted.shape
        scores.append(score_mask(predicted, resize_mask(part.dataset.read_mask(record), (height, width))))
    # Sets of lung masks have no classes.
    labels = [record.label for record in part.records] if any(r.label for r in part.records) else None
    return segmentation_report(scores, part.groups, labels, n_resamples=part.n_resamples, seed=part.seed)


def classification_on(
    answers: Answers, card: Card, n_resamples: int = 2000, seed: int = 0
) -> ClassificationReport:
    """Report a classifier's answers, with intervals by group.

    Parameters
    ----------
    answers : Answers
    card : Card
        Whose training data tell the class that the majority baseline always says.
    n_resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    ClassificationReport
    """
    counts: dict[str, int] = card.training_data.get("images", {}).get("train", {})
    return classification_report(
        answers.labels,
        answers.probabilities,
        answers.groups,
        answers.classes,
        n_resamples,
        seed,
        majority_class=max(counts, key=lambda name: counts[name]) if counts else None,
    )


def _measured(study: Study, card: Card, answers: Answers) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    report = classification_on(answers, card, study.n_resamples, study.seed)
    trust = trust_report(
        answers.logits, answers.labels, answers.groups, card, n_resamples=study.n_resamples, seed=study.seed
    )
    rows = [{"model": card.name, "films": "all", **row} for row in (*report.to_rows(), *trust.to_rows())]
    by_file = {record.file: record for record in study.records}
    columns = {
        name: np.asarray([getattr(by_file[file], name) or "" for file in answers.files], np.str_)
        for name in ("processing", "source")
    }
    subgroups = subgroup_rows(answers, columns, study.n_resamples, study.seed)
    rows += [{"model": card.name, **row} for row in subgroups]
    return {**report.to_dict(), "trust": trust.to_dict(), "subgroups": subgroups}, rows


def _measured_findings(said: FindingAnswers) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    accepted, reports = said.accepted, {"all": said.report()}
    if 0 < accepted.sum() < len(accepted):
        reports["labelled"] = said.report(chosen=accepted)
    rows = [
        {"model": said.card.name, "films": films, "class": row.pop("finding"), **row}
        for films, report in reports.items()
        for row in report.to_rows()
    ]
    return {**reports.pop("all").to_dict(), **{name: one.to_dict() for name, one in reports.items()}}, rows


def _film_rows(study: Study) -> list[dict[str, Any]]:
    """What the gate and the masks say of the films, as shares with intervals by group."""
    quality = [film.quality for film in study.films]
    shares = {
        "accepted": [one.accepted for one in quality],
        "corrected": [bool(one.corrected) for one in quality],
        "without_two_lungs": [not one.both_lungs for one in quality],
    }
    estimates = study.estimates({name: share(np.asarray(values)) for name, values in shares.items()})
    rows = []
    for name, estimate in estimates.items():
        ends = exact_share(estimate, study.resamples.n_groups).to_dict()
        rows.append({"model": "gate", "films": "all", "metric": name, "class": "", **ends, "n": len(study)})
    return rows


def _answers(study: Study, card: Card, answers: Answers) -> list[dict[str, Any]]:
    """What a classifier said of each film, in columns."""
    sets = predicted_sets(answers.probabilities, card, (0.9,))
    rows = []
    for index, (record, row) in enumerate(zip(study.records, answers.to_rows())):
        reasons = ";".join(reason.name for reason in study.lungs[record.file].quality.reasons)
        logits = zip(card.classes, answers.logits[index].round(4).tolist())
        columns = {
            f"set_{coverage:g}": ";".join(name for name, inside in zip(card.classes, marks[index]) if inside)
            for coverage, marks in sets.items()
        }
        rows.append(
            {**row, "source": record.source, "reasons": reasons}
            | {f"logit_{name}": value for name, value in logits}
            | columns
        )
    return rows
