"""The methods paragraph of a paper, in the sentences that the files of a run allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lungcls.paper.fact import Fact

_SENTENCES: Final = (
    (
        "Data",
        (
            ("design", "The study is {}."),
            ("data_source", "It used {}."),
            ("sources", "{}."),
            ("left_out", "{}."),
        ),
    ),
    (
        "Partitions",
        (
            ("partition", "The data were divided by {}."),
            ("assignment", "{}."),
            ("disjoint", "The parts are {}."),
            ("missing", "{}."),
        ),
    ),
    (
        "Quality control and lungs",
        (("refusals", "{}."), ("segmentation", "{}."), ("segmentation_performance", "{}.")),
    ),
    (
        "Network",
        (
            ("model", "The classifier is {}."),
            ("preprocessing", "A film is {}."),
            ("initialisation", "It was {}."),
            ("training", "Training: {}."),
            ("imbalance", "{}."),
            ("selection", "{}."),
        ),
    ),
    ("Output and calibration", (("output", "The network gives {}."), ("calibration", "It was {}."))),
    (
        "Statistics",
        (
            ("measures", "Measures {}."),
            ("uncertainty", "Intervals are {}."),
            ("robustness", "{}."),
            ("software", "{}."),
        ),
    ),
)


def methods(facts: Mapping[str, Fact]) -> list[tuple[str, str]]:
    """Return the paragraphs of the methods section.

    Parameters
    ----------
    facts : mapping of str to Fact

    Returns
    -------
    list of (str, str)
        A heading and its text each. What is not known is left out, and a paragraph of which nothing is known.
    """
    paragraphs = []
    for heading, sentences in _SENTENCES:
        texts = [_sentence(pattern, facts[name].text) for name, pattern in sentences if name in facts]
        if texts:
            paragraphs.append((heading, " ".join(texts)))
    return paragraphs


def _sentence(pattern: str, text: str) -> str:
    words = pattern.format(text.rstrip("."))
    return f"{words[:1].upper()}{words[1:]}"
