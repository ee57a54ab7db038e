"""What a run trains and is validated on: films, their lungs, and the views that are cut from them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lungcls.data.dataset import Dataset
from lungcls.data.offline import add_copies, wanted_counts
from lungcls.data.splits import Split
from lungcls.data.views import drawn_lungs, find_lungs, lung_views, region_views, segmentation_pairs
from lungcls.errors import DataError, RecipeError
from lungcls.evaluation.multilabel import finding_targets
from lungcls.finder import Finder
from lungcls.gate.screening import Gate
from lungcls.lineage import ancestors
from lungcls.lungs import Lungs
from lungcls.recipes import Recipe
from lungcls.study.context import RunContext
from lungcls.study.study import Study
from lungcls.training.datamodule import Views
from lungcls.weights import Card, load_card

logger = logging.getLogger(__name__)


class TrainingData:
    """The training and the validation part of a run.

    Parameters
    ----------
    recipe : Recipe
    database : Dataset
    split : Split
    earlier : mapping of str to path-like
        Weight files of earlier runs, by the names that the recipe calls them.
    lungs : mapping of str to Lungs or None
        By image file; None to find them as prediction does.
    gate : str, path-like, Gate or None
    context : RunContext
        Whose ``cache`` is set.

    Attributes
    ----------
    classes : tuple of str
    records : dict of str to list of Record
        Of the parts ``train`` and ``validation``; for stage 1 those that have a mask.
    finder : Finder
    origins : dict of str to Card
        The weights that the run rests on, by what they are to it: ``init``, ``segmenter``, ``teacher 0``...
    """

    def __init__(
        self,
        recipe: Recipe,
        database: Dataset,
        split: Split,
        earlier: Mapping[str, str | Path],
        lungs: Mapping[str, Lungs] | None,
        gate: str | Path | Gate | None,
        context: RunContext,
    ) -> None:
        self.recipe, self.database, self.split, self.context = recipe, database, split, context
        self.segmentation = recipe.task == "segmentation"
        self.multilabel = database.multilabel and not self.segmentation
        if self.multilabel:
            _check_for_findings(recipe, database)
        self.classes = ("lung",) if self.segmentation else database.classes
        usable = [record for record in database.records if record.mask or not self.segmentation]
        self.records = {part: split.select(usable, part) for part in ("train", "validation")}
        self.segmenter = segmenter = earlier.get(recipe.segmenter, recipe.segmenter)
        predicts = lungs is None and recipe.needs_masks
        self.init = earlier.get(recipe.init, recipe.init)
        self.teachers = [earlier.get(name, name) for name in recipe.teachers]
        self.origins: dict[str, Card] = {
            **({"init": load_card(self.init)} if self.init else {}),
            **({"segmenter": load_card(segmenter)} if predicts else {}),
            **{f"teacher {place}": load_card(name) for place, name in enumerate(self.teachers)},
        }
        self.other_splits = self._other_splits()
        self.finder = Finder.load(segmenter if predicts else None, gate, context.device)
        if lungs is None and not self.segmentation:
            # All parts at once, so that an evaluation on another part of the split finds its lungs here too.
            records = [record for record in database.records if record.file in split.parts]
            lungs = find_lungs(database, records, self.finder, context.cache, progress=context.progress)
        self.lungs = lungs or {}
        missing = [one.file for part in self.records.values() for one in part if one.file not in self.lungs]
        if missing and not self.segmentation:
            raise DataError(f"the lungs of {len(missing)} films are not given, such as those of {missing[0]}")

    def load(self, part: str, size: int) -> Views:
        """Cut a part at a size: with masks for stage 1, with class indices for stage 2."""
        recipe, records, progress = self.recipe, self.records[part], self.context.progress
        folder = self.context.views_folder
        if recipe.region is None:
            gate = self.finder.gate
            views, masks = segmentation_pairs(
                self.database, records, size, gate, progress, tone=recipe.tone, folder=folder
            )
            return Views(views, masks=masks)
        labels, films = self.labels(part), [self.lungs[record.file] for record in records]
        if part == "train" and recipe.lungs_beside:
            views, shares = lung_views(films, recipe.region, size, progress, tone=recipe.tone, folder=folder)
            return Views(views, labels, shares, self._strata(part))
        views = region_views(films, recipe.region, size, progress, tone=recipe.tone, folder=folder)
        if part == "train" and recipe.offline:
            views, labels = add_copies(views, labels, self.wanted(), recipe.offline_augmentation, recipe.seed)
        return Views(views, labels, strata=self._strata(part) if part == "train" else None)

    def _strata(self, part: str) -> npt.NDArray[np.int64] | None:
        within = self.recipe.balance_within
        if within == "none":
            return None
        values = [getattr(record, within) for record in self.records[part]]
        return np.unique(values, return_inverse=True)[1].astype(np.int64)

    def ancestors(self, architecture: Mapping[str, Any]) -> Any:
        """Say for the card which weights the run rests on."""
        segmenter = self.segmenter if "segmenter" in self.origins else ""
        return ancestors(dict(architecture), init=self.init, segmenter=segmenter, teachers=self.teachers)

    def labels(self, part: str) -> npt.NDArray[np.int64]:
        """Index of each film's class, int64 [N]; of findings int64 [N, K], 1 there, 0 not, -1 not known."""
        if self.multilabel:
            return finding_targets(self.records[part], self.classes)
        return np.asarray([self.classes.index(record.label) for record in self.records[part]], np.int64)

    def wanted(self) -> dict[int, int]:
        """Films that a class shall have in training after offline augmentation, by its index."""
        return wanted_counts(self.labels("train"), self.recipe.offline, self.classes)

    def counts(self) -> npt.NDArray[np.int64]:
        """Training films by class, the copies of offline augmentation included; every class has some.

        Raises
        ------
        DataError
            If a class has none, or a finding is on none or on all.
        """
        if self.multilabel:
            return self._finding_counts()
        counts = np.bincount(self.labels("train"), minlength=len(self.classes))
        if not counts.all():
            raise DataError(
                f"{self.database.root}: a class has no training image: {dict(zip(self.classes, counts))}"
            )
        for index, count in self.wanted().items():
            counts[index] = max(counts[index], count)
        return counts

    def _finding_counts(self) -> npt.NDArray[np.int64]:
        """Films with each finding, int64 [K]."""
        targets = self.labels("train")
        present, absent = (targets == 1).sum(0), (targets == 0).sum(0)
        for name, there, other in zip(self.classes, present.tolist(), absent.tolist()):
            if not (there and other):
                raise DataError(
                    f"{self.database.root}: the finding {name!r} is on {there} training films and not on "
                    f"{other}; expected some of both. Add films, or leave the finding out"
                )
        return np.asarray(present, np.int64)

    def validation(self) -> Study:
        """The validation part, as prediction sees it."""
        return Study(self.database, self.records["validation"], self.lungs, self.split, "validation")

    def drawn_validation(self) -> list[Lungs]:
        """The validation part with the dataset's own masks."""
        return list(drawn_lungs(self.database, self.records["validation"], self.finder.gate).values())

    def about(self) -> dict[str, Any]:
        """Say for the card what was trained on."""
        counts = {
            part: dict(sorted(Counter(n for one in records for n in one.findings or (one.label,)).items()))
            for part, records in self.records.items()
        }
        teachers = [card.sha256 for role, card in self.origins.items() if role.startswith("teacher")]
        hashes = {role: card.sha256 for role, card in self.origins.items()}
        return {
            "dataset": self.database.title,
            "images": counts,
            **({"films": self._films()} if self.lungs else {}),
            **({"with_copies": self._copies()} if self.recipe.offline else {}),
            # Weights that this run rests on and that saw other parts of the data.
            **({"other_splits": self.other_splits} if self.other_splits else {}),
            "split_seed": self.recipe.split_seed,
            "split_hash": self.split.hash,
            "segmenter": hashes.get("segmenter"),
            "init": hashes.get("init"),
            **({"teachers": teachers} if teachers else {}),
        }

    def _copies(self) -> dict[str, int]:
        return {self.classes[index]: count for index, count in self.wanted().items()}

    def _films(self) -> dict[str, int]:
        """What the gate and the masks said of the films that were trained on."""
        quality = [self.lungs[record.file].quality for record in self.records["train"]]
        return {
            "refused": sum(not one.accepted for one in quality),
            "corrected": sum(bool(one.corrected) for one in quality),
            "without_two_lungs": sum(not one.both_lungs for one in quality),
        }

    def _other_splits(self) -> dict[str, str]:
        """Name and split of the weights that the run rests on and that may have seen its test part."""
        torn = {}
        for card in self.origins.values():
            data = card.training_data
            if data.get("dataset") == self.database.title and data.get("split_hash") != self.split.hash:
                torn[card.name] = str(data.get("split_hash"))
        for name, used in torn.items():
            logger.warning(
                "%s was trained with the split %s, this run has the split %s: validation and test images may "
                "be among those that %s has learnt from, and figures on them too high; use the split of "
                "those weights (--split), or weights made with this split",
                *(name, used, self.split.hash, name),
            )
        return torn


def _check_for_findings(recipe: Recipe, database: Dataset) -> None:
    """Refuse what only classes can be trained with."""
    if recipe.loss != "bce":
        raise RecipeError(
            f"{database.root}: films have several findings each, not for the loss {recipe.loss!r}; "
            "set loss = 'bce' (and label_smoothing = 0) in the recipe"
        )
    for name in ("offline", "teachers"):
        if getattr(recipe, name):
            raise RecipeError(f"{name} goes with one class a film; {database.root} has several findings each")
    if recipe.balance == "sampler" or recipe.balance_within != "none" or recipe.bias != "none":
        raise RecipeError(
            f"{database.root}: films have several findings each; balance can be 'class_weights' or 'none', "
            "and bias and balance_within 'none'"
        )
