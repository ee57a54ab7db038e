"""Check 9: does attention lie in the lungs, and does the lung mask keep what radiologists marked?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lungcls.errors import OptionError
from lungcls.evaluation.bootstrap import Estimate, bootstrap_estimates, group_resamples
from lungcls.evaluation.weighted import Floats, share
from lungcls.explanation import Frame, attention_shares
from lungcls.explanation.boxes import FloatBox, box_mask
from lungcls.regions import resize_mask
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Picture, Verdict, joined
from lungcls.shortcuts.pictures import heat
from lungcls.shortcuts.sample import Trial, interval
from lungcls.shortcuts.subject import FeatureSubject

_BATCH: Final = 16
_MOST: Final = 200  # images whose CAM is made, drawn by the trial's seed


class Attention(Check):
    """Measure where the CAM of each predicted class lies, and what becomes of films whose boxes are cut away.

    Mean share of the CAM inside the lungs, its chance, ceiling and random-weights control; and for the
    films with boxes, recall where the lung mask keeps at least half of their area and where it does not.
    """

    name = "attention"
    number = 9
    title = "Attention inside the lungs, and opacities that the lung mask keeps"

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        rows = _box_rows(trial, audit.boxes)
        subject = trial.subject
        if not isinstance(subject, FeatureSubject):
            return self.untold("the model shows no feature maps (features, cams and untrained)", rows)
        if subject.region.kind.shows != "both":
            kind = "only the lungs" if subject.region.kind.shows == "lungs" else "nothing of the lungs"
            because = f"the model is shown {kind}, so that where it looks tells nothing about it"
            return self.not_applicable(because, rows)
        rng = np.random.default_rng(trial.seed)
        chosen = np.zeros(len(trial.sample), np.bool_)
        chosen[rng.permutation(len(trial.sample))[:_MOST]] = True
        part = trial.of(chosen)
        targets = part.probabilities.argmax(1)
        try:
            shares, grids = _shares(part, subject, targets)
            control, _ = _shares(part, subject.untrained(), targets)
        except (RuntimeError, OptionError) as error:
            # A rounding, a threshold or a histogram lets no gradient through: there is no CAM then.
            reason = " ".join(str(error).split())
            return self.untold(f"no CAM can be made of this model ({reason})", rows)
        pictures = _pictures(part, grids)
        valid = np.isfinite(shares["lungs"])
        if valid.sum() < rules.MIN_IMAGES:
            return self.untold(f"only {int(valid.sum())} images have a CAM", rows)
        for name, values in (
            ("share", shares["lungs"]),
            ("chance", shares["lungs_chance"]),
            ("ceiling", shares["lungs_ceiling"]),
            ("matched", shares["lungs_matched"]),
            ("random_weights", control["lungs"]),
        ):
            rows.append({"figure": f"cam_in_lungs_{name}", **_mean(values, part)})
        way = _estimate(
            (shares["lungs"] - shares["lungs_chance"]) / (shares["lungs_matched"] - shares["lungs_chance"]),
            part,
        )
        gain = _estimate(shares["lungs"] - control["lungs"], part)
        rows.append({"figure": "way_from_chance_to_matched", **interval(way, int(valid.sum()))})
        rows.append({"figure": "share_minus_random_weights", **interval(gain, int(valid.sum()))})
        because = (
            f"{np.nanmean(shares['lungs']):.0%} of the CAM lie inside the lungs; chance "
            f"{shares['lungs_chance'].mean():.0%}, the best map of this resolution "
            f"{shares['lungs_matched'].mean():.0%}, random weights {np.nanmean(control['lungs']):.0%}: "
            f"{way.value:.0%} of the way from chance to the best map ("
            f"{way.low:.0%} to {way.high:.0%}; limit {rules.CAM_OVER_CHANCE:.0%})"
        )
        verdicts: list[Verdict] = [rules.at_least(way, rules.CAM_OVER_CHANCE), rules.at_least(gain, 0)]
        return self.finding(joined(verdicts), because, rows, pictures)


def _shares(
    trial: Trial, subject: FeatureSubject, targets: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float32]]:
    sample = trial.sample
    views = trial.views(sample.pixels, sample.masks)
    grids = np.concatenate(
        [
            subject.cams(views[at : at + _BATCH], targets[at : at + _BATCH])
            for at in range(0, len(views), _BATCH)
        ]
    )
    found = []
    for grid, mask, aspect in zip(grids, sample.masks, sample.aspects):
        shape = (mask.shape[0], mask.shape[1])
        frame = Frame.of(shape, mask, subject.region, subject.input_size, aspect)
        found.append(attention_shares(grid, frame, mask))
    return {key: np.asarray([shares[key] for shares in found]) for key in found[0]}, grids


def _mean(values: NDArray[np.float64], trial: Trial) -> dict[str, Any]:
    known = int(np.isfinite(values).sum())
    return interval(_estimate(values, trial), known) if known else {"value": None, "n": 0}


def _estimate(values: NDArray[np.float64], trial: Trial) -> Estimate:
    """Mean of what is known (an empty map has no share), with its interval."""
    known = np.isfinite(values)
    groups = [group for group, ok in zip(trial.sample.groups, known) if ok]
    resamples = group_resamples(groups, trial.n_resamples, trial.seed)
    return bootstrap_estimates(lambda weights: {"": share(values[known])(weights)}, resamples)[""]


def _pictures(trial: Trial, grids: NDArray[np.float32], each: int = 2) -> list[Picture]:
    """A few CAMs of every class."""
    pictures = []
    sample, classes = trial.sample, trial.subject.classes
    for k, name in enumerate(classes):
        for i in np.flatnonzero(trial.labels == k)[:each].tolist():
            pixels, mask = sample.pixels[i], sample.masks[i]
            shape = (mask.shape[0], mask.shape[1])
            region, size = trial.subject.region, trial.subject.input_size
            cam = Frame.of(shape, mask, region, size, sample.aspects[i]).to_image(grids[i])
            top = float(cam.max()) or 1.0
            answer = classes[int(trial.probabilities[i].argmax())]
            caption = f"{name} ({sample.records[i].file}), the model says {answer}"
            pictures.append(Picture(caption, heat(pixels, cam / top, mask)))
    return pictures


def _box_rows(trial: Trial, boxes: Mapping[str, list[FloatBox]]) -> list[dict[str, Any]]:
    """The share of the boxes that the lung mask keeps, and recall where it keeps or loses them."""
    at = [i for i, record in enumerate(trial.sample.records) if boxes.get(record.file)]
    if not at:
        return []
    kept = np.asarray([_kept(trial, i, boxes[trial.sample.records[i].file]) for i in at])
    here = np.zeros(len(trial.sample), np.bool_)
    here[at] = True
    part = trial.of(here)
    rows: list[dict[str, Any]] = [{"figure": "share_of_boxes_inside_lungs", **_mean(kept, part)}]
    for films, chosen in (("kept", kept >= rules.BOX_KEPT), ("lost", kept < rules.BOX_KEPT)):
        if not chosen.any():
            rows.append({"figure": "recall", "films": f"boxes {films}", "value": None, "n": 0})
            continue
        right = part.right

        def recall(
            weights: Floats, right: NDArray[np.bool_] = right, chosen: NDArray[np.bool_] = chosen
        ) -> Floats:
            return share(right)(weights * chosen)

        found = part.estimate(recall)
        rows.append({"figure": "recall", "films": f"boxes {films}", **interval(found, int(chosen.sum()))})
    return rows


def _kept(trial: Trial, i: int, boxes: list[FloatBox]) -> float:
    mask = trial.sample.masks[i]
    record_shape = trial.sample.stored_shape(i)
    marked = box_mask(boxes, record_shape)
    # Boxes are in pixels of the stored image, which the sample may keep smaller.
    lungs = resize_mask(mask, record_shape)
    return float(lungs[marked].mean()) if marked.any() else float("nan")
