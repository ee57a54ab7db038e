"""lungcls: find the lungs on a chest X-ray, keep only them, and say which of four classes they look like.

For research and education only, never for diagnosis.

>>> import lungcls
>>> prediction = lungcls.predict("scan.png")  # doctest: +SKIP
>>> prediction.label, prediction.probabilities, prediction.lung_mask  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from lungcls.labels import CLASSES, NOTICE

if TYPE_CHECKING:
    from lungcls.ensemble import Ensemble
    from lungcls.errors import LungclsError
    from lungcls.explanation import Explanation
    from lungcls.images import Image, find_images, read_image
    from lungcls.pipeline import Pipeline, explain, predict, segment
    from lungcls.prediction import Failure, Prediction, Segmentation
    from lungcls.regions import REGIONS, Region

try:
    __version__ = version("lungcls")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

# Loaded when first used, so that `import lungcls` stays light.
_LAZY = {
    "Ensemble": "lungcls.ensemble",
    "LungclsError": "lungcls.errors",
    "Explanation": "lungcls.explanation",
    "Image": "lungcls.images",
    "find_images": "lungcls.images",
    "read_image": "lungcls.images",
    "Pipeline": "lungcls.pipeline",
    "explain": "lungcls.pipeline",
    "predict": "lungcls.pipeline",
    "segment": "lungcls.pipeline",
    "Failure": "lungcls.prediction",
    "Prediction": "lungcls.prediction",
    "Segmentation": "lungcls.prediction",
    "REGIONS": "lungcls.regions",
    "Region": "lungcls.regions",
}

__all__ = [
    "CLASSES",
    "NOTICE",
    "REGIONS",
    "Ensemble",
    "Explanation",
    "Failure",
    "Image",
    "LungclsError",
    "Pipeline",
    "Prediction",
    "Region",
    "Segmentation",
    "__version__",
    "explain",
    "find_images",
    "predict",
    "read_image",
    "segment",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'lungcls' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
