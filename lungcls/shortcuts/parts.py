"""Check 7: what does each part of the image tell, shown alone?"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.calibration import softmax
from lungcls.evaluation.weighted import macro_auroc
from lungcls.regions import Mask, known_box
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Picture, Row
from lungcls.shortcuts.pictures import strip
from lungcls.shortcuts.sample import Trial, interval

FAR: Final = ("corners", "borders", "shoulders")
"""Parts in which no disease of the lungs can be seen: the verdict is on them."""


def image_parts(mask: Mask) -> dict[str, Mask]:
    """Return the parts of an image, found from its lung mask.

    Parameters
    ----------
    mask : bool array [H, W]
        Not empty.

    Returns
    -------
    dict of str to bool array [H, W]
        ``corners`` (squares of 15% of the shorter side), ``borders`` (a frame of 6%), ``shoulders`` (beside
        the top fifth of the lungs and above), ``mediastinum`` (between the lungs), ``diaphragm`` (below
        them), ``lungs``. None but the last holds a lung's pixel.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    x0, y0, x1, y1 = known_box(mask)
    height, width = mask.shape
    rows, columns = np.mgrid[:height, :width]
    corner, frame = round(0.15 * min(height, width)), max(1, round(0.06 * min(height, width)))
    to_side = np.minimum(columns, width - 1 - columns)
    to_end = np.minimum(rows, height - 1 - rows)
    seen_left, seen_above = np.cumsum(mask, axis=1) > 0, np.cumsum(mask, axis=0) > 0
    seen_right = np.cumsum(mask[:, ::-1], axis=1)[:, ::-1] > 0
    seen_below = np.cumsum(mask[::-1], axis=0)[::-1] > 0
    quarter = 0.25 * (x1 - x0)
    parts = {
        "corners": (to_side < corner) & (to_end < corner),
        "borders": (to_side < frame) | (to_end < frame),
        "shoulders": (rows < y0 + 0.2 * (y1 - y0)) & ((columns < x0 + quarter) | (columns >= x1 - quarter)),
        "mediastinum": seen_left & seen_right & (rows >= y0) & (rows < y1),
        "diaphragm": seen_above & ~seen_below,
    }
    return {**{name: part & ~mask for name, part in parts.items()}, "lungs": mask}


class RegionDecomposition(Check):
    """Show each part alone, all else black, and measure how well the classes are told.

    A row a part: the macro AUROC (no threshold, since such images are strange to the model), and the
    share of the image that the part is. Parts that the model's region cuts away are marked.
    """

    name = "region_decomposition"
    number = 7
    title = "Parts of the image shown alone"
    limit = rules.PART_AUROC
    plot_title = "Macro AUROC of each part alone"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return str(row["part"])

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        sample = trial.sample
        if min(np.bincount(trial.labels, minlength=len(trial.subject.classes))) < rules.MIN_IMAGES // 2:
            return self.untold("a class has too few images in this sample")
        split = [image_parts(mask) for mask in sample.masks]
        rows: list[dict[str, Any]] = []
        judged: dict[str, Estimate] = {}
        tiles = []
        for name in split[0]:
            alone = [
                np.where(part[name], pixels, np.float32(0)) for part, pixels in zip(split, sample.pixels)
            ]
            tiles.append(alone[0])
            views = trial.views(alone, sample.masks)
            area = float(np.mean([part[name].mean() for part in split]))
            row = {"part": name, "figure": "macro_auroc", "area": area, "shown": True}
            if (views.max(axis=(1, 2)) == 0).mean() > 0.5:
                rows.append({**row, "shown": False, "value": None, "n": len(sample)})
                continue
            found = trial.estimate(macro_auroc(trial.labels, softmax(trial.run(views))))
            rows.append({**row, **interval(found, len(sample))})
            if name in FAR:
                judged[name] = found
        pictures = [Picture(", ".join(split[0]), strip(tiles))]
        if not judged or trial.subject.region.kind.shows in ("lungs", "outline"):
            because = f"the region {trial.subject.region.name!r} shows the model none of {', '.join(FAR)}"
            return self.not_applicable(because, rows, pictures)
        verdict = rules.all_at_most(list(judged.values()), rules.PART_AUROC)
        worst = max(judged, key=lambda name: judged[name].value)
        because = (
            f"{worst} alone tell the classes with a macro AUROC of {judged[worst].value:.2f} ("
            f"{judged[worst].low:.2f} to {judged[worst].high:.2f}); limit {rules.PART_AUROC}"
        ) + rules.size_words(judged[worst], rules.PART_AUROC, len(sample))
        return self.finding(verdict, because, rows, pictures)
