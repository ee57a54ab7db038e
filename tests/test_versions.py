from __future__ import annotations

import platform

import numpy

from lungcls.versions import package_versions


def test_versions_of_what_is_there_and_what_is_not() -> None:
    found = package_versions(["numpy", "no-such-package-at-all"])
    assert found == {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "no-such-package-at-all": "not installed",
    }
