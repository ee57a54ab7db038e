"""Datasets, splits, duplicates and augmentation."""

from lungcls.data.dataset import Dataset, Record
from lungcls.data.maskfolder import MaskFolder
from lungcls.data.open import open_dataset, open_radiography
from lungcls.data.radiography import RadiographyDatabase
from lungcls.data.splits import Split, make_split, split_dataset

__all__ = [
    "Dataset",
    "MaskFolder",
    "RadiographyDatabase",
    "Record",
    "Split",
    "make_split",
    "open_dataset",
    "open_radiography",
    "split_dataset",
]
