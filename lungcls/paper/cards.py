"""Model card and datasheet of a run, in Markdown: each question answered from a fact, or left to a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from lungcls.labels import NOTICE
from lungcls.paper.checklists import NEEDS_YOU
from lungcls.paper.fact import Fact

_MODEL: Final = (
    (
        "Model details",
        (
            ("What it is", "technique model"),
            ("Weights", "weights_file"),
            ("Software", "software"),
            ("Training", "initialisation training imbalance selection"),
        ),
    ),
    ("Intended use", (("Use", "intended_use"), ("Users", ""), ("What it is not for", ""))),
    ("Factors", (("Sources of films", "sources"), ("Groups of patients", "demographics"))),
    ("Metrics", (("Measures", "measures uncertainty"), ("Thresholds", "output"))),
    (
        "Training data",
        (("Data", "data_source class_counts"), ("Preprocessing", "preprocessing segmentation")),
    ),
    ("Evaluation data", (("Partition", "partition disjoint"), ("Films and the gate", "refusals bad_input"))),
    (
        "Quantitative analyses",
        (
            ("Overall", "performance"),
            ("By class", "class_performance"),
            ("By source", "source_performance"),
            ("Errors", "failures"),
            ("Calibration", "calibration calibration_result"),
            ("Lung masks", "segmentation_performance"),
            ("Shortcuts", "robustness"),
            ("Other datasets", "external_testing"),
        ),
    ),
    ("Ethical considerations", (("Considerations", ""),)),
    ("Caveats and recommendations", (("What the library noticed", "notes"), ("Recommendations", ""))),
)
_DATASHEET: Final = (
    ("Motivation", (("For what purpose was it created?", ""), ("Who created it, and who paid?", ""))),
    (
        "Composition",
        (
            ("What do the instances show, and how many are there?", "data_source"),
            ("Is it a sample of a larger set?", ""),
            ("What does an instance consist of?", "table_one"),
            ("Is there a label?", "reference"),
            ("Is anything missing?", "missing left_out"),
            ("Are there recommended splits?", "partition disjoint class_counts"),
            ("Are there errors, noise or redundancies?", "notes disjoint"),
            ("Where do the films come from?", "sources"),
            ("Does it identify subpopulations, by age or sex?", "demographics"),
            ("Can persons be identified?", ""),
        ),
    ),
    (
        "Collection process",
        (
            ("How were the films acquired?", "views_known"),
            ("Who took part, and were they told?", ""),
            ("Over what time?", ""),
            ("Was there an ethical review?", ""),
        ),
    ),
    (
        "Preprocessing, cleaning, labelling",
        (("What was done to the films?", "preprocessing refusals"), ("How were they labelled?", "")),
    ),
    (
        "Uses",
        (("What has it been used for?", "technique"), ("What should it not be used for?", "intended_use")),
    ),
    ("Distribution", (("How is it distributed, and on what terms?", ""),)),
    ("Maintenance", (("Who maintains it, and how are errors reported?", ""),)),
)


def model_card(facts: Mapping[str, Fact], name: str) -> str:
    """Return a model card after Mitchell et al. (2019), Model Cards for Model Reporting, FAT*."""
    lines = [f"# Model card: {name}", "", f"**{NOTICE}**", ""]
    return "\n".join([*lines, *_answered(facts, _MODEL)]) + "\n"


def datasheet(facts: Mapping[str, Fact], title: str) -> str:
    """Return a datasheet after Gebru et al. (2021), Datasheets for datasets, CACM 64(12), 86-92."""
    lines = [
        f"# Datasheet: {title}",
        "",
        "What was used, as the files of the run tell it. The makers of a published collection answer the "
        "rest.",
        "",
    ]
    return "\n".join([*lines, *_answered(facts, _DATASHEET)]) + "\n"


def _answered(
    facts: Mapping[str, Fact], sections: Sequence[tuple[str, Sequence[tuple[str, str]]]]
) -> list[str]:
    lines = []
    for heading, questions in sections:
        lines += [f"## {heading}", ""]
        for question, names in questions:
            answers = [facts[name] for name in names.split() if name in facts]
            text = " ".join(f"{one.text[:1].upper()}{one.text[1:].rstrip('.')}." for one in answers)
            origin = "; ".join(dict.fromkeys(one.file for one in answers))
            lines.append(f"**{question}** " + (f"{text} *({origin})*" if answers else f"*{NEEDS_YOU}*"))
            lines.append("")
    return lines
