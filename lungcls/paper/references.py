"""The literature behind what a run used, as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Final

from lungcls.paper.checklists import NAMES, load_checklist
from lungcls.paper.evidence import Evidence

_DATASETS: Final = {
    "COVID-19 Radiography Database": ("Chowdhury2020", "Rahman2021"),
    "radiography": ("Chowdhury2020", "Rahman2021"),
    "covid-chestxray-dataset": ("Cohen2020",),
    "CoronaHack": ("Kermany2018", "Cohen2020"),
    "coronahack": ("Kermany2018", "Cohen2020"),
    "montgomery": ("Jaeger2014", "Candemir2014"),
    "shenzhen": ("Jaeger2014", "Candemir2014"),
}
_SOURCES: Final = {"kermany": "Kermany2018", "rsna": "Shih2019"}
_NETWORKS: Final = {
    "densenet": "Huang2017",
    "unet": "Ronneberger2015",
    "resnet": "He2016",
    "efficientnet": "Tan2019",
}
_PACKAGES: Final = {
    "lungcls": "lungcls",
    "torch": "Paszke2019",
    "lightning": "Falcon2019",
    "segmentation-models-pytorch": "Iakubovskii2019",
    "albumentations": "Buslaev2020",
    "numpy": "Harris2020",
    "scipy": "Virtanen2020",
    "scikit-learn": "Pedregosa2011",
    "scikit-image": "Walt2014",
}
_SCORES: Final = {"lac": "Sadinle2019", "aps": "Romano2020", "raps": "Romano2020"}


def entries() -> dict[str, str]:
    """Return all packaged BibTeX entries by key."""
    text = (files("lungcls.paper") / "references.bib").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=@)", text.strip())
    return {re.match(r"@\w+\{([^,]+),", block)[1]: block.strip() for block in blocks}  # type: ignore[index]


def used_keys(evidence: Evidence) -> list[str]:
    """Return the keys of what a run used: data, networks, methods, packages, checklists; each once."""
    return list(dict.fromkeys(_keys(evidence)))


def bibliography(evidence: Evidence) -> str:
    """Return the BibTeX of what a run used."""
    by_key = entries()
    return "\n\n".join(by_key[key] for key in used_keys(evidence)) + "\n"


def _keys(evidence: Evidence) -> Iterator[str]:
    cards = [evidence.card, *(one.content for one in evidence.stages.values())]
    evaluations = [one for one in (evidence.evaluation, *evidence.external) if one]
    titles = [str(card.training_data.get("dataset")) for card in cards]
    titles += [one.content["dataset"] for one in evaluations]
    titles += [evidence.dataset.title] if evidence.dataset else []
    for title in titles:
        # Titles of folders end in a hash of their files.
        yield from _DATASETS.get(title, _DATASETS.get(title.split(" ")[0], ()))
    sources = {
        *evidence.sources,
        *(record.source for record in (evidence.dataset.records if evidence.dataset else ())),
    }
    yield from (key for name, key in _SOURCES.items() if name in sources)
    for card in cards:
        words = f"{card.architecture.get('model', '')} {card.architecture.get('encoder', '')}".lower()
        yield from (key for name, key in _NETWORKS.items() if name in words)
        if card.temperature != 1:
            yield "Guo2017"
        if card.conformal:
            yield from (_SCORES[score] for score in [card.conformal["score"]] if score in _SCORES)
        if card.recipe.get("optimizer", "") == "adamw":
            yield "Loshchilov2019"
        if card.recipe.get("loss") == "focal":
            yield "Lin2017"
    if evaluations:
        yield "Field2007"
    if evidence.judged is not None:
        yield from ("Vickers2006", "Riley2021")
    versions = {
        **evidence.card.versions,
        **(evaluations[0].content.get("versions", {}) if evaluations else {}),
    }
    yield from (key for name, key in _PACKAGES.items() if name in versions)
    yield "Mitchell2019"
    if evidence.dataset is not None:
        yield from ("Gebru2021", "Akhtar2024")
    yield from (load_checklist(name).reference for name in NAMES)
