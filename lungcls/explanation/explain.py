"""From predictions to explanations."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lungcls.classifier import Classifier
from lungcls.errors import OptionError
from lungcls.explanation.explanation import Explanation
from lungcls.explanation.frame import Frame
from lungcls.explanation.maps import attribution_maps, backend, checked_method
from lungcls.explanation.shares import attention_shares
from lungcls.prediction import Failure, Prediction

if TYPE_CHECKING:
    from torch import nn


def check_options(classifier: Classifier, method: str, target: str | None, layer: str | None) -> None:
    """Refuse what would fail for every image.

    Raises
    ------
    ValueError
        If the method, target or layer is unknown, or the classifier does not run on torch.
    MissingExtraError
        If the method's package is not installed.
    """
    backend(checked_method(method, layer))
    classes = classifier.card.classes
    if target is not None and target not in classes:
        raise OptionError(
            f"target is {target!r}; the classes of {classifier.card.name} are {', '.join(classes)}"
        )
    module = classifier.module
    if layer is not None:
        from lungcls.explanation.layers import named_layer

        named_layer(module, layer)


def explain_predictions(
    predictions: Sequence[Prediction],
    classifiers: Classifier | Sequence[Classifier],
    *,
    method: str = "gradcam",
    target: str | None = None,
    layer: str | None = None,
    module: nn.Module | None = None,
) -> list[Explanation]:
    """Explain predictions with the classifiers that made them.

    Parameters
    ----------
    predictions : sequence of Prediction
        They go through the network together.
    classifiers : Classifier or sequence of Classifier
        Of each prediction the one whose name it bears is asked, as whole films that stand in have another
        than the rest; the first one where none has that name. Of an ensemble, the first member's: the
        prediction's `view` is what that one saw.
    method : str, default="gradcam"
        One of :data:`lungcls.explanation.METHODS`.
    target : str, optional
        The class to explain; by default the most probable one of each image, also where the label was
        withheld.
    layer : str, optional
        Submodule that a CAM is made from; by default the last feature map.
    module : torch.nn.Module, optional
        A network to ask in the classifier's place, such as a :func:`lungcls.explanation.randomised` one.

    Returns
    -------
    list of Explanation

    Raises
    ------
    ValueError
        If an option is unknown, or the classifier does not run on torch.
    MissingExtraError
        If the packages of the extra ``explain`` are missing.
    """
    import torch

    from lungcls.models.runtime import normalise

    choices = [classifiers] if isinstance(classifiers, Classifier) else list(classifiers)
    check_options(choices[0], method, target, layer)
    if not predictions:
        return []
    result: dict[int, Explanation] = {}
    for classifier in choices:
        places = [place for place, one in enumerate(predictions) if _explainer(one, choices) is classifier]
        network, card = module or classifier.module, classifier.card
        chosen = [predictions[place] for place in places]
        if not chosen:
            continue
        targets = [target or max(p.probabilities, key=lambda name: p.probabilities[name]) for p in chosen]
        views = torch.from_numpy(np.stack([p.view for p in chosen])).to(classifier.device)
        grids = attribution_maps(
            network,
            normalise(views, card.mean, card.std),
            [card.classes.index(name) for name in targets],
            method,
            layer=layer,
            # Black: what a region puts in the place of what it takes away.
            baseline=-card.mean / card.std,
        )
        for place, prediction, name, grid in zip(places, chosen, targets, grids):
            frame = Frame.of_lungs(prediction.lungs, classifier.region, prediction.view.shape[0])
            shares = attention_shares(grid, frame, prediction.lungs.mask)
            result[place] = Explanation(prediction, card.name, method, name, layer, grid, frame, shares)
    return [result[place] for place in range(len(predictions))]


def _explainer(prediction: Prediction, classifiers: Sequence[Classifier]) -> Classifier:
    """The classifier whose view a prediction carries."""
    viewer = prediction.members[0] if prediction.members else prediction
    named = (one for one in classifiers if one.card.name == viewer.classifier)
    return next(named, classifiers[0])


def explain_stream(
    results: Iterable[Prediction | Failure],
    classifiers: Sequence[Classifier],
    *,
    batch_size: int,
    method: str = "gradcam",
    target: str | None = None,
    layer: str | None = None,
) -> Iterator[Explanation | Failure]:
    """Explain predictions as they come, `batch_size` at a time; failures pass through in their places.

    Parameters and errors as :func:`explain_predictions`; wrong options are found before the first image.
    """
    check_options(classifiers[0], method, target, layer)

    def run() -> Iterator[Explanation | Failure]:
        remaining = iter(results)
        while batch := list(itertools.islice(remaining, batch_size)):
            predictions = [result for result in batch if not isinstance(result, Failure)]
            explanations = iter(
                explain_predictions(predictions, classifiers, method=method, target=target, layer=layer)
            )
            yield from (result if isinstance(result, Failure) else next(explanations) for result in batch)

    return run()
