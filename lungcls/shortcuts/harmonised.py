"""Checks E and I: lungs of equal sharpness and grey levels, and lungs with another source's signature."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungcls.data.harmonisation import (
    SHARPNESS_QUANTILE,
    blurred_to,
    grey_levels,
    sharpness,
    toned,
    transplanted,
)
from lungcls.data.statistics import strengths
from lungcls.evaluation.bootstrap import Estimate, exact_share
from lungcls.evaluation.reading import in_threads
from lungcls.evaluation.weighted import difference, macro_f1, share
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Picture, Row
from lungcls.shortcuts.pictures import strip
from lungcls.shortcuts.sample import Trial, interval


class HarmonisedLungs(Check):
    """Give all lungs one sharpness, one histogram, and both, and measure the drop of macro-F1.

    A row a way: macro-F1 and the drop, on the same films. All films are blurred to the sharpness of the
    bluntest in twenty; the histogram is the mean of all films' quantiles.
    """

    name = "harmonised_lungs"
    number = "E"
    title = "Lungs of equal sharpness and grey levels"
    limit = rules.HARMONISED_DROP
    plot_title = "Drop of macro-F1"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return str(row["films"]) if row["figure"] == "drop" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        if why := hidden_lungs(trial):
            return self.not_applicable(why)
        sample, k = trial.sample, len(trial.subject.classes)
        if len(sample) < rules.MIN_IMAGES:
            return self.untold(f"only {len(sample)} images; {rules.MIN_IMAGES} are needed")
        films = list(zip(sample.pixels, sample.masks))
        target = float(
            np.quantile(in_threads(lambda film: sharpness(*film), films, "sharpness"), SHARPNESS_QUANTILE)
        )
        levels = np.mean([grey_levels(*film) for film in films], axis=0)
        blunt = in_threads(lambda film: blurred_to(*film, target), films, "blurring")
        ways = {
            "sharpness levelled": blunt,
            "histogram matched": [toned(p, m, levels) for p, m in films],
            "both": [toned(p, m, levels) for p, m in zip(blunt, sample.masks)],
        }
        before = macro_f1(trial.labels, trial.probabilities.argmax(1), k)
        rows: list[dict[str, Any]] = [
            {"films": "as they are", "figure": "macro_f1", **interval(trial.estimate(before), len(sample))}
        ]
        drops: dict[str, Estimate] = {}
        for name, changed in ways.items():
            after = macro_f1(trial.labels, trial.answers(changed, sample.masks).argmax(1), k)
            drops[name] = trial.estimate(difference(after, before))
            rows.append({"films": name, "figure": "macro_f1", **interval(trial.estimate(after), len(sample))})
            rows.append({"films": name, "figure": "drop", **interval(drops[name], len(sample))})
        worst = max(drops, key=lambda name: drops[name].value)
        drop = drops[worst]
        because = (
            f"the largest drop of macro-F1 is {drop.value:.3f} ({drop.low:.3f} to {drop.high:.3f}), {worst}; "
            f"limit {rules.HARMONISED_DROP}{rules.size_words(drop, rules.HARMONISED_DROP, len(sample))}"
        )
        tiles = [sample.pixels[0], *(changed[0] for changed in ways.values())]
        pictures = [Picture("a film; " + "; ".join(ways), strip(tiles))]
        verdict = rules.all_at_most(list(drops.values()), rules.HARMONISED_DROP)
        return self.finding(verdict, because, rows, pictures)


class SignatureTransplant(Check):
    """Give the lungs of films grain, sharpness and tone of a film of another source, and count new answers.

    Of films that the model gets right. A row an ordered pair of sources: the share of answers that change
    with the signature of the other source, with that of another film of the own source, and the excess of the
    former, under the same resamples. Without sources, processings are taken.
    """

    name = "signature_transplant"
    number = "I"
    title = "Lungs with the grain, sharpness and tone of another source"
    costly = True
    limit = rules.TRANSPLANT_CHANGED
    plot_title = "Answers changed, beyond those by the own source"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return f"{row['lungs']} with {row['signature']}" if row["figure"] == "excess" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        if why := hidden_lungs(trial):
            return self.not_applicable(why)
        of_films, names = _origins(trial)
        if len(names) < 2:
            return self.untold(
                f"fewer than two sources (or processings) have {rules.MIN_IMAGES} images in this sample"
            )
        sample = trial.sample
        films = list(zip(sample.pixels, sample.masks))
        signatures = in_threads(
            lambda film: (strengths(*film), grey_levels(*film)), films, "measuring signatures"
        )
        rng = np.random.default_rng(trial.seed)
        groups = np.asarray(trial.resamples.codes)
        clean = trial.probabilities.argmax(1)
        changed: dict[str, NDArray[np.bool_]] = {}
        pictures: list[Picture] = []
        for signature in names:
            donors = np.flatnonzero(of_films == signature)
            drawn = []
            for group in groups:
                others = donors[groups[donors] != group]
                drawn.append(signatures[int(rng.choice(others if len(others) else donors))])
            given = in_threads(
                lambda one: transplanted(*one[0], *one[1]), list(zip(films, drawn)), "transplanting"
            )
            changed[signature] = trial.answers(given, sample.masks).argmax(1) != clean
            other = int(np.flatnonzero(of_films != signature)[0])
            caption = f"a film of {of_films[other]}, and with the signature of {signature}"
            pictures.append(Picture(caption, strip([sample.pixels[other], given[other]])))
        rows: list[dict[str, Any]] = []
        excesses: list[tuple[Estimate, str, int]] = []
        for lungs in names:
            mine = (of_films == lungs) & trial.right
            n = int(mine.sum())
            if n < rules.MIN_IMAGES:
                continue
            n_groups = len(set(groups[mine].tolist()))
            for signature in names:
                row = {"lungs": lungs, "signature": signature}
                found = exact_share(trial.estimate(share(changed[signature]), mine), n_groups)
                rows.append({**row, "figure": "changed", **interval(found, n)})
                if signature == lungs:
                    continue
                both = difference(share(changed[lungs]), share(changed[signature]))
                excess = trial.estimate(both, mine)
                rows.append({**row, "figure": "excess", **interval(excess, n)})
                excesses.append((excess, f"{signature} to lungs of {lungs}", n))
        if not excesses:
            return self.untold(f"fewer than {rules.MIN_IMAGES} films of any source are answered right", rows)
        worst, what, n = max(excesses, key=lambda one: one[0].value)
        because = (
            f"the signature of {what} changes {worst.value:+.1%} ({worst.low:+.1%} to {worst.high:+.1%}) "
            f"more answers than that of another film of the own source; limit {rules.TRANSPLANT_CHANGED:.0%}"
            f"{rules.size_words(worst, rules.TRANSPLANT_CHANGED, n)}"
        )
        verdict = rules.all_at_most([excess for excess, _, _ in excesses], rules.TRANSPLANT_CHANGED)
        return self.finding(verdict, because, rows, pictures)


def _origins(trial: Trial) -> tuple[NDArray[np.str_], list[str]]:
    """The source of each film, and those with enough films; processings where there are not two of these."""
    for column in ("source", "processing"):
        values = np.asarray([getattr(record, column) for record in trial.sample.records])
        names, counts = np.unique(values, return_counts=True)
        kept = [n for n, count in zip(names.tolist(), counts) if n and count >= rules.MIN_IMAGES]
        if len(kept) > 1:
            return values, kept
    return values, []


def hidden_lungs(trial: Trial) -> str:
    """Say that a model's region shows nothing within the lungs; empty where it does."""
    region = trial.subject.region
    if region.kind.shows in ("both", "lungs"):
        return ""
    return f"the region {region.name!r} shows the model nothing within the lungs"
