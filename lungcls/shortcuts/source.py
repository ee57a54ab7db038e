"""Check 2: how well is the source told within one class?"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lungcls.evaluation.bootstrap import Estimate, bootstrap_estimates, group_resamples
from lungcls.evaluation.weighted import auroc
from lungcls.regions import REGIONS, Region, view
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Row
from lungcls.shortcuts.crossfit import cross_fitted, logistic
from lungcls.shortcuts.sample import Trial, interval
from lungcls.shortcuts.subject import FeatureSubject

_DRAWN: Final = ("model", "pixels of full", "pixels of mask", "pixels of background_box")
_PIXELS: Final = 16
_KEPT: Final = "features"


class SourcePrediction(Check):
    """Tell pairs of sources apart within a class, by logistic regression on features and on each region's
    pixels.

    A row a class, column, pair of values and kind of input: the area under the ROC curve of answers that
    5-fold cross-validation by group gave. The verdict is on the model's features and the column
    ``source`` alone; ``processing`` and the pixels are shown beside it.
    """

    name = "source_prediction"
    number = 2
    title = "The source told from the model's features and from pixels, within one class"
    limit = rules.SOURCE_AUROC
    plot_title = "AUROC of the source within one class"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return f"{row['class']}: {row['pair']}, {row['input']}" if row["input"] in _DRAWN else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        inputs = _inputs(trial)
        rows: list[dict[str, Any]] = []
        judged: list[tuple[Estimate, str]] = []
        for column, values in trial.columns.items():
            for name in trial.subject.classes:
                mine = np.asarray([record.label == name for record in trial.sample.records])
                counts = Counter(value for value in values[mine].tolist() if value)
                enough = [value for value, count in counts.most_common(4) if count >= rules.MIN_IMAGES]
                for one, two in itertools.combinations(sorted(enough), 2):
                    at = np.flatnonzero(mine & np.isin(values, [one, two]))
                    groups = [trial.sample.groups[i] for i in at]
                    for kind, features in inputs.items():
                        found = _told(features[at], values[at] == two, groups, trial)
                        if found is None:
                            continue
                        row = {"column": column, "class": name, "pair": f"{one} / {two}", "input": kind}
                        rows.append({**row, "figure": "auroc", **interval(found, len(at))})
                        if column == "source" and kind == "model":
                            judged.append((found, f"{one} from {two} within {name}"))
        if not judged:
            return self.untold(
                f"no class has two sources with {rules.MIN_IMAGES} images each in this sample", rows
            )
        worst, what = max(judged, key=lambda pair: pair[0].value)
        because = (
            f"the model's features tell {what} with an AUROC of {worst.value:.2f} ({worst.low:.2f} to "
            f"{worst.high:.2f}); limit {rules.SOURCE_AUROC}"
        )
        verdict = rules.all_at_most([found for found, _ in judged], rules.SOURCE_AUROC)
        return self.finding(verdict, because, rows)


def model_features(trial: Trial) -> NDArray[np.float64]:
    """Return the model's last features of each film, or its logits where it shows none, [N, F]; once."""
    if _KEPT not in trial.kept:
        subject, sample = trial.subject, trial.sample
        views = trial.views(sample.pixels, sample.masks)
        if isinstance(subject, FeatureSubject):
            found = trial.memory.features(subject, views)
        else:
            found = trial.run(views)
        trial.kept[_KEPT] = found.astype(np.float64)
    features: NDArray[np.float64] = trial.kept[_KEPT]
    return features


def _inputs(trial: Trial) -> dict[str, NDArray[np.float64]]:
    """Numbers of each image: the model's features (or logits), and 16 x 16 pixels of each region."""
    sample = trial.sample
    found = {"model": model_features(trial)}
    for name in REGIONS:
        region = Region(name)
        films = zip(sample.pixels, sample.masks, sample.aspects)
        small = [view(p, m, region, _PIXELS, aspect, trial.tone).ravel() for p, m, aspect in films]
        found[f"pixels of {name}"] = np.stack(small) / 255.0
    return found


def _told(
    features: NDArray[np.float64], positive: NDArray[np.bool_], groups: list[Any], trial: Trial
) -> Estimate | None:
    """Return the AUROC of a cross-fitted logistic regression; None where a fold lacks a class."""
    scores = cross_fitted(logistic, features, positive, groups, trial.seed)
    if scores is None:
        return None
    resamples = group_resamples(groups, trial.n_resamples, trial.seed)
    return bootstrap_estimates(lambda weights: {"": auroc(scores, positive)(weights)}, resamples)[""]
