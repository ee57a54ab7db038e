"""Check 5: are images that the model was trained on among those that it is examined on?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungcls.data.crops import cropped_from
from lungcls.data.dataset import Record
from lungcls.data.duplicates import copied_from
from lungcls.data.thumbnails import thumbnail
from lungcls.evaluation.bootstrap import Estimate, exact_share
from lungcls.evaluation.reading import in_threads
from lungcls.evaluation.weighted import difference, share
from lungcls.images import read_image
from lungcls.progress import Progress
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Row
from lungcls.shortcuts.sample import Trial, interval


class Leakage(Check):
    """Look for copies of the examined images in the training part: whole, trimmed and mirrored ones.

    The share of examined images with a copy of their class there, over all and by class, and the accuracy
    with and without. :mod:`lungcls.data.duplicates` and :mod:`lungcls.data.crops` say which copies are found.
    """

    name = "leakage"
    number = 5
    letter = "H"
    title = "Leakage"
    limit = rules.LEAKED_SHARE
    plot_title = "Share of images with a copy in the training part"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return str(row["images"]) if row["figure"] == "share_with_a_copy_in_training" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        training = trial.study.training_records
        if not training:
            return self.untold("the data name no training part (no split)")
        if trial.study.part == "all":
            return self.untold("all films are examined: there is no training part to compare them with")
        kinds = _copies(trial, training, audit.progress)
        copied = np.any(list(kinds.values()), axis=0)
        rows: list[dict[str, Any]] = []
        figures: dict[str, Estimate] = {}
        sizes: dict[str, int] = {}
        classes = [(name, trial.labels == k) for k, name in enumerate(trial.subject.classes)]
        for name, films in (("all", np.ones(len(copied), np.bool_)), *classes):
            if films.sum() < (1 if name == "all" else rules.MIN_IMAGES):
                continue
            groups = len(set(trial.resamples.codes[films].tolist()))
            sizes[name] = int(films.sum())
            figures[name] = exact_share(trial.estimate(share(copied), films), groups)
            row = {"images": name, "figure": "share_with_a_copy_in_training"}
            rows.append({**row, **interval(figures[name], sizes[name])})
        for kind, films in kinds.items():
            found = exact_share(trial.estimate(share(films)), trial.resamples.n_groups)
            rows.append(
                {"images": "all", "figure": f"share_with_a_{kind}_copy", **interval(found, len(films))}
            )
        for name, chosen in (("with a copy", copied), ("without", ~copied)):
            if chosen.any():
                accuracy = trial.estimate(share(trial.right), chosen)
                rows.append({"figure": "accuracy", "images": name, **interval(accuracy, int(chosen.sum()))})
        effect = trial.estimate(
            difference(lambda weights: share(trial.right)(weights * ~copied), share(trial.right))
        )
        rows.append({"figure": "effect_on_accuracy", "images": "all", **interval(effect, len(copied))})
        worst = max(figures, key=lambda name: figures[name].value)
        counts = ", ".join(f"{int(films.sum())} {kind}" for kind, films in kinds.items())
        most = figures[worst]
        because = (
            f"{int(copied.sum())} of {len(copied)} images have a copy in the training part ({counts}), most "
            f"of {worst}: {most.value:.1%} ({most.low:.1%} to {most.high:.1%}; limit "
            f"{rules.LEAKED_SHARE:.0%}); they move the accuracy by {effect.value:+.3f}"
        ) + rules.size_words(most, rules.LEAKED_SHARE, sizes[worst])
        return self.finding(rules.all_at_most(list(figures.values()), rules.LEAKED_SHARE), because, rows)


def _copies(
    trial: Trial, training: Sequence[Record], progress: Progress[Any]
) -> dict[str, NDArray[np.bool_]]:
    """Which films have a copy of their class among the training films, by the kind of copy."""
    database = trial.study.dataset

    def small(record: Record) -> NDArray[np.float32]:
        return thumbnail(read_image(database.path(record)).pixels)

    records = trial.sample.records
    mine, others = (
        np.stack(in_threads(small, films, "looking for copies", progress)) for films in (records, training)
    )
    labels = [record.label for record in (*records, *training)]
    # Both ways round at once: what is made of the many training films is made once.
    both, twice = np.concatenate([mine, mine[:, :, ::-1]]), [*labels[: len(mine)], *labels]
    (whole, turned), (trimmed, turned_and_trimmed) = (
        np.split(search(both, others, twice), 2) for search in (copied_from, cropped_from)
    )
    return {
        "whole": whole,
        "trimmed": trimmed & ~whole,
        "mirrored": (turned | turned_and_trimmed) & ~whole,
    }
