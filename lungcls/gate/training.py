"""Training of the quality gate, from the films of one dataset to a weight file."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image as PILImage
from torch import Tensor, nn

from lungcls.data.dataset import Dataset, Record
from lungcls.data.splits import Split, split_dataset
from lungcls.data.views import segmentation_pairs
from lungcls.files import write_rows
from lungcls.gate.drawings import ct_slice, photographs, stranger
from lungcls.gate.screening import KINDS, Screening, judge
from lungcls.gate.views import SHARES, GateBatches, Sources
from lungcls.images import Image, read_image
from lungcls.labels import LICENCE
from lungcls.models import create_model
from lungcls.models.runtime import load_network, normalise
from lungcls.phantom import chest_phantom
from lungcls.regions import View, whole_view
from lungcls.versions import versions
from lungcls.weights import find_weights, save_weights, write_card

logger = logging.getLogger(__name__)

MEAN, STD = 0.5, 0.25
OPEN = {"chest": 0.0, "film": 0.0, "frontal": 0.0, "inverted": 1.0, "distance": math.inf}
"""Thresholds that everything passes."""

_SOURCE_SIZE = 96
_PHANTOMS = 0.04


@dataclass(frozen=True)
class GateRecipe:
    """All that decides the training of a gate but the data.

    Attributes
    ----------
    input_size : int
    channels : tuple of int
    hidden : int
        As :func:`lungcls.gate.network.gate_network` takes them.
    steps : int
        Batches (:data:`lungcls.gate.views.SHARES`).
    learning_rate, weight_decay, label_smoothing : float
    strangers, slices, phantoms : int
        Pictures that are drawn before training.
    refused, odd_refused, flagged, distant : float
        Share of the validation films that the thresholds ``chest``, ``film`` (of turned and inverted ones),
        ``frontal`` and ``distance`` may miss.
    split_seed, seed : int
    """

    input_size: int = 64
    channels: tuple[int, ...] = (8, 16, 32, 48)
    hidden: int = 48
    steps: int = 700
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.01
    strangers: int = 8000
    slices: int = 800
    phantoms: int = 150
    refused: float = 0.002
    odd_refused: float = 0.04
    flagged: float = 0.01
    distant: float = 0.005
    split_seed: int = 0
    seed: int = 0


def train_gate(
    recipe: GateRecipe, database: Dataset, out: str | Path, *, pictures: list[PILImage.Image] | None = None
) -> Path:
    """Train the quality gate and write ``gate.safetensors``, its card and ``gate-history.csv``.

    Parameters
    ----------
    recipe : GateRecipe
    database : Dataset
        Frontal films; its training part makes the views, its validation part the thresholds.
    out : path-like
        Folder.
    pictures : list of PIL.Image.Image, optional
        Photographs that stand among what is refused.

    Returns
    -------
    Path
        The weight file.

    Raises
    ------
    DataError
        If the dataset cannot be split.
    ImageError
        If an image cannot be read.
    """
    split = split_dataset(database, seed=recipe.split_seed)
    parts = {name: split.select(database.records, name) for name in ("train", "validation")}
    films_by_part = {
        name: make_sources(recipe, database, records, pictures or [], seed)
        for seed, (name, records) in enumerate(parts.items())
    }
    # What is drawn for validation decides nothing but the figures in the card.
    architecture = {
        "model": "gate", "classes": len(KINDS), "channels": list(recipe.channels), "hidden": recipe.hidden,
        "size": recipe.input_size,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = create_model(architecture)
    checked = _checked(films_by_part["validation"], recipe)
    history = _fit(
        network, GateBatches(films_by_part["train"], recipe.input_size, recipe.seed), checked, recipe
    )
    fit_distance(network, films_by_part["train"], recipe)
    network.half().float()  # the thresholds are for the weights as they are stored
    thresholds, metrics = fit_thresholds(network, films_by_part["validation"], checked, recipe)
    path = save_weights(
        out,
        network.state_dict(),
        name="gate",
        task="gate",
        architecture=architecture,
        input_size=recipe.input_size,
        value_range=(0.0, 1.0),
        mean=MEAN,
        std=STD,
        region=None,
        classes=KINDS,
        temperature=1.0,
        thresholds=thresholds,
        training_data=_training_data(recipe, database.title, split, parts, len(pictures or [])),
        recipe=asdict(recipe),
        metrics={"validation": metrics},
        versions={**versions(), "device": "cpu"},
        licence=LICENCE,
    )
    write_rows(Path(out) / "gate-history.csv", list(history[0]), history)
    return path


def refit_thresholds(
    recipe: GateRecipe,
    database: Dataset,
    weights: str | Path,
    *,
    pictures: list[PILImage.Image] | None = None,
) -> None:
    """Choose the thresholds of a gate anew, and write them and the figures into its card.

    Parameters
    ----------
    recipe : GateRecipe
    database : Dataset
        Its validation part is used.
    weights : str or path-like
        A gate's weights, by released name or path.
    pictures : list of PIL.Image.Image, optional
        As :func:`train_gate` takes them.
    """
    path = find_weights(weights)
    card, network = load_network(path, "gate", torch.device("cpu"))
    split = split_dataset(database, seed=recipe.split_seed)
    sources = make_sources(recipe, database, split.select(database.records, "validation"), pictures or [], 1)
    thresholds, metrics = fit_thresholds(network, sources, _checked(sources, recipe), recipe)
    write_card(
        path,
        replace(card, thresholds=thresholds, recipe=asdict(recipe), metrics={"validation": metrics}),
    )


def _checked(sources: Sources, recipe: GateRecipe) -> tuple[Tensor, Tensor]:
    """Views of all kinds to measure a gate on."""
    batches = GateBatches(sources, recipe.input_size, 10_000 + recipe.seed)
    return batches.batch({kind: 4 * count for kind, count in SHARES.items()})


def make_sources(
    recipe: GateRecipe,
    database: Dataset,
    records: list[Record],
    pictures: list[PILImage.Image],
    seed: int,
) -> Sources:
    """Read the films of a part, and draw what else its batches are made of."""
    masked = [record for record in records if record.mask]
    others = [record for record in records if not record.mask]
    films, shares = segmentation_pairs(database, masked, _SOURCE_SIZE)
    with ThreadPoolExecutor() as pool:
        plain = list(pool.map(lambda r: _whole(read_image(database.path(r))), others))
    phantoms = [chest_phantom(_SOURCE_SIZE, seed=1000 * seed + n) for n in range(recipe.phantoms)]
    drawn = np.stack([np.rint(p.image * 255).astype(np.uint8) for p in phantoms])
    blank = np.zeros((len(others), _SOURCE_SIZE, _SOURCE_SIZE), np.uint8)
    counts = Counter(record.label for record in records)
    # Every class as often as the others; the few phantoms only so often that drawings of chests pass.
    weights = np.array([1 / counts[record.label] for record in (*masked, *others)])
    weights = weights / weights.sum() * (1 - _PHANTOMS)
    rng = np.random.default_rng([recipe.seed, seed])
    share = 1.0 if seed == 0 else 0.2
    strangers = np.stack([stranger(rng, _SOURCE_SIZE) for _ in range(int(recipe.strangers * share))])
    if pictures:
        count = len(strangers) // 8
        strangers = np.concatenate([strangers, photographs(pictures, rng, _SOURCE_SIZE, count)])
    masks = (shares > 127).astype(np.uint8)
    return Sources(
        films=np.concatenate([films, np.stack(plain) if plain else blank, drawn]),
        masks=np.concatenate([masks, blank, np.stack([p.mask.astype(np.uint8) for p in phantoms])]),
        weights=np.concatenate([weights, np.full(len(phantoms), _PHANTOMS / len(phantoms))]),
        slices=np.stack([ct_slice(rng, _SOURCE_SIZE) for _ in range(int(recipe.slices * share))]),
        strangers=strangers,
        real=len(records),
    )


def _whole(image: Image) -> View:
    return whole_view(image.pixels, _SOURCE_SIZE, image.pixel_aspect)[0]


def _fit(
    network: nn.Module, batches: GateBatches, checked: tuple[Tensor, Tensor], recipe: GateRecipe
) -> list[dict[str, float]]:
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    warm = max(1, recipe.steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / recipe.steps))),
    )
    history, losses = [], []
    for step in range(1, recipe.steps + 1):
        network.train()
        views, kinds = batches.batch()
        logits = network(normalise(views, MEAN, STD))[:, :-1]
        loss = F.cross_entropy(logits, kinds, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 70 == 0 or step == recipe.steps:
            right = run(network, checked[0].numpy())[:, :-1].argmax(1) == checked[1].numpy()
            row = {
                "step": step, "train_loss": float(np.mean(losses)), "validation_accuracy": float(right.mean())
            }  # fmt: skip
            logger.info("step %d: loss %.4f, validation accuracy %.4f", *row.values())
            history.append(row)
            losses = []
    network.eval()
    return history


def run(network: nn.Module, views: View, batch_size: int = 512) -> npt.NDArray[np.float32]:
    """Return the network's outputs for uint8 views [N, S, S]."""
    network.eval()
    with torch.inference_mode():
        outputs = [
            network(normalise(torch.from_numpy(views[i : i + batch_size]), MEAN, STD)).numpy()
            for i in range(0, len(views), batch_size)
        ]
    return np.concatenate(outputs)


