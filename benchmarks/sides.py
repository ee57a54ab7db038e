"""How well two lungs that touch are told apart, and how often lungs touch at all.

    python benchmarks/sides.py --data DIR [--films N]

DIR holds ``radiography``, ``montgomery`` and ``shenzhen``. The truth is a mask whose lungs lie apart: its two
parts. They are joined, by a bridge at a random height or by moving one lung over the other, and divided again
by ``lungcls.quality.pair`` and, beside it, in the column that holds least of the mask. What two lungs share
counts for neither. Then come single lungs, true masks and the segmenter's own. Up to N films of each dataset,
evenly spread, at 256 x 256. Writes ``results/sides.json`` and ``.csv``; `documents.py` puts the tables into
``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cc3d
import numpy as np

from lungcls.data import Dataset, Record, open_dataset
from lungcls.evaluation.results import write_results
from lungcls.finder import Finder
from lungcls.images import read_image
from lungcls.quality.pair import pair_of_lungs
from lungcls.regions import Mask, known_box, resize_mask
from lungcls.render.tables import format_table
from lungcls.versions import versions

RESULTS = Path(__file__).parent / "results"
DATASETS = ("montgomery", "shenzhen", "radiography")
SIZE = 256
BRIDGES = (1, 3, 10, 20)
OVERLAPS = (1, 3, 10, 20)
BATCH = 8


def two_lungs(mask: Mask) -> tuple[Mask, Mask]:
    """The two largest parts of a mask, that at the image's left first."""
    labels = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=4)
    largest = np.argsort(-np.bincount(labels.ravel())[1:])[:2] + 1
    lungs = sorted((labels == label for label in largest), key=lambda lung: np.nonzero(lung)[1].mean())
    return lungs[0], lungs[1]


def joined(left: Mask, right: Mask, rng: np.random.Generator) -> Iterator[tuple[str, Mask, Mask, Mask]]:
    """Ways in which two lungs touch: how, the whole mask, and the two lungs of which it is made."""
    rows = np.flatnonzero(left.any(axis=1) & right.any(axis=1))
    ends = np.array([np.flatnonzero(left[row])[-1] for row in rows])
    starts = np.array([np.flatnonzero(right[row])[0] for row in rows])
    gap = int((starts - ends).min())
    for height in BRIDGES:
        place = int(rng.integers(len(rows)))
        mask = left | right
        mask[rows[place] : rows[place] + height, ends[place] : starts[place] + 1] = True
        yield f"bridge of {height} px", mask, left, right
    for depth in OVERLAPS:
        moved = np.zeros_like(right)
        step = gap - 1 + depth
        if step > 0:
            moved[:, :-step] = right[:, step:]
            yield f"overlap of {depth} px", left | moved, left, moved


def by_column(mask: Mask) -> Mask:
    """What lies left of the column that holds least of the mask, in the middle third of its box."""
    x0, _, x1, _ = known_box(mask)
    third = (x1 - x0) // 3
    heights = mask[:, x0 + third : x1 - third].sum(axis=0)
    thinnest = np.flatnonzero(heights == heights.min())
    return mask & (np.arange(mask.shape[1]) < x0 + third + thinnest[len(thinnest) // 2])


def wrong_share(mask: Mask, found: Mask, left: Mask, right: Mask) -> float:
    """Share of a mask's pixels that are given to the other lung; `found` is the left one."""
    return float(np.count_nonzero((left & ~right & ~found) | (right & ~left & found)) / mask.sum())


def join_rows(masks: dict[str, list[Mask]], seed: int) -> list[dict[str, Any]]:
    """Joined lungs divided again, by dataset and way of joining; shares are of a mask's pixels."""
    rows = []
    rng = np.random.default_rng(seed)
    for name, found in masks.items():
        by_way: dict[str, list[tuple[float | None, float]]] = defaultdict(list)
        for true in found:
            for way, mask, left, right in joined(*two_lungs(true), rng):
                pair = pair_of_lungs(mask)
                ours = None if pair is None else wrong_share(mask, pair.first, left, right)
                by_way[way].append((ours, wrong_share(mask, by_column(mask), left, right)))
        for way, shares in by_way.items():
            ours = [share for share, _ in shares if share is not None]
            rows.append(
                {
                    "masks": name,
                    "joined by": way,
                    "films": len(shares),
                    "divided": len(ours) / len(shares),
                    "wrong side, mean": float(np.mean(ours)) if ours else None,
                    "wrong side, worst": max(ours, default=None),
                    "by column, mean": float(np.mean([share for _, share in shares])),
                    "by column, worst": max(share for _, share in shares),
                }
            )
    return rows


def counted(masks: list[Mask]) -> dict[str, int]:
    """How many masks have lungs apart, touching and divided, and neither (one lung, or not divided)."""
    pairs = [pair_of_lungs(mask) for mask in masks]
    return {
        "films": len(pairs),
        "apart": sum(pair is not None and pair.contact is None for pair in pairs),
        "touching, divided": sum(pair is not None and pair.contact is not None for pair in pairs),
        "not divided": sum(pair is None for pair in pairs),
    }


def drawn(finder: Finder, dataset: Dataset, records: list[Record]) -> list[Mask]:
    """The segmenter's masks, at the size of their films."""
    masks = []
    for start in range(0, len(records), BATCH):
        batch = records[start : start + BATCH]
        images = [read_image(dataset.path(record)) for record in batch]
        masks += [lungs.mask for lungs in finder.find(images)]
    return [mask for mask in masks if mask.any()]


def spread(found: list[Any], most: int) -> list[Any]:
    """At most so many of a list, evenly spread."""
    return [found[place] for place in np.linspace(0, len(found) - 1, min(most, len(found)), dtype=int)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--films", type=int, default=200, help="most films of a dataset")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or LUNGCLS_DATA must name the folder that holds the datasets")
    finder = Finder.load()
    true: dict[str, list[Mask]] = {}
    counts = []
    for name in DATASETS:
        dataset = open_dataset(options.data / name)
        masked = spread([record for record in dataset.records if record.mask], options.films)
        true[name] = [resize_mask(dataset.read_mask(record), (SIZE, SIZE)) for record in masked]
        counts.append({"masks": f"{name}, its own", **counted(true[name])})
        films = spread(dataset.records, options.films)
        counts.append({"masks": f"{name}, the segmenter's", **counted(drawn(finder, dataset, films))})
    singles = [lung for masks in true.values() for mask in masks for lung in two_lungs(mask)]
    counts.append({"masks": "one lung of each", **counted(singles)})
    rows = join_rows(true, options.seed)
    payload = {
        "seed": options.seed,
        "size": SIZE,
        "segmenter": finder.identity["segmenter"],
        "versions": versions(),
        "command": f"python benchmarks/sides.py --data DIR --films {options.films} --seed {options.seed}",
        "counts": counts,
        "rows": rows,
    }
    write_results(RESULTS, "sides", rows, payload)
    print(format_table(counts), format_table(rows), sep="\n\n")


if __name__ == "__main__":
    main()
