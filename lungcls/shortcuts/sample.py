"""The films that a model is examined on, in memory, and its answers to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungcls.data.dataset import Record
from lungcls.data.statistics import LARGEST_SIDE
from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import Estimate, GroupResamples
from lungcls.evaluation.calibration import softmax
from lungcls.evaluation.reading import in_threads
from lungcls.evaluation.weighted import Floats, Statistic, estimate
from lungcls.progress import Progress, quiet
from lungcls.regions import Mask, Pixels, View, shrunk, view
from lungcls.shortcuts.memory import Memory
from lungcls.shortcuts.subject import Subject
from lungcls.study.answers import Answers
from lungcls.study.study import Study


@dataclass(frozen=True, eq=False)
class Sample:
    """Films of a study in memory, upright, each with a mask of both lungs.

    Attributes
    ----------
    study : Study
        Of these films alone.
    pixels : list of float32 arrays [H, W]
    masks : list of bool arrays [H, W]
    """

    study: Study
    pixels: list[Pixels]
    masks: list[Mask]

    def __len__(self) -> int:
        """Return the number of films."""
        return len(self.pixels)

    @property
    def aspects(self) -> list[float]:
        """Height of a pixel over its width in each film."""
        return [film.pixel_aspect for film in self.study.films]

    @property
    def records(self) -> Sequence[Record]:
        """Record of each film."""
        return self.study.records

    @property
    def groups(self) -> list[str]:
        """Group of each film, for the bootstrap."""
        return self.study.groups

    def stored_shape(self, place: int) -> tuple[int, int]:
        """Return (height, width) of a film as it is stored."""
        height, width = self.study.lungs[self.records[place].file].mask.shape
        return height, width

    def of(self, chosen: NDArray[np.bool_]) -> Sample:
        """Return some of the films."""
        at = np.flatnonzero(chosen).tolist()
        return Sample(
            self.study.of([self.records[i] for i in at]),
            [self.pixels[i] for i in at],
            [self.masks[i] for i in at],
        )


def read_sample(study: Study, largest: int = LARGEST_SIDE, progress: Progress[Any] = quiet) -> Sample:
    """Read films upright, at most `largest` pixels a side: many stay in memory at once.

    Raises
    ------
    ImageError
        If an image cannot be read.
    """

    def read(record: Record) -> tuple[Pixels, Mask]:
        one = study.lungs[record.file]
        return shrunk(one.pixels(), one.mask, largest)

    films = in_threads(read, study.records, "reading images", progress)
    return Sample(study, [pixels for pixels, _ in films], [mask for _, mask in films])


@dataclass(frozen=True, eq=False)
class Trial:
    """A model and the films that it is examined on.

    Attributes
    ----------
    subject : Subject
    sample : Sample
        Only films whose class the model knows.
    memory : Memory
        What the model said of views before.
    kept : dict
        What one check computed of these films and another needs, too.
    """

    subject: Subject
    sample: Sample
    memory: Memory = field(default_factory=Memory, repr=False)
    kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def open(
        cls,
        subject: Subject,
        study: Study,
        progress: Progress[Any] = quiet,
        memory: Memory | None = None,
    ) -> Trial:
        """Read the films of a study that show both lungs and are of classes that the model knows.

        Raises
        ------
        DataError
            If there is none.
        ImageError
            If an image cannot be read.
        """
        usable = [
            record
            for record in study.records
            if record.label in subject.classes
            and record.file in study.lungs
            and study.lungs[record.file].quality.both_lungs
        ]
        if not usable:
            raise DataError(
                f"{study.dataset.root}: none of {len(study)} images has a usable lung mask and a class that "
                f"the model knows ({', '.join(subject.classes)})"
            )
        sample = read_sample(study.of(usable), max(LARGEST_SIDE, subject.input_size), progress)
        return cls(subject, sample, memory or Memory())

    @property
    def study(self) -> Study:
        """The films, with the split and the seed."""
        return self.sample.study

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        return self.study.seed

    @property
    def n_resamples(self) -> int:
        """Of the bootstrap by group."""
        return self.study.n_resamples

    @property
    def tone(self) -> str:
        """What is done to the grey levels of the subject's views."""
        return getattr(self.subject, "tone", "range")

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Index of each film's true class in the model's order."""
        return np.asarray([self.subject.classes.index(r.label) for r in self.sample.records], np.int64)

    @cached_property
    def probabilities(self) -> Floats:
        """Answers to the films as they are, [N, K]."""
        return self.answers(self.sample.pixels, self.sample.masks)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether the model is right on each film as it is."""
        return np.asarray(self.probabilities.argmax(1) == self.labels)

    @cached_property
    def answered(self) -> Answers:
        """Answers to the films as they are, for questions that need no pixels."""
        return Answers(
            name=self.subject.name,
            classes=self.subject.classes,
            files=self.study.files,
            groups=tuple(self.sample.groups),
            labels=self.labels,
            logits=np.log(np.maximum(self.probabilities, np.finfo(np.float64).tiny)),
        )

    @cached_property
    def columns(self) -> dict[str, NDArray[np.str_]]:
        """What is known of the films, of ``source`` and ``processing``; "" where one is not."""
        known = {
            name: np.asarray([getattr(record, name) for record in self.sample.records], np.str_)
            for name in ("source", "processing")
        }
        return {name: values for name, values in known.items() if (values != "").any()}

    @property
    def resamples(self) -> GroupResamples:
        """Resamples of the whole sample's groups."""
        return self.study.resamples

    def views(
        self, pixels: Sequence[Pixels], masks: Sequence[Mask], aspects: Sequence[float] | None = None
    ) -> View:
        """Return what the model is shown of films, uint8 [N, S, S].

        `aspects` are the heights of their pixels over the widths; by default those of the sample's films,
        which `pixels` are then versions of, in their order.
        """
        subject = self.subject
        films = list(zip(pixels, masks, self.sample.aspects if aspects is None else aspects, strict=True))
        size, tone = subject.input_size, self.tone

        def shown(film: tuple[Pixels, Mask, float]) -> View:
            return view(film[0], film[1], subject.region, size, film[2], tone)

        return np.stack(in_threads(shown, films, "making views"))

    def run(self, views: View) -> NDArray[Any]:
        """Return the logits of views; the model is asked once about views of the same pixels."""
        return self.memory.logits(self.subject, views)

    def answers(
        self, pixels: Sequence[Pixels], masks: Sequence[Mask], aspects: Sequence[float] | None = None
    ) -> Floats:
        """Return probabilities [N, K] of films, as :meth:`views` takes them; none give an empty array."""
        if not pixels:
            return np.empty((0, len(self.subject.classes)))
        return softmax(self.run(self.views(pixels, masks, aspects)))

    def estimate(self, statistic: Statistic, chosen: NDArray[np.bool_] | None = None) -> Estimate:
        """Return a figure of the sample (or of its `chosen` films) and its interval."""
        if chosen is None:
            return estimate(statistic, self.resamples)
        return estimate(lambda weights: statistic(weights * chosen), self.resamples)

    def drawn(self, most: int) -> Trial:
        """Return the same trial on at most so many films, of each class as many where it has them."""
        if not 0 < most < len(self.sample):
            return self
        rng = np.random.default_rng(self.seed)
        order = rng.permutation(len(self.sample))
        # Rank of each film within its class, in the order of the draw: the first of all classes are taken.
        rank = np.empty(len(order), np.int64)
        for k in range(len(self.subject.classes)):
            members = order[self.labels[order] == k]
            rank[members] = np.arange(len(members))
        chosen = np.zeros(len(order), np.bool_)
        chosen[order[np.argsort(rank[order], kind="stable")][:most]] = True
        return self.of(chosen)

    def of(self, chosen: NDArray[np.bool_]) -> Trial:
        """Return the same trial on some of its films."""
        return replace(self, sample=self.sample.of(chosen))


def interval(estimate: Estimate, n: int) -> dict[str, Any]:
    """Return the columns ``value, low, high, n`` of a row."""
    return {**estimate.to_dict(), "n": n}