def fit_distance(network: Any, sources: Sources, recipe: GateRecipe) -> None:
    """Put mean and whitening of the features of frontal films into the network."""
    batches = GateBatches(sources, recipe.input_size, 20_000 + recipe.seed)
    views, _ = batches.batch({"frontal": 3000})
    network.eval()
    with torch.inference_mode():
        features = network.body(normalise(views, MEAN, STD)).double()
        centre = features.mean(0)
        covariance = torch.cov(features.T)
        # Features that are nearly constant would otherwise rule the distance.
        floor = 0.05 * covariance.trace() / len(centre) * torch.eye(len(centre))
        values, vectors = torch.linalg.eigh(covariance + floor)
    network.centre = centre.float()
    network.whiten = (vectors / values.sqrt()).float()


def fit_thresholds(
    network: nn.Module, sources: Sources, checked: tuple[Tensor, Tensor], recipe: GateRecipe
) -> tuple[dict[str, float], dict[str, Any]]:
    """Choose the thresholds on validation films, and measure what they do to the other kinds."""
    size = (recipe.input_size, recipe.input_size)
    films = (PILImage.fromarray(film) for film in sources.films[: sources.real])
    plain = np.stack([np.asarray(film.resize(size, PILImage.Resampling.BILINEAR)) for film in films])
    odd = {f"rotated_{90 * turns}": np.rot90(plain, turns, (1, 2)).copy() for turns in (1, 2, 3)}
    odd["inverted"] = 255 - plain
    upright, views = run(network, plain), run(network, checked[0].numpy())
    turned = np.concatenate([run(network, each) for each in odd.values()])
    screenings = _screened(upright, OPEN)
    # Films that were changed as training changes them are still in the distribution.
    changed = views[checked[1].numpy() == KINDS.index("frontal"), -1]
    thresholds = {
        "chest": min(0.5, _quantile([one.chest for one in screenings], recipe.refused)),
        "film": min(0.95, _quantile([one.chest for one in _screened(turned, OPEN)], recipe.odd_refused)),
        "frontal": min(0.5, _quantile([one.frontal for one in screenings], recipe.flagged)),
        "inverted": 0.9,
        "distance": max(_quantile(upright[:, -1], 1 - recipe.distant), _quantile(changed, 0.99)),
    }
    screenings, kinds = _screened(upright, thresholds), checked[1].numpy()
    metrics = {
        "films": len(screenings),
        "films_accepted": float(np.mean([one.accepted for one in screenings])),
        "films_without_reason": float(np.mean([not one.reasons for one in screenings])),
        "changed_and_drawn": {
            kind: _refusals(_screened(views[kinds == number], thresholds))
            for number, kind in enumerate(KINDS)
        },
        "films_turned_and_inverted": {
            kind: _refusals(_screened(outputs, thresholds))
            for kind, outputs in zip(odd, np.split(turned, len(odd)))
        },
    }
    return thresholds, metrics


def _screened(outputs: npt.NDArray[np.float32], thresholds: dict[str, float]) -> list[Screening]:
    return [judge(values, thresholds) for values in outputs]


def _refusals(screenings: list[Screening]) -> dict[str, float]:
    return {
        "views": len(screenings),
        "refused": float(np.mean([not one.accepted for one in screenings])),
        "refused_or_flagged": float(np.mean([bool(one.reasons) for one in screenings])),
    }


def _quantile(values: Sequence[float] | npt.NDArray[np.float32], share: float) -> float:
    return float(np.quantile(np.asarray(values, np.float64), share))


def _training_data(
    recipe: GateRecipe, title: str, split: Split, parts: dict[str, list[Record]], photographs_used: int
) -> dict[str, Any]:
    return {
        "dataset": title,
        "images": {name: dict(Counter(r.label for r in records)) for name, records in parts.items()},
        "photographs": photographs_used,
        "drawn": {"strangers": recipe.strangers, "ct_slices": recipe.slices, "phantoms": recipe.phantoms},
        "split_seed": recipe.split_seed,
        "split_hash": split.hash,
    }
