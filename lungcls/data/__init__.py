"""Datasets, splits, duplicates, augmentation, and pictures of a dataset."""

from typing import TYPE_CHECKING, Any

from lungcls.data.chestxray import CovidChestXray
from lungcls.data.classmap import load_classes
from lungcls.data.coronahack import CoronaHack
from lungcls.data.dataset import Dataset, Record, Sample
from lungcls.data.folders import ClassFolders
from lungcls.data.labeltable import LabelTable
from lungcls.data.lists import ImageLists
from lungcls.data.maskfolder import MaskFolder
from lungcls.data.merged import MergedDataset, with_classes
from lungcls.data.open import (
    LAYOUTS,
    open_dataset,
    open_external,
    open_externals,
    open_radiography,
    register,
)
from lungcls.data.radiography import RadiographyDatabase
from lungcls.data.splits import Split, absent_classes, crossing, make_split, official_split, split_dataset
from lungcls.data.xrv import XrvFilms

if TYPE_CHECKING:
    from lungcls.data.regiondataset import RegionDataset

__all__ = [
    "LAYOUTS",
    "ClassFolders",
    "CoronaHack",
    "CovidChestXray",
    "Dataset",
    "ImageLists",
    "LabelTable",
    "MaskFolder",
    "MergedDataset",
    "RadiographyDatabase",
    "Record",
    "RegionDataset",
    "Sample",
    "Split",
    "XrvFilms",
    "absent_classes",
    "crossing",
    "load_classes",
    "make_split",
    "official_split",
    "open_dataset",
    "open_external",
    "open_externals",
    "open_radiography",
    "register",
    "split_dataset",
    "with_classes",
]


def __getattr__(name: str) -> Any:
    # It is a dataset of torch, which takes seconds to load.
    if name == "RegionDataset":
        from lungcls.data.regiondataset import RegionDataset

        return RegionDataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
