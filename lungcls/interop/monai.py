"""What a MONAI bundle of lungcls is made of: a reader of films, and the network.

References
----------
Cardoso, M. J., et al. (2022). MONAI: An open-source framework for deep learning in healthcare.
arXiv:2211.02701.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from lungcls.cards import Card, check_card
from lungcls.errors import MissingExtraError, WeightsError
from lungcls.images import Image, read_image
from lungcls.interop.stages import FilmModule, untrained

try:
    from monai.data import ImageReader
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "monai", "monai", "speaking to MONAI") from error


class FilmReader(ImageReader):  # type: ignore[misc]
    """Reads films for MONAI's ``LoadImage`` as lungcls reads all films: DICOM windows, 16 bits, inversion.

    Notes
    -----
    The data are float32 [W, H] in [0, 1]: columns first, as MONAI's own readers lay pictures. ``affine``
    holds the pixels' spacing in mm, 1 where the file does not tell it.
    """

    def verify_suffix(self, filename: Any) -> bool:
        """Accept all: files are told apart by their content."""
        return True

    def read(self, data: Any, **kwargs: Any) -> Image | list[Image]:
        """Read one film, or several; ImageError where one cannot be read."""
        if isinstance(data, (str, Path)):
            return read_image(data)
        images = [read_image(one) for one in data]
        return images[0] if len(images) == 1 else images

    def get_data(self, img: Image | list[Image]) -> tuple[Any, dict[str, Any]]:
        """Return the film (or films of one size, as channels) and what MONAI wants to know of it."""
        images = img if isinstance(img, list) else [img]
        rows, columns = images[0].pixel_spacing or (1.0, 1.0)
        pixels = [image.pixels.T for image in images]
        meta = {
            "affine": np.diag([columns, rows, 1.0, 1.0]),
            "spatial_shape": np.asarray(pixels[0].shape),
            "original_channel_dim": float("nan") if len(images) == 1 else 0,  # nan: no channel
        }
        return np.ascontiguousarray(pixels[0] if len(images) == 1 else np.stack(pixels)), meta


class BundleNetwork(nn.Module):
    """The network of a bundle, from the cards in it; its parameters are loaded from ``models/model.pt``.

    Parameters
    ----------
    segmenter : path-like
        Card of stage 1.
    classifier : path-like, optional
        Card of stage 2; without it the network answers with lungs.

    Raises
    ------
    WeightsError
        If a card is missing or damaged.
    """

    def __init__(self, segmenter: str | Path, classifier: str | Path | None = None) -> None:
        super().__init__()
        second = None if classifier is None else untrained(_card(classifier))
        self.films = FilmModule(untrained(_card(segmenter)), second)

    def forward(self, image: Tensor) -> Tensor:
        """Answer films.

        Parameters
        ----------
        image : float32 tensor [B, 1, W, H] in [0, 1]
            Columns first, as MONAI lays pictures.

        Returns
        -------
        float32 tensor [B, classes], or [B, 1, W, H]
            Probabilities of the classes; or of lung, of each pixel.
        """
        answer: Tensor = self.films(image.transpose(2, 3))
        return answer if answer.ndim == 2 else answer.transpose(2, 3)


def _card(path: str | Path) -> Card:
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: the card is not readable ({error}); export the bundle again") from error
    return check_card(values, Path(path))
