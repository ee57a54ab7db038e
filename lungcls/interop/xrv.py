"""Faces that users of torchxrayvision expect: a dataset, lungs beside any dataset's films, and a model.

References
----------
Cohen, J. P., et al. (2022). TorchXRayVision: A library of chest X-ray datasets and models. MIDL.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lungcls.data.dataset import Dataset
from lungcls.data.xrv import is_xrv
from lungcls.errors import MissingExtraError, OptionError
from lungcls.finder import Finder
from lungcls.images import read_image
from lungcls.interop.stages import FilmModule, load_stages
from lungcls.regions import resize_mask

try:
    import pandas
    import torchxrayvision.datasets as xrv
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "torchxrayvision", "xrv", "speaking to torchxrayvision") from error

RANGE = 1024.0
"""Grey levels of torchxrayvision's films run from minus this to this."""


class FilmDataset(xrv.Dataset):  # type: ignore[misc]
    """A dataset of lungcls as torchxrayvision has them: for ``xrv.datasets`` and loops that are written so.

    Parameters
    ----------
    dataset : Dataset
        With classes.
    transform, data_aug : callable, optional
        As torchxrayvision's datasets take them, such as ``xrv.datasets.XRayResizer(224)``.
    semantic_masks : bool, default=False
        Give the dataset's own lung masks as ``sample["semantic_masks"]["Lungs"]``, where a film has one.

    Attributes
    ----------
    pathologies : list of str
        The classes.
    labels : float32 array [N, classes]
        1 for the class of a film, 0 for the others.
    csv : pandas.DataFrame
        What is known of each film, with ``patientid`` as torchxrayvision calls it.

    Raises
    ------
    OptionError
        If it is no dataset of lungcls, or its films have no classes.

    Notes
    -----
    An item is a dict: ``idx``, ``lab`` (a row of ``labels``), and ``img``, float32 array [1, H, W] in
    [-1024, 1024] unless `transform` changes it.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        transform: Callable[[Any], Any] | None = None,
        data_aug: Callable[[Any], Any] | None = None,
        semantic_masks: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(dataset, Dataset) or not dataset.classes:
            raise OptionError(f"found {dataset!r}, expected a dataset of lungcls whose films have classes")
        self.dataset = dataset
        self.transform = transform
        self.data_aug = data_aug
        self.semantic_masks = semantic_masks
        self.imgpath = str(dataset.root)
        self.pathologies = list(dataset.classes)
        targets = np.array([dataset.classes.index(label) for label in dataset.labels])
        self.labels = np.eye(len(dataset.classes), dtype=np.float32)[targets]
        rows = [{name: getattr(record, name) for name in record.__slots__} for record in dataset.records]
        self.csv = pandas.DataFrame(rows).rename(columns={"patient": "patientid"})

    def string(self) -> str:
        """Return the one line that torchxrayvision prints of a dataset."""
        return f"{type(self).__name__} num_samples={len(self)} of {self.dataset!r}"

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a film as torchxrayvision does; ImageError or DataError where it cannot be read."""
        index = int(index)
        sample = self.dataset[index]
        pixels = sample.image.pixels
        item: dict[str, Any] = {"idx": index, "lab": self.labels[index], "img": _to_xrv(pixels)}
        if self.semantic_masks:
            mask = sample.mask
            shape = (pixels.shape[0], pixels.shape[1])
            lungs = {} if mask is None else {"Lungs": resize_mask(mask, shape)[None].astype(np.float32)}
            item["semantic_masks"] = lungs
        changed: dict[str, Any] = xrv.apply_transforms(item, self.transform)
        return dict(xrv.apply_transforms(changed, self.data_aug))


