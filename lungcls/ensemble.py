"""Several classifiers that answer together, and say where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lungcls.classifier import Classifier
from lungcls.conformal import merged_p_values
from lungcls.errors import OptionError
from lungcls.finder import Finder
from lungcls.images import Image
from lungcls.lungs import Lungs
from lungcls.options import MemberKeywords
from lungcls.pipeline import Pipeline
from lungcls.pixels import MAX_MEGAPIXELS
from lungcls.prediction import Failure, Prediction
from lungcls.regions import Mask, Region
from lungcls.segmenter import Segmenter
from lungcls.streaming import Streaming
from lungcls.uncertainty import disagreement
from lungcls.weights import load_card

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Ensemble(Streaming):
    """Pipelines whose probabilities are averaged; used as a :class:`Pipeline` is.

    Parameters
    ----------
    members : sequence of Pipeline, Ensemble, str or path-like
        Pipelines, or weights of classifiers by released name or path, of the same classes in the same order.
        Regions, architectures and segmenters may differ; of an ensemble, all its members count. Members that
        share a finder (all that are given as weights do) find the lungs once for all.
    batch_size, max_megapixels
        As :class:`Pipeline` takes them, for all.
    **options
        Of :class:`Pipeline`, but ``region`` and ``classifier``: for the members that are given as weights.
        Where a member is a pipeline, stage 1, ``coverage`` and ``on_reject`` are by default its own.

    Attributes
    ----------
    members : list of Pipeline

    Raises
    ------
    OptionError
        If there is no member, the members' classes differ, or an option is unknown.
    WeightsError
        If weights are missing or damaged.

    Notes
    -----
    A prediction's ``probabilities`` are the mean over the members, ``spread`` is their standard deviation and
    ``disagreement`` their mutual information. Its ``p_values`` are twice the members' mean, which keeps the
    stated coverage however the members depend on each other, at the price of larger sets. The lungs, the
    quality, the region and the view are the first member's; where any member refuses the image or withholds
    its label, so does the ensemble.

    References
    ----------
    Lakshminarayanan, Pritzel, Blundell (2017), Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles, NeurIPS.
    """

    def __init__(
        self,
        members: Sequence[Pipeline | Ensemble | str | Path],
        *,
        batch_size: int | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        **options: Unpack[MemberKeywords],
    ) -> None:
        of_members: dict[str, Any] = dict(options)
        if isinstance(members, (str, Path)) or not members:
            raise OptionError(f"the members are {members!r}; expected a list of pipelines or weights")
        if fixed := sorted({"region", "classifier"} & options.keys()):
            raise OptionError(f"an ensemble takes no {' or '.join(fixed)}: its members say which they are")
        single: list[Pipeline | str | Path] = []
        for member in members:
            single += member.members if isinstance(member, Ensemble) else [member]
        self.members: list[Pipeline] = []
        shared = next((member for member in single if isinstance(member, Pipeline)), None)
        if shared:
            own = {"segmenter": shared.segmenter, "gate": shared.gate}
            of_members = {**own, "coverage": shared.coverage, "on_reject": shared.on_reject, **of_members}
        for member in single:
            if not isinstance(member, Pipeline):
                member = Pipeline(classifier=member, **_fitting(of_members, member))
                # What stage 1 does is settled by now.
                of_members = {
                    key: value for key, value in of_members.items() if key not in ("fill_holes", "keep_parts")
                }
                of_members |= {"segmenter": member.segmenter, "gate": member.gate}
            self.members.append(member)
        orders = {member.classifier.card.classes for member in self.members}
        if len(orders) > 1:
            raise OptionError(f"the members have different classes: {sorted(orders)}; expected the same")
        first = self.members[0]
        if any(member.classifier.card.multilabel for member in self.members):
            raise OptionError("an ensemble is of classifiers that give one class; a member gives findings")
        super().__init__(first.batch_size if batch_size is None else batch_size, max_megapixels)
        self.coverage = of_members.get("coverage", first.coverage)

    def __repr__(self) -> str:
        return f"Ensemble({[member.classifier.card.name for member in self.members]})"

    @property
    def lead(self) -> Pipeline:
        """The first member."""
        return self.members[0]

    @property
    def finder(self) -> Finder:
        """Stage 1 of the first member."""
        return self.members[0].finder

    @property
    def segmenter(self) -> Segmenter:
        """Stage 1 of the first member."""
        return self.members[0].segmenter

    @property
    def classifier(self) -> Classifier:
        """Stage 2 of the first member."""
        return self.members[0].classifier

    @property
    def classifiers(self) -> list[Classifier]:
        """Stage 2 of each member."""
        return [member.classifier for member in self.members]

    @property
    def explainers(self) -> list[Classifier]:
        """Of the first member, whose view a prediction carries."""
        return self.members[0].explainers

    def _find(
        self, images: Sequence[Image], masks: Sequence[Mask | None] | None, read_options: dict[str, Any]
    ) -> list[Lungs | Failure]:
        return self.members[0]._find(images, masks, read_options)

    def _answer(
        self, images: Sequence[Image], masks: Sequence[Mask | None] | None, read_options: dict[str, Any]
    ) -> list[Prediction | Failure]:
        lungs: dict[tuple[int, int], list[Lungs]] = {}
        answers = []
        for member in self.members:
            key = id(member.segmenter), id(member.gate)
            if key not in lungs:
                lungs[key] = member.finder.find(images, masks, read_options)
            answers.append(member.answerer.answer(lungs[key]))
        return [self._together(one) for one in zip(*answers)]

    def _together(self, answers: Sequence[Prediction | Failure]) -> Prediction | Failure:
        """One answer out of one a member; a member that refuses the image refuses it for all."""
        predictions = []
        for answer in answers:
            if isinstance(answer, Failure):
                return answer
            predictions.append(answer)
        first = predictions[0]
        classes = list(first.probabilities)
        members = np.asarray([list(prediction.probabilities.values()) for prediction in predictions])
        mean = members.mean(axis=0)
        fits = [list(p.p_values.values()) for p in predictions if p.p_values is not None]
        # A set that heard only some of the members would hold for none.
        merged = dict(zip(classes, merged_p_values(fits).tolist())) if len(fits) == len(members) else None
        withheld = any(prediction.label is None for prediction in predictions)
        return replace(
            first,
            label=None if withheld else classes[int(mean.argmax())],
            probabilities=dict(zip(classes, mean.tolist())),
            fallback=any(prediction.fallback for prediction in predictions),
            classifier="+".join(prediction.classifier for prediction in predictions),
            p_values=merged,
            coverage=self.coverage if merged else None,
            spread=dict(zip(classes, members.std(axis=0).tolist())),
            disagreement=float(disagreement(members)),
            members=tuple(predictions),
        )


def _fitting(options: dict[str, Any], member: str | Path) -> dict[str, Any]:
    """The options that concern a member: one that sees whole films has no mask that could be bad."""
    needs_mask = Region(**(load_card(member).region or {})).needs_mask
    return {name: value for name, value in options.items() if name != "on_bad_mask" or needs_mask}
