"""lungcls: find the lungs on a chest X-ray, keep only them, and say which of four classes they look like.

For research and education only, never for diagnosis.

>>> import lungcls
>>> prediction = lungcls.predict("scan.png")  # doctest: +SKIP
>>> prediction.label, prediction.probabilities, prediction.lungs.mask  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from lungcls.labels import CLASSES, NOTICE

if TYPE_CHECKING:
    from lungcls.classifier import Classifier
    from lungcls.ensemble import Ensemble
    from lungcls.errors import LungclsError
    from lungcls.explanation import Explanation
    from lungcls.finder import Finder
    from lungcls.images import Image, find_images, read_image
    from lungcls.lungs import Lungs
    from lungcls.pipeline import Pipeline, explain, predict, segment
    from lungcls.prediction import Failure, Prediction, Predictions, Segmentation, to_dataframe
    from lungcls.regions import REGIONS, Region, RegionKind, register_region
    from lungcls.segmenter import Segmenter

try:
    __version__ = version("lungcls")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

# Loaded when first used, so that `import lungcls` stays light.
_LAZY = {
    "Classifier": "lungcls.classifier",
    "Ensemble": "lungcls.ensemble",
    "LungclsError": "lungcls.errors",
    "Explanation": "lungcls.explanation",
    "Finder": "lungcls.finder",
    "Image": "lungcls.images",
    "find_images": "lungcls.images",
    "read_image": "lungcls.images",
    "Lungs": "lungcls.lungs",
    "Pipeline": "lungcls.pipeline",
    "explain": "lungcls.pipeline",
    "predict": "lungcls.pipeline",
    "segment": "lungcls.pipeline",
    "Failure": "lungcls.prediction",
    "Prediction": "lungcls.prediction",
    "Predictions": "lungcls.prediction",
    "Segmentation": "lungcls.prediction",
    "to_dataframe": "lungcls.prediction",
    "REGIONS": "lungcls.regions",
    "Region": "lungcls.regions",
    "RegionKind": "lungcls.regions",
    "register_region": "lungcls.regions",
    "Segmenter": "lungcls.segmenter",
}

__all__ = [
    "CLASSES",
    "NOTICE",
    "REGIONS",
    "Classifier",
    "Ensemble",
    "Explanation",
    "Failure",
    "Finder",
    "Image",
    "LungclsError",
    "Lungs",
    "Pipeline",
    "Prediction",
    "Predictions",
    "Region",
    "RegionKind",
    "Segmentation",
    "Segmenter",
    "__version__",
    "explain",
    "find_images",
    "predict",
    "read_image",
    "register_region",
    "segment",
    "to_dataframe",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'lungcls' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
