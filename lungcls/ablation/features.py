"""Arms without a network: what a few numbers of an image tell a model of scikit-learn."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungcls.data.statistics import LARGEST_SIDE, frame_statistics, lung_statistics, outline_statistics
from lungcls.data.views import region_views
from lungcls.evaluation.reading import in_threads
from lungcls.lungs import WHOLE, Lungs
from lungcls.progress import Progress, quiet
from lungcls.regions import View, shrunk

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_SIDE: Final = 128  # of the picture that histogram and sharpness are measured on
_BINS: Final = 32
_BORDER: Final = 0.04  # width of the border strips, as a share of the side
_STRENGTHS: Final = (0.001, 0.01, 0.1, 1.0)


def histogram_features(view: View) -> Floats:
    """Return numbers of a whole film's view that know nothing of where anything lies but at the border.

    Shares of 32 grey levels; mean, spread, black and white share of each border strip; and sharpness (spread
    of the Laplacian and of the gradient, at two scales).
    """
    square = view.astype(np.float64) / 255
    histogram = np.histogram(square, bins=_BINS, range=(0, 1))[0] / square.size
    width = max(1, round(_BORDER * len(square)))
    values = [*histogram, square.mean(), square.std()]
    for strip in (square[:width], square[-width:], square[:, :width], square[:, -width:]):
        values += [strip.mean(), strip.std(), (strip < 0.02).mean(), (strip > 0.98).mean()]
    for scale in (0.5, 1.5):
        values.append(np.log(ndimage.gaussian_laplace(square, scale).std() + 1e-6))
        values.append(np.log(ndimage.gaussian_gradient_magnitude(square, scale).std() + 1e-6))
    return np.asarray(values)


_OF_LUNGS: Final[dict[str, Callable[[Lungs], Floats]]] = {
    "statistics": lambda one: lung_statistics(*shrunk(one.pixels(), one.mask, LARGEST_SIDE)),
    "outline": lambda one: outline_statistics(one.mask),
    "frame": lambda one: frame_statistics(*shrunk(one.pixels(), one.mask, LARGEST_SIDE)),
}


def read_features(lungs: Sequence[Lungs], kind: str, progress: Progress[Any] = quiet) -> Floats:
    """Read films and compute the features of an arm.

    Parameters
    ----------
    lungs : sequence of Lungs
    kind : {"thumbnail8", "thumbnail16", "histogram", "statistics", "outline", "frame"}
        Thumbnails are whole films shrunk to so many pixels a side, as rows of values in [0, 1]; the last
        three are of :mod:`lungcls.data.statistics` and need a mask.
    progress : callable, optional

    Returns
    -------
    float64 array [N, F]

    Raises
    ------
    ImageError
        If an image cannot be read.
    """
    if kind == "histogram":
        return np.stack([histogram_features(view) for view in region_views(lungs, WHOLE, _SIDE, progress)])
    if kind in _OF_LUNGS:
        return np.stack(in_threads(_OF_LUNGS[kind], lungs, f"measuring the arm {kind}", progress))
    views = region_views(lungs, WHOLE, int(kind.removeprefix("thumbnail")), progress)
    return views.reshape(len(views), -1) / 255.0


def fit_features(
    kind: str,
    train: tuple[Floats, NDArray[np.int64]],
    validation: tuple[Floats, NDArray[np.int64]],
    *,
    balanced: bool,
    seed: int,
) -> Any:
    """Fit the model of an arm, its one parameter chosen by the likelihood of the validation part.

    Parameters
    ----------
    kind : str
        Thumbnails take a logistic regression, all others gradient-boosted trees, since what their numbers say
        is not linear.
    train, validation : (features [N, F], labels [N])
    balanced : bool
        Whether each class weighs the same, whatever its number of images.
    seed : int

    Returns
    -------
    scikit-learn classifier
        Fitted, with ``predict_log_proba``-like scores by :func:`feature_logits`.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    weight = "balanced" if balanced else None
    if not kind.startswith("thumbnail"):
        models = [
            HistGradientBoostingClassifier(
                learning_rate=0.1,
                max_iter=rounds,
                max_leaf_nodes=15,
                early_stopping=False,
                class_weight=weight,
                random_state=seed,
            )
            for rounds in (50, 150)
        ]
    else:
        models = [
            make_pipeline(
                StandardScaler(), LogisticRegression(C=strength, max_iter=1000, class_weight=weight)
            )
            for strength in _STRENGTHS
        ]
    classes = sorted(set(train[1].tolist()))
    losses = []
    for model in models:
        model.fit(*train)
        losses.append(log_loss(validation[1], model.predict_proba(validation[0]), labels=classes))
    best = int(np.argmin(losses))
    logger.info("arm %s: choice %d of %d, validation loss %.3f", kind, best, len(models), losses[best])
    return models[best]


def feature_logits(model: Any, features: Floats, n_classes: int) -> Floats:
    """Return log probabilities [N, n_classes], for classes that the model never saw a very low one."""
    result = np.full((len(features), n_classes), -30.0)
    probabilities = model.predict_proba(features)
    result[:, np.asarray(model.classes_, np.intp)] = np.log(np.maximum(probabilities, 1e-12))
    return result
