"""What the pipeline answers, in plain types."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from PIL import Image as PILImage

from lungcls.conformal import in_set
from lungcls.errors import LungclsError, MissingExtraError
from lungcls.lungs import Lungs
from lungcls.quality import Quality
from lungcls.regions import Box, Mask, Pixels, View

if TYPE_CHECKING:
    import pandas
    from pydicom.dataset import Dataset

    from lungcls.streaming import Streaming

HIGH: Final = 0.9
"""Confidence from which on a prediction is of the tier ``high``."""

MODERATE: Final = 0.7
"""Confidence from which on a prediction is of the tier ``moderate``; below it is ``low``."""

TIERS: Final = ("high", "moderate", "low")

Segmentation = Lungs
"""Old name of :class:`lungcls.lungs.Lungs`."""


def confidence_tier(confidence: float) -> str:
    """Return the tier of a calibrated probability: ``high``, ``moderate`` or ``low``."""
    return "high" if confidence >= HIGH else "moderate" if confidence >= MODERATE else "low"


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that could not be read or was refused.

    Attributes
    ----------
    path : str
        Name of the input.
    error : LungclsError
    """

    path: str
    error: LungclsError

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-safe values."""
        return {"path": self.path, "error": str(self.error)}


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """The lungs of one film and the class that they look like.

    Attributes
    ----------
    lungs : Lungs
        The film, its lung mask and box, and what is wrong with them.
    label : str or None
        The most probable class; of a multi-label classifier its findings joined by ``|``, or ``none``. None
        where it is withheld because the image is no chest X-ray, or too small to tell.
    probabilities : dict of str to float
        Calibrated, in the order of the weights' classes; they sum to 1, except findings'.
    region : str
        The region that the classifier saw: the one asked for, or ``full`` where the mask was bad and the
        whole film stood in (`fallback`).
    fallback : bool
        Whether the whole film stood in for the region. `classifier` then names the classifier of whole films
        that answered.
    view : uint8 array [S, S]
        What the classifier saw.
    classifier : str
        Name of the weights that answered.
    p_values : dict of str to float, or None
        How well each class fits, by conformal prediction: the share of calibration images of that class that
        fit it no better. None where the weights' card stores no conformal scores.
    coverage : float or None
        How often `conformal_set` holds the true class of images like those that the weights were calibrated
        on. None where there is no such set.
    spread : dict of str to float, or None
        Standard deviation of each class's probability over the changed views of test-time augmentation, or
        over the members of an ensemble. None without either.
    disagreement : float or None
        Mutual information between the class and which of these views or members is asked, in nats
        (:func:`lungcls.uncertainty.disagreement`); None without either.
    members : tuple of Prediction
        What each member of an ensemble answered; empty without one.
    findings : tuple of str or None
        Of a multi-label classifier: the findings whose probability reaches their threshold, in the order of
        the classes. None of a classifier that gives one class.
    """

    lungs: Lungs
    label: str | None
    probabilities: dict[str, float]
    region: str
    fallback: bool
    view: View
    classifier: str
    p_values: dict[str, float] | None = None
    coverage: float | None = None
    spread: dict[str, float] | None = None
    disagreement: float | None = None
    members: tuple[Prediction, ...] = ()
    findings: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        answer = "no label" if self.confidence is None else f"{self.label} {_percent(self.confidence)}"
        wrong = "".join(f", {reason.name}" for reason in self.quality.reasons)
        return f"Prediction({self.path!r}, {answer}, {self.tier} confidence, region={self.region!r}{wrong})"

    def _repr_html_(self) -> str:
        from lungcls.notebook import prediction_html

        return prediction_html(self)

    @property
    def path(self) -> str:
        """Path of the film, or what it was, such as ``<array>``."""
        return self.lungs.path

    @property
    def quality(self) -> Quality:
        """What was measured on the film and its mask, and what is wrong with them."""
        return self.lungs.quality

    @property
    def box(self) -> Box | None:
        """Bounding box (x0, y0, x1, y1) of the lungs in pixels, end exclusive; None without lungs."""
        return self.lungs.box

    @property
    def pixel_spacing(self) -> tuple[float, float] | None:
        """Between (rows, columns), in mm, where the file tells it."""
        return self.lungs.pixel_spacing

    @property
    def segmenter(self) -> str:
        """Name of the weights that drew the lung mask."""
        return self.lungs.segmenter

    @property
    def lung_mask(self) -> Mask:
        """Old name of ``lungs.mask``."""
        warnings.warn("lung_mask is the old name of lungs.mask", DeprecationWarning, stacklevel=2)
        return self.lungs.mask

    def pixels(self) -> Pixels:
        """Return the film upright, as :meth:`lungcls.lungs.Lungs.pixels`."""
        return self.lungs.pixels()

    def overlay(self) -> PILImage.Image:
        """Draw the lungs over the film, as :meth:`lungcls.lungs.Lungs.overlay`."""
        return self.lungs.overlay()

    @property
    def confidence(self) -> float | None:
        """The probability of the label; None where that is withheld.

        Of findings: that of the least certain one to be there or not, as was said.
        """
        if self.label is None:
            return None
        if self.findings is not None:
            return min(p if name in self.findings else 1 - p for name, p in self.probabilities.items())
        return self.probabilities[self.label]

    @property
    def second(self) -> str | None:
        """The second most probable class; None where the label is withheld, there is none, or of findings."""
        if self.findings is not None:
            return None
        others = {name: value for name, value in self.probabilities.items() if name != self.label}
        return max(others, key=lambda name: others[name]) if self.label and others else None

    @property
    def tier(self) -> str:
        """``high``, ``moderate`` or ``low``, by `confidence`.

        ``low`` where the label is withheld, the whole film stood in, or something uncorrected is wrong.
        """
        if self.confidence is None or self.fallback or not self.quality.ok:
            return "low"
        return confidence_tier(self.confidence)

    @property
    def conformal_set(self) -> tuple[str, ...]:
        """The classes that cannot be ruled out at `coverage`; see :meth:`set_at`."""
        return () if self.coverage is None else self.set_at(self.coverage)

    def set_at(self, coverage: float) -> tuple[str, ...]:
        """Return the conformal set at any coverage.

        Parameters
        ----------
        coverage : float
            How often the set shall hold the true class, above 0 and below 1. It does for each class by
            itself, as long as images are like those that the weights were calibrated on.

        Returns
        -------
        tuple of str
            Most probable first, and without gaps: a class that is more probable than one of the set belongs
            to it, which can only raise the coverage. Empty where the label is withheld, or where the
            weights' card stores no conformal scores. Of findings: all that cannot be ruled out, each by
            itself; a finding that is there is among them as often as is asked for.

        Raises
        ------
        OptionError
            If the coverage is not between 0 and 1.
        """
        if self.label is None or self.p_values is None:
            return ()
        inside = dict(zip(self.p_values, in_set(list(self.p_values.values()), coverage).tolist()))
        order = sorted(self.probabilities, key=lambda name: -self.probabilities[name])
        if self.findings is not None:
            return tuple(name for name in order if inside[name])
        last = max((place for place, name in enumerate(order) if inside[name]), default=0)
        return tuple(order[: last + 1])

    def words(self) -> str:
        """Say the answer and its doubts in one sentence.

        Returns
        -------
        str
            Such as ``Most like Normal: 94%, high confidence; second is Lung_Opacity with 5%; at 0.9 coverage:
            Normal alone.``
        """
        if self.confidence is None:
            reasons = "; ".join(reason.message for reason in self.quality.reasons)
            return f"No label is given: {reasons or 'this does not look like a chest X-ray'}."
        if self.findings is not None:
            clauses = self._words_of_findings()
        else:
            clauses = [f"Most like {self.label}: {_percent(self.confidence)}, {self.tier} confidence"]
        if self.second:
            clauses.append(f"second is {self.second} with {_percent(self.probabilities[self.second])}")
        if self.coverage is not None and self.findings is None:
            members = self.conformal_set
            names = (
                f"{members[0]} alone" if len(members) == 1 else f"{', '.join(members[:-1])} or {members[-1]}"
            )
            clauses.append(f"at {self.coverage:.3g} coverage: {names}")
        if self.fallback:
            clauses.append(f"answered for the whole film by {self.classifier}")
        if wrong := [reason.message for reason in self.quality.reasons if not reason.corrected]:
            clauses.append("doubtful, as " + ", ".join(wrong))
        clauses += [reason.message for reason in self.quality.reasons if reason.corrected]
        return "; ".join(clauses) + "."

    def _words_of_findings(self) -> list[str]:
        shown = [f"{name} {_percent(self.probabilities[name])}" for name in self.findings or ()]
        clauses = [f"Findings: {', '.join(shown) or 'none'}; {self.tier} confidence"]
        if self.coverage is not None:
            others = [name for name in self.conformal_set if name not in (self.findings or ())]
            clauses.append(
                f"at {self.coverage:.3g} coverage not ruled out: {', '.join(others) or 'no other'}"
            )
        return clauses

    def to_dict(self) -> dict[str, Any]:
        """Return all but the arrays as JSON-safe values."""
        common = self.lungs.to_dict()
        return {
            "path": common.pop("path"),
            "label": self.label,
            "confidence": self.confidence,
            "tier": self.tier,
            "second": self.second,
            "findings": None if self.findings is None else list(self.findings),
            "probabilities": dict(self.probabilities),
            "conformal_set": list(self.conformal_set),
            "coverage": self.coverage,
            "p_values": dict(self.p_values) if self.p_values else None,
            "spread": dict(self.spread) if self.spread else None,
            "disagreement": self.disagreement,
            "region": self.region,
            "fallback": self.fallback,
            "classifier": self.classifier,
            **common,
        }

    def to_dicom(
        self,
        pipeline: Streaming,
        kinds: Sequence[str] = ("seg", "sr"),
        *,
        new_study: bool = False,
        viewer_plane: bool = False,
    ) -> dict[str, Dataset]:
        """Make DICOM objects of this prediction, in the film's study.

        Parameters
        ----------
        pipeline : Pipeline or Ensemble
            The one that answered: its version and its weights' hashes go into the objects.
        kinds : sequence of {"seg", "sr", "gsps", "sc"}, default=("seg", "sr")
            Segmentation, structured report, outlines, picture.
        new_study : bool, default=False
            Make a film that belongs to no study, such as a PNG, one of a new study, under the key ``film``.
        viewer_plane : bool, default=False
            Give the segmentation of a film without a place the plane that OHIF needs to show it.

        Returns
        -------
        dict of str to pydicom.Dataset
            By kind. Without lungs there is no ``seg`` and no ``gsps``; the log and the report say so.

        Raises
        ------
        ImageError
            If the film was no DICOM file, or has no study, and no new one is asked for.
        OptionError
            If a kind is unknown, or another pipeline answered.
        MissingExtraError
            If highdicom is not installed.
        """
        try:
            from lungcls.pacs.results import dicom_of
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "highdicom", "dicom-out", "writing DICOM") from error
        return dicom_of(self, pipeline, kinds, new_study=new_study, viewer_plane=viewer_plane)


class Predictions(list[Prediction]):
    """Predictions in the order of their films: a list that knows how to become a table."""

    def __repr__(self) -> str:
        counts = Counter(one.label or "no label" for one in self)
        labels = "".join(f", {label} {count}" for label, count in counts.most_common())
        return f"Predictions({len(self)} films{labels})"

    def _repr_html_(self) -> str:
        from lungcls.notebook import predictions_html

        return predictions_html(self)

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row a film: path, label, a probability a class, confidence, quality and box.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        return to_dataframe(self)


def to_dataframe(results: Iterable[Prediction | Failure]) -> pandas.DataFrame:
    """Return a table with one row a result.

    Parameters
    ----------
    results : iterable of Prediction or Failure
        As :meth:`lungcls.Pipeline.predict` or ``stream`` return them.

    Returns
    -------
    pandas.DataFrame
        Columns ``path, label``, one a class, ``confidence, tier, conformal_set, region, fallback, ok,
        reasons, x0, y0, x1, y1, classifier, segmenter, error``.

    Raises
    ------
    MissingExtraError
        If pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("pandas", "data", "a table of predictions") from error
    table: pandas.DataFrame = pandas.DataFrame([_row(result) for result in results])
    return table


def _row(result: Prediction | Failure) -> dict[str, Any]:
    if isinstance(result, Failure):
        return result.to_dict()
    return {
        "path": result.path,
        "label": result.label,
        **result.probabilities,
        "confidence": result.confidence,
        "tier": result.tier,
        "conformal_set": ";".join(result.conformal_set),
        "region": result.region,
        "fallback": result.fallback,
        "ok": result.quality.ok,
        "reasons": ";".join(reason.name for reason in result.quality.reasons),
        **dict(zip(("x0", "y0", "x1", "y1"), result.box or (None,) * 4)),
        "classifier": result.classifier,
        "segmenter": result.segmenter,
        "error": None,
    }


def _percent(value: float) -> str:
    """Never 0% or 100%, which no finite sample can tell."""
    return "under 1%" if value < 0.01 else "over 99%" if value > 0.99 else f"{value:.0%}"
