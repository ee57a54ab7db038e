"""Images with lung masks and no classes, such as the Montgomery and Shenzhen sets."""

from __future__ import annotations

from pathlib import Path

from lungcls.data.dataset import Dataset, Record, images_by_stem
from lungcls.errors import DataError


class MaskFolder(Dataset):
    """A folder with ``images/`` and ``masks/``, a mask of the same name for each image.

    Parameters
    ----------
    root : path-like

    Attributes
    ----------
    root : Path
    records : list of Record
        With an empty label; images without a mask are kept, with an empty mask.

    Raises
    ------
    DataError
        If one of the folders is missing, or no image has a mask.
    """

    layout = "masks"

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        images = images_by_stem(self.root / "images")
        masks = images_by_stem(self.root / "masks")
        if not images.keys() & masks.keys():
            raise DataError(
                f"{self.root}: expected the folders images and masks with files of the same names; found "
                f"{len(images)} images, {len(masks)} masks and no pair"
            )
        self.records = [
            Record(
                file=f"images/{path.name}",
                label="",
                mask=f"masks/{masks[stem].name}" if stem in masks else "",
            )
            for stem, path in images.items()
        ]
