"""Images with lung masks and no classes, such as the Montgomery, Shenzhen and JSRT sets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from lungcls.data.dataset import Dataset, Record
from lungcls.data.files import MASK_SUFFIXES, is_hidden, list_images, pair_masks
from lungcls.errors import DataError

_IMAGES: Final = re.compile(r"(images?|imgs?|cxrs?|x-?rays?|films?|cxr_png|png)", re.IGNORECASE)
_MASKS: Final = re.compile(r"((lung|manual|ground ?truth)?[ _-]?masks?|segmentations?)", re.IGNORECASE)
_LEFT: Final = re.compile(r"left[ _-]?(lung)?[ _-]?(masks?)?", re.IGNORECASE)
_RIGHT: Final = re.compile(r"right[ _-]?(lung)?[ _-]?(masks?)?", re.IGNORECASE)


class MaskFolder(Dataset):
    """A folder with ``images/`` and ``masks/``, a mask of the same name for each image.

    Parameters
    ----------
    root : path-like

    Attributes
    ----------
    records : list of Record
        With an empty label; images without a mask are kept, with an empty mask.

    Raises
    ------
    DataError
        If one of the folders is missing, no image has a mask, or only one lung of an image has one.

    Notes
    -----
    The folders may have other usual names (``CXR_png``, ``ManualMask``); masks may be called ``name_mask``.
    Films may also lie in the folder itself, beside ``masks``, where the layout is named.
    The masks of the two lungs may lie in two folders, such as ``ManualMask/leftMask`` and
    ``ManualMask/rightMask`` of the Montgomery set as it was published: the mask of an image is then the union
    of both.
    """

    layout = "masks"
    looks = "images/ and masks/ with files of the same names, or masks/left and masks/right"
    certain = True

    @classmethod
    def recognise(cls, folder: Path) -> Path | None:
        """Return the folder if it has one of images and one of masks."""
        return folder if _image_folder(folder) and _mask_folders(folder) else None

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        place, mask_places = _image_folder(self.root) or self.root, _mask_folders(self.root)
        images = list_images(place)
        found = [pair_masks(images, list_images(one, MASK_SUFFIXES))[0] for one in mask_places]
        if not any(found):
            masks = sum(len(list_images(one, MASK_SUFFIXES)) for one in mask_places)
            raise DataError(
                f"{self.root}: expected the folders images and masks with files of the same names; found "
                f"{len(images)} images, {masks} masks and no pair"
            )
        for path in images:
            masks_of = [pairs[path].relative_to(self.root).as_posix() for pairs in found if path in pairs]
            if len(mask_places) == 2 and len(masks_of) == 1:
                raise DataError(
                    f"{self.root}: {path.name} has the mask {masks_of[0]} of one lung and none of the other; "
                    "add it, or leave out the image"
                )
            first, second = (*masks_of, "", "")[:2]
            self.records.append(
                Record(file=path.relative_to(self.root).as_posix(), label="", mask=first, other_mask=second)
            )


def _image_folder(root: Path) -> Path | None:
    return next((folder for folder in _folders(root) if _IMAGES.fullmatch(folder.name)), None)


def _mask_folders(root: Path) -> list[Path]:
    """Return the folder with the masks, or those of the left and of the right lungs."""
    masks = next((folder for folder in _folders(root) if _MASKS.fullmatch(folder.name)), None)
    for place in (masks, root):
        inner = _folders(place) if place else []
        left = next((folder for folder in inner if _LEFT.fullmatch(folder.name)), None)
        right = next((folder for folder in inner if _RIGHT.fullmatch(folder.name)), None)
        if left and right:
            return [left, right]
    return [masks] if masks else []


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    # Names as lungcls documents them come before their relatives.
    folders = [path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name)]
    return sorted(folders, key=lambda path: (path.name not in ("images", "masks"), path.name))
