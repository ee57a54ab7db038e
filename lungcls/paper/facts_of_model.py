"""What the card, the recipe and the history of a classifier say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lungcls.errors import LungclsError
from lungcls.labels import NOTICE
from lungcls.models import MODELS
from lungcls.paper.evidence import Evidence
from lungcls.paper.fact import Fact, counted, fact
from lungcls.regions import REGIONS
from lungcls.weights import count_parameters, find_weights

_LOSSES: Final = {
    "cross_entropy": "cross-entropy",
    "bce": "binary cross-entropy",
    "focal": "focal loss",
    "dice_bce": "Dice and binary cross-entropy",
}
_BALANCES: Final = {
    "class_weights": "classes weigh in the loss as if all were equally frequent",
    "sampler": "classes are drawn equally often",
    "none": "nothing was done about unequal classes in training",
}
_TONES: Final = {"range": "grey levels scaled to [0, 1]"}


def model_facts(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    """Yield what is known of the network and its training."""
    card, path = evidence.card, evidence.classifier.path
    yield (
        "technique",
        fact(f"deep learning: {network_words(evidence)}, trained to tell {_classes(card.classes)}", path),
    )
    yield "classes", fact(f"classes: {', '.join(card.classes)}", path)
    yield "model", fact(_model(evidence), path)
    yield "region", fact(f"the network sees {_region(card.region)}", path)
    yield "preprocessing", fact(_preprocessing(evidence), path)
    yield "output", fact(_output(evidence), path)
    yield "software", fact(f"software: {software(card.versions)}", path)
    yield "initialisation", fact(_initialisation(evidence), path)
    yield (
        "weights_file",
        fact(f"weights {card.name}.safetensors, SHA-256 {card.sha256}; licence: {card.licence}", path),
    )
    yield "intended_use", fact(NOTICE, path)
    yield "single_model", fact("one network answers; no ensemble", path)
    if card.recipe:
        judged = (
            f" and evaluated on the part {evidence.evaluation.content['part']}" if evidence.evaluation else ""
        )
        yield "development", fact(f"a model is developed (recipe `{card.recipe.get('name')}`){judged}", path)
    yield "end_to_end", fact("end-to-end deep learning: there are no hand-crafted features", path)
    yield "one_kind", fact("one kind of image: single radiographs of the chest", path)
    yield (
        "blind_test",
        fact("the network was given pixels alone: neither clinical data nor the reference standard", path),
    )
    if not _needs_mask(card.region):
        yield (
            "no_masks",
            fact(f"the region {(card.region or {}).get('name')!r} is cut without a segmentation", path),
        )
    yield from _calibration(evidence)
    yield from _training(evidence)
    yield from _segmentation(evidence)
    if "lungcls" in card.versions:
        version = card.versions["lungcls"]
        yield (
            "code",
            fact(f"trained and run by lungcls {version} (Apache-2.0): `lungcls train`, `evaluate`", path),
        )
    if evidence.history is not None:
        yield "loss_curves", fact("loss and score by epoch: figures/curves.png", evidence.history.path)


def network_words(evidence: Evidence) -> str:
    """Name the network with what it sees."""
    card = evidence.card
    return f"{_network(card.architecture)} on {_region(card.region)}"


def parameters(evidence: Evidence) -> int | None:
    """Count the classifier's parameters in its weight file; None where the file is not there."""
    try:
        return count_parameters(find_weights(evidence.classifier.path.with_suffix(".safetensors")))
    except LungclsError:
        return None


def software(versions: Mapping[str, str]) -> str:
    """Write versions as "python 3.11.7, torch 2.14.1"."""
    return ", ".join(
        f"{name} {value}" for name, value in versions.items() if name not in ("device", "machine")
    )


def _classes(classes: tuple[str, ...]) -> str:
    return f"{', '.join(classes[:-1])} and {classes[-1]}" if len(classes) > 1 else classes[0]


def _network(architecture: Mapping[str, Any]) -> str:
    words = [str(architecture.get("model", "network")), str(architecture.get("encoder", ""))]
    return " ".join(word for word in words if word)


def _region(region: Mapping[str, Any] | None) -> str:
    name = str((region or {}).get("name", "full"))
    kind = REGIONS.get(name)
    return f"{kind.words} (region `{name}`)" if kind else f"the region `{name}`"


def _needs_mask(region: Mapping[str, Any] | None) -> bool:
    kind = REGIONS.get(str((region or {}).get("name", "full")))
    return kind is None or kind.needs_mask


def _model(evidence: Evidence) -> str:
    card = evidence.card
    count = parameters(evidence)
    options = ", ".join(
        f"{key} {value}" for key, value in card.architecture.items() if key not in ("model", "encoder")
    )
    spec = MODELS.get(str(card.architecture.get("model")))
    described = f" ({spec.description})" if spec and spec.description else ""
    return (
        f"a {_network(card.architecture)}{described}"
        + (f", {options}" if options else "")
        + (f", {count:,} parameters" if count else "")
        + f"; input: grey view of {card.input_size} x {card.input_size} pixels; output: logits of "
        f"{len(card.classes)} classes"
    )


