"""A smaller sample of a dataset that keeps its proportions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from lungcls.data.dataset import Record
from lungcls.data.splits import Split


def limit_records(records: Sequence[Record], split: Split, limit: int, seed: int) -> list[Record]:
    """Draw about `limit` images of each class, whole groups, shared out to the parts as the split is.

    Parameters
    ----------
    records : sequence of Record
        All in the split.
    split : Split
    limit : int
        At least 1; classes with fewer images are taken whole.
    seed : int

    Returns
    -------
    list of Record
        In the order of `records`.
    """
    total = Counter(record.label for record in records)
    strata: dict[tuple[str, str], dict[str, list[str]]] = {}
    for record in records:
        groups = strata.setdefault((record.label, split.parts[record.file]), {})
        groups.setdefault(split.groups[record.file], []).append(record.file)
    chosen: set[str] = set()
    for (label, _), groups in sorted(strata.items()):
        size = sum(map(len, groups.values()))
        wanted = max(1, round(size * min(1.0, limit / total[label])))
        taken = 0
        for name in np.random.default_rng(seed).permutation(sorted(groups)).tolist():
            if taken >= wanted:
                break
            chosen.update(groups[name])
            taken += len(groups[name])
    return [record for record in records if record.file in chosen]
