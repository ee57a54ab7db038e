"""The images that a model is examined on, and its answers to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from scipy.stats import binomtest

from lungcls.data.dataset import Record
from lungcls.evaluation.bootstrap import Estimate, GroupResamples, bootstrap_estimates, group_resamples
from lungcls.evaluation.calibration import softmax
from lungcls.evaluation.reading import in_threads
from lungcls.evaluation.weighted import Floats, Statistic
from lungcls.lungs import Lungs
from lungcls.progress import Progress, quiet
from lungcls.regions import Mask, Pixels, View, resize_mask, view
from lungcls.shortcuts.subject import Subject

_BATCH = 64


@dataclass(frozen=True, eq=False)
class Sample:
    """Films in memory, upright and with square pixels, each with a lung mask that shows both lungs.

    Attributes
    ----------
    records : list of Record
    pixels : list of float32 arrays [H, W]
    masks : list of bool arrays [H, W]
    groups : list
        Of each image, for the bootstrap.
    shapes : list of (height, width)
        Of the images as they are stored.
    """

    records: list[Record]
    pixels: list[Pixels]
    masks: list[Mask]
    groups: list[Any]
    shapes: list[tuple[int, int]]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.records)


def read_sample(
    records: Sequence[Record],
    lungs: Mapping[str, Lungs],
    groups: Sequence[Any],
    largest: int = 512,
    progress: Progress[Any] = quiet,
) -> Sample:
    """Read films upright, with square pixels, at most `largest` a side: many stay in memory at once.

    Parameters
    ----------
    records : sequence of Record
    lungs : mapping of str to Lungs
        By image file.
    groups : sequence, length N
    largest : int, default=512
    progress : callable, optional

    Raises
    ------
    ImageError
        If an image cannot be read.
    """

    def read(record: Record) -> tuple[Pixels, Mask]:
        one = lungs[record.file]
        pixels, mask = one.pixels(), one.mask
        height, width = pixels.shape[0] * one.pixel_aspect, pixels.shape[1]
        scale = min(1.0, largest / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        if size == pixels.shape[::-1]:
            return pixels, mask
        how = PILImage.Resampling.BOX if one.pixel_aspect == 1 else PILImage.Resampling.BILINEAR
        picture = PILImage.fromarray(np.ascontiguousarray(pixels)).resize(size, how)
        return np.asarray(picture), resize_mask(mask, size[::-1])

    read_films = in_threads(read, records, "reading images", progress)
    shapes = [lungs[record.file].mask.shape for record in records]
    return Sample(
        list(records),
        [pixels for pixels, _ in read_films],
        [mask for _, mask in read_films],
        list(groups),
        [(height, width) for height, width in shapes],
    )


@dataclass(frozen=True, eq=False)
class Trial:
    """A model and the sample that it is examined on.

    Attributes
    ----------
    subject : Subject
    sample : Sample
        Only images whose class the model knows.
    n_resamples, seed : int
        Of the bootstrap by group, and of everything that is drawn.
    """

    subject: Subject
    sample: Sample
    n_resamples: int = 1000
    seed: int = 0

    @property
    def tone(self) -> str:
        """What is done to the grey levels of the subject's views."""
        return getattr(self.subject, "tone", "range")

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Index of each image's true class in the model's order."""
        return np.asarray([self.subject.classes.index(r.label) for r in self.sample.records], np.int64)

    @cached_property
    def probabilities(self) -> Floats:
        """Answers to the images as they are, [N, K]."""
        return self.answers(self.sample.pixels, self.sample.masks)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether the model is right on each image as it is."""
        return np.asarray(self.probabilities.argmax(1) == self.labels)

    @cached_property
    def resamples(self) -> GroupResamples:
        """Resamples of the whole sample's groups."""
        return group_resamples(self.sample.groups, self.n_resamples, self.seed)

    def views(self, pixels: Sequence[Pixels], masks: Sequence[Mask]) -> View:
        """Return what the model is shown of images, uint8 [N, S, S]."""
        subject = self.subject
        size, films = subject.input_size, zip(pixels, masks)
        return np.stack([view(p, m, subject.region, size, tone=self.tone) for p, m in films])

    def run(self, views: View, function: Callable[[View], NDArray[Any]] | None = None) -> NDArray[Any]:
        """Return the logits (or another output) of views, in batches."""
        function = function or self.subject.logits
        return np.concatenate([function(views[at : at + _BATCH]) for at in range(0, len(views), _BATCH)])

    def answers(self, pixels: Sequence[Pixels], masks: Sequence[Mask]) -> Floats:
        """Return probabilities [N, K] of images; empty input gives an empty array."""
        if not pixels:
            return np.empty((0, len(self.subject.classes)))
        return softmax(self.run(self.views(pixels, masks)))

    def estimate(self, statistic: Statistic, chosen: NDArray[np.bool_] | None = None) -> Estimate:
        """Return a figure of the sample (or of its `chosen` images) and its interval."""

        def statistics(weights: Floats) -> dict[str, Floats]:
            return {"": statistic(weights if chosen is None else weights * chosen)}

        return bootstrap_estimates(statistics, self.resamples)[""]

    def of(self, chosen: NDArray[np.bool_]) -> Trial:
        """Return the same trial on some of its images."""
        at = np.flatnonzero(chosen)
        sample = self.sample
        part = Sample(
            [sample.records[i] for i in at],
            [sample.pixels[i] for i in at],
            [sample.masks[i] for i in at],
            [sample.groups[i] for i in at],
            [sample.shapes[i] for i in at],
        )
        return replace(self, sample=part)


def exact_share(found: Estimate, n: int, level: float = 0.95) -> Estimate:
    """Return a share with the exact binomial interval where resampling cannot give one.

    All resamples of a share of 0 or 1 have the same share, however small the sample is.

    Parameters
    ----------
    found : Estimate
        Of a share.
    n : int
        Independent images (groups) behind it.
    level : float, default=0.95

    References
    ----------
    Clopper, Pearson (1934), The use of confidence or fiducial limits illustrated in the case of the binomial,
    Biometrika 26(4), 404-413.
    """
    if found.value not in (0.0, 1.0) or n < 1:
        return found
    ends = binomtest(round(found.value * n), n).proportion_ci(level)
    return Estimate(found.value, float(ends.low), float(ends.high))


def interval(estimate: Estimate, n: int) -> dict[str, Any]:
    """Return the columns ``value, low, high, n`` of a row."""
    return {**estimate.to_dict(), "n": n}
