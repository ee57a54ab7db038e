"""All that is known of a study, by name: what checklists, methods and cards are filled from."""

from __future__ import annotations

from collections.abc import Iterator

from lungcls.paper.evidence import Evidence
from lungcls.paper.fact import Fact, fact
from lungcls.paper.facts_of_data import data_facts
from lungcls.paper.facts_of_model import model_facts
from lungcls.paper.facts_of_results import result_facts


def all_facts(evidence: Evidence) -> dict[str, Fact]:
    """Return what is known, by the names that the checklists use.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    dict of str to Fact
        A name that is missing is not known: nothing stands in for it.
    """
    return {
        **dict(model_facts(evidence)),
        **dict(data_facts(evidence)),
        **dict(result_facts(evidence)),
        **dict(_of_this_page(evidence)),
    }


def _of_this_page(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    path = evidence.classifier.path
    yield (
        "checklists",
        fact("CLAIM 2024, TRIPOD+AI, STARD-AI and METRICS were gone through item by item", "checklists/"),
    )
    yield (
        "no_reader",
        fact("no person measures a predictor: the network sees the pixels of the film alone", path),
    )
    yield (
        "no_contact",
        fact("no patient took part in the test: stored films were classified", path),
    )
