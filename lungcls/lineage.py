"""What weights descend from, and whether a classifier meets the masks that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lungcls.models.imagenet import provenance
from lungcls.weights import Card, load_card


def ancestors(
    architecture: Mapping[str, Any],
    *,
    init: str | Path = "",
    segmenter: str | Path = "",
    teachers: Sequence[str | Path] = (),
) -> tuple[dict[str, str], ...]:
    """List the weights that a network descends from, those of its ancestors included.

    Parameters
    ----------
    architecture : mapping
        As :func:`lungcls.models.create_model` takes it, ``pretrained`` included.
    init, segmenter : str or path-like, optional
        Weights that it starts from, and whose masks cut its regions.
    teachers : sequence of str or path-like, optional

    Returns
    -------
    tuple of dict of str to str
        Each with ``role`` (``pretrained``, ``init``, ``segmenter`` or ``teacher``), ``name`` and ``sha256``
        where it is known; ``through`` names the weights through which one is an ancestor; ``source``,
        ``data`` and ``licence`` say where weights of others come from.

    Raises
    ------
    WeightsError
        If a card cannot be read.
    """
    pretrained = str(architecture.get("pretrained", "none"))
    direct = [("segmenter", segmenter), ("init", init), *(("teacher", name) for name in teachers)]
    if pretrained not in ("none", "imagenet"):
        direct.append(("pretrained", pretrained))
    entries: list[dict[str, str]] = []
    if imagenet := provenance(architecture):
        entries.append(imagenet)
    for role, name in direct:
        if not name:
            continue
        card = load_card(name)
        entries.append({"role": role, "name": card.name, "sha256": card.sha256})
        # What is older already says through which weights it came.
        entries += [{"through": card.name, **older} for older in card.ancestors]
    return tuple(one for index, one in enumerate(entries) if one not in entries[:index])


def other_segmenter(classifier: Card, segmenter: Card) -> str | None:
    """Say in a sentence that a classifier was trained on the masks of another segmenter than it is used with.

    Parameters
    ----------
    classifier, segmenter : Card

    Returns
    -------
    str or None
        None where the masks are those that it was trained on, or its card does not say whose they were.
    """
    masks = other_masks(classifier, segmenter)
    if masks is None:
        return None
    return (
        f"{classifier.name} was trained on masks of {masks}, not of the one in use "
        f"({segmenter.sha256[:12]}): its figures hold for those masks, so evaluate the pair as it is used"
    )


def other_masks(classifier: Card, segmenter: Card) -> str | None:
    """Name the segmenter whose masks a classifier was trained on, such as "another segmenter (0123456789ab)".

    Parameters
    ----------
    classifier, segmenter : Card

    Returns
    -------
    str or None
        As :func:`other_segmenter`.
    """
    learnt_on = classifier.training_data.get("segmenter")
    if not learnt_on or learnt_on == segmenter.sha256:
        return None
    earlier = segmenter.training_data.get("init") == learnt_on
    earlier = earlier or any(one.get("sha256") == learnt_on for one in segmenter.ancestors)
    kind = f"an earlier state of {segmenter.name}" if earlier else "another segmenter"
    return f"{kind} ({str(learnt_on)[:12]})"
