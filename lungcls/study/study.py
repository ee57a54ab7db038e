"""The films that something is measured on, with all that every measurement of them shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lungcls.answering import Answerer
from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset, Record
from lungcls.data.splits import Split
from lungcls.data.views import find_lungs, region_views
from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import Estimate, GroupResamples, bootstrap_estimates, group_resamples
from lungcls.evaluation.weighted import Statistic
from lungcls.finder import Finder
from lungcls.lungs import Lungs
from lungcls.progress import Progress, quiet
from lungcls.regions import View
from lungcls.study.answers import Answers
from lungcls.weights import Card

N_RESAMPLES = 2000
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Study:
    """Films of one dataset, as prediction sees them.

    Parameters
    ----------
    dataset : Dataset
    records : sequence of Record
        The films that are measured on.
    lungs : mapping of str to Lungs
        By image file; those of other films may be among them.
    split : Split, optional
        That the films were chosen by; its groups are drawn by the bootstrap.
    part : str, default="all"
        Which part of the split the films are, for the record.
    seed : int, default=0
        Of the bootstrap, and of everything else that is drawn.
    n_resamples : int, default=2000
        Of the bootstrap by group.

    See Also
    --------
    Study.open : finds the lungs.
    """

    dataset: Dataset
    records: Sequence[Record]
    lungs: Mapping[str, Lungs]
    split: Split | None = None
    part: str = "all"
    seed: int = 0
    n_resamples: int = N_RESAMPLES

    @classmethod
    def open(
        cls,
        dataset: Dataset,
        finder: Finder,
        *,
        records: Sequence[Record] | None = None,
        split: Split | None = None,
        part: str = "all",
        cache: str | Path | None = None,
        seed: int = 0,
        n_resamples: int = N_RESAMPLES,
        progress: Progress[Any] = quiet,
    ) -> Study:
        """Find the lungs of a part of a dataset, or read them from a cache.

        Parameters
        ----------
        dataset : Dataset
        finder : Finder
        records : sequence of Record, optional
            By default all of the part.
        split, part, seed, n_resamples
            As the class takes them.
        cache : path-like, optional
            Folder, as :func:`lungcls.data.views.find_lungs` takes it.
        progress : callable, optional

        Raises
        ------
        ImageError
            If an image cannot be read.
        DataError
            If the part is unknown or empty.
        """
        if records is None:
            records = split.select(dataset.records, part) if split and part != "all" else dataset.records
        lungs = find_lungs(dataset, records, finder, cache, progress=progress)
        return cls(dataset, records, lungs, split, part, seed, n_resamples)

    def __len__(self) -> int:
        """Return the number of films."""
        return len(self.records)

    def of(self, records: Sequence[Record]) -> Study:
        """Return the same study of some of its films."""
        return replace(self, records=list(records))

    @property
    def films(self) -> list[Lungs]:
        """The lungs of each film, in the order of the records."""
        return [self.lungs[record.file] for record in self.records]

    @property
    def training_records(self) -> list[Record]:
        """The split's training films, where these are not the study's own; empty without a split."""
        if self.split is None or self.part == "train":
            return []
        return self.split.select(self.dataset.records, "train")

    @property
    def files(self) -> tuple[str, ...]:
        """Image file of each film."""
        return tuple(record.file for record in self.records)

    @cached_property
    def groups(self) -> list[str]:
        """Group of each film; see :func:`groups_of`."""
        return groups_of(self.records, self.split)

    @cached_property
    def resamples(self) -> GroupResamples:
        """Resamples of the groups."""
        return group_resamples(self.groups, self.n_resamples, self.seed)

    def estimates(self, statistics: Mapping[Key, Statistic]) -> dict[Key, Estimate]:
        """Return figures of the films and their intervals by group."""
        return bootstrap_estimates(
            lambda weights: {key: statistic(weights) for key, statistic in statistics.items()}, self.resamples
        )

    def labels(self, card: Card) -> npt.NDArray[np.int64]:
        """Return the index of each film's class in the order of a classifier, int64 [N].

        Raises
        ------
        DataError
            If the dataset has no classes, or a film is of a class that the classifier does not know.
        """
        self.dataset.require_one_class("this")
        check_classes(self.dataset, self.records, card)
        return np.asarray([card.classes.index(record.label) for record in self.records], np.int64)

    def answers(self, classifier: Classifier | Answerer, progress: Progress[Any] = quiet) -> Answers:
        """Ask a classifier, as prediction asks it.

        Parameters
        ----------
        classifier : Classifier or Answerer
            Films without two lungs are answered by the answerer's fallback; without one, by the classifier
            itself on the whole film.
        progress : callable, optional

        Raises
        ------
        ImageError
            If an image cannot be read.
        DataError
            As :meth:`labels`.
        """
        answerer = classifier if isinstance(classifier, Answerer) else Answerer(classifier)
        card, labels, films = answerer.classifier.card, self.labels(answerer.classifier.card), self.films
        logits, whole = self.logits(answerer, progress)
        return Answers(
            name=card.name,
            classes=card.classes,
            files=self.files,
            groups=tuple(self.groups),
            labels=labels,
            logits=logits,
            temperature=card.temperature,
            accepted=np.asarray([film.quality.accepted for film in films], np.bool_),
            corrected=np.asarray([bool(film.quality.corrected) for film in films], np.bool_),
            fallback=whole,
        )

    def logits(
        self, answerer: Answerer, progress: Progress[Any] = quiet
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Run a classifier and what stands in for it.

        Returns
        -------
        logits : float64 array [N, K]
        whole : bool array [N]
            Whether the whole film stood in, for want of two lungs.
        """
        card, region, films = answerer.classifier.card, answerer.classifier.region, self.films
        whole = np.asarray([film.region(region) != region for film in films], np.bool_)
        logits = np.empty((len(films), len(card.classes)))
        for classifier, chosen in (
            (answerer.classifier, ~whole),
            (answerer.fallback or answerer.classifier, whole),
        ):
            at = np.flatnonzero(chosen)
            if len(at):
                views = views_for(classifier, [films[place] for place in at], progress)
                outputs = view_logits(classifier, views, progress=progress)
                # What stands in has a temperature of its own.
                logits[at] = outputs * (card.temperature / classifier.card.temperature)
        return logits, whole

    def about(self) -> dict[str, Any]:
        """Say what was measured on, JSON-safe.

        Returns
        -------
        dict
            ``dataset``, ``layout``, ``part``, ``images``, ``split_hash``, ``bootstrap``, and ``films``: how
            many the gate accepted, refused and corrected, and how many show no two lungs.
        """
        quality = [film.quality for film in self.films]
        films = {
            "all": len(quality),
            "accepted": sum(one.accepted for one in quality),
            "refused": sum(not one.accepted for one in quality),
            "corrected": sum(bool(one.corrected) for one in quality),
            "without_two_lungs": sum(not one.both_lungs for one in quality),
            "reasons": dict(sorted(Counter(r.name for one in quality for r in one.reasons).items())),
        }
        return {
            "dataset": self.dataset.title,
            "layout": self.dataset.layout,
            "part": self.part,
            "images": len(self.records),
            "films": films,
            "split_hash": self.split.hash if self.split else None,
            "bootstrap": {"resamples": self.n_resamples, "seed": self.seed, "by": "group"},
        }

    def notes(self, card: Card) -> list[str]:
        """Warn where weights may have learnt from the films that they are measured on."""
        if self.split is None:
            if card.training_data.get("dataset") != self.dataset.title:
                return []
            return [
                f"{card.name} was trained on part of these images: its figures on all of them are too high"
            ]
        trained = {
            card.name: card.training_data.get("split_hash"),
            **card.training_data.get("other_splits", {}),
        }
        return [
            f"{name} was trained with the split {used}, the part {self.part!r} is of the split "
            f"{self.split.hash}: some of its images may have been trained on, and the figures may be too high"
            + ("" if name == card.name else f" ({card.name} rests on it)")
            for name, used in trained.items()
            if used != self.split.hash
        ]


