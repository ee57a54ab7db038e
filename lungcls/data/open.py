"""From a folder to the dataset that lies in it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

from lungcls.data.chestxray import CovidChestXray
from lungcls.data.classmap import ClassMap
from lungcls.data.coronahack import CoronaHack
from lungcls.data.dataset import Dataset
from lungcls.data.files import is_hidden
from lungcls.data.folders import ClassFolders
from lungcls.data.labeltable import TABLE_SUFFIXES, open_table
from lungcls.data.lists import ImageLists, ct_refusal, find_lists, read_list
from lungcls.data.maskfolder import MaskFolder
from lungcls.data.merged import MergedDataset
from lungcls.data.radiography import RadiographyDatabase
from lungcls.data.xrv import XrvFilms, is_xrv, xrv_kind
from lungcls.errors import DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LAYOUTS: Final[dict[str, type[Dataset]]] = {
    kind.layout: kind
    for kind in (RadiographyDatabase, CoronaHack, CovidChestXray, MaskFolder, ClassFolders, ImageLists)
}
"""The kinds of datasets that :func:`open_dataset` tells apart, in the order in which they are tried."""

K = TypeVar("K", bound=type[Dataset])


def register(kind: K) -> K:
    """Make a kind of dataset known, before all others; usable as a decorator.

    Parameters
    ----------
    kind : subclass of Dataset
        With a ``layout`` of its own, ``looks``, and :meth:`Dataset.recognise`. On the command line it is
        named by its place, ``--layout package.module:Class``, which needs no registration.

    Returns
    -------
    kind

    Raises
    ------
    DataError
        If it has no name or another kind has the name.
    """
    name = getattr(kind, "layout", "")
    if not (isinstance(kind, type) and issubclass(kind, Dataset) and name):
        raise DataError(f"{kind!r} is no kind of dataset: expected a subclass of Dataset with a layout")
    if LAYOUTS.get(name, kind) is not kind:
        raise DataError(f"the layout {name!r} is {LAYOUTS[name].__name__}; give {kind.__name__} another name")
    others = {key: value for key, value in LAYOUTS.items() if key != name}
    LAYOUTS.clear()
    LAYOUTS.update({name: kind, **others})
    return kind


_CT_SUFFIXES: Final = (".nii", ".nii.gz", ".mhd", ".nrrd")
_CT_FOLDERS: Final = ("2a_images", "3a_images", "ct_covid", "ct_noncovid", "ct")
_CT_LISTS: Final = ("covidx_ct", "covidx-ct", "covid_ct", "covid-ct")


def open_radiography(root: str | Path) -> RadiographyDatabase:
    """Open a copy of the COVID-19 Radiography Database, at `root` or in ``radiography`` below it.

    Raises
    ------
    DataError
        If neither is one; the message says what was expected.
    """
    return RadiographyDatabase(RadiographyDatabase.recognise(Path(root)) or root)


def open_dataset(
    root: str | Path | Any, *, layout: str | None = None, classes: str | Path | ClassMap | None = None
) -> Dataset:
    """Open whichever dataset a folder holds.

    Parameters
    ----------
    root : path-like, or a dataset of torchxrayvision
        A folder in one of :data:`LAYOUTS`, one that holds nothing else than such a folder, or one with a
        Radiography Database in ``radiography``. Or a TOML file that merges several, with a table
        ``[datasets.<name>]`` for each (``path``, relative to the file, and optionally ``layout`` and
        ``classes``) and optionally a table ``[classes]`` for all. Or a CSV file of paths and labels
        (:class:`lungcls.data.labeltable.LabelTable`). An object of ``torchxrayvision.datasets``
        is read as :class:`lungcls.data.xrv.XrvFilms` says.
    layout : str, optional
        A key of :data:`LAYOUTS`, where the folder could be read in more than one way; or the place of a
        class, ``package.module:Class``, of lungcls's kind or torchxrayvision's, such as
        ``torchxrayvision.datasets:NIH_Dataset``.
    classes : str, path or mapping, optional
        Other classes than the dataset's own: ``binary``, ``three``, ``four``, a TOML file or a mapping; see
        :func:`lungcls.data.classmap.load_classes`.

    Returns
    -------
    Dataset
        A subclass of it: one class a layout.

    Raises
    ------
    DataError
        If it is none of them, could be several, or holds computed tomography.
    """
    if is_xrv(root):
        return XrvFilms(root, classes)
    path = Path(root)
    if path.suffix.lower() == ".toml" and path.is_file():
        if layout is not None:
            raise DataError(
                f"{path}: a TOML file names the layout of each dataset itself; leave out {layout!r}"
            )
        merged = _open_merged(path)
        if classes is not None:
            merged.map_classes(classes)
        return merged
    if path.suffix.lower() in TABLE_SUFFIXES and not path.is_dir():
        if layout is not None:
            raise DataError(f"{path}: a table is its own layout; leave out {layout!r}")
        return open_table(path, classes)
    place, kind = _place_and_kind(path, layout)
    return kind.open(place, classes)


def open_external(root: str | Path) -> Dataset:
    """Open a dataset to measure weights of the four classes of lungcls on.

    Parameters
    ----------
    root : path-like
        As :func:`open_dataset` takes it. CoronaHack and covid-chestxray-dataset, which have classes of their
        own, are read with the four classes.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        As :func:`open_dataset` raises it.
    """
    path = Path(root)
    if path.suffix.lower() == ".toml" and path.is_file():
        return open_dataset(path)
    place, kind = _place_and_kind(path, None)
    return kind.open_four(place)


def open_externals(roots: Iterable[str | Path], taken: Iterable[str] = ()) -> dict[str, Dataset]:
    """Open several datasets to measure weights on, each under a name of its own.

    Parameters
    ----------
    roots : iterable of path-like
        As :func:`open_external` takes them. One that is repeated is opened once.
    taken : iterable of str, optional
        Names that stand for something else.

    Returns
    -------
    dict
        By the folder's own name; where that is taken, it is followed by ``-2``, ``-3`` and so on.

    Raises
    ------
    DataError
        As :func:`open_dataset` raises it.
    """
    names = set(taken)
    datasets = {}
    for root in dict.fromkeys(Path(root).resolve() for root in roots):
        stem = root.name if root.is_dir() else root.stem
        candidates = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
        name = next(name for name in candidates if name not in names)
        names.add(name)
        datasets[name] = open_external(root)
    return datasets


def _place_and_kind(path: Path, layout: str | None) -> tuple[Path, type[Dataset]]:
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; --data takes the folder of a dataset")
    if layout is None:
        return _recognised(path)
    kind = LAYOUTS.get(layout) or _imported(layout)
    return kind.recognise(path) or path, kind


def _imported(layout: str) -> type[Dataset]:
    """Return a class that is named by its place, ``package.module:Class``."""
    module, _, name = layout.partition(":")
    if not name:
        raise DataError(
            f"unknown layout {layout!r}; expected one of {', '.join(LAYOUTS)}, or package.module:Class"
        )
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DataError(f"the layout {layout!r} cannot be imported: {error}") from error
    if any(base.__module__ == "torchxrayvision.datasets" for base in getattr(kind, "__mro__", ())):
        return xrv_kind(kind)
    return LAYOUTS[register(kind).layout]


def _recognised(path: Path) -> tuple[Path, type[Dataset]]:
    """Return the folder that the dataset lies in, and its kind."""
    for folder in _down(path):
        _refuse_ct(folder)
        places = {kind: place for kind in LAYOUTS.values() if (place := kind.recognise(folder)) is not None}
        certain = next((kind for kind in places if kind.certain), None)
        if certain:
            return places[certain], certain
        if len(places) > 1:
            raise DataError(
                f"{folder} could be read in more than one way: "
                + "; ".join(f"--layout {kind.layout} ({kind.looks})" for kind in places)
                + ". Say which"
            )
        for kind, place in places.items():
            return place, kind
    entries = sorted(entry.name for entry in path.iterdir())[:8]
    expected = "".join(f"\n  {name}: {kind.looks}" for name, kind in LAYOUTS.items())
    raise DataError(
        f"{path} holds no dataset that lungcls knows: found {', '.join(entries) or 'nothing'}. Expected "
        f"one of{expected}\nFolders named as files or steps (png, raw, masks), by numbers, or more than "
        "thirty of them are not taken for classes by themselves: say --layout folders if they are.\n"
        "`lungcls data download radiography` says how to get the first."
    )


def _down(path: Path) -> list[Path]:
    """Return a folder, and what it leads to while it holds nothing else than one folder, as archives do."""
    folders = [path]
    for _ in range(2):
        inner = [
            entry for entry in folders[-1].iterdir() if entry.name[0] != "_" and not is_hidden(entry.name)
        ]
        if len(inner) != 1 or not inner[0].is_dir():
            break
        folders.append(inner[0])
    return folders


def _refuse_ct(folder: Path) -> None:
    for entry in sorted(folder.iterdir()):
        name = entry.name.lower()
        if entry.is_file() and name.endswith(_CT_SUFFIXES):
            raise DataError(ct_refusal(f"{entry.name} (a volume)", folder))
        if entry.is_dir() and name in _CT_FOLDERS:
            raise DataError(ct_refusal(f"the folder {entry.name}", folder))
        if entry.is_file() and any(word in name for word in _CT_LISTS):
            raise DataError(ct_refusal(entry.name, folder))
    for path in find_lists(folder):
        read_list(path)  # says so where the lines hold the boxes of CT slices


def _open_merged(path: Path) -> MergedDataset:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: not readable as a TOML file ({error})") from error
    tables = values.get("datasets")
    extra = sorted(set(values) - {"datasets", "classes"})
    if not isinstance(tables, dict) or extra:
        raise DataError(
            f"{path}: expected tables [datasets.<name>] with a path, and optionally [classes]"
            + (f"; found {', '.join(extra)}" if extra else "")
        )
    datasets = {}
    per_dataset = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not isinstance(table.get("path"), str):
            raise DataError(f'{path}: [datasets.{name}] needs a line path = "..."')
        unknown = sorted(set(table) - {"path", "layout", "classes"})
        if unknown:
            raise DataError(
                f"{path}: [datasets.{name}] has {', '.join(unknown)}; known are path, layout, classes"
            )
        mapping = table.get("classes")
        place = path.parent / table["path"]
        # Findings can only be mapped while the dataset is read; later only its classes are left.
        datasets[name] = open_dataset(place, layout=table.get("layout"), classes=mapping)
        if mapping is not None:
            per_dataset[name] = {one: one for one in datasets[name].classes}
    return MergedDataset(datasets, classes=values.get("classes"), per_dataset=per_dataset)