class WithLungs(xrv.Dataset):  # type: ignore[misc]
    """Any dataset of torchxrayvision, with the lungs that stage 1 finds as ``semantic_masks["Lungs"]``.

    Parameters
    ----------
    dataset : torchxrayvision.datasets.Dataset
        Its films are given to stage 1 as they come out of its transforms, so that the masks fit them.
    finder : Finder, str or path-like, default="segmenter"
        A loaded finder, or weights of stage 1 by name or path.
    device : str, default="auto"

    Raises
    ------
    OptionError
        If it is no dataset of torchxrayvision.
    WeightsError
        If the weights are missing.

    Notes
    -----
    Masks are float32 arrays [1, H, W], 1 for lung. Other masks of the sample stay; its ``Lungs`` are
    replaced. A mask is all 0 where no lung was found.
    """

    def __init__(
        self, dataset: Any, finder: Finder | str | Path = "segmenter", *, device: str = "auto"
    ) -> None:
        super().__init__()
        if not is_xrv(dataset):
            raise OptionError(f"found {type(dataset).__name__}, expected a dataset of torchxrayvision")
        self.dataset = dataset
        self.finder = finder if isinstance(finder, Finder) else Finder.load(finder, device=device)
        self.pathologies = dataset.pathologies
        self.labels = dataset.labels
        self.csv = dataset.csv

    def string(self) -> str:
        """Return the one line that torchxrayvision prints of a dataset."""
        return f"{type(self).__name__} num_samples={len(self)} of {self.dataset.string()}"

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the dataset's own sample and the lungs."""
        item = dict(self.dataset[index])
        film = np.asarray(item["img"], np.float32)[0]
        pixels = np.clip((film + RANGE) / (2 * RANGE), 0, 1).astype(np.float32)
        lungs = self.finder.find([read_image(pixels)])[0]
        masks = {**item.get("semantic_masks", {}), "Lungs": lungs.mask[None].astype(np.float32)}
        return {**item, "semantic_masks": masks}


class Model(nn.Module):
    """Both stages as a model of torchxrayvision: films in its range of grey levels in, probabilities out.

    Parameters
    ----------
    classifier : str or path-like, default="classifier-mask"
    segmenter : str or path-like, default="segmenter"
        Weights, by released name or path.

    Attributes
    ----------
    pathologies, targets : list of str
        The classes, in the order of the outputs.

    Raises
    ------
    WeightsError
        If weights are missing.
    OptionError
        If a card asks for a treatment of the grey levels that tensors do not get.

    Notes
    -----
    Unlike :class:`lungcls.Pipeline` it has no quality gate and leaves the masks as the U-Net draws them. The
    classes exclude each other, so that a row sums to 1; torchxrayvision's own models answer each pathology
    by itself.
    """

    def __init__(
        self, classifier: str | Path = "classifier-mask", segmenter: str | Path = "segmenter"
    ) -> None:
        super().__init__()
        first, second = load_stages(segmenter, classifier)
        assert second is not None
        self.model = FilmModule(first, second)
        self.targets = list(second[0].classes)
        self.pathologies = self.targets
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Answer films.

        Parameters
        ----------
        x : float32 tensor [B, 1, H, W] in [-1024, 1024]
            Of any size; ``torchxrayvision.utils.load_image`` reads one such.

        Returns
        -------
        float32 tensor [B, classes]
            Probabilities, by the card's temperature.

        Raises
        ------
        OptionError
            If the shape or the grey levels are others.
        """
        if x.ndim != 4 or x.shape[1] != 1:
            raise OptionError(f"films have the shape {list(x.shape)}; expected [batch, 1, height, width]")
        low, high = (float(value) for value in torch.aminmax(x.detach()))
        if low < -RANGE - 1 or high > RANGE + 1 or (low >= 0 and high <= 255 and high > low):
            raise OptionError(
                f"films have grey levels from {low:g} to {high:g}; expected [-1024, 1024], as "
                "torchxrayvision.utils.normalize makes them"
            )
        answer: Tensor = self.model(((x + RANGE) / (2 * RANGE)).clamp(0, 1))
        return answer


def _to_xrv(pixels: Any) -> Any:
    return ((2 * pixels - 1) * RANGE)[None].astype(np.float32)
