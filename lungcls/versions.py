"""Which versions made a result or a weight file."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of Python and of each package, without importing any.

    Parameters
    ----------
    packages : iterable of str
        Names as pip knows them.

    Returns
    -------
    dict of str to str
        ``python`` first; a package that is missing is "not installed".
    """
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