def views_for(classifier: Classifier, films: Sequence[Lungs], progress: Progress[Any] = quiet) -> View:
    """Return what a classifier is shown of films, uint8 [N, S, S]."""
    card = classifier.card
    return region_views(films, classifier.region, card.input_size, progress, tone=card.tone)


def view_logits(
    classifier: Classifier, views: View, *, batch_size: int = 64, progress: Progress[int] = quiet
) -> npt.NDArray[np.float64]:
    """Return the logits float64 [N, K] of any number of views uint8 [N, S, S], a batch at a time."""
    starts = range(0, len(views), batch_size)
    batches = [
        classifier.logits(views[start : start + batch_size])
        for start in progress(starts, len(starts), f"running {classifier.card.name}")
    ]
    return np.concatenate(batches).astype(np.float64)


def groups_of(records: Sequence[Record], split: Split | None = None) -> list[str]:
    """Return the group of each record: what the split kept together, else the dataset's own or the patient.

    Parameters
    ----------
    records : sequence of Record
    split : Split, optional

    Returns
    -------
    list of str
        Empty where nothing is known of an image, which is then a group of its own.
    """
    by_file = split.groups if split else {}
    # A split joins groups and patients that share a film, so that its own groups are the larger ones.
    return [by_file.get(record.file) or record.group or record.patient for record in records]


def unknown_classes(records: Sequence[Record], card: Card) -> list[str]:
    """Return the classes of records that a classifier does not know, sorted."""
    return sorted({record.label for record in records} - set(card.classes))


def check_classes(dataset: Dataset, records: Sequence[Record], card: Card) -> None:
    """Refuse what a classifier cannot be measured on, before the minutes that stage 1 takes.

    Parameters
    ----------
    dataset : Dataset
    records : sequence of Record
        Of `dataset`.
    card : Card
        Of the classifier.

    Raises
    ------
    DataError
        If the dataset has no classes, a record is of a class that the classifier does not know, the
        classifier gives findings that the dataset does not know, or one of both has several findings a film
        and the other one class.
    """
    if dataset.multilabel != card.multilabel:
        several = ("one class", "several findings")
        raise DataError(
            f"{dataset.title} has {several[dataset.multilabel]} a film, {card.name} gives "
            f"{several[card.multilabel]}; give a classifier (--classifier) or a dataset of the same kind"
        )
    if card.multilabel:
        if absent := sorted(set(card.classes) - set(dataset.classes)):
            raise DataError(
                f"{dataset.title} does not say on which films {', '.join(absent)} is, which {card.name} "
                f"gives; it knows {', '.join(dataset.classes)}. Add a column of it to the table (empty where "
                "nobody knows)"
            )
        return
    if not dataset.classes:
        raise DataError(
            f"{dataset.root} (layout {dataset.layout}) has no classes; {card.name} needs images of "
            f"the classes {', '.join(card.classes)}"
        )
    unknown = unknown_classes(records, card)
    if unknown:
        raise DataError(
            f"{dataset.root} has images of the classes {', '.join(map(repr, unknown))}, which {card.name} "
            f"does not know; it knows {', '.join(card.classes)}. Give the images these classes with "
            "--classes (such as --classes four, or a TOML file)"
        )
