"""Which versions made a result or a weight file."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

PACKAGES: Final = (
    "lungcls", "torch", "torchvision", "segmentation-models-pytorch", "lightning", "albumentations", "numpy",
    "scipy", "statsmodels", "scikit-learn", "scikit-image", "pillow", "pydicom", "connected-components-3d",
    "matplotlib", "grad-cam", "captum", "onnx", "onnxruntime", "openvino", "nncf", "fastapi", "uvicorn",
    "torchxrayvision", "fsspec", "pyarrow", "ray",
)  # fmt: skip
"""What a figure, a weight file or a speed can depend on, by the names that pip knows."""


def versions() -> dict[str, str]:
    """Return the version of Python and of those of :data:`PACKAGES` that are installed, importing none.

    Returns
    -------
    dict of str to str
        ``python`` first, and the kind of ``machine`` last.
    """
    packages = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**packages, "machine": platform.machine()}