def _preprocessing(evidence: Evidence) -> str:
    card = evidence.card
    tone = _TONES.get(card.tone, f"tone `{card.tone}`")
    margin = (card.region or {}).get("margin")
    return (
        f"read upright as grey, {tone}; cut to {_region(card.region)}"
        + (f" with a margin of {margin:.0%} of the box" if margin and _needs_mask(card.region) else "")
        + f"; scaled with its proportions kept and padded to {card.input_size} x {card.input_size} pixels; "
        f"normalised as (pixel - {card.mean:g}) / {card.std:g}"
    )


def _output(evidence: Evidence) -> str:
    card = evidence.card
    sets = (
        "; sets of classes at a chosen coverage by split conformal prediction (score "
        f"{card.conformal['score']})"
        if card.conformal
        else ""
    )
    fitted = "" if card.temperature == 1 else ", fitted on validation"
    return (
        "a probability for each class (softmax of the logits over the temperature "
        f"{card.temperature:.3f}{fitted}); "
        f"the answer is the most probable class, without a cut-off{sets}"
    )


def _initialisation(evidence: Evidence) -> str:
    card = evidence.card
    data = card.training_data
    sources = [
        f"{one['role']} {one.get('name', '')} {one.get('sha256', '')[:12]}".strip()
        for one in card.ancestors
        if one.get("role") in ("init", "pretrained")
    ]
    if sources:
        return f"started from {'; '.join(sources)}"
    if data.get("init"):
        digest, named = str(data["init"])[:12], card.recipe.get("init")
        return f"started from the weights with SHA-256 {digest}... (recipe: init {named})"
    pretrained = card.recipe.get("model", {}).get("pretrained", "none")
    if pretrained != "none":
        return f"started from `{pretrained}`"
    return "trained from scratch, with the initial values that torch draws from the recipe's seed"


def _calibration(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    card, path = evidence.card, evidence.classifier.path
    if card.temperature == 1:
        return
    bias = card.training_data.get("bias")
    also = "; a bias by class, fitted on validation, was added to the last layer" if bias else ""
    yield (
        "calibration",
        fact(
            f"recalibrated on the validation part by temperature scaling, to {card.temperature:.3f}{also}",
            path,
        ),
    )


def _training(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    card, path = evidence.card, evidence.classifier.path
    recipe = card.recipe
    if not {"stages", "learning_rate", "batch_size"} <= recipe.keys():
        return
    stages = ", then ".join(f"{one['epochs']} epochs at {one['size']} px" for one in recipe["stages"])
    extras = [
        f"label smoothing {recipe['label_smoothing']:g}" if recipe.get("label_smoothing") else "",
        f"exponential moving average of the weights, decay {recipe['ema_decay']:g}"
        if recipe.get("ema_decay")
        else "",
        f"mixup {recipe['mixup']:g}" if recipe.get("mixup") else "",
        f"cutmix {recipe['cutmix']:g}" if recipe.get("cutmix") else "",
        f"early stop after {recipe['patience']} epochs without a better score"
        if recipe.get("patience")
        else "",
        f"distilled from {len(recipe['teachers'])} teachers" if recipe.get("teachers") else "",
    ]
    epochs = f"; {len(evidence.history.content)} epochs were run" if evidence.history else ""
    yield (
        "training",
        fact(
            f"{stages}; {recipe.get('optimizer', 'adamw')}, learning rate {recipe['learning_rate']:g} "
            f"({recipe.get('schedule', 'cosine')}), weight decay {recipe['weight_decay']:g}, batches of "
            f"{recipe['batch_size']}; {_LOSSES.get(recipe['loss'], recipe['loss'])}; augmentation "
            f"`{recipe['augmentation']}`; {'; '.join(one for one in extras if one)}; seed "
            f"{recipe.get('seed', 0)}; "
            f"device {card.versions.get('device', 'not recorded')}{epochs}".replace("; ;", ";"),
            path,
            evidence.history.path if evidence.history else None,
        ),
    )
    figure = "loss" if recipe.get("select") == "loss" else "macro F1"
    yield (
        "selection",
        fact(
            f"the epoch with the best {figure} on the validation part was kept; no film of the test part "
            "takes part",
            path,
        ),
    )
    within = recipe.get("balance_within", "none")
    balanced = _BALANCES.get(recipe.get("balance", "none"), str(recipe.get("balance")))
    also = "" if within == "none" else f"; within each class, each {within} is drawn equally often"
    yield "imbalance", fact(f"{balanced}{also}", path)
    if evidence.recipe is not None:
        yield "recipe_file", fact(f"the recipe of the run: {evidence.recipe.path.name}", evidence.recipe.path)


def _segmentation(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    if not _needs_mask(evidence.card.region):
        return
    for name, one in evidence.stages.items():
        card = one.content
        if card.task == "segmentation":
            images = counted(card.training_data.get("images", {}).get("train", {}))
            yield (
                "segmentation",
                fact(
                    f"lungs are found by `{name}` ({_network(card.architecture)}, {card.input_size} px, "
                    "threshold "
                    f"{card.thresholds.get('mask', 0.5):g}, trained on {images} with lung masks), without "
                    "a reader",
                    one.path,
                ),
            )
