"""A model's answers to films of a dataset, as the table that an audit of predictions takes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lungcls.audit.table import PredictionTable, facts_of
from lungcls.data.dataset import Record
from lungcls.errors import DataError, OptionError
from lungcls.evaluation.weighted import Floats
from lungcls.progress import Progress, quiet
from lungcls.shortcuts.memory import Memory
from lungcls.shortcuts.subject import FeatureSubject, Subject
from lungcls.study.answers import Answers
from lungcls.study.study import Study, groups_of

logger = logging.getLogger(__name__)

_BATCH = 32


def ask(
    subject: Subject,
    study: Study,
    manifest: str | Path | None = None,
    *,
    by: Iterable[str] = (),
    memory: Memory | None = None,
    progress: Progress[Any] = quiet,
) -> tuple[PredictionTable, Floats | None]:
    """Ask a model about the films of a study.

    Parameters
    ----------
    subject : Subject
    study : Study
        Films of classes that the model does not know are left out.
    manifest : path-like, optional
        CSV with more about the films (age, sex, view, device).
    by : iterable of str, optional
        Further columns of the manifest.
    memory : Memory, optional
        For what the model says, should checks ask it about the same views.
    progress : callable, optional

    Returns
    -------
    table : PredictionTable
    features : float array [N, F] or None
        None where the subject shows none.

    Raises
    ------
    DataError
        If no film is of a class that the model knows.
    ImageError
        If a film cannot be read.
    """
    study = study.of([record for record in study.records if record.label in subject.classes])
    if not len(study):
        raise DataError(
            f"none of the films is of a class that {subject.name} knows: {', '.join(subject.classes)}"
        )
    tone = str(getattr(subject, "tone", "range"))
    memory = memory or Memory()
    logits, features = [], []
    looking = subject if isinstance(subject, FeatureSubject) else None
    starts = range(0, len(study), _BATCH)
    for start in progress(starts, len(starts), f"asking {subject.name}"):
        films = study.films[start : start + _BATCH]
        views = np.stack([film.view(subject.region, subject.input_size, tone) for film in films])
        logits.append(memory.logits(subject, views))
        if looking is not None:
            try:
                features.append(memory.features(looking, views))
            except OptionError as error:  # a network without a map of features, such as a transformer
                logger.info("%s shows no features: %s", subject.name, error)
                looking = None
    answers = Answers(
        name=subject.name,
        classes=subject.classes,
        files=study.files,
        groups=tuple(study.groups),
        labels=np.asarray([subject.classes.index(record.label) for record in study.records], np.int64),
        logits=np.concatenate(logits).astype(np.float64),
    )
    known = [_known(record, study) for record in study.dataset.records]
    more = facts_of(study.files, manifest, by) if manifest else [{} for _ in study.files]
    own = {row["file"]: row for row in known}
    facts = [{**own[file], **{k: v for k, v in fact.items() if v}} for file, fact in zip(study.files, more)]
    names = dict.fromkeys(key for fact in facts for key in fact)
    columns = {name: [fact.get(name, "") for fact in facts] for name in names if name not in _NO_SUBGROUP}
    columns = {name: values for name, values in columns.items() if any(values)}
    return PredictionTable(answers, columns, {}, known), np.concatenate(features).astype(
        np.float64
    ) if looking else None


_NO_SUBGROUP = ("file", "label", "patient", "group", "part")


def _known(record: Record, study: Study) -> dict[str, str]:
    parts = study.split.parts if study.split else {}
    return {
        "file": record.file,
        "label": record.label,
        "patient": record.patient,
        "group": groups_of([record], study.split)[0],
        "part": parts.get(record.file, record.part),
        "source": record.source,
        "processing": record.processing,
    }
