"""Check 1: does a prediction follow the lungs or the background?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lungcls.evaluation.bootstrap import Estimate, bootstrap_estimates, exact_share, group_resamples
from lungcls.evaluation.weighted import Floats
from lungcls.regions import Mask, Pixels
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Picture, Row
from lungcls.shortcuts.compose import compose, lung_shape, overlaps, resampled
from lungcls.shortcuts.sample import Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CANDIDATES = 30  # films among which the lungs that fit best are chosen


class BackgroundSwap(Check):
    """Swap lungs between films that the model gets right, and see with whom its answer goes.

    A row a pair: the shares that follow the lungs, the background, and neither. Rows of one class with
    itself (another patient's lungs) are the control. Only lungs count whose class the model still tells after
    the same resampling on their own background, so that no lost sharpness is booked as background.
    """

    name = "background_swap"
    number = 1
    title = "Lungs of one class on the background of another"

    def plot(self, rows: Sequence[Row]) -> Figure | None:
        """Draw what the answers follow, a bar a pair."""
        from lungcls.shortcuts.plots import swaps

        return swaps(rows)

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        classes, shows = trial.subject.classes, trial.subject.region.kind.shows
        if shows in ("lungs", "outline"):
            because = f"the region {trial.subject.region.name!r} shows the model no background to follow"
            return self.not_applicable(because)
        rng = np.random.default_rng(trial.seed)
        shapes = np.stack([lung_shape(mask) for mask in trial.sample.masks])
        rows: list[dict[str, Any]] = []
        pictures: list[Picture] = []
        decided: dict[tuple[int, int], Estimate] = {}
        made: list[tuple[int, int]] = []  # composites of different classes, those that survive resampling
        kept: list[tuple[float, int]] = []
        for lungs in range(len(classes)):
            for background in range(len(classes)):
                drawn = _pairs(trial, shapes, lungs, background, audit.per_pair, rng)
                pairs = drawn if lungs == background else _surviving(trial, drawn)
                if lungs != background:
                    made.append((len(drawn), len(pairs)))
                if not pairs:
                    continue
                composites, masks = _composites(trial, pairs)
                aspects = [trial.sample.aspects[taker] for _, taker in pairs]
                predicted = trial.answers(composites, masks, aspects).argmax(1)
                groups = [trial.sample.groups[giver] for giver, _ in pairs]
                shares, index = _shares(predicted, lungs, background, groups, trial)
                row = {"lungs": classes[lungs], "background": classes[background], "n": len(pairs)}
                row |= {"left_out": len(drawn) - len(pairs)}
                for key, estimate in shares.items():
                    row |= {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}
                rows.append(row)
                if lungs == background:
                    kept.append((shares["follows_lungs"].value, len(pairs)))
                elif len(pairs) >= rules.MIN_IMAGES:
                    decided[lungs, background] = index
                if lungs != background and len(pictures) < 12:
                    pictures.append(_picture(trial, pairs[0], composites[0], classes[int(predicted[0])]))
        drawn_all, surviving = (sum(counts) for counts in zip(*made)) if made else (0, 0)
        if drawn_all and surviving < rules.CONTROL_KEPT * drawn_all:
            because = (
                f"only {surviving / drawn_all:.0%} of the lungs keep their class when they are resampled on "
                "their own background: the resampling itself decides"
            )
            return self.untold(because, rows, pictures)
        if not decided:
            because = (
                f"fewer than {rules.MIN_IMAGES} composites of any pair of classes: {rules.MIN_IMAGES} films "
                "of each class that the model gets right are needed"
            )
            return self.untold(because, rows, pictures)
        total = sum(n for _, n in kept)
        control = sum(share * n for share, n in kept) / total if total else 0.0
        if control < rules.CONTROL_KEPT:
            because = (
                f"only {control:.0%} of the control composites keep their class: the pasting itself decides"
            )
            return self.untold(because, rows, pictures)
        worst = min(
            decided, key=lambda pair: decided[pair].value if decided[pair].value == decided[pair].value else 1
        )
        because = (
            f"weakest pair: lungs of {classes[worst[0]]} on the background of {classes[worst[1]]}, where "
            f"{decided[worst].value:.0%} of the answers that go with either go with the lungs "
            f"({decided[worst].low:.0%} to {decided[worst].high:.0%}; limit {rules.LUNGS_DECIDE:.0%}); "
            f"{control:.0%} of the control composites keep their class, {surviving} of {drawn_all} lungs "
            "keep it when they are resampled"
        )
        verdict = rules.all_at_least(list(decided.values()), rules.LUNGS_DECIDE)
        return self.finding(verdict, because, rows, pictures)


def _pairs(
    trial: Trial,
    shapes: NDArray[np.float32],
    lungs: int,
    background: int,
    count: int,
    rng: np.random.Generator,
) -> list[tuple[int, int]]:
    """(giver, taker) positions: each taker gets the best fitting lungs of some films of another group."""
    groups = trial.sample.groups
    givers = np.flatnonzero((trial.labels == lungs) & trial.right)
    takers = rng.permutation(np.flatnonzero((trial.labels == background) & trial.right))[:count]
    pairs: list[tuple[int, int]] = []
    used: set[int] = set()
    for taker in takers.tolist():
        others = [i for i in rng.permutation(givers).tolist() if groups[i] != groups[taker]]
        # Fresh lungs for each background, as long as there are: the same ones twice are no further evidence.
        some = ([i for i in others if i not in used] or others)[:_CANDIDATES]
        if some:
            giver = some[int(overlaps(shapes[some], shapes[taker]).argmax())]
            used.add(giver)
            pairs.append((giver, taker))
    return pairs


def _surviving(trial: Trial, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The pairs whose lungs keep their class when they alone are resampled as for the swap, in place."""
    pixels, masks = trial.sample.pixels, trial.sample.masks
    twins = [resampled(pixels[a], masks[a], masks[b]) for a, b in pairs]
    givers = [a for a, _ in pairs]
    aspects = [trial.sample.aspects[a] for a in givers]
    predicted = trial.answers(twins, [masks[a] for a in givers], aspects).argmax(1)
    return [pair for pair, answer in zip(pairs, predicted) if answer == trial.labels[pair[0]]]


def _composites(trial: Trial, pairs: list[tuple[int, int]]) -> tuple[list[Pixels], list[Mask]]:
    pixels, masks = trial.sample.pixels, trial.sample.masks
    made = [compose(pixels[a], masks[a], pixels[b], masks[b]) for a, b in pairs]
    return [composite for composite, _ in made], [mask for _, mask in made]


def _shares(
    predicted: NDArray[np.intp], lungs: int, background: int, groups: list[Any], trial: Trial
) -> tuple[dict[str, Estimate], Estimate]:
    """Shares that follow either, and the share of the lungs among those that follow one of them."""
    with_lungs = (predicted == lungs).astype(float)
    with_background = (predicted == background).astype(float)

    def statistics(weights: Floats) -> dict[str, Floats]:
        total = np.maximum(weights.sum(1), 1e-12)
        one, two = weights @ with_lungs, weights @ with_background
        if lungs == background:
            return {"follows_lungs": one / total, "neither": 1 - one / total}
        either = one + two
        index = np.where(either > 0, one / np.where(either > 0, either, 1), np.nan)
        shares = {"follows_lungs": one / total, "follows_background": two / total}
        return {**shares, "neither": 1 - either / total, "index": index}

    resamples = group_resamples(groups, trial.n_resamples, trial.seed)
    found = bootstrap_estimates(statistics, resamples)
    index = found.pop("index", Estimate(float("nan")))
    deciding = {group for group, answer in zip(groups, predicted) if answer in (lungs, background)}
    index = exact_share(index, len(deciding))
    return {key: exact_share(one, resamples.n_groups) for key, one in found.items()}, index


def _picture(trial: Trial, pair: tuple[int, int], composite: Pixels, answer: str) -> Picture:
    from lungcls.shortcuts.pictures import strip

    giver, taker = pair
    pixels, records = trial.sample.pixels, trial.sample.records
    caption = (
        f"lungs from {records[giver].label} ({records[giver].file}), background from {records[taker].label} "
        f"({records[taker].file}), the composite: the model says {answer}"
    )
    return Picture(caption, strip([pixels[giver], pixels[taker], composite]))
