"""From the names that datasets give their findings to the classes of a model."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lungcls.errors import DataError
from lungcls.labels import CLASSES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REST: Final = "*"
"""The key of a mapping that stands for every name not in it; without it such images are left out."""

_COVID: Final = ("COVID-19", "COVID", "COVID19", "SARS-CoV-2")
_NORMAL: Final = ("Normal", "No Finding")
_VIRAL: Final = (
    "Viral",
    "Virus",
    "Viral Pneumonia",
    "SARS",
    "MERS-CoV",
    "Varicella",
    "Influenza",
    "H1N1",
    "Herpes",
)
_OTHER_PNEUMONIA: Final = (
    *("Pneumonia", "Bacterial", "Bacteria", "Streptococcus", "Klebsiella", "Legionella", "Mycoplasma"),
    *("E.Coli", "Nocardia", "Chlamydophila", "Staphylococcus", "MRSA", "Fungal", "Pneumocystis"),
    *("Aspergillosis", "Lipoid", "Aspiration"),
)  # fmt: skip
# The Radiography Database describes this class as "non-COVID lung infection".
_OPACITY: Final = ("Lung_Opacity", "Lung Opacity")
_UNKNOWN: Final = ("todo", "Unknown")

PRESETS: Final[dict[str, dict[str, str]]] = {
    "binary": {
        **dict.fromkeys(_COVID, "COVID"),
        **dict.fromkeys(_UNKNOWN, ""),
        REST: "other",
    },
    "three": {
        **dict.fromkeys(_COVID, "COVID"),
        **dict.fromkeys((*_VIRAL, *_OTHER_PNEUMONIA, *_OPACITY), "Pneumonia"),
        **dict.fromkeys(_NORMAL, "Normal"),
    },
    "four": {
        **dict.fromkeys(_COVID, CLASSES[0]),
        **dict.fromkeys((*_OTHER_PNEUMONIA, *_OPACITY), CLASSES[1]),
        **dict.fromkeys(_NORMAL, CLASSES[2]),
        **dict.fromkeys(_VIRAL, CLASSES[3]),
    },
}
"""Mappings by name: COVID against the rest, COVID / Pneumonia / Normal, and the four classes of lungcls.

What they do not name is left out: ARDS, for one, is a syndrome with many causes, and "todo" is no finding.
"""

ClassMap = Mapping[str, str]


def load_classes(source: str | Path | ClassMap) -> dict[str, str]:
    """Return a mapping of names to classes.

    Parameters
    ----------
    source : str, path or mapping
        A name of :data:`PRESETS`; a TOML file with a table ``[classes]``; or a mapping itself. Keys are names
        of a dataset's classes or findings (case does not matter), or :data:`REST`; an empty value leaves the
        images out.

    Returns
    -------
    dict of str to str

    Raises
    ------
    DataError
        If it is none of them, or names fewer than two classes.
    """
    if isinstance(source, Mapping):
        found, name = dict(source), "the mapping of classes"
    elif str(source) in PRESETS:
        return dict(PRESETS[str(source)])
    else:
        found, name = _read(Path(source)), str(source)
    if not all(isinstance(key, str) and isinstance(value, str) for key, value in found.items()):
        raise DataError(f'{name}: every key and value must be text, such as "COVID-19" = "COVID"')
    if len(classes_of(found)) < 2:
        raise DataError(
            f"{name} maps to the classes {list(classes_of(found))}; a classifier needs at least two. "
            f'Use "{REST}" = "other" for all that is not named'
        )
    return found


def classes_of(mapping: ClassMap) -> tuple[str, ...]:
    """Return the classes of a mapping in order of first appearance."""
    return tuple(dict.fromkeys(value for value in mapping.values() if value))


def map_name(mapping: ClassMap, *names: str) -> str:
    """Return the class of an image, or "" where it shall be left out.

    Parameters
    ----------
    mapping : mapping of str to str
    names : str
        What the image may be looked up as, the most telling first; :data:`REST` is tried last.
    """
    lower = {key.lower(): value for key, value in mapping.items()}
    for name in names:
        if name.strip().lower() in lower:
            return lower[name.strip().lower()]
    return mapping.get(REST, "")


def finding_names(finding: str) -> list[str]:
    """Return what a finding may be looked up as, the most telling first.

    Examples
    --------
    >>> finding_names("Pneumonia/Viral/COVID-19")
    ['Pneumonia/Viral/COVID-19', 'COVID-19', 'Viral', 'Pneumonia']
    >>> finding_names("COVID-19, ARDS")
    ['COVID-19, ARDS', 'COVID-19', 'ARDS']
    """
    names = [finding]
    for alternative in re.split(r"\s*,\s*", finding):
        names += [alternative, *reversed(alternative.split("/"))]
    return list(dict.fromkeys(name.strip() for name in names if name.strip()))


def describe(classes: Sequence[str]) -> str:
    """Return class names as text, the middle of a long list left out."""
    if len(classes) <= 8:
        return ", ".join(classes)
    return f"{', '.join(classes[:6])} ... {classes[-1]} ({len(classes)} in all)"


def _read(path: Path) -> dict[str, str]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(
            f"{path}: not one of the mappings {', '.join(PRESETS)}, and not readable as a TOML file ({error})"
        ) from error
    table = values.get("classes")
    if not isinstance(table, dict):
        raise DataError(f'{path}: expected a table [classes] with lines such as "COVID-19" = "COVID"')
    return dict(table)
