"""Several classifiers that answer together, and say where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lungcls.classifier import Classifier
from lungcls.conformal import merged_p_values
from lungcls.errors import OptionError
from lungcls.images import Image, ImageSource
from lungcls.pipeline import Pipeline
from lungcls.prediction import Failure, Prediction
from lungcls.uncertainty import disagreement


class Ensemble(Pipeline):
    """Pipelines whose probabilities are averaged; used as a :class:`Pipeline` is.

    Parameters
    ----------
    members : sequence of Pipeline, str or path-like
        Pipelines, or weights of classifiers by released name or path, of the same classes in the same order.
        Regions, architectures and segmenters may differ; of an ensemble, all its members count. Members that
        share a segmenter (all that are given as weights do) find the lungs once for all.
    **options
        Of :class:`Pipeline`, but ``region`` and ``classifier``: for the members that are given as weights,
        and for reading and batches. Where a member is a pipeline, ``segmenter``, ``gate``, ``coverage`` and
        ``on_reject`` are by default its own.

    Attributes
    ----------
    members : list of Pipeline

    Raises
    ------
    ValueError
        If there is no member, the members' classes differ, or an option is unknown.
    WeightsError
        If weights are missing or damaged.

    Notes
    -----
    A prediction's ``probabilities`` are the mean over the members, ``spread`` is their standard deviation and
    ``disagreement`` their mutual information. Its ``p_values`` are twice the members' mean, which keeps the
    stated coverage however the members depend on each other, at the price of larger sets. The lungs, the
    quality and the view are the first member's; where any member refuses the image or withholds its label, so
    does the ensemble.

    References
    ----------
    Lakshminarayanan, Pritzel, Blundell (2017), Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles, NeurIPS.
    """

    members: list[Pipeline]

    def __init__(self, members: Sequence[Pipeline | str | Path], **options: Any) -> None:
        if isinstance(members, (str, Path)) or not members:
            raise OptionError(f"the members are {members!r}; expected a list of pipelines or weights")
        if fixed := sorted({"region", "classifier"} & options.keys()):
            raise OptionError(f"an ensemble takes no {' or '.join(fixed)}: its members say which they are")
        single: list[Pipeline | str | Path] = []
        for member in members:
            single += member.members if isinstance(member, Ensemble) else [member]
        ready = [member for member in single if isinstance(member, Pipeline)]
        if ready:
            first = ready[0]
            own = {"segmenter": first.segmenter, "gate": first.gate}
            options = {**own, "coverage": first.coverage, "on_reject": first.on_reject, **options}
        super().__init__(**options)
        # What stage 1 does is settled by now.
        options = {key: value for key, value in options.items() if key not in ("fill_holes", "keep_parts")}
        options |= {"segmenter": self.segmenter, "gate": self.gate}
        self.members = [
            member if isinstance(member, Pipeline) else Pipeline(classifier=member, **options)
            for member in single
        ]
        orders = {member.classifier.card.classes for member in self.members}
        if len(orders) > 1:
            raise OptionError(f"the members have different classes: {sorted(orders)}; expected the same")

    @property
    def classifier(self) -> Classifier:
        """Stage 2 of the first member."""
        return self.members[0].classifier

    @property
    def classifiers(self) -> list[Classifier]:
        """Stage 2 of each member."""
        return [classifier for member in self.members for classifier in member.classifiers]

    def _predict_batch(
        self, images: Sequence[Image], sources: Sequence[ImageSource], value_range: Any
    ) -> list[Prediction | Failure]:
        found: dict[tuple[int, int], list[dict[str, Any]]] = {}
        answers = []
        for member in self.members:
            key = id(member.segmenter), id(member.gate)
            if key not in found:
                found[key] = list(member._stage_one(images, sources, value_range))
            answers.append(member._stage_two(images, found[key]))
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
            region="+".join(dict.fromkeys(prediction.region for prediction in predictions)),
            fallback=any(prediction.fallback for prediction in predictions),
            classifier="+".join(prediction.classifier for prediction in predictions),
            p_values=merged,
            coverage=self.coverage if merged else None,
            spread=dict(zip(classes, members.std(axis=0).tolist())),
            disagreement=float(disagreement(members)),
        )
